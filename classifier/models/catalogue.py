"""Which of timm's models there are, where their weights are, how large and how fast they are."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from roi_cls.base.errors import ModelNameError
from roi_cls.base.torchvision import ensure_torchvision
from roi_cls.classifier.models.device import Backend
from roi_cls.classifier.models.origin import PACKAGES, find_package, is_cached, published
from roi_cls.classifier.models.score import compute_logits, compute_logits_apart
from roi_cls.classifier.models.timm_model import create_model
from roi_cls.classifier.runs.bundle import Normalisation

ensure_torchvision()

import timm  # noqa: E402  (timm imports torchvision)

WeightsPlace = Literal["package", "this machine", "hub", "extra", "none"]
COMMON_MODELS = (
    *(package.model for package in PACKAGES),
    *("efficientnet_b0", "mobilenetv3_large_100", "mobilenetv2_100"),
    *("resnet18", "resnet50", "convnext_tiny", "vit_small_patch16_224"),
)
"""What people mostly choose from."""
_TIMED = {"cpu": 8, "cuda": 256, "mps": 64}
"""Pictures computed in a round, by kind of device."""
_ROUNDS = 3
"""Of which the median counts: other work on the machine slows one, seldom two."""


@dataclass(frozen=True, slots=True)
class ListedModel:
    """One of timm's models."""

    name: str
    weights: WeightsPlace
    """Where ``--weights auto`` takes them from: an installed ``package``, the hub's copy on ``this
    machine``, the ``hub``; an ``extra`` of roi-cls that is not installed, else the hub; ``none``
    were published."""
    parameters: int
    """Numbers in the model without its head, which depends on the classes."""
    size_px: int
    """Side of the pictures that its weights were trained on."""


def list_models(pattern: str | None = None) -> tuple[ListedModel, ...]:
    """Return the models whose names match; without a pattern the common ones and those kept here.

    Args:
        pattern: As of a shell, like ``resnet*``.

    Raises:
        ModelNameError: No name matches.
    """
    if pattern is None:
        names: Sequence[str] = [*COMMON_MODELS, *_kept_models()]
    else:
        names = timm.list_models(pattern)
        if not names:
            raise ModelNameError(
                f"Cannot list models: none of timm's is called {pattern!r}. Use * for any letters, "
                "like 'efficientnet*'."
            )
    return tuple(_describe(name) for name in names)


def count_models() -> int:
    """Return how many models timm has."""
    return len(timm.list_models())


def _kept_models() -> list[str]:
    """Return the models, with their tags, whose weights the hub's client keeps here."""
    listed = {published(name).hf_hub_id for name in COMMON_MODELS}
    repositories = {name: published(name).hf_hub_id for name in timm.list_pretrained()}
    return [n for n, one in repositories.items() if one not in listed and is_cached(one)]


def _describe(name: str) -> ListedModel:
    config = published(name)
    with torch.device("meta"):  # no number of it is needed
        model = timm.create_model(name, num_classes=0)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return ListedModel(name, _place(name), parameters, int(config.input_size[-1]))


def _place(name: str) -> WeightsPlace:
    if find_package(name):
        return "package"
    config = published(name)
    if is_cached(config.hf_hub_id):
        return "this machine"
    if any(package.model == name for package in PACKAGES):
        return "extra"
    return "hub" if config.has_weights else "none"


def measure_rate(facts: ListedModel, backend: Backend) -> float:
    """Return pictures per second of the model alone, by the computation that prediction uses.

    Of crops that are ready, of the side that the model was made for. The weights are random: what
    they are does not change the time.
    """
    size = facts.size_px
    model = create_model(facts.name, "none", 2, size).to(backend.device)
    count = _TIMED[backend.device.type]
    pixels = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)
    scale = Normalisation((0.5,) * 3, (0.5,) * 3)

    def score() -> None:
        if backend.is_exact_cpu:
            compute_logits_apart(model, pixels, scale)
        else:
            compute_logits(model, pixels, scale, backend)

    score()  # the first call prepares what the others reuse
    seconds = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        score()
        seconds.append(time.perf_counter() - start)
    return count / statistics.median(seconds)
