"""Training on crops that are there already: a model in its folder, with scores and record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.curves import draw_curves
from roi_cls.classifier.distributed import join_processes
from roi_cls.classifier.fit import FitObservers, FittedModel, fit_model
from roi_cls.classifier.metrics.decision import to_probabilities
from roi_cls.classifier.models.device import Backend, choose_backend
from roi_cls.classifier.models.saved import save_bundle
from roi_cls.classifier.models.score import compute_logits
from roi_cls.classifier.operating_point import choose_operating_point
from roi_cls.classifier.run_record import RunRecord, read_metrics
from roi_cls.classifier.run_settings import Beginning, collect_settings, is_done
from roi_cls.classifier.runs.bundle import ModelBundle
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.scores import data_root, score_table, write_scores
from roi_cls.classifier.train import TrainFiles
from roi_cls.classifier.training_data import TrainingData


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What becomes of the data: the folder, and all that decides the model."""

    run: RunFolder
    config: TrainConfig
    abstain: float = 0.0
    """Half the width of the band of probabilities in which an answer is told as unsure."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """More that decides or describes the run, kept in its settings; plain JSON values."""


def train_on(
    data: TrainingData,
    plan: RunPlan,
    observers: FitObservers,
    on_begin: Callable[[], None] = lambda: None,
) -> bool:
    """Train on the data as they are divided, and leave a complete run; go on with a cut one.

    Args:
        data: Crops of the training and the validation pictures.
        plan: Folder and settings.
        observers: Who is told.
        on_begin: Called once when the run begins or goes on, before its own first file; what
            cannot begin leaves no file.

    Returns:
        Whether it was trained; else the run was finished already, with these settings and data.

    Raises:
        RoiClsError: Anything that keeps the run from its end, in words for its user.
    """
    record = RunRecord()
    settings = collect_settings(plan.config, data, {**plan.facts, "abstain": plan.abstain})
    backend = choose_backend(plan.config.device, plan.config.precision)
    with join_processes(backend.device) as world:
        if world.from_first(is_done(plan.run, settings) if world.is_first else False):
            _drop_state(plan.run)  # a kill may have left it
            return False
        begin = Beginning(plan.run, settings, on_begin if world.is_first else None)
        fitted = fit_model(
            plan.config, data, backend, _files(plan.run), _watch(observers, record, begin)
        )
        if world.is_first:
            begin()
            bundle = _bundle(plan, data, fitted, settings)
            _finish(plan, data, fitted, bundle, _Ending(record, observers.on_note, backend))
        world.wait()
    return True


@dataclass(frozen=True, slots=True)
class _Ending:
    """Who takes note of how a run ended."""

    record: RunRecord
    on_note: Callable[[str], None]
    backend: Backend


def _files(run: RunFolder) -> TrainFiles:
    return TrainFiles(run.metrics, run.checkpoint, run.best)


def _watch(observers: FitObservers, record: RunRecord, begin: Beginning) -> FitObservers:
    """Return observers that also begin the run, once its model is built, and keep its record."""

    def on_start(backend: Backend, parameters: int) -> None:
        begin()
        record.add("backend", backend.name)
        record.add("parameters", parameters)
        observers.on_start(backend, parameters)

    def on_fact(name: str, value: Any) -> None:
        record.add(name, value)
        observers.on_fact(name, value)

    return FitObservers(on_start, observers.on_step, observers.on_epoch, observers.on_note, on_fact)


def _bundle(
    plan: RunPlan, data: TrainingData, fitted: FittedModel, settings: dict[str, Any]
) -> ModelBundle:
    return ModelBundle(
        model=plan.config.model,
        views=data.views,
        labels=data.labels,
        normalisation=fitted.normalisation,
        temperature=1.0,
        offsets=(0.0,) * len(data.labels.names),
        threshold=None,
        data_digest=data.digest,
        threshold_rule=plan.config.threshold_rule,
        abstain=plan.abstain,
        mirror=plan.config.mirror,
        training=settings,
    )


def _finish(
    plan: RunPlan, data: TrainingData, fitted: FittedModel, bundle: ModelBundle, ending: _Ending
) -> None:
    """Score validation as prediction will, calibrate, choose the threshold, write the bundle."""
    # In fp32, like every score that is stored or shown.
    exact = Backend(ending.backend.device, torch.float32)
    validation = data.validation
    scale, mirror = bundle.normalisation, bundle.mirror
    logits = compute_logits(fitted.model, validation.pixels, scale, exact, mirror=mirror)
    calibrate = plan.config.calibrate
    bundle, shortfall = choose_operating_point(
        bundle, logits, validation.labels, calibrate=calibrate
    )
    ending.record.add("threshold_shortfall", shortfall)
    if shortfall:
        ending.on_note(f"warning: {shortfall}")
    probabilities = to_probabilities(logits, bundle.temperature, bundle.offsets)
    table = score_table(validation, data.labels, probabilities, data_root(data.source))
    write_scores(plan.run.validation_scores, table, data.labels.names)
    if epochs := read_metrics(plan.run.metrics):
        draw_curves(epochs, plan.run.curves, f"{plan.run.path.name}: {plan.config.model}")
    ending.record.write(plan.run.record, plan.run.metrics, ending.backend)
    save_bundle(plan.run.path, fitted.model, bundle)
    _drop_state(plan.run)


def _drop_state(run: RunFolder) -> None:
    """Remove what only a run that goes on needs."""
    run.checkpoint.unlink(missing_ok=True)
    run.best.unlink(missing_ok=True)
