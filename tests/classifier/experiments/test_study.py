"""Trials on disk: who gets which, whose process is dead, what is refused. Nothing is trained."""

import signal
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from optuna.exceptions import StorageInternalError

from roi_cls.base.errors import BundleError, StorageError, TrainingError
from roi_cls.classifier.experiments.space import Choices, Range, SearchSpace
from roi_cls.classifier.experiments.study import LEAST_FOR_IMPORTANCE, Claim, TuningStudy
from roi_cls.classifier.recipe import TrainingRecipe
from roi_cls.data.sample import LabelSet

SPACE = SearchSpace(
    TrainingRecipe("plain"),
    {
        "lr": Range(1e-4, 1e-2, log=True),
        "epochs": Range(2, 30, is_whole=True),
        "margin": Range(0.0, 0.5, step=0.1),
        "imbalance": Choices(("sampling", "none")),
    },
)
PLAN: Mapping[str, Any] = {"folds": 3, "search": ("a", "tuple")}
HOLD = """
import sys, time
from pathlib import Path
from tests.classifier.experiments.test_study import open_study
with open_study(Path(sys.argv[1])).claim(None) as claim:
    print(claim.number, flush=True)
    time.sleep(600)
"""


def open_study(folder: Path, seed: int = 0, **plan: Any) -> TuningStudy:
    return TuningStudy(folder / "tune", SPACE, {**PLAN, **plan}, seed)


def run(study: TuningStudy, score: float, *steps: float) -> tuple[Claim, bool]:
    """Finish the next trial, or prune it; return it, and whether it was pruned."""
    with study.claim(None) as claim:
        assert claim is not None
        for step, value in enumerate(steps, 1):
            if claim.report(step, value):
                claim.prune()
                return claim, True
        claim.finish(score)
    return claim, False


def test_first_trial_is_the_base_recipe(tmp_path: Path) -> None:
    claim, _ = run(open_study(tmp_path), 0.5)
    assert (claim.number, claim.values) == (0, dict(SPACE.start))
    assert SPACE.start == {"lr": 5e-4, "epochs": 10, "margin": 0.1, "imbalance": "sampling"}


@pytest.mark.slow
def test_values_lie_in_the_space_and_depend_on_the_seed_and_the_trials_alone(
    tmp_path: Path,
) -> None:
    study = open_study(tmp_path / "one")
    values = [run(study, i / 20)[0].values for i in range(12)]
    for one in values:
        assert all(SPACE.settings[name].holds(value) for name, value in one.items()), one
    assert len({tuple(one.values()) for one in values}) > 6
    again = []
    for i in range(12):  # opened anew for each trial, as by other processes
        again.append(run(open_study(tmp_path / "two"), i / 20)[0].values)
    assert again == values
    other = open_study(tmp_path / "three", seed=1)
    assert [run(other, i / 20)[0].values for i in range(3)][1:] != values[1:3]


def test_no_more_trials_than_wanted_those_at_work_included(tmp_path: Path) -> None:
    study, other = open_study(tmp_path), open_study(tmp_path)
    with study.claim(2) as first, other.claim(2) as second:
        assert first is not None
        assert second is not None
        assert {first.number, second.number} == {0, 1}
        with open_study(tmp_path).claim(2) as third:
            assert third is None
        first.fail("cannot be trained")
        second.finish(0.5)
    with study.claim(2) as third:
        assert third is None
    assert [row.state for row in study.rows()] == ["failed", "finished"]
    assert study.rows()[0].error == "cannot be trained"


