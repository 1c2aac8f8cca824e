"""Grad-CAM: where a network's last maps of features speak for a class, by their gradients.

Sources: R. R. Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via
Gradient-based Localization", ICCV 2017; R. L. Draelos and L. Carin, "Use HiResCAM instead of
Grad-CAM for faithful explanations of convolutional neural networks", 2020. Each place is weighed by
its own gradient, as in the latter. Where a network averages its last maps, and they are the ones
asked, the two are the same; where it takes their maximum, or an earlier map is asked, the mean of
the gradients says little: of 63 defects that a demo's network found, the peak lay on 56 by this
and on 32 by means (``benchmarks/explaining.py``). Of a transformer's tokens what speaks for the
class is summed, as in LayerCAM (P. Jiang et al., IEEE TIP 2021). A planted patch is found in 97 to
100 % of pictures by the small EfficientNet, ResNet and ViT of the tests, and in 35 to 90 % by a
ConvNeXt on crops of 64 px.

What is explained are the log-odds of the class against all others: where one logit is constant or
rises with the other's, it alone would tell nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from roi_cls.classifier.feature_maps import Maps, last_maps, recording
from roi_cls.classifier.heat import Effect, enlarge
from roi_cls.classifier.loaded import LoadedModel
from roi_cls.classifier.models.anomaly import AnomalyNetwork
from roi_cls.classifier.models.device import Backend
from roi_cls.classifier.models.evidence import EvidenceNetwork
from roi_cls.classifier.models.pixels import pick_pixels
from roi_cls.classifier.models.svm import SvmNetwork

_ERROR_BLOCK = 4  # pixels of a reconstruction joined to one place: single ones are noise


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
    total = sum(model.bundle.network["weights"])
    for member, weight in zip(model.members, model.bundle.network["weights"], strict=True):
        places = [model.views.index(view) for view in member.views]
        effects = grad_cam(member, [pixels_by_view[i] for i in places], index)
        if effects is None:
            return None
        for i, effect in zip(places, effects, strict=True):
            sums[i] += weight / total * effect
    return sums


def _effects(network: nn.Module, images: Tensor, index: int, target: int) -> Tensor | None:
    """Return (N, h, w) effects of the images: all views of one picture, perhaps mirrored too."""
    if isinstance(network, AnomalyNetwork | EvidenceNetwork):
        own = _own_effects(network, images)
        return own if index == target else -own
    images.requires_grad_(True)  # so that there are gradients, whatever is frozen
    with recording(network) as outputs:
        logits = network(images).float().mean(0)
    others = torch.cat((logits[:index], logits[index + 1 :]))
    found = last_maps(network, outputs, logits[index] - others.logsumexp(0), len(images))
    return None if found is None else _weigh(found)


def _weigh(maps: Maps) -> Tensor:
    """Return the (N, h, w) effects of maps (N, C, h, w) by their gradients."""
    effects = maps.values * maps.gradients
    return (effects.clamp(min=0) if maps.are_tokens else effects).sum(1)


def _own_effects(network: AnomalyNetwork | EvidenceNetwork, images: Tensor) -> Tensor:
    """Return the map that the network answers by: how far each place lies above their mean."""
    with torch.no_grad():
        if isinstance(network, EvidenceNetwork):
            local = network.local_logits(images)
            return network.head.scale * (local - local.mean())
        errors = network.error_maps(images).mean(1)
        shares = errors / errors.mean() - 1  # (N, side, side)
        return network.slope * nn.functional.avg_pool2d(shares, _ERROR_BLOCK)
