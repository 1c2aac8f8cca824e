"""A network's maps of features while it works: found by what they look like, whatever builds it."""

from __future__ import annotations

import contextlib
import functools
import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

ENOUGH_SIDE = 7
"""Places along a side, as at 224 px 32 px apart: of coarser maps an earlier one is asked, too. With
an EfficientNet on crops of 64 px the last map, 2 by 2, points at a planted patch for 55 to 85 % of
pictures, and the one with 8 by 8 for 85 to 100 %."""
_MOST_PREFIX = 5  # class, distillation and register tokens before those of places

Output = tuple[str, Tensor]
"""A module's name and what it gave."""


@dataclass(frozen=True, slots=True, eq=False)
class Maps:
    """Maps of features, and what a score gains by them."""

    values: Tensor
    """(N, C, h, w)."""
    gradients: Tensor
    """Of the score, (N, C, h, w)."""
    are_tokens: bool
    """Whether they came as a transformer's tokens."""


@contextlib.contextmanager
def recording(network: nn.Module) -> Iterator[list[Output]]:
    """Give a list that fills with what the network's modules give, in order.

    What other threads ask of the same network meanwhile is not theirs to find in it.
    """
    found: list[Output] = []
    mine = threading.get_ident()

    def keep(name: str, module: nn.Module, given: Any, output: Any) -> None:
        if threading.get_ident() == mine and isinstance(output, Tensor) and output.requires_grad:
            found.append((name, output))

    hooks = [
        module.register_forward_hook(functools.partial(keep, name))
        for name, module in network.named_modules()
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def last_maps(
    network: nn.Module, outputs: Sequence[Output], score: Tensor, count: int
) -> Maps | None:
    """Return the last maps that the score depends on, at the detail of ``ENOUGH_SIDE``.

    Where there are none so fine, the finest. The stages that timm lists for a network are asked,
    from the last: of a ViT that answers by its class token it is the last but one, as no other
    token of the last block is read. Of networks that it lists none of, any module.

    Args:
        network: The one that was recorded.
        outputs: As recorded.
        score: A scalar.
        count: N, how many images went in.
    """
    stages, prefix = _listed_stages(network), _count_prefix(network)
    listed = [output for name, output in outputs if name in stages]
    found = _search(listed, score, count, prefix)
    return found or _search([output for _, output in outputs], score, count, prefix)


def _search(outputs: Sequence[Tensor], score: Tensor, count: int, prefix: int) -> Maps | None:
    best: Maps | None = None
    for output in reversed(outputs):
        maps = to_maps(output, count, prefix)
        if maps is None or (best and maps.shape[2] <= best.values.shape[2]):
            continue
        (found,) = torch.autograd.grad(score, output, retain_graph=True, allow_unused=True)
        gradients = None if found is None else to_maps(found, count, prefix)
        if gradients is not None and bool(gradients.any()):
            best = Maps(maps.detach(), gradients, are_tokens=output.ndim == 3)
            if maps.shape[2] >= ENOUGH_SIDE:
                break
    return best


def to_maps(values: Tensor, count: int, prefix: int = 0) -> Tensor | None:
    """Return a module's output for ``count`` square images as (N, C, h, w); None: it is no map.

    Args:
        values: (N, C, h, w), (N, h, w, C), or tokens (N, places, C).
        count: N.
        prefix: Tokens that come before those of places; where the rest is no square, it is guessed.
    """
    if len(values) != count:
        return None
    if values.ndim == 4:
        if values.shape[2] == values.shape[3]:
            return values
        return values.permute(0, 3, 1, 2) if values.shape[1] == values.shape[2] else None
    if values.ndim != 3:
        return None
    for before in (prefix, *range(_MOST_PREFIX + 1)):
        side = math.isqrt(max(0, values.shape[1] - before))
        if side and side**2 == values.shape[1] - before:
            # (N, places, C) -> (N, C, h, w)
            return values[:, before:].transpose(1, 2).reshape(count, -1, side, side)
    return None


def _listed_stages(network: nn.Module) -> set[str]:
    """Return the full names of the stages that timm knows of the network, or of one within it."""
    names = set()
    for path, module in network.named_modules():
        info = getattr(module, "feature_info", None)
        stages = info.get_dicts() if info is not None and hasattr(info, "get_dicts") else info
        for stage in stages if isinstance(stages, list | tuple) else ():  # blocks have a method
            names.add(f"{path}.{stage['module']}".removeprefix("."))
    return names


def _count_prefix(network: nn.Module) -> int:
    counts = (getattr(module, "num_prefix_tokens", None) for module in network.modules())
    return next((count for count in counts if isinstance(count, int)), 0)
