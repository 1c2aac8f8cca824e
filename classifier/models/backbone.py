"""Networks without a head, picture in and features out; and the form of those of ours around one.

A network of ours around a backbone has its layers under the names by which timm's tools ask.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import nn

from roi_cls.classifier.models.clip import ClipTower, build_tower
from roi_cls.classifier.models.origin import CLIP_PREFIX
from roi_cls.classifier.models.timm_model import create_model, form_arguments, timm_model

_HEAD = "(head)"
"""No parameter's name: it falls into the group of what no pattern matches."""


@dataclass(frozen=True, slots=True, eq=False)
class Backbone:
    """A network without a head."""

    module: nn.Module
    """(B, 3, S, S) images -> (B, F) features; its ``pretrained_cfg`` says how to normalise them."""
    features: int
    """F."""
    facts: Mapping[str, Any]
    """JSON values that ``_rebuild_backbone`` makes it from."""


def build_backbone(
    name: str, weights: str, size_px: int, global_pool: str | None = None
) -> Backbone:
    """Return a backbone with its weights, in training mode.

    Args:
        name: Of timm's registry, or ``open_clip:NAME``.
        weights: ``auto``, ``hub``, ``none``, or where a file lies.
        size_px: Side of the crops it will see.
        global_pool: See ``TrainConfig``.

    Raises:
        RoiClsError: As ``create_model``; or open_clip is not installed.
    """
    module: nn.Module
    if name.startswith(CLIP_PREFIX):
        module, facts = build_tower(name.removeprefix(CLIP_PREFIX), weights, size_px)
    else:
        module = create_model(name, weights, 0, size_px, 0.0, global_pool)
        facts = {"timm": name, "arguments": form_arguments(name, size_px, global_pool)}
    return Backbone(module, _count_features(module, size_px), facts)


def _count_features(module: nn.Module, size_px: int) -> int:
    # Some models' num_features counts what comes before a last layer that stays without a head.
    with probing(module):
        return int(module(torch.zeros(1, 3, size_px, size_px)).shape[1])


@contextlib.contextmanager
def probing(module: nn.Module) -> Iterator[None]:
    """Let a network be asked in a block for the shape of what it gives, and learn nothing by it."""
    was_training = module.training
    module.eval()  # batch norms are not to learn from zeros
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(was_training)


def drop_unused(module: nn.Module, answer: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Take away the layers whose parameters no answer depends on: nothing stands in their place.

    They would be stored for nothing, and processes that learn together wait for their gradients.

    Args:
        module: Changed in place.
        answer: What is used of the network, for a (1, 3, 128, 128) image.
    """
    was_training = module.training
    module.eval()
    named = {name: p for name, p in module.named_parameters() if p.requires_grad}
    with torch.enable_grad():
        total = answer(torch.zeros(1, 3, 128, 128)).sum()
        found = torch.autograd.grad(total, list(named.values()), allow_unused=True)
    module.train(was_training)
    used = {name for name, each in zip(named, found, strict=True) if each is not None}
    _drop(module, "", used)


def _drop(module: nn.Module, path: str, used: set[str]) -> None:
    for name, child in list(module.named_children()):
        start = f"{path}{name}."
        if any(each.startswith(start) for each in used):
            _drop(child, start, used)
        elif any(True for _ in child.parameters()):
            setattr(module, name, nn.Identity())


def _rebuild_backbone(facts: Mapping[str, Any]) -> nn.Module:
    """Return the backbone that ``facts`` tell of, with random weights."""
    if "open_clip" in facts:
        return ClipTower(**facts["open_clip"])
    return timm_model(facts["timm"], num_classes=0, **facts["arguments"])


class HeadedNetwork(nn.Module):
    """A backbone with a head of ours above it. Freezing and layer-wise rates treat it as timm's."""

    head: nn.Module

    def __init__(self, backbone: Mapping[str, Any], module: nn.Module | None) -> None:
        """Build it without its head.

        Args:
            backbone: What the backbone is built from, see ``Backbone.facts``.
            module: The backbone, where it is there already.
        """
        super().__init__()
        self.backbone = _rebuild_backbone(backbone) if module is None else module
        self.pretrained_cfg = getattr(self.backbone, "pretrained_cfg", {})

    def get_classifier(self) -> nn.Module:
        """Return the head, as timm's models do."""
        return self.head

    def group_matcher(self, coarse: bool = False) -> Callable[[str], int]:
        """Return the backbone's grouping of layers, with the head above it."""
        return _match_layers(self.backbone, coarse)

    def no_weight_decay(self) -> set[str]:
        """Return the names of the backbone's parameters that are not to be decayed."""
        own = getattr(self.backbone, "no_weight_decay", None)
        return {f"backbone.{name}" for name in own()} if own else set()


def _match_layers(backbone: nn.Module, coarse: bool) -> Callable[[str], int]:
    """Return the layer group of each parameter of a network around ``backbone``.

    The head is grouped as the backbone's own would be: with what no block claims, like the norm
    before it in a ConvNeXt.
    """
    from timm.models import group_parameters

    matcher = cast(Any, backbone).group_matcher(coarse=coarse)
    names = [*backbone.named_parameters(), (_HEAD, None)]
    shown = cast(nn.Module, SimpleNamespace(named_parameters=lambda: iter(names)))
    places = cast(dict[str, int], group_parameters(shown, matcher, reverse=True))
    return lambda name: places.get(name.removeprefix("backbone."), places[_HEAD])
