"""One fitted model, by the method that the settings name: a trained network, or another's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from roi_cls.base.errors import TrainingError
from roi_cls.base.machine import keep_all_memory
from roi_cls.classifier.config import Method, TrainConfig
from roi_cls.classifier.models.backbone import build_backbone
from roi_cls.classifier.models.device import Backend
from roi_cls.classifier.models.network import build_network
from roi_cls.classifier.models.origin import CLIP_PREFIX
from roi_cls.classifier.models.svm import check_skimage
from roi_cls.classifier.models.timm_model import check_model_name, normalisation
from roi_cls.classifier.runs.bundle import Normalisation
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.training.batches import PixelSource
from roi_cls.classifier.training.data import TrainingData
from roi_cls.classifier.training.distributed import current_world, deterministic
from roi_cls.classifier.training.job import Observers
from roi_cls.classifier.training.learner import batch_size
from roi_cls.classifier.training.loop import Trainer, settle_metric
from roi_cls.classifier.training.optimiser import has_batch_norms
from roi_cls.classifier.training.settle import settle

_ENOUGH_FOR_EYES_PX = 384
"""Side of the crops from which on ``--eyes`` still shows the face well: it sees half of it."""
_PIXEL_CHANGES = ("self_blend", "self_blend_beside", "mixup", "cutmix", "eyes")
_STEPS = ("focal_gamma", "ema", "layer_decay", "accumulate", "label_smoothing")
_UNUSED: dict[Method, tuple[str, ...]] = {
    "embedding": _PIXEL_CHANGES,
    "zero_shot": (*_PIXEL_CHANGES, *_STEPS),
    "autoencoder": (*_PIXEL_CHANGES, *_STEPS),
    "svm": (*_PIXEL_CHANGES, *_STEPS),
}
"""Settings that a method has no use for."""


def check_method(config: TrainConfig) -> None:
    """Refuse a model that nobody knows, or that the method cannot use.

    Raises:
        ModelNameError: timm knows no such model.
        TrainingError: Captions are asked of a model that reads no text.
    """
    is_clip = config.model.startswith(CLIP_PREFIX)
    if config.method in ("network", "embedding") and not is_clip:
        check_model_name(config.model)
    if config.method == "zero_shot" and not is_clip:
        raise TrainingError(
            f"Cannot compare with captions by {config.model!r}: it reads no text. "
            "Use --model open_clip:ViT-B-32 or another CLIP."
        )


def check_packages(config: TrainConfig) -> None:
    """Refuse a method or model whose package is not installed; looks at nothing else.

    Raises:
        TrainingError: It is not.
    """
    if config.method == "svm":
        check_skimage()
    elif config.model.startswith(CLIP_PREFIX):
        from roi_cls.classifier.models.clip import import_open_clip  # heavy, and seldom needed

        import_open_clip()


def check_weights(config: TrainConfig, size_px: int) -> None:
    """Refuse a model or weights that cannot be had before minutes of cropping, not after.

    Args:
        config: The settings.
        size_px: Side of the crops.

    Raises:
        RoiClsError: They cannot be had, or what the method needs is not installed.
    """
    if config.method == "network":
        build_network(config, 2, size_px, views=1 + config.frame)
    elif config.method in ("embedding", "zero_shot"):
        build_backbone(config.model, config.weights, size_px, config.global_pool)
    else:
        check_packages(config)


def _idle_settings(config: TrainConfig) -> tuple[str, ...]:
    """Return the settings that were changed although the method has no use for them."""
    plain = TrainConfig()
    names = _UNUSED.get(config.method, ())
    if not config.self_blend and "self_blend_beside" not in names:
        names = (*names, "self_blend_beside")  # without defects none lies anywhere
    return tuple(name for name in names if getattr(config, name) != getattr(plain, name))


def fit_model(
    config: TrainConfig, data: TrainingData, backend: Backend, run: RunFolder, observers: Observers
) -> nn.Module:
    """Return the model that the settings' method makes of the training and validation crops.

    It gives (B, K) logits of (B*V, 3, S, S) crops, in evaluation mode; its ``pretrained_cfg`` says
    how they are normalised. Each method is a function of these arguments, whose needs are imported
    only when it is chosen.

    Raises:
        RoiClsError: The model cannot be built, trained or resumed, in words for its user.
    """
    keep_all_memory()
    fit = _method(config)
    if idle := _idle_settings(config):
        observers.on_note(f"note: the method {config.method!r} makes no use of {', '.join(idle)}.")
    if config.method in ("network", "embedding"):
        is_target = data.validation.labels == data.labels.target_index
        config = _settle_choice(config, is_target, observers)
    torch.manual_seed(config.seed)
    # Around all that computes: cuBLAS looks once, at its first product, how it is to compute, and
    # that may be the timing of number formats or an embedding.
    with deterministic(config.deterministic):
        return fit(config, data, backend, run, observers)


def _settle_choice(
    config: TrainConfig, is_target: NDArray[np.bool_], observers: Observers
) -> TrainConfig:
    """Return the settings with what chooses the epoch; say so where these pictures choose none."""
    metric = settle_metric(config.metric, is_target)
    if config.metric == "auto" and metric == "last":
        observers.on_note(
            f"note: the last epoch is kept: validation has {int(is_target.sum())} of the target "
            f"and {int((~is_target).sum())} others, too few to choose one by."
        )
    observers.on_fact("metric", metric)
    return replace(config, metric=metric)


def _fit_network(
    config: TrainConfig, data: TrainingData, backend: Backend, run: RunFolder, observers: Observers
) -> nn.Module:
    """Return a network trained on the crops, with the weights of its best epoch.

    Raises:
        RoiClsError: It cannot be built, trained or resumed.
    """
    classes, target = len(data.labels.names), data.labels.target_index
    size_px = data.train.pixels.shape[-2]
    _note_small_eyes(config, size_px, observers)
    model = build_network(config, classes, size_px, len(data.train.by_view), target)
    scale = Normalisation(*normalisation(model))
    device = backend.device
    train = PixelSource(data.train, classes, scale, device, config, target)
    validation = PixelSource(data.validation, classes, scale, device, config, target)
    model.to(device)
    config, backend = settle(config, model, train, backend, run.checkpoint, observers.on_note)
    if has_batch_norms(model) and _is_single(config, len(data.train.by_view)):
        observers.on_note(
            "note: batches of one crop have no statistics; the batch norms keep those they start "
            "with. --batch-size 2 --accumulate N takes little more memory and learns better."
        )
    observers.on_start(backend, sum(p.numel() for p in model.parameters()))
    trainer = Trainer(config, model, backend, run)
    trainer.run(train, validation, target, observers.on_step, observers.on_epoch)
    observers.on_fact("backend", backend.name)
    observers.on_fact("batch_size", config.batch_size)
    observers.on_fact("steps", trainer.steps)
    return trainer.model


def _note_small_eyes(config: TrainConfig, size_px: int, observers: Observers) -> None:
    if config.eyes and size_px < _ENOUGH_FOR_EYES_PX:
        observers.on_note(
            f"note: --eyes shows the face at half of the crop's {size_px} px. --size 448 is meant."
        )


def _is_single(config: TrainConfig, views: int) -> bool:
    """Whether each process learns one crop at a time."""
    return batch_size(config) * views <= current_world().size


_Fit = Callable[[TrainConfig, TrainingData, Backend, RunFolder, Observers], nn.Module]


def _method(config: TrainConfig) -> _Fit:
    match config.method:
        case "network":
            return _fit_network
        case "embedding":
            from roi_cls.classifier.training.methods.embedding import fit_embedding

            return fit_embedding
        case "zero_shot":
            from roi_cls.classifier.training.methods.zero_shot import fit_zero_shot

            return fit_zero_shot
        case "autoencoder":
            from roi_cls.classifier.training.methods.autoencoder import fit_autoencoder

            return fit_autoencoder
        case "svm":
            from roi_cls.classifier.training.methods.svm import fit_svm

            return fit_svm
