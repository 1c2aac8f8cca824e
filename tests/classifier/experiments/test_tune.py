"""Tuning on toy pictures: what is looked at, what is kept, when it ends, and what goes on."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from roi_cls.base.errors import DataError, ModelNameError, TrainingError, WeightsError
from roi_cls.cache import CropRecord, CropResult
from roi_cls.cache.options import BuildOptions
from roi_cls.classifier.experiments import tune
from roi_cls.classifier.experiments.space import Choices, SearchSpace, Values, prepare_base
from roi_cls.classifier.experiments.study import Claim, TrialRow, TuningStudy
from roi_cls.classifier.experiments.trial import ExperimentJob, train_trial
from roi_cls.classifier.experiments.tune import TuneJob, tune_recipe
from roi_cls.classifier.experiments.tuning import Tuning
from roi_cls.classifier.recipe import TrainingRecipe, load_recipe, parse_recipe
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.training.job import Observers
from roi_cls.data import crops
from roi_cls.data.split import SplitParams
from roi_cls.data.table import read_split

TINY = """
[train]
model = "test_efficientnet"
weights = "none"
epochs = 2
batch_size = 8
lr = 3e-3
warmup_epochs = 0
drop_rate = 0
augmentation = "none"
precision = "fp32"
[crop]
crop = "full"
size_px = 32
"""
SETTINGS: dict[str, Values] = {"lr": Choices((1e-12, 3e-3)), "size_px": Choices((32, 40))}
MakeTuning = Callable[..., TuneJob]


@pytest.fixture(scope="session")
def base() -> TrainingRecipe:
    return prepare_base(parse_recipe("tiny", TINY))


@pytest.fixture(scope="session")
def make_tuning(toy_set: Path, base: TrainingRecipe) -> MakeTuning:
    def make(folder: Path, **changes: Any) -> TuneJob:
        experiment = ExperimentJob(
            source=changes.pop("source", toy_set),
            folder=folder / "tune",
            split=SplitParams(validation_share=0.3),
            options=BuildOptions(folder / "cache", workers=0),
            device="cpu",
            missing_weights="skip",
        )
        space = SearchSpace(changes.pop("base", base), changes.pop("settings", SETTINGS))
        given = {"folds": 2, "trials": 2, **changes}
        return TuneJob(experiment, space, folder / "tuned.toml", **given)

    return make


class Told:
    """Keeps what a tuning tells, and which pictures it loads the pixels of."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.rows: list[tuple[int, str, bool]] = []
        self.cropped: list[Path] = []
        self.epochs = 0
        self.loaded: set[Path] = set()
        self.observers = Observers(on_crop=self._on_crop, on_epoch=self._on_epoch)
        load = crops.load_pixels

        def load_and_tell(records: Sequence[CropRecord], *words: Any) -> Any:
            self.loaded |= {record.path for record in records}
            return load(records, *words)

        patch.setattr(crops, "load_pixels", load_and_tell)

    def on_trial(self, row: TrialRow, is_best: bool) -> None:
        """Keep how a trial ended."""
        self.rows.append((row.number, row.state, is_best))

    def _on_crop(self, result: CropResult, total: int) -> None:
        if result.cropped:
            self.cropped.append(result.record.path)

    def _on_epoch(self, report: object) -> None:
        self.epochs += 1


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    return Told(monkeypatch)


@pytest.fixture(scope="module")
def tuned(
    make_tuning: MakeTuning, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Tuning, Told]:
    """A tuning of four trials; read only."""
    folder = tmp_path_factory.mktemp("tuned")
    with pytest.MonkeyPatch.context() as patch:
        told = Told(patch)
        found = tune_recipe(make_tuning(folder, trials=4), told.observers, told.on_trial)
    return folder, found, told


def test_no_picture_of_the_test_part_is_looked_at(
    tuned: tuple[Path, Tuning, Told], toy_set: Path
) -> None:
    folder, found, told = tuned
    samples, _ = read_split(RunFolder(found.run).split)
    test, rest = (
        {toy_set / sample.path for sample in samples if (sample.split == "test") is is_test}
        for is_test in (True, False)
    )
    assert len(test) == 7
    assert told.loaded == rest
    assert list((folder / "tune").rglob("test_openings.jsonl")) == []
    assert list((folder / "tune").rglob("scores_test.csv")) == []


