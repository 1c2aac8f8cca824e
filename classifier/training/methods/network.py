"""A network trained on crops, from start to the weights of its best epoch."""

from __future__ import annotations

from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.models.device import Backend
from roi_cls.classifier.models.network import build_network
from roi_cls.classifier.models.timm_model import normalisation
from roi_cls.classifier.runs.bundle import Normalisation
from roi_cls.classifier.training.batches import PixelSource
from roi_cls.classifier.training.data import TrainingData
from roi_cls.classifier.training.loop import Trainer
from roi_cls.classifier.training.settle import settle
from roi_cls.classifier.training.values import FitObservers, FittedModel, TrainFiles


def fit_network(
    config: TrainConfig,
    data: TrainingData,
    backend: Backend,
    files: TrainFiles,
    observers: FitObservers,
) -> FittedModel:
    """Return the trained network.

    Raises:
        RoiClsError: It cannot be built, trained or resumed.
    """
    classes, target = len(data.labels.names), data.labels.target_index
    size_px = data.train.pixels.shape[-2]
    model = build_network(config, classes, size_px, len(data.train.by_view), target)
    scale = Normalisation(*normalisation(model))
    device = backend.device
    train = PixelSource(data.train, classes, scale, device, config, target)
    validation = PixelSource(data.validation, classes, scale, device, config, target)
    model.to(device)
    config, backend = settle(config, model, train, backend, files.checkpoint, observers.on_note)
    observers.on_start(backend, sum(p.numel() for p in model.parameters()))
    trainer = Trainer(config, model, backend, files)
    trainer.run(train, validation, target, observers.on_step, observers.on_epoch)
    observers.on_fact("backend", backend.name)
    observers.on_fact("batch_size", config.batch_size)
    observers.on_fact("steps", trainer.steps)
    return FittedModel(trainer.model, scale)
