"""A whole training run: samples, crops, split, training, bundle. Resumes, and repeats nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from roi_cls.base.atomic import write_atomically
from roi_cls.base.errors import DataError, TrainingError
from roi_cls.cache import CropResult
from roi_cls.cache.manifest import open_manifest
from roi_cls.cache.options import BuildOptions
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.metrics.decision import to_probabilities
from roi_cls.classifier.models.device import Backend, choose_backend
from roi_cls.classifier.models.saved import save_bundle
from roi_cls.classifier.models.score import compute_logits
from roi_cls.classifier.runs.bundle import ModelBundle
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.scores import data_root, score_table, write_scores
from roi_cls.classifier.training.data import Splitting, TrainingData, load_training_data
from roi_cls.classifier.training.distributed import current_world, join_processes
from roi_cls.classifier.training.logs import TensorboardLog, check_tensorboard, draw_curves
from roi_cls.classifier.training.methods.fit import check_method, fit_model
from roi_cls.classifier.training.operating_point import choose_operating_point
from roi_cls.classifier.training.record import (
    Beginning,
    RunRecord,
    collect_settings,
    is_done,
    read_metrics,
)
from roi_cls.classifier.training.values import EpochReport, FitObservers, FittedModel, TrainFiles
from roi_cls.data.collect import collect_samples
from roi_cls.data.sample import Sample
from roi_cls.data.split import SplitParams
from roi_cls.data.table import write_split
from roi_cls.roi import CropParams
from roi_cls.roi.recipe import OpenedRecipe, open_recipe


@dataclass(frozen=True, slots=True)
class TrainJob:
    """What to train, on what, and where to."""

    source: Path
    """Folder or CSV of labelled pictures."""
    run: RunFolder
    config: TrainConfig
    crop: CropParams
    split: SplitParams
    options: BuildOptions
    label_names: dict[str, str] | None = None
    """Label token to class name."""
    target: str | None = None
    """The class that is looked for; None: the rarer one."""
    detector_model: Path | None = None
    resume: bool = False
    """Go on with a run of this name that was interrupted; a finished one is left as it is."""
    tensorboard: bool = False
    """Also write the epochs for TensorBoard."""
    abstain: float = 0.0
    """Half the width of the band of probabilities in which an answer is told as unsure."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """More that decides or describes the run, kept in its settings; plain JSON values."""
    samples: tuple[Sample, ...] | None = None
    """The labelled pictures, where ``source`` only names their folder; None: all of ``source``."""

    @property
    def plan(self) -> RunPlan:
        """The run that ``train_on`` makes of the job's data."""
        facts = {**self.facts, "label_names": self.label_names}
        return RunPlan(self.run, self.config, self.abstain, facts)


@dataclass(slots=True)
class Observers(FitObservers):
    """Who is told of what, while a run goes on."""

    on_crop: Callable[[CropResult, int], None] = lambda result, total: None
    on_data: Callable[[TrainingData], None] = lambda data: None


@dataclass(frozen=True, slots=True)
class TrainOutcome:
    """How a call of ``train_run`` ended."""

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
    if job.tensorboard:
        check_tensorboard()
    with join_processes(backend.device) as world, TensorboardLog(job.run.tensorboard) as log:
        if world.is_first:
            check_free(job)
        data, views = load_job_data(job, observers)

        def on_epoch(report: EpochReport) -> None:
            if job.tensorboard and world.is_first:
                log(report)
            observers.on_epoch(report)

        watching = replace(observers, on_epoch=on_epoch)
        trained = train_on(data, job.plan, watching, lambda: write_data(job, data, views))
    return TrainOutcome(len(data.errors), trained)


def check_free(job: TrainJob) -> None:
    """Raise ``TrainingError`` where the job would write over another run."""
    path = job.run.path
    if path.exists() and not job.resume and not (path.is_dir() and not any(path.iterdir())):
        raise TrainingError(
            f"Cannot train as run {job.run.path.name!r}: {str(job.run.path)!r} is there already. "
            "Choose another --run NAME, go on with it by --resume, or delete the folder."
        )


def load_job_data(
    job: TrainJob, observers: Observers | None = None
) -> tuple[TrainingData, tuple[OpenedRecipe, ...]]:
    """Return the job's data, cropped and split, and the recipes that they were cropped by.

    Of several processes the first one crops; the others then find the crops.

    Raises:
        RoiClsError: The data cannot be trained on, or the model's name or settings are wrong.
    """
    observers, world = observers or Observers(), current_world()
    check_views(job.config, job.crop)
    check_method(job.config)  # before the pictures are cropped, which takes long
    first = open_recipe(job.crop, job.detector_model)
    # The full frame beside the face needs no detector; its other fields stay the same.
    frames = (open_recipe(replace(job.crop, crop="full")),) if job.config.frame else ()
    views = (first, *frames)
    splitting = Splitting(data_root(job.source), job.split, job.target)
    samples = job.samples or collect_samples(job.source, job.label_names)

    def load() -> TrainingData:
        on_crop, options = observers.on_crop, job.options
        return load_training_data(job.source, samples, splitting, views, options, on_crop)

    data = load() if world.is_first else None
    world.wait()
    data = data or load()
    observers.on_data(data)
    return data, views


def check_views(config: TrainConfig, crop: CropParams) -> None:
    """Raise ``DataError`` where the recipe gives no crop, or no second view, to train on."""
    if crop.face == "all":
        raise DataError(
            "Cannot train with --face all: a label belongs to a picture, not to each of its faces. "
            "Train with another --face; `roi-cls predict --face all` then scores every face."
        )
    if config.frame and crop.crop == "full":
        raise DataError(
            "Cannot train with --frame and --crop full: the full frame would be judged beside "
            "itself. Leave one of them out."
        )


def write_data(job: TrainJob, data: TrainingData, views: Sequence[OpenedRecipe]) -> None:
    """Write what the run is made from: manifest, split, and the detector's files."""
    run, digests = job.run, [record.sha256 or "" for record in data.records]
    with open_manifest(run.crops) as add_row:
        for record in data.records:
            add_row(record)
    write_split(run.split, data.split.samples, data_root(job.source), digests)
    for model in views[0].models:
        write_atomically(run.detector / f"{model.sha256}.tflite", model.path.read_bytes())


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
