"""Grad-CAM: where a network's last maps of features speak for a class, by their gradients.

The maps are found while the network works by what they look like, whatever builds it.
"""

from __future__ import annotations

import contextlib
import functools
import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from roi_cls.classifier.explanation.heat import Effect, enlarge
from roi_cls.classifier.inference.loaded import LoadedModel
from roi_cls.classifier.models.autoencoder import AutoencoderNetwork
from roi_cls.classifier.models.device import Backend
from roi_cls.classifier.models.eyes import EyesNetwork
from roi_cls.classifier.models.network import EvidenceNetwork
from roi_cls.classifier.models.score import pick_pixels
from roi_cls.classifier.models.svm import SvmNetwork

ENOUGH_SIDE = 7
"""Places along a side, as at 224 px 32 px apart: of coarser maps an earlier one is asked, too. With
an EfficientNet on crops of 64 px the last map, 2 by 2, points at a planted patch for 55 to 85 % of
pictures, and the one with 8 by 8 for 85 to 100 %."""
_MOST_PREFIX = 5  # class, distillation and register tokens before those of places
_ERROR_BLOCK = 4  # pixels of a reconstruction joined to one place: single ones are noise
ModuleOutput = tuple[str, Tensor]
"""A module's name and what it gave."""


def has_gradients(model: LoadedModel) -> bool:
    """Return whether every network of the model can be asked in this way."""
    if model.model is None:
        return all(map(has_gradients, model.members))
    return not isinstance(model.model, SvmNetwork)


def grad_cam(
    model: LoadedModel, pixels_by_view: Sequence[NDArray[np.uint8]], index: int
) -> list[Effect] | None:
    """Return, for each view, how much of the class's log-odds comes from each pixel.

    Of an ensemble, the weighted mean of its members'. Parameters and modes stay as they are.

    Args:
        model: With gradients.
        pixels_by_view: One picture's crop for each of its views, (1, S, S, 3) RGB.
        index: The class.

    Returns:
        None where a network has no maps that the class depends on.
    """
    if model.model is None:
        return _mean_of_members(model, pixels_by_view, index)
    crops = pick_pixels(np.stack(pixels_by_view, axis=1), np.zeros(1, np.int64))  # (V, 3, S, S)
    exact = Backend(model.backend.device, torch.float32)
    with torch.enable_grad(), exact.autocast():
        images = model.bundle.normalisation.apply(crops, exact.device)
        if model.bundle.mirror:
            images = torch.cat((images, images.flip(-1)))
        found = _effects(model.model, images, index, model.bundle.labels.target_index)
    if found is None:
        return None
    maps = found.detach().float() / model.bundle.temperature
    views = len(crops)
    if model.bundle.mirror:
        maps = maps[:views] + maps[views:].flip(-1)
    return [enlarge(each, crops.shape[-1]) for each in maps.cpu().numpy()]


def _mean_of_members(
    model: LoadedModel, pixels_by_view: Sequence[NDArray[np.uint8]], index: int
) -> list[Effect] | None:
    sums = [np.zeros(pixels.shape[1:3], np.float32) for pixels in pixels_by_view]
    weights = model.bundle.network["weights"]
    total = sum(weights)
    for member, weight, places in zip(model.members, weights, model.member_views, strict=True):
        effects = grad_cam(member, [pixels_by_view[i] for i in places], index)
        if effects is None:
            return None
        for i, effect in zip(places, effects, strict=True):
            sums[i] += weight / total * effect
    return sums


def _effects(network: nn.Module, images: Tensor, index: int, target: int) -> Tensor | None:
    """Return (N, h, w) effects of the images: all views of one picture, perhaps mirrored too."""
    if isinstance(network, AutoencoderNetwork | EvidenceNetwork):
        own = _own_effects(network, images)
        return own if index == target else -own
    if isinstance(network, EyesNetwork):
        return _canvas_effects(network, images, index)
    images.requires_grad_(True)  # so that there are gradients, whatever is frozen
    with recording(network) as outputs:
        score = _log_odds(network(images), index)
    found = last_maps(network, outputs, score, len(images))
    return None if found is None else _weigh(found)


def _log_odds(logits: Tensor, index: int) -> Tensor:
    """Return what the mean of (N, K) logits says for a class against all others, a scalar."""
    mean = logits.float().mean(0)
    return mean[index] - torch.cat((mean[:index], mean[index + 1 :])).logsumexp(0)


def _canvas_effects(network: EyesNetwork, images: Tensor, index: int) -> Tensor:
    """Return the effects of face and eyes, each laid where it lies in the crop."""
    with torch.no_grad():
        maps = network.maps(images)
    maps.requires_grad_(True)
    score = _log_odds(network.answer(maps), index)
    (gradients,) = torch.autograd.grad(score, maps)
    return network.spread(_weigh(FeatureMaps(maps.detach(), gradients, are_tokens=False)))


def _own_effects(network: AutoencoderNetwork | EvidenceNetwork, images: Tensor) -> Tensor:
    """Return the map that the network answers by: how far each place lies above their mean."""
    with torch.no_grad():
        if isinstance(network, EvidenceNetwork):
            local = network.local_logits(images)
            return network.head.scale * (local - local.mean())
        errors = network.error_maps(images).mean(1)
        shares = errors / errors.mean() - 1  # (N, side, side)
        return network.slope * nn.functional.avg_pool2d(shares, _ERROR_BLOCK)


@contextlib.contextmanager
def recording(network: nn.Module) -> Iterator[list[ModuleOutput]]:
    """Give a list that fills with what the network's modules give, in order.

    What other threads ask of the same network meanwhile is not theirs to find in it.
    """
    found: list[ModuleOutput] = []
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


@dataclass(frozen=True, slots=True, eq=False)
class FeatureMaps:
    """Maps of features, and what a score gains by them."""

    values: Tensor
    """(N, C, h, w)."""
    gradients: Tensor
    """Of the score, (N, C, h, w)."""
    are_tokens: bool
    """Whether they came as a transformer's tokens."""


def last_maps(
    network: nn.Module, outputs: Sequence[ModuleOutput], score: Tensor, count: int
) -> FeatureMaps | None:
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
    found = _search_maps(listed, score, count, prefix)
    return found or _search_maps([output for _, output in outputs], score, count, prefix)


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


def _search_maps(
    outputs: Sequence[Tensor], score: Tensor, count: int, prefix: int
) -> FeatureMaps | None:
    best: FeatureMaps | None = None
    for output in reversed(outputs):
        maps = to_maps(output, count, prefix)
        if maps is None or (best and maps.shape[2] <= best.values.shape[2]):
            continue
        (found,) = torch.autograd.grad(score, output, retain_graph=True, allow_unused=True)
        gradients = None if found is None else to_maps(found, count, prefix)
        if gradients is not None and bool(gradients.any()):
            best = FeatureMaps(maps.detach(), gradients, are_tokens=output.ndim == 3)
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


def _weigh(maps: FeatureMaps) -> Tensor:
    """Return the (N, h, w) effects of maps (N, C, h, w) by their gradients."""
    effects = maps.values * maps.gradients
    return (effects.clamp(min=0) if maps.are_tokens else effects).sum(1)
