"""A whole training run: samples, crops, split, training, bundle. Resumes, and repeats nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from roi_cls.atomic import write_atomically
from roi_cls.cache import CropResult
from roi_cls.cache.manifest import open_manifest
from roi_cls.cache.options import BuildOptions
from roi_cls.classifier.batch import Normalisation
from roi_cls.classifier.bundle import ModelBundle, save_bundle
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.decision import choose_threshold
from roi_cls.classifier.device import Backend, choose_backend
from roi_cls.classifier.model import check_model_name, create_model, normalisation
from roi_cls.classifier.run_folder import RunFolder
from roi_cls.classifier.score import compute_logits, to_probabilities
from roi_cls.classifier.scores import data_root, score_table, write_scores
from roi_cls.classifier.train import EpochReport, Observer, Trainer, TrainFiles
from roi_cls.classifier.training_data import Splitting, TrainingData, load_training_data
from roi_cls.data.collect import collect_samples
from roi_cls.data.split import SplitParams
from roi_cls.data.table import write_split
from roi_cls.errors import DataError, TrainingError
from roi_cls.roi import CropParams
from roi_cls.roi.models import DetectorModel, hash_file
from roi_cls.roi.recipe import open_recipe


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


@dataclass(slots=True)
class Observers:
    """Who is told of what, while a run goes on."""

    on_crop: Callable[[CropResult, int], None] = lambda result, total: None
    on_data: Callable[[TrainingData], None] = lambda data: None
    on_start: Callable[[Backend, int], None] = lambda backend, parameters: None
    on_step: Observer = lambda done, total: None
    on_epoch: Callable[[EpochReport], None] = lambda report: None


@dataclass(frozen=True, slots=True)
class TrainOutcome:
    """How a call of ``train_run`` ended."""

    errors: int
    """Pictures that could not be cropped."""
    trained: bool
    """False: the run was finished already, with the same settings and data."""


def train_run(job: TrainJob, observers: Observers) -> TrainOutcome:
    """Train, unless this very run is finished; leave a complete run folder.

    Raises:
        RoiClsError: Anything that keeps the run from its end, in words for its user.
    """
    _check_free(job)
    _check_one_crop(job.crop)
    check_model_name(job.config.model)  # before the pictures are cropped, which takes long
    backend = choose_backend(job.config.device, job.config.precision)
    recipe = open_recipe(job.crop, job.detector_model)
    crop = recipe.params
    data = load_training_data(
        collect_samples(job.source, job.label_names),
        Splitting(data_root(job.source), job.split, job.target),
        crop,
        recipe.open_detector,
        job.options,
        observers.on_crop,
    )
    observers.on_data(data)
    settings = _settings(job, crop, data)
    if _is_done(job, settings):
        return TrainOutcome(len(data.errors), trained=False)
    model = _create_model(job, data)
    _begin(job, settings, recipe.models, data)
    mean, std = normalisation(model)
    observers.on_start(backend, sum(p.numel() for p in model.parameters()))
    files = TrainFiles(job.run.metrics, job.run.checkpoint, job.run.best)
    trainer = Trainer(job.config, model, Normalisation(mean, std), backend, files)
    trainer.run(
        data.train, data.validation, data.labels.target_index, observers.on_step, observers.on_epoch
    )
    bundle = ModelBundle(
        model=job.config.model,
        crop=crop,
        labels=data.labels,
        normalisation=Normalisation(mean, std),
        temperature=1.0,
        threshold=None,
        data_digest=data.digest,
        training=settings,
    )
    _finish(job.run, trainer, data, bundle, backend)
    return TrainOutcome(len(data.errors), trained=True)


def _check_one_crop(crop: CropParams) -> None:
    if crop.face == "all":
        raise DataError(
            "Cannot train with --face all: a label belongs to a picture, not to each of its faces. "
            "Train with another --face; `roi-cls predict --face all` then scores every face."
        )


def _create_model(job: TrainJob, data: TrainingData) -> nn.Module:
    config = job.config
    torch.manual_seed(config.seed)
    return create_model(
        config.model,
        config.weights,
        len(data.labels.names),
        job.crop.size_px,
        config.drop_rate,
        config.global_pool,
    )


def _check_free(job: TrainJob) -> None:
    """Refuse to write over another run before any work is done."""
    path = job.run.path
    if path.exists() and not job.resume and not (path.is_dir() and not any(path.iterdir())):
        raise TrainingError(
            f"Cannot train as run {job.run.path.name!r}: {str(job.run.path)!r} is there already. "
            "Choose another --run NAME, go on with it by --resume, or delete the folder."
        )


def _settings(job: TrainJob, crop: CropParams, data: TrainingData) -> dict[str, Any]:
    """Return everything that decides the result; equal settings, equal run."""
    weights = job.config.weights
    is_file = weights not in ("hub", "none") and Path(weights).is_file()
    return {
        "source": str(job.source.absolute()),
        "config": job.config.to_dict(),
        "crop": crop.to_dict(),
        "labels": list(data.labels.names),
        "target": data.labels.target,
        "label_names": job.label_names,
        "data_digest": data.digest,
        "weights_sha256": hash_file(Path(weights)) if is_file else None,
        "errors": len(data.errors),
        "train_images": len(data.train),
        "validation_images": len(data.validation),
        "majority_label": data.labels.names[int(np.bincount(data.train.labels).argmax())],
    }


def _is_done(job: TrainJob, settings: dict[str, Any]) -> bool:
    """Whether the run is finished with these settings; refuses to resume one with others."""
    if not job.run.settings.exists():
        return False
    try:
        kept = json.loads(job.run.settings.read_bytes())
    except ValueError as error:
        raise TrainingError(
            f"Cannot go on with run {job.run.path.name!r}: {str(job.run.settings)!r} is damaged. "
            f"Choose another --run NAME or delete {str(job.run.path)!r}."
        ) from error
    moves = ("source", "errors")  # data may move, and unreadable pictures are in no part
    odd = [name for name in settings if name not in moves and kept.get(name) != settings[name]]
    if odd:
        details = "; ".join(_difference(name, kept.get(name), settings[name]) for name in odd)
        raise TrainingError(
            f"Cannot go on with run {job.run.path.name!r}: it was started with other settings "
            f"({details}). Choose another --run NAME or delete {str(job.run.path)!r}."
        )
    return job.run.is_finished


def _difference(name: str, kept: object, given: object) -> str:
    if isinstance(kept, dict) and isinstance(given, dict):
        keys = [key for key in given if kept.get(key) != given[key]]
        return ", ".join(f"{key} {kept.get(key)} then, {given[key]} now" for key in keys)
    if name == "data_digest":
        return "the pictures, their labels or their parts were others"
    return f"{name} differs"


def _begin(
    job: TrainJob, settings: dict[str, Any], models: Sequence[DetectorModel], data: TrainingData
) -> None:
    """Write what the run is made from: only now, so that a refused call changes no run."""
    run, digests = job.run, [record.sha256 or "" for record in data.records]
    write_atomically(run.settings, (json.dumps(settings, indent=2) + "\n").encode())
    with open_manifest(run.crops) as add_row:
        for record in data.records:
            add_row(record)
    write_split(run.split, data.split.samples, data_root(job.source), digests)
    for model in models:
        write_atomically(run.detector / f"{model.sha256}.tflite", model.path.read_bytes())


def _finish(
    run: RunFolder, trainer: Trainer, data: TrainingData, bundle: ModelBundle, backend: Backend
) -> None:
    """Score validation as prediction will, choose the threshold, write the bundle last."""
    model = trainer.model
    # In fp32, like every score that is stored or shown.
    exact = Backend(backend.device, choose_backend("cpu", "fp32").format)
    logits = compute_logits(model, data.validation.pixels, bundle.normalisation, exact)
    probabilities = to_probabilities(logits, bundle.temperature)
    target = data.labels.target_index
    if len(data.labels.names) == 2:
        is_target = data.validation.labels == target
        bundle = replace(bundle, threshold=choose_threshold(probabilities[:, target], is_target))
    table = score_table(
        data.validation, data.labels, probabilities, data_root(Path(bundle.training["source"]))
    )
    write_scores(run.validation_scores, table, data.labels.names)
    save_bundle(run.path, model, bundle)
    run.checkpoint.unlink(missing_ok=True)
    run.best.unlink(missing_ok=True)