def test_crops_of_a_size_are_made_once(tuned: tuple[Path, Tuning, Told]) -> None:
    _, found, told = tuned
    sizes = {row.values["size_px"] for row in found.rows}
    assert len(told.cropped) == 36 * len(sizes)  # of all parts: equal pictures are found by them


def test_best_is_what_was_found_and_the_others_keep_their_scores_alone(
    tuned: tuple[Path, Tuning, Told],
) -> None:
    folder, found, told = tuned
    scores = [row.score for row in found.rows]
    assert None not in scores
    assert found.best.score == max(score for score in scores if score is not None)
    assert found.best.values["lr"] == 3e-3
    assert found.rows[0].values == {"lr": 3e-3, "size_px": 32}
    assert {row.folds for row in found.rows} == {2}
    assert [number for number, _, _ in told.rows] == [0, 1, 2, 3]
    assert told.rows[0] == (0, "finished", True)
    runs = [RunFolder(folder / "tune" / f"trial-{row.place}") for row in found.rows]
    assert [run.path for run in runs if run.is_finished] == [found.run]
    assert [run.members.is_dir() for run in runs] == [run.path == found.run for run in runs]
    assert all(run.oof_scores.is_file() for run in runs)


def test_recipe_trains_to_the_score_that_was_found(
    tuned: tuple[Path, Tuning, Told], make_tuning: MakeTuning, tmp_path: Path
) -> None:
    _, found, _ = tuned
    recipe = load_recipe(str(found.output))
    assert recipe == replace(found.recipe, stands_in_for="")
    assert (recipe.name, recipe.config.metric, recipe.folds) == ("tuned", "last", 0)
    job = make_tuning(tmp_path).experiment
    run = RunFolder(tmp_path / "again")
    train_trial(job, run, replace(recipe, folds=2), Observers())
    assert run.oof_scores.read_bytes() == RunFolder(found.run).oof_scores.read_bytes()


def test_finished_tuning_is_told_again_without_work(
    tuned: tuple[Path, Tuning, Told], make_tuning: MakeTuning, told: Told
) -> None:
    folder, found, _ = tuned
    again = tune_recipe(make_tuning(folder, trials=4), told.observers, told.on_trial)
    assert (told.rows, told.epochs, told.loaded) == ([], 0, set())
    assert again == found


def test_budget_cuts_a_trial_off_and_the_next_call_goes_on_with_it(
    make_tuning: MakeTuning, tmp_path: Path, told: Told
) -> None:
    time = 0.0

    def clock() -> float:
        return time

    def on_epoch(report: object) -> None:
        nonlocal time
        time += 1

    observers = Observers(on_epoch=on_epoch)
    job = make_tuning(tmp_path, budget_s=7, trials=3)  # a trial takes 4, so that the second is cut
    found = tune_recipe(job, observers, told.on_trial, clock)
    assert [state for _, state, _ in told.rows] == ["finished", "failed"]
    assert (found.cut, found.finished) == (1, 1)
    assert [row.state for row in found.rows] == ["finished", "failed", "waiting"]
    assert "cut off" in found.markdown("Tuning")
    kept = RunFolder(tmp_path / "tune" / "trial-1" / "members" / "fold-1")
    assert kept.is_finished
    weights = (kept.path / "model.safetensors").stat()
    again = Told(pytest.MonkeyPatch())
    found = tune_recipe(replace(job, trials=2, budget_s=None), again.observers, again.on_trial)
    assert again.epochs == 1  # of fold 2, whose first was done
    assert [(row.state, row.repeats) for row in found.rows] == [
        *(("finished", None), ("failed", None), ("finished", 1)),
    ]
    assert (found.rows[2].values, found.rows[2].place) == (found.rows[1].values, 1)
    if found.best.number == 2:
        assert (kept.path / "model.safetensors").stat().st_mtime_ns == weights.st_mtime_ns


def test_budget_that_ends_before_any_trial_is_an_error_and_nothing_is_lost(
    make_tuning: MakeTuning, tmp_path: Path
) -> None:
    times = iter([0.0, 0.0, *[9.0] * 10_000])
    job = make_tuning(tmp_path, budget_s=5)
    with pytest.raises(TrainingError, match=r"Nothing is tuned yet: .* it goes on where it was"):
        tune_recipe(job, Observers(), clock=lambda: next(times))
    assert not job.output.exists()
    assert tune_recipe(replace(job, trials=1), Observers()).best.place == 0


