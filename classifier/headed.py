"""A network of ours around a backbone: its layers under the names by which timm's tools ask."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from torch import nn

_HEAD = "(head)"
"""No parameter's name: it falls into the group of what no pattern matches."""


class HeadedNetwork(nn.Module):
    """A backbone with a head of ours above it. Freezing and layer-wise rates treat it as timm's."""

    backbone: nn.Module
    head: nn.Module

    def get_classifier(self) -> nn.Module:
        """Return the head, as timm's models do."""
        return self.head

    def group_matcher(self, coarse: bool = False) -> Callable[[str], int]:
        """Return the backbone's grouping of layers, with the head above it."""
        return match_layers(self.backbone, coarse)

    def no_weight_decay(self) -> set[str]:
        """Return the names of the backbone's parameters that are not to be decayed."""
        return undecayed(self.backbone)


def match_layers(backbone: nn.Module, coarse: bool) -> Callable[[str], int]:
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


def undecayed(backbone: nn.Module) -> set[str]:
    """Return what timm would not decay of ``backbone``, under the names a network of ours gives."""
    own = getattr(backbone, "no_weight_decay", None)
    return {f"backbone.{name}" for name in own()} if own else set()