def test_trial_of_a_killed_process_is_tried_again_and_that_of_a_living_one_is_not(
    tmp_path: Path,
) -> None:
    words = [sys.executable, "-c", textwrap.dedent(HOLD), str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "0\n"
            study = open_study(tmp_path)
            claim, _ = run(study, 0.5)
            assert claim.number == 1
            assert [row.state for row in study.rows()] == ["running", "finished"]
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    again, _ = run(study, 0.6)
    assert (again.number, again.place, again.values) == (2, 0, dict(SPACE.start))
    assert [row.state for row in study.rows()] == ["failed", "finished", "finished"]
    assert [row.is_counted for row in study.rows()] == [False, True, True]
    assert [row.repeats for row in study.rows()] == [None, None, 0]


def leave(study: TuningStudy) -> Claim:
    """Begin a trial, and end the block without a result, as a process does that is killed."""
    with study.claim(None) as claim:
        assert claim is not None
        return claim


def test_trial_that_kills_its_process_again_and_again_is_given_up(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    assert [leave(study).place for _ in range(4)] == [0, 0, 0, 3]
    assert [row.state for row in study.rows()] == ["failed", "failed", "failed", "running"]


def test_trial_that_is_set_aside_is_gone_on_with_however_often(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    for _ in range(5):
        with study.claim(None) as claim:
            assert claim is not None
            assert claim.place == 0
            claim.set_aside()
    claim, _ = run(study, 0.5)
    assert (claim.number, claim.place) == (5, 0)


def test_trial_is_pruned_by_the_median_of_the_finished_ones_over_the_same_folds(
    tmp_path: Path,
) -> None:
    study = open_study(tmp_path)
    assert run(study, 0.9, 0.1)[1] is False  # nothing to compare with yet
    for _ in range(4):
        assert run(study, 0.9, 0.8, 0.9)[1] is False
    assert run(study, 0.9, 0.85, 0.9)[1] is False
    claim, is_pruned = run(study, 0.9, 0.7)
    assert is_pruned
    row = study.rows()[claim.number]
    assert (row.state, row.score, row.folds) == ("pruned", 0.7, 1)


def test_trial_whose_second_fold_disappoints_is_pruned_too(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    for _ in range(5):
        run(study, 0.8, 0.8, 0.8, 0.8)
    claim, is_pruned = run(study, 0.6, 0.9, 0.6)
    assert is_pruned
    row = study.rows()[claim.number]
    assert (row.score, row.folds) == (0.6, 2)
    for _ in range(7):  # pruned ones do not count: they would lower the bar
        assert run(study, 0.6, 0.7)[1]


def test_another_tuning_in_the_folder_is_refused(tmp_path: Path) -> None:
    run(open_study(tmp_path), 0.5)
    open_study(tmp_path)
    with pytest.raises(TrainingError, match=r"it was started with other settings \(folds\)\. Choo"):
        open_study(tmp_path, folds=5)


def test_other_pictures_are_refused(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    labels = LabelSet(("a", "b"), "b", "rarest")
    study.check_data("1" * 64, labels)
    open_study(tmp_path).check_data("1" * 64, labels)
    assert study.labels == LabelSet(("a", "b"), "b")
    for digest, target in (("2" * 64, "b"), ("1" * 64, "a")):
        with pytest.raises(TrainingError, match="the pictures, their labels or their parts were"):
            study.check_data(digest, LabelSet(("a", "b"), target))


def test_damaged_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "tune").mkdir()
    (tmp_path / "tune" / "study.db").write_bytes(b"no database" * 1000)
    with pytest.raises(BundleError, match=r"Cannot read the trials in .*study.db'"):
        open_study(tmp_path)


def test_folder_may_have_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "a b%20#?é&c=d"
    run(open_study(folder), 0.5)
    assert (folder / "tune" / "study.db").is_file()
    assert len(open_study(folder).rows()) == 1


@pytest.mark.slow
def test_importance_tells_the_setting_that_decides_from_those_that_do_not(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    for i in range(24):
        with study.claim(None) as claim:
            assert claim is not None
            if i == LEAST_FOR_IMPORTANCE - 1:
                assert study.importances() == {}
            claim.finish(claim.values["margin"] + (claim.values["imbalance"] == "none") / 100)
    found = study.importances()
    assert next(iter(found)) == "margin"
    assert found["margin"] > 0.8
    assert set(found) == set(SPACE.settings)
    assert sum(found.values()) == pytest.approx(1)
    assert study.importances() == found


def test_importance_is_not_told_where_all_reached_the_same(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    for _ in range(LEAST_FOR_IMPORTANCE):
        run(study, 1.0)
    assert study.importances() == {}


def test_study_in_which_nothing_was_trained_takes_other_settings(tmp_path: Path) -> None:
    with open_study(tmp_path, folds=9).claim(None) as claim:
        assert claim is not None
        claim.set_aside()  # as where the folds cannot be made
    study = open_study(tmp_path)
    assert [row.state for row in study.rows()] == ["waiting"]
    (tmp_path / "tune" / "trial-0").mkdir()
    with pytest.raises(TrainingError, match=r"other settings \(folds\)"):
        open_study(tmp_path, folds=9)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("database or disk is full", "the disk is full. Free space or give another folder "),
        ("attempt to write a readonly database", "it may not be written to. Give another folder "),
        ("anything else", "during the commit. Give another folder "),
    ],
)
def test_file_that_cannot_be_written_is_told_in_words(
    tmp_path: Path, words: str, told: str
) -> None:
    study = open_study(tmp_path)
    with pytest.raises(StorageError) as caught, study.telling_storage():
        raise StorageInternalError("during the commit.\nMore.") from OSError(words)
    file = tmp_path / "tune" / "study.db"
    assert str(caught.value).startswith(f"Cannot write {str(file)!r}: {told}")


def test_full_disk_is_no_damaged_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*words: object, **more: object) -> None:
        raise StorageInternalError("commit") from OSError("database or disk is full")

    monkeypatch.setattr("optuna.create_study", fail)
    with pytest.raises(StorageError, match="the disk is full"):
        open_study(tmp_path)
