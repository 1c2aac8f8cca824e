"""One fitted model, by the method that the settings name."""

from __future__ import annotations

from collections.abc import Callable

import torch

from roi_cls.base.errors import TrainingError
from roi_cls.base.machine import keep_all_memory
from roi_cls.classifier.config import Method, TrainConfig
from roi_cls.classifier.models.device import Backend
from roi_cls.classifier.models.timm_model import check_model_name
from roi_cls.classifier.training.data import TrainingData
from roi_cls.classifier.training.values import FitObservers, FittedModel, TrainFiles

_PIXEL_CHANGES = ("self_blend", "mixup", "cutmix")
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
    is_clip = config.model.startswith("open_clip:")
    if config.method in ("network", "embedding") and not is_clip:
        check_model_name(config.model)
    if config.method == "zero_shot" and not is_clip:
        raise TrainingError(
            f"Cannot compare with captions by {config.model!r}: it reads no text. "
            "Use --model open_clip:ViT-B-32 or another CLIP."
        )


def idle_settings(config: TrainConfig) -> tuple[str, ...]:
    """Return the settings that were changed although the method has no use for them."""
    plain = TrainConfig()
    names = _UNUSED.get(config.method, ())
    return tuple(name for name in names if getattr(config, name) != getattr(plain, name))


def fit_model(
    config: TrainConfig,
    data: TrainingData,
    backend: Backend,
    files: TrainFiles,
    observers: FitObservers | None = None,
) -> FittedModel:
    """Return the model that the settings' method makes of the training and validation crops.

    Each method is a function ``fit_NAME(config, data, backend, files, observers) -> FittedModel``
    whose needs are imported only when it is chosen.

    Raises:
        RoiClsError: The model cannot be built, trained or resumed, in words for its user.
    """
    keep_all_memory()
    fit = _method(config)
    told = observers or FitObservers()
    if idle := idle_settings(config):
        told.on_note(f"note: the method {config.method!r} makes no use of {', '.join(idle)}.")
    torch.manual_seed(config.seed)
    return fit(config, data, backend, files, told)


_Fit = Callable[[TrainConfig, TrainingData, Backend, TrainFiles, FitObservers], FittedModel]


def _method(config: TrainConfig) -> _Fit:
    match config.method:
        case "network":
            from roi_cls.classifier.training.methods.network import fit_network

            return fit_network
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
