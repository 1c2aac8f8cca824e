"""One system trained and tested, as a run below an experiment's folder; nothing is done twice.

What a system may spend is the experiment's, whatever its recipe says.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from roi_cls.base.errors import TrainingError
from roi_cls.cache.options import BuildOptions
from roi_cls.classifier.config import BATCH_SIZE, Device, TrackerName
from roi_cls.classifier.ensembles.train import multiply, train_ensemble
from roi_cls.classifier.evaluation.evaluation import EVALUATION_VERSION
from roi_cls.classifier.evaluation.run import EvaluateJob, evaluate_run
from roi_cls.classifier.inference.loaded import LoadedModel, load_any
from roi_cls.classifier.inference.scorer import Scorer
from roi_cls.classifier.models.device import choose_backend
from roi_cls.classifier.models.origin import CLIP_PREFIX, with_stand_in
from roi_cls.classifier.recipe import TrainingRecipe
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.scores import ScoreTable, read_scores
from roi_cls.classifier.training.job import Observers, TrainJob
from roi_cls.classifier.training.run import train_run
from roi_cls.data.sample import LabelSet
from roi_cls.data.split import SplitParams

MissingWeights = Literal["stand-in", "skip", "random"]
"""Where a system's weights cannot be had: train it with another backbone, say so in place of a
result, or start from random ones."""
_TIMED_ROUNDS = 3
"""Of which the median counts: other work on the machine slows one, seldom two."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits and settings that all systems share."""

    seeds: int = 1
    """Times that each system is trained and tested, with other seeds."""
    epochs: int | None = None
    """Epochs at most; None: each recipe's own."""
    folds: int | None = None
    """As in a recipe; None: each recipe's own."""
    weights: str | None = None
    """In place of the recipes' own, but for those that start from nothing."""
    size_px: int | None = None
    """Side of all crops, but of CLIP's, which sees one size alone; None: each recipe's own."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """More settings, by the name of their field."""

    def apply(self, recipe: TrainingRecipe) -> TrainingRecipe:
        """Return the recipe within the budget; to an ensemble's members it is applied, too.

        Raises:
            ValueError: A value is refused by the settings.
        """
        changed = recipe.changed({**self.settings, **self._size(recipe)})
        values: dict[str, Any] = {}
        # What an ensemble's recipe leaves to its members must stay with them.
        own = changed.train if changed.members else changed.config.to_dict()
        if self.weights is not None and own.get("weights", "none") != "none":
            values["weights"] = self.weights
        if self.epochs is not None and own.get("epochs", 0) > self.epochs:
            values["epochs"] = self.epochs
            if own.get("head_epochs") is not None:  # both phases shrink alike
                values["head_epochs"] = own["head_epochs"] * self.epochs // own["epochs"]
        changed = changed.changed(values)
        return changed if self.folds is None else replace(changed, folds=self.folds)

    def to_dict(self) -> dict[str, Any]:
        """Return what a reader of the results should know, by names that read well."""
        return {
            "epochs_at_most": self.epochs,
            "folds": self.folds,
            "seeds": self.seeds,
            "weights": self.weights and Path(self.weights).name,
            "size_px": self.size_px,
            **self.settings,
        }

    def _size(self, recipe: TrainingRecipe) -> dict[str, Any]:
        if recipe.members:  # else its own size would win over that of a member with a CLIP
            is_free = "size_px" in recipe.crop
        else:
            is_free = not recipe.config.model.startswith(CLIP_PREFIX)
        return {"size_px": self.size_px} if is_free and self.size_px is not None else {}


@dataclass(frozen=True, slots=True)
class ExperimentJob:
    """What all systems of an experiment have in common."""

    source: Path
    """Folder or CSV of labelled pictures."""
    folder: Path
    """Where the runs go, each under its system's name."""
    split: SplitParams
    options: BuildOptions
    budget: Budget = field(default_factory=Budget)
    device: Device = "auto"
    label_names: dict[str, str] | None = None
    """Label token to class name."""
    target: str | None = None
    """The class that is looked for; None: the rarer one."""
    detector_model: Path | None = None
    missing_weights: MissingWeights = "stand-in"
    """What becomes of a system whose weights cannot be had."""
    log: tuple[TrackerName, ...] = ()
    """Experiment trackers that are told of each run."""

    def settle(
        self, recipe: TrainingRecipe, tell: Callable[[str], None] = lambda text: None
    ) -> TrainingRecipe:
        """Return the recipe within the budget, with a backbone that can be had here.

        tell: as of ``with_stand_in``. What is settled stays as it is when it is settled again.
        """
        recipe = self.budget.apply(recipe)
        if self.missing_weights != "stand-in" or recipe.members:
            return recipe
        chosen = {name: value for name, value in self.budget.settings.items() if name == "model"}
        return with_stand_in(recipe, chosen, tell)


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A system's finished run, and what its test scores are."""

    run: RunFolder
    labels: LabelSet
    table: ScoreTable
    """Of the test pictures."""
    threshold: float
    """Of the target's probability; 0.5, and unused, with more than two classes."""
    training: Mapping[str, Any]
    """The run's settings."""
    data_digest: str
    parameters: int
    ms_per_picture: float
    train_seconds: float | None


