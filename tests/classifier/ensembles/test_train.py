"""Runs of several models: folds, seeds, recipes; out-of-fold scores; resuming."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from roi_cls.base.errors import TrainingError, WeightsError
from roi_cls.cache.options import BuildOptions
from roi_cls.classifier.ensembles.train import EnsembleJob, System, multiply, train_ensemble
from roi_cls.classifier.evaluation.run import EvaluateJob, evaluate_run
from roi_cls.classifier.inference.verify import verify_run
from roi_cls.classifier.recipe import TrainingRecipe
from roi_cls.classifier.runs.bundle import load_bundle
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.scores import read_scores
from roi_cls.classifier.training.job import Observers, TrainJob
from roi_cls.data.table import read_split

MakeJob = Callable[..., TrainJob]


def system(job: TrainJob, name: str = "one") -> System:
    return System(name, job.config, job.crop)


@pytest.mark.parametrize(
    ("changes", "names"),
    [({}, None), ({"folds": 2}, ("best",)), ({"seeds": 3}, ("best",))],
)
def test_recipe_makes_several_models_of_a_job_or_one(
    toy_set: Path,
    tmp_path: Path,
    make_job: MakeJob,
    changes: dict[str, int],
    names: tuple[str, ...] | None,
) -> None:
    job = make_job(toy_set, tmp_path / "run")
    recipe = replace(TrainingRecipe("best", combine="greedy"), **changes)  # type: ignore[arg-type]  # of the test's own making
    ensemble = multiply(job, recipe, {})
    assert (ensemble and tuple(one.name for one in ensemble.systems)) == names
    if ensemble:
        assert ensemble.systems[0].config == job.config
        assert (ensemble.folds, ensemble.seeds) == (recipe.folds, recipe.seeds)
        assert ensemble.combine == "greedy"


def test_members_of_a_recipe_are_the_systems(
    toy_set: Path, tmp_path: Path, make_job: MakeJob
) -> None:
    job = make_job(toy_set, tmp_path / "run")
    recipe = TrainingRecipe("both", members=("resnet18-full", "autoencoder"))
    ensemble = multiply(job, recipe, {"seed": 4}, lambda member: member.changed({"epochs": 1}))
    assert ensemble is not None
    assert [one.name for one in ensemble.systems] == ["resnet18-full", "autoencoder"]
    assert {(one.config.seed, one.config.epochs) for one in ensemble.systems} == {(4, 1)}


@pytest.fixture(scope="module")
def folded(toy_set: Path, make_job: MakeJob, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run over three folds; read only."""
    job = make_job(toy_set, tmp_path_factory.mktemp("folded") / "run")
    assert train_ensemble(EnsembleJob(job, (system(job),), folds=3), Observers()).trained
    return job.run


def test_run_over_folds_is_an_ensemble_of_its_folds(folded: RunFolder) -> None:
    bundle = load_bundle(folded.path)
    assert bundle.network["kind"] == "ensemble"
    assert bundle.network["members"] == ["fold-1", "fold-2", "fold-3"]
    assert bundle.threshold is not None
    assert all(RunFolder(folded.members / f"fold-{i}").is_finished for i in (1, 2, 3))


def test_every_training_picture_is_scored_out_of_fold_once_and_no_test_picture(
    folded: RunFolder,
) -> None:
    samples, digests = read_split(folded.split)
    parts = {digest: sample.split for sample, digest in zip(samples, digests, strict=True)}
    table = read_scores(folded.oof_scores, ("blue", "red"))
    assert len(set(table.sha256)) == len(table.sha256)
    learned = {digest for digest, part in parts.items() if part != "test"}
    assert set(table.sha256) == learned
    assert "test" in parts.values()


