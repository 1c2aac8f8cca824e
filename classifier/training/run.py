"""A whole training run: data, training, bundle. Resumes, and repeats nothing that is finished."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from roi_cls.classifier.export.own import export_network, remove_export
from roi_cls.classifier.metrics.decision import to_probabilities
from roi_cls.classifier.models.device import Backend, choose_backend
from roi_cls.classifier.models.saved import save_bundle
from roi_cls.classifier.models.score import compute_logits
from roi_cls.classifier.models.timm_model import normalisation
from roi_cls.classifier.runs.bundle import ModelBundle, Normalisation
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.scores import choose_operating_point, score_table, write_scores
from roi_cls.classifier.runs.writing import hold_run
from roi_cls.classifier.training.data import TrainingData, load_training_data, write_data
from roi_cls.classifier.training.distributed import join_processes
from roi_cls.classifier.training.job import (
    EpochReport,
    Observers,
    TrainJob,
    check_free,
    check_views,
)
from roi_cls.classifier.training.logs import RunLog, check_trackers, draw_curves
from roi_cls.classifier.training.methods.fit import check_method, fit_model
from roi_cls.classifier.training.record import (
    Beginning,
    RunRecord,
    collect_settings,
    is_done,
    read_metrics,
)


@dataclass(frozen=True, slots=True)
class TrainOutcome:
    """How a training run ended."""

    errors: int
    """Pictures that could not be cropped."""
    trained: bool
    """False: the run was finished already, with the same settings and data."""


def train_run(job: TrainJob, observers: Observers) -> TrainOutcome:
    """Train, unless this very run is finished; leave a complete run folder.

    Under torchrun each process calls this with the same job.

    Raises:
        RoiClsError: Anything that keeps the run from its end, in words for its user.
    """
    backend = choose_backend(job.config.device, job.config.precision)
    with (
        join_processes(backend.device) as world,
        hold_run(job.run, only_unfinished=job.resume),
    ):
        if world.is_first:
            check_free(job)
        data = load_job_data(job, observers)
        trained = complete_run(job, data, observers)
    return TrainOutcome(len(data.errors), trained)


def load_job_data(job: TrainJob, observers: Observers) -> TrainingData:
    """Return the job's data, cropped and split, and tell of them.

    Raises:
        RoiClsError: The data cannot be trained on, or the model's name or settings are wrong.
    """
    check_views(job)
    check_trackers(job.log)
    check_method(job.config)  # before the pictures are cropped, which takes long
    data = load_training_data(job, observers.on_crop, observers.on_note)
    observers.on_data(data)
    return data


def complete_run(
    job: TrainJob,
    data: TrainingData,
    observers: Observers,
    on_begin: Callable[[], None] = lambda: None,
) -> bool:
    """Train on the data as they are divided, and leave a complete run; go on with a cut one.

    Args:
        job: Folder and settings; where the data come from is decided.
        data: Crops of the training and the validation pictures.
        observers: Who is told.
        on_begin: Called once when the run begins or goes on; what cannot begin leaves no file.

    Returns:
        Whether it was trained; else the run was finished already, with these settings and data.

    Raises:
        RoiClsError: Anything that keeps the run from its end, in words for its user.
    """
    record, settings = RunRecord(), collect_settings(job, data)
    backend = choose_backend(job.config.device, job.config.precision)

    def begin_files() -> None:
        on_begin()
        write_data(job, data)

    with join_processes(backend.device) as world:
        if world.from_first(is_done(job.run, settings) if world.is_first else False):
            _drop_state(job.run)  # a kill may have left it
            return False
        begin = Beginning(job.run, settings, begin_files if world.is_first else None)
        with _telling(job, settings, observers, world.is_first) as (log, told):
            watching = _watch(told, record, begin)
            model = fit_model(job.config, data, backend, job.run, watching)
            if world.is_first:
                begin()
                log.finish(_finish(job, data, model, settings, record, observers.on_note))
        world.wait()
    return True


@contextmanager
def _telling(
    job: TrainJob, settings: Mapping[str, Any], observers: Observers, is_first: bool
) -> Iterator[tuple[RunLog, Observers]]:
    """Give the log of the job's trackers, and observers that also tell it of epochs."""
    log = RunLog(job.log if is_first else (), job.run, observers.on_note)

    def on_start(backend: Backend, parameters: int) -> None:
        observers.on_start(backend, parameters)
        log.start({**settings, "backend": backend.name, "parameters": parameters})

    def on_epoch(report: EpochReport) -> None:
        log.epoch(report)
        observers.on_epoch(report)

    is_ended = False
    try:
        yield log, replace(observers, on_start=on_start, on_epoch=on_epoch)
        is_ended = True
    finally:
        log.close(failed=not is_ended)


