"""Networks without a head: picture in, features out; timm's, or the image tower of a CLIP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from roi_cls.classifier.model import create_model, published, timm_model

CLIP_PREFIX = "open_clip:"


@dataclass(frozen=True, slots=True, eq=False)
class Backbone:
    """A network without a head."""

    module: nn.Module
    """(B, 3, S, S) images -> (B, F) features; its ``pretrained_cfg`` says how to normalise them."""
    features: int
    """F."""
    facts: Mapping[str, Any]
    """JSON values that ``rebuild_backbone`` makes it from."""


def build_backbone(
    name: str, weights: str, size_px: int, global_pool: str | None = None
) -> Backbone:
    """Return a backbone with its weights, in training mode.

    Args:
        name: Of timm's registry, or ``open_clip:NAME``.
        weights: ``hub``, ``none``, or where a file lies.
        size_px: Side of the crops it will see.
        global_pool: See ``TrainConfig``.

    Raises:
        RoiClsError: As ``create_model``; or open_clip is not installed.
    """
    module: nn.Module
    if name.startswith(CLIP_PREFIX):
        from roi_cls.classifier.clip import build_tower

        module, facts = build_tower(name.removeprefix(CLIP_PREFIX), weights, size_px)
    else:
        module = create_model(name, weights, 0, size_px, 0.0, global_pool)
        arguments: dict[str, Any] = {"global_pool": global_pool} if global_pool else {}
        if published(name).fixed_input_size:
            arguments["img_size"] = size_px
        facts = {"timm": name, "arguments": arguments}
    return Backbone(module, _count_features(module, size_px), facts)


def rebuild_backbone(facts: Mapping[str, Any]) -> nn.Module:
    """Return the backbone that ``facts`` tell of, with random weights."""
    if "open_clip" in facts:
        from roi_cls.classifier.clip import ClipTower

        return ClipTower(**facts["open_clip"])
    return timm_model(facts["timm"], num_classes=0, **facts["arguments"])


def _count_features(module: nn.Module, size_px: int) -> int:
    # Some models' num_features counts what comes before a last layer that stays without a head.
    with torch.no_grad():
        features = module.eval()(torch.zeros(1, 3, size_px, size_px)).shape[1]
    module.train()
    return int(features)
