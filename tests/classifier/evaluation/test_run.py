"""Which pictures are the test part, and what keeps a score from flattering the model."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from roi_cls.base.errors import DataError, StorageError
from roi_cls.classifier.evaluation import run as run_module
from roi_cls.classifier.evaluation.run import (
    EvaluateJob,
    EvaluateOutcome,
    evaluate_run,
    evaluate_tuning,
)
from roi_cls.classifier.runs.bundle import load_bundle
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.openings import read_openings
from roi_cls.classifier.training.job import Observers, TrainJob
from roi_cls.classifier.training.run import train_run
from roi_cls.commands.train.run import evaluate_and_tell
from roi_cls.data.table import read_split
from tests.helpers.archives import zip_folder

MakeJob = Callable[..., TrainJob]
DrawSet = Callable[..., Path]


@pytest.fixture
def run(tmp_path: Path, toy_run: RunFolder) -> RunFolder:
    """The toy run in a folder of its own: a bundle is portable."""
    return RunFolder(Path(shutil.copytree(toy_run.path, tmp_path / "moved" / "run")))


@pytest.fixture
def evaluate(tmp_path: Path, make_job: MakeJob, run: RunFolder) -> Callable[..., EvaluateOutcome]:
    """Evaluate the toy run, or another, on a data set."""

    def evaluate_on(source: Path, other: RunFolder | None = None) -> EvaluateOutcome:
        options = make_job(source, tmp_path / "x").options
        return evaluate_run(EvaluateJob(source, other or run, options, device="cpu"))

    return evaluate_on


Evaluate = Callable[..., EvaluateOutcome]


def _part(run: RunFolder, part: str) -> list[str]:
    return [sample.path.as_posix() for sample in read_split(run.split)[0] if sample.split == part]


def _scored(run: RunFolder) -> list[str]:
    with run.test_scores.open() as file:
        return [row["path"] for row in csv.DictReader(file)]


def test_scoring_tells_how_far_it_is_and_changes_no_score(
    run: RunFolder,
    toy_set: Path,
    make_job: MakeJob,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = EvaluateJob(toy_set, run, make_job(toy_set, tmp_path / "x").options, device="cpu")
    whole = evaluate_run(job).pictures.probabilities
    monkeypatch.setattr(run_module, "_SCORED_AT_ONCE", 3)
    told: list[tuple[int, int]] = []
    in_parts = evaluate_run(job, on_score=lambda *one: told.append(one)).pictures.probabilities
    assert told == [(0, 7), (3, 7), (6, 7), (7, 7)]
    assert np.array_equal(whole, in_parts)


def test_own_data_is_evaluated_on_the_part_set_aside(
    run: RunFolder, evaluate: Evaluate, toy_set: Path
) -> None:
    outcome = evaluate(toy_set)
    assert sorted(_scored(run)) == sorted(_part(run, "test"))
    assert (outcome.errors, outcome.unseen) == ((), 0)
    assert outcome.evaluation.majority_label == "blue"
    assert outcome.evaluation.target == "red"
    assert json.loads(run.evaluation.read_text()) == outcome.evaluation.to_dict()


def test_moved_data_is_known_by_its_bytes(
    run: RunFolder, evaluate: Evaluate, toy_set: Path, tmp_path: Path
) -> None:
    moved = Path(shutil.copytree(toy_set, tmp_path / "elsewhere"))
    outcome = evaluate(moved)
    assert sorted(_scored(run)) == sorted(_part(run, "test"))
    assert outcome.unseen == 0


def test_data_moved_into_an_archive_are_known_by_their_bytes(
    run: RunFolder, evaluate: Evaluate, toy_set: Path, tmp_path: Path
) -> None:
    outcome = evaluate(zip_folder(toy_set, tmp_path / "set.zip"))
    assert sorted(_scored(run)) == sorted(_part(run, "test"))
    assert outcome.unseen == 0


def test_pictures_added_after_the_split_are_counted_not_scored(
    run: RunFolder, evaluate: Evaluate, draw_set: DrawSet, toy_set: Path, tmp_path: Path
) -> None:
    more = Path(shutil.copytree(toy_set, tmp_path / "more"))
    for i in range(3):
        shutil.copy(more / "red" / "00.png", more / "red" / f"new{i}.png")
    assert evaluate(more).unseen == 3
    assert sorted(_scored(run)) == sorted(_part(run, "test"))


def test_given_test_part_is_evaluated_whole(
    tmp_path: Path, draw_set: DrawSet, make_job: MakeJob, evaluate: Evaluate
) -> None:
    source = tmp_path / "set"
    draw_set(source / "train", red=8, blue=8)
    draw_set(source / "test", seed=1, red=3, blue=3)
    (source / "test" / "red" / "broken.png").write_bytes(b"no picture")
    job = make_job(source, tmp_path / "run", epochs=1)
    train_run(job, Observers())
    outcome = evaluate(source, job.run)
    assert len(_scored(job.run)) == 6
    assert {path.partition("/")[0] for path in _scored(job.run)} == {"test"}
    assert [record.path.name for record in outcome.errors] == ["broken.png"]
    assert outcome.evaluation.errors == 1


def test_other_folder_is_evaluated_whole_though_its_names_are_the_same(
    run: RunFolder, evaluate: Evaluate, draw_set: DrawSet, tmp_path: Path
) -> None:
    other = draw_set(tmp_path / "other", seed=9, red=15, blue=21)
    outcome = evaluate(other)
    assert len(_scored(run)) == 36
    assert outcome.unseen == 0


def test_pictures_trained_on_are_refused(
    run: RunFolder, evaluate: Evaluate, toy_set: Path, tmp_path: Path
) -> None:
    for name in ("red", "blue"):
        (tmp_path / "other" / name).mkdir(parents=True)
    for i, path in enumerate(_part(run, "train")[:2] + _part(run, "validation")[:1]):
        shutil.copy(toy_set / path, tmp_path / "other" / Path(path).parts[0] / f"copy{i}.png")
    shutil.copy(toy_set / _part(run, "test")[0], tmp_path / "other" / "blue" / "free.png")
    shutil.copy(toy_set / _part(run, "test")[-1], tmp_path / "other" / "red" / "free.png")
    with pytest.raises(DataError) as caught:
        evaluate(tmp_path / "other")
    message = str(caught.value)
    assert message.startswith(
        "Cannot evaluate: 3 of 5 pictures were used in training (the same bytes): "
    )
    assert "copy0.png" in message
    assert "free.png" not in message
    assert message.endswith(
        "Take them out of the test part; scores on them would flatter the model."
    )
    assert not run.test_scores.exists()


def test_unknown_labels_are_refused(evaluate: Evaluate, draw_set: DrawSet, tmp_path: Path) -> None:
    source = draw_set(tmp_path / "other", seed=9, red=2, green=2)
    with pytest.raises(DataError, match="Cannot compare labels: the pictures are labelled"):
        evaluate(source)


def test_set_without_a_test_part_is_told(
    tmp_path: Path, draw_set: DrawSet, evaluate: Evaluate
) -> None:
    source = tmp_path / "other"
    draw_set(source / "train", seed=8, red=2, blue=2)
    draw_set(source / "validation", seed=9, red=2, blue=2)
    with pytest.raises(DataError) as caught:
        evaluate(source)
    assert str(caught.value) == (
        f"Cannot evaluate on {str(source)!r}: it has no test part, and the run's split set none "
        "aside. Put pictures into a test/ folder, or give another labelled folder."
    )


def test_set_without_a_readable_picture_is_told(tmp_path: Path, evaluate: Evaluate) -> None:
    for name in ("red", "blue"):
        (tmp_path / "other" / name).mkdir(parents=True)
        (tmp_path / "other" / name / "x.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="none of the 2 pictures could be cropped, first: "):
        evaluate(tmp_path / "other")


def test_csv_is_trained_on_and_evaluated(
    tmp_path: Path, draw_set: DrawSet, make_job: MakeJob, evaluate: Evaluate
) -> None:
    folder = draw_set(tmp_path / "set", red=9, blue=9)
    rows = [f"{path.relative_to(folder)},{path.parent.name}" for path in folder.rglob("*.png")]
    table = folder / "labels.csv"
    table.write_text("path,label\n" + "\n".join(rows) + "\n")
    job = make_job(table, tmp_path / "run", epochs=1)
    train_run(job, Observers())
    outcome = evaluate(table, job.run)
    assert sorted(_scored(job.run)) == sorted(_part(job.run, "test"))
    assert outcome.unseen == 0


def test_each_opening_of_the_test_part_is_recorded_and_told(
    run: RunFolder,
    evaluate: Evaluate,
    make_job: MakeJob,
    toy_set: Path,
    draw_set: DrawSet,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert evaluate(toy_set).evaluation.test_openings == 1
    other = draw_set(tmp_path / "other", seed=9, red=5, blue=5)
    assert evaluate(other).evaluation.test_openings == 1  # other pictures count for themselves
    second = evaluate(toy_set).evaluation
    assert second.test_openings == 2
    assert json.loads(run.evaluation.read_text())["test_openings"] == 2
    openings = read_openings(run.test_openings)
    assert [opening.images for opening in openings] == [
        second.overall.images,
        10,
        openings[0].images,
    ]
    assert openings[2].metrics["roc_auc"] == second.overall.roc_auc.value
    capsys.readouterr()
    options = make_job(toy_set, tmp_path / "x").options
    job = EvaluateJob(toy_set, run, options, device="cpu")
    evaluate_and_tell(job, run.path.parent, as_json=True)
    told = capsys.readouterr()
    assert "warning: These test pictures were scored 2 times before by this run. " in told.err
    assert json.loads(told.out)["test_openings"] == 3


def test_mistakes_of_the_last_evaluation_are_kept(
    run: RunFolder,
    make_job: MakeJob,
    toy_set: Path,
    draw_set: DrawSet,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = make_job(toy_set, tmp_path / "x").options
    other = draw_set(tmp_path / "other", seed=9, red=5, blue=3)
    (other / "notes.txt").touch()
    (other / "red").rename(other / "was_red")
    (other / "blue").rename(other / "red")
    (other / "was_red").rename(other / "blue")
    for source in (other, toy_set):
        job = EvaluateJob(source, run, options, device="cpu")
        outcome = evaluate_and_tell(job, run.path.parent, as_json=True)
        is_told = "Passed over: 1 .txt.\n" in capsys.readouterr().err
        assert is_told == (source == other)
        with run.mistakes.open(newline="") as file:
            listed = [row["path"] for row in csv.DictReader(file)]
        assert listed == [one.path for one in outcome.mistakes]
        metrics = outcome.evaluation.overall
        assert len(listed) == metrics.images - np.trace(metrics.confusion_matrix)
        assert run.mistake_sheet.exists() == bool(listed)
        assert all(one.crop.shape == (32, 32, 3) for one in outcome.mistakes)
        assert len(listed) >= (1 if source == other else 0)


def test_what_a_run_was_tuned_on_is_judged_without_opening_the_test_part(run: RunFolder) -> None:
    found = evaluate_tuning(run)
    bundle = load_bundle(run.path)
    assert found.overall.images == len(_part(run, "validation"))
    assert (found.threshold, found.target) == (bundle.threshold, bundle.labels.target)
    assert found.majority_label == bundle.training["majority_label"]
    assert not run.test_openings.exists()
    shutil.copy(run.validation_scores, run.oof_scores)
    lines = run.oof_scores.read_bytes().splitlines(keepends=True)
    run.oof_scores.write_bytes(b"".join(lines[:4]))
    assert evaluate_tuning(run).overall.images == 3  # out of fold before validation


def test_example_is_a_picture_that_was_scored(
    tmp_path: Path, evaluate: Evaluate, draw_set: DrawSet
) -> None:
    other = draw_set(tmp_path / "other", seed=9, red=2, blue=2)
    first = min(other.rglob("*.png"))
    (first.parent / "!.png").write_bytes(b"no picture")
    assert evaluate(other).example.stat().st_size > 20


def test_refused_pictures_are_no_opening(run: RunFolder, evaluate: Evaluate, toy_set: Path) -> None:
    seen = run.path.parent / "seen" / "red"
    seen.mkdir(parents=True)
    shutil.copy(toy_set / _part(run, "train")[0], seen / "seen.png")
    with pytest.raises(DataError):
        evaluate(seen.parent)
    assert not run.test_openings.exists()


def test_evaluation_takes_rule_temperature_and_band_from_the_bundle_and_draws_it(
    run: RunFolder, make_job: MakeJob, toy_set: Path, tmp_path: Path
) -> None:
    bundle = load_bundle(run.path)
    options = make_job(toy_set, tmp_path / "x").options
    own = evaluate_run(EvaluateJob(toy_set, run, options, device="cpu")).evaluation
    assert (own.threshold, own.threshold_rule) == (bundle.threshold, bundle.threshold_rule)
    assert (own.temperature, own.offsets) == (bundle.temperature, bundle.offsets)
    assert any(own.offsets)
    assert own.abstain == bundle.abstain
    for name in ("reliability", "risk_coverage", "roc_pr"):
        assert (run.path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    wide = evaluate_run(EvaluateJob(toy_set, run, options, device="cpu", abstain=0.99)).evaluation
    assert wide.abstain == 0.99
    assert wide.abstained.value == 1
    assert wide.overall == own.overall


def test_output_may_be_the_run_itself(
    run: RunFolder, make_job: MakeJob, toy_set: Path, tmp_path: Path
) -> None:
    options = make_job(toy_set, tmp_path / "x").options
    same = run.path.parent / "." / ".." / run.path.parent.name / run.path.name
    evaluate_run(EvaluateJob(toy_set, run, options, device="cpu", output=same))
    assert run.evaluation.is_file()
    assert len(read_openings(run.test_openings)) == 1


def test_output_that_is_a_file_is_refused_before_any_work(
    run: RunFolder, make_job: MakeJob, toy_set: Path, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.touch()
    job = EvaluateJob(toy_set, run, make_job(toy_set, tmp_path / "x").options, output=file)
    with pytest.raises(StorageError) as caught:
        evaluate_run(job)
    assert str(caught.value) == (
        f"Cannot write {str(file)!r}: it is a file. Give a folder with --output DIR."
    )
    assert not run.test_openings.exists()