def test_hopeless_trial_is_pruned_and_leaves_nothing(
    make_tuning: MakeTuning, tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Claim, "report", lambda claim, folds, score: claim.number == 1)
    found = tune_recipe(make_tuning(tmp_path, trials=2), told.observers, told.on_trial)
    assert told.rows == [(0, "finished", True), (1, "pruned", False)]
    assert told.epochs == 4 + 2
    assert not (tmp_path / "tune" / "trial-1").exists()
    assert (found.finished, len(found.rows)) == (1, 2)
    assert "1 finished, 1 pruned" in found.markdown("Tuning")


def test_values_that_cannot_be_trained_are_a_row_and_the_tuning_goes_on(
    make_tuning: MakeTuning, tmp_path: Path, told: Told
) -> None:
    settings = {"lr": Choices((3e-3, 1e25))}
    job = make_tuning(tmp_path, settings=settings, trials=4)
    found = tune_recipe(job, told.observers, told.on_trial)
    failed = [row for row in found.rows if row.values["lr"] == 1e25]
    assert failed
    for row in failed:
        assert row.error.startswith("Cannot go on: the ")
        assert f"- Trial {row.number} failed: {row.error}" in found.markdown("Tuning")
    assert found.finished == 4 - len(failed)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"model": "resnet999"}, ModelNameError, "resnet999"),
        ({"weights": "gone.pth"}, WeightsError, "gone.pth"),
    ],
)
def test_base_that_cannot_be_trained_is_told_before_a_picture_is_cropped(
    make_tuning: MakeTuning,
    base: TrainingRecipe,
    tmp_path: Path,
    told: Told,
    changes: dict[str, str],
    error: type[Exception],
    words: str,
) -> None:
    job = make_tuning(tmp_path, base=base.changed(changes))
    with pytest.raises(error, match=words):
        tune_recipe(job, told.observers)
    assert told.cropped == []
    assert not job.experiment.folder.exists()


def test_missing_optuna_is_told_before_a_picture_is_cropped(
    make_tuning: MakeTuning, tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(TrainingError) as caught:
        tune_recipe(make_tuning(tmp_path), told.observers)
    assert str(caught.value) == (
        "Cannot tune: optuna is not installed. Install it: pip install 'roi-cls[tune]'."
    )
    assert told.cropped == []


def test_torchrun_and_nothing_to_try_are_refused(
    make_tuning: MakeTuning, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TrainingError, match=r"nothing is usually tried with it\. Name settings by"):
        tune_recipe(make_tuning(tmp_path, settings={}), Observers())
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainingError, match="Cannot tune under torchrun: a trial is one process's"):
        tune_recipe(make_tuning(tmp_path), Observers())


def test_too_few_pictures_for_the_folds_are_told_and_the_base_is_tried_again(
    make_tuning: MakeTuning, tmp_path: Path
) -> None:
    job = make_tuning(tmp_path, folds=40)
    for _ in range(2):
        with pytest.raises(DataError, match="Cannot make 40 folds: class 'red' has"):
            tune_recipe(job, Observers())
    study = TuningStudy(job.experiment.folder, job.space, job.plan, 0)
    assert [row.state for row in study.rows()] == ["failed", "failed", "waiting"]


def test_five_failures_in_a_row_end_the_tuning(
    make_tuning: MakeTuning, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[Path] = []

    def train_once(job: ExperimentJob, run: RunFolder, *words: Any) -> None:
        trained.append(run.path)
        if len(trained) > 1:
            raise TrainingError("The GPU is gone.")
        train_trial(job, run, *words)

    monkeypatch.setattr(tune, "train_trial", train_once)
    with pytest.raises(TrainingError, match="5 trials in a row cannot be trained: The GPU is gone"):
        tune_recipe(make_tuning(tmp_path, trials=50), Observers())
    assert len(trained) == 6


@pytest.mark.slow
def test_base_recipe_outside_the_space_is_not_said_to_be_the_best(
    make_tuning: MakeTuning, tmp_path: Path
) -> None:
    outside: dict[str, Values] = {"lr": Choices((1e-12, 1e-11))}
    found = tune_recipe(make_tuning(tmp_path, settings=outside), Observers())
    assert (found.base, found.against_base) == (None, None)
    told = "What is gained over the base recipe is not known: it is none of these trials."
    assert told in found.sentences