def test_out_of_fold_score_comes_from_the_member_that_held_the_picture_out(
    folded: RunFolder,
) -> None:
    bundle = load_bundle(folded.path)
    oof = read_scores(folded.oof_scores, bundle.labels.names)
    rows = dict(zip(oof.sha256, oof.probabilities, strict=True))
    for i in (1, 2, 3):
        member = RunFolder(folded.members / f"fold-{i}")
        held_out = read_scores(member.validation_scores, bundle.labels.names)
        powers = held_out.probabilities ** (1 / bundle.temperature) * np.exp(bundle.offsets)
        expected = powers / powers.sum(axis=1, keepdims=True)
        found = np.array([rows[digest] for digest in held_out.sha256])
        assert np.allclose(found, expected, atol=1e-12)


def test_run_over_folds_verifies_and_evaluates_as_any_other(
    folded: RunFolder, toy_set: Path, tmp_path: Path
) -> None:
    assert verify_run(folded, device="cpu").largest_difference < 1e-5
    job = EvaluateJob(toy_set, folded, BuildOptions(tmp_path / "cache", workers=0), "cpu")
    assert evaluate_run(job).evaluation.overall.images == 7


def test_finished_members_are_kept_on_resuming(
    toy_set: Path, make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job(toy_set, tmp_path / "run")
    ensemble = EnsembleJob(job, (system(job),), seeds=3)
    begun: list[int] = []

    def stop_in_the_second(report: object) -> None:
        begun.append(1)
        if len(begun) == job.config.epochs + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_ensemble(ensemble, Observers(on_epoch=stop_in_the_second))
    first = job.run.members / "seed-0" / "config.json"
    before = first.stat().st_mtime_ns
    assert not job.run.is_finished
    resumed = replace(ensemble, job=replace(job, resume=True))
    epochs: list[object] = []
    assert train_ensemble(resumed, Observers(on_epoch=epochs.append)).trained
    assert first.stat().st_mtime_ns == before
    assert len(epochs) == 2 * job.config.epochs - 1
    assert load_bundle(job.run.path).network["members"] == ["seed-0", "seed-1", "seed-2"]
    assert not job.run.oof_scores.exists()
    assert not train_ensemble(resumed, Observers()).trained
    other = replace(resumed, seeds=2)
    with pytest.raises(TrainingError, match="it was started with other settings"):
        train_ensemble(other, Observers())


def test_greedy_ensemble_of_two_systems_leaves_out_the_useless_one(
    toy_set: Path, make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job(toy_set, tmp_path / "run")
    blind = System("blind", replace(job.config, lr=1e-12, head_lr=1e-12), job.crop)
    small = System("small", job.config, replace(job.crop, size_px=40))
    notes: list[str] = []
    ensemble = EnsembleJob(job, (small, blind), combine="greedy")
    train_ensemble(ensemble, Observers(on_note=notes.append))
    bundle = load_bundle(job.run.path)
    assert bundle.network["members"] == ["small"]
    assert [view.size_px for view in bundle.views] == [40]
    assert notes[:2] == ["Member 1 of 2: small", "Member 2 of 2: blind"]
    record = json.loads(job.run.record.read_bytes())
    assert record["members"] == {"small": 1.0, "blind": 0.0}
    assert verify_run(job.run, device="cpu").largest_difference < 1e-5


def test_given_weights_are_kept_and_shared_by_the_seeds(
    toy_set: Path, make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job(toy_set, tmp_path / "run", epochs=1)
    small = System("small", job.config, replace(job.crop, size_px=40))
    ensemble = EnsembleJob(job, (system(job), small), seeds=2, weights=(3.0, 1.0))
    assert ensemble.whole.facts["ensemble"]["weights"] == [3.0, 1.0]
    train_ensemble(ensemble, Observers())
    found = json.loads(job.run.record.read_bytes())["members"]
    assert sorted(found.values()) == pytest.approx([0.125, 0.125, 0.375, 0.375])
    assert verify_run(job.run, device="cpu").largest_difference < 1e-5


def test_ensemble_that_cannot_begin_leaves_no_file(
    toy_set: Path, make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job(toy_set, tmp_path / "run", weights=str(tmp_path / "gone.pth"))
    with pytest.raises(WeightsError, match="gone"):
        train_ensemble(EnsembleJob(job, (system(job),), seeds=2), Observers())
    assert not job.run.path.exists()