def run_trial(job: ExperimentJob, name: str, recipe: TrainingRecipe, observers: Observers) -> Trial:
    """Train the system unless its run is finished, open its test part unless that was done.

    Raises:
        RoiClsError: It cannot be trained or tested here, in words for its user.
    """
    run = RunFolder(job.folder / name)
    train_trial(job, run, recipe, observers)
    if not _is_evaluated(run):
        evaluate_run(
            EvaluateJob(
                job.source,
                run,
                job.options,
                job.device,
                job.detector_model,
                job.label_names,
            ),
            observers.on_crop,
        )
    model = load_any(run.path, choose_backend(job.device, "fp32"))
    bundle = model.bundle
    return Trial(
        run=run,
        labels=bundle.labels,
        table=read_scores(run.test_scores, bundle.labels.names),
        threshold=0.5 if bundle.threshold is None else bundle.threshold,
        training=bundle.training,
        data_digest=bundle.data_digest,
        parameters=_count_parameters(model),
        ms_per_picture=_measure_ms(model),
        train_seconds=train_seconds(run),
    )


def train_trial(
    job: ExperimentJob, run: RunFolder, recipe: TrainingRecipe, observers: Observers
) -> None:
    """Train the system, within the experiment's budget, unless its run is finished.

    Raises:
        RoiClsError: It cannot be trained here, in words for its user.
    """
    given = {"device": job.device}
    recipe = job.settle(recipe)
    changed = recipe.changed(given)
    one = TrainJob(
        source=job.source,
        run=run,
        config=changed.config,
        crop=changed.crop_params,
        split=job.split,
        options=job.options,
        label_names=job.label_names,
        target=job.target,
        detector_model=job.detector_model,
        resume=True,
        abstain=recipe.abstain,
        facts={"recipe": recipe.to_dict()},
        log=job.log,
    )
    ensemble = multiply(one, recipe, given, job.settle)
    if ensemble:
        train_ensemble(ensemble, observers)
    else:
        train_run(one, observers)


def _is_evaluated(run: RunFolder) -> bool:
    if not (run.evaluation.is_file() and run.test_scores.is_file()):
        return False
    try:
        version = json.loads(run.evaluation.read_bytes()).get("version")
    except ValueError:
        return False
    return bool(version == EVALUATION_VERSION)


def _count_parameters(model: LoadedModel) -> int:
    """Return how many numbers the model has learned, of all members of an ensemble together."""
    if model.model is None:
        return sum(_count_parameters(member) for member in model.members)
    learned = sum(parameter.numel() for parameter in model.model.parameters())
    # A model that no gradient trained, like an SVM, holds what it learned in buffers.
    return learned or sum(buffer.numel() for buffer in model.model.buffers())


def _measure_ms(model: Scorer) -> float:
    """Return milliseconds per picture, in the batches that prediction uses, crops at hand."""
    random = np.random.default_rng(0)  # what is in the picture does not change the time
    pixels = [
        random.integers(0, 256, (BATCH_SIZE, view.size_px, view.size_px, 3), dtype=np.uint8)
        for view in model.views
    ]
    model.probabilities(pixels)  # the first call prepares what the others reuse
    seconds = []
    for _ in range(_TIMED_ROUNDS):
        start = time.perf_counter()
        model.probabilities(pixels)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds) / BATCH_SIZE * 1000


def train_seconds(run: RunFolder) -> float | None:
    """Return how long the models of a run were trained; None where that was not recorded."""
    records = sorted(run.members.glob("*/record.json")) or [run.record]
    found = [json.loads(path.read_bytes()) for path in records if path.is_file()]
    # A run that went on after an interrupt has counted only its last call's seconds.
    seconds = [max(facts["seconds"], facts["train_seconds"]) for facts in found]
    return float(sum(seconds)) if seconds else None


def check_same_data(trials: Mapping[str, Sequence[Trial]]) -> None:
    """Raise ``TrainingError`` unless all were trained and tested on the very same pictures."""
    found = [(name, trial) for name, of_seeds in trials.items() for trial in of_seeds]
    (first_name, first), *others = found
    for name, other in others:
        same_test = (first.table.paths, first.table.sha256) == (
            other.table.paths,
            other.table.sha256,
        )
        if first.data_digest != other.data_digest or not same_test:
            raise TrainingError(
                f"Cannot compare {first_name!r} and {name!r}: their pictures or parts differ. Some "
                "pictures changed since the first was trained, or a recipe skips pictures without "
                f"a face. Delete {str(first.run.path.parent)!r} and run it again."
            )