def _watch(observers: Observers, record: RunRecord, begin: Beginning) -> Observers:
    """Return observers that also begin the run, once its model is built, and keep its record."""

    def on_start(backend: Backend, parameters: int) -> None:
        begin()
        record.add("backend", backend.name)
        record.add("parameters", parameters)
        observers.on_start(backend, parameters)

    def on_fact(name: str, value: Any) -> None:
        record.add(name, value)
        observers.on_fact(name, value)

    return replace(observers, on_start=on_start, on_fact=on_fact)


def _finish(
    job: TrainJob,
    data: TrainingData,
    model: nn.Module,
    settings: dict[str, Any],
    record: RunRecord,
    on_note: Callable[[str], None],
) -> dict[str, float]:
    """Score validation as prediction will, calibrate, choose the threshold, write the bundle.

    Returns:
        What the run came to, in figures for trackers.
    """
    config, run, validation = job.config, job.run, data.validation
    exact = choose_backend(config.device, "fp32")  # like every score that is stored or shown
    scale = Normalisation(*normalisation(model))
    logits = compute_logits(model, validation.pixels, scale, exact, mirror=config.mirror)
    bundle, shortfall = choose_operating_point(
        _describe(job, data, scale, settings), logits, validation.labels, calibrate=config.calibrate
    )
    record.add("threshold_shortfall", shortfall)
    if shortfall:
        on_note(f"warning: {shortfall}")
    probabilities = to_probabilities(logits, bundle.temperature, bundle.offsets)
    table = score_table(validation, data.labels, probabilities, data.root)
    write_scores(run.validation_scores, table, data.labels.names)
    epochs = read_metrics(run.metrics)
    if epochs:
        draw_curves(epochs, run.curves, f"{run.path.name}: {config.model}")

    def on_facts(whole: ModelBundle) -> None:
        remove_export(run)
        if job.export:
            views, known = validation.by_view, probabilities if exact.is_exact_cpu else None
            record.add("onnx", export_network(run, model, whole, views, known, on_note))
        record.write(run.record, run.metrics, exact)

    save_bundle(run.path, model, bundle, on_facts)
    _drop_state(run)
    return _figures(bundle, epochs)


def _figures(bundle: ModelBundle, epochs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return what a run came to: the kept epoch's measures, and what was chosen after it."""
    found = {"final/temperature": bundle.temperature}
    if bundle.threshold is not None:
        found["final/threshold"] = bundle.threshold
    if epochs:
        kept = [epoch for epoch in epochs if epoch["best"]] or epochs  # none: the last
        found["final/best_epoch"] = float(kept[-1]["epoch"])
        for name in ("roc_auc", "average_precision", "validation_loss"):
            found[f"final/{name}"] = float(kept[-1][name])
    return found


def _describe(
    job: TrainJob, data: TrainingData, scale: Normalisation, settings: dict[str, Any]
) -> ModelBundle:
    """Return the facts of the trained model, not calibrated yet."""
    return ModelBundle(
        model=job.config.model,
        views=tuple(recipe.params for recipe in data.recipes),
        labels=data.labels,
        normalisation=scale,
        temperature=1.0,
        offsets=(0.0,) * len(data.labels.names),
        threshold=None,
        data_digest=data.digest,
        threshold_rule=job.config.threshold_rule,
        abstain=job.abstain,
        mirror=job.config.mirror,
        training=settings,
    )


def _drop_state(run: RunFolder) -> None:
    """Remove what only a run that goes on needs."""
    run.checkpoint.unlink(missing_ok=True)
    run.best.unlink(missing_ok=True)
