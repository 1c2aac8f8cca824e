"""Random changes of training crops, for a whole batch at once, on whatever device it lies.

Pairs of pictures are made into one, with both labels: mixup and cutmix.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from roi_cls.base.torchvision import ensure_torchvision
from roi_cls.classifier.config import Augmentation
from roi_cls.classifier.runs.bundle import Normalisation

ensure_torchvision()

from torchvision.transforms import v2  # noqa: E402  (declares its operators first)

FILL = 114
"""Grey of what a moved crop leaves empty, 0 to 255; the same as outside of a picture."""
BLUR_PX = 5
"""Side of the blur's kernel."""
BLUR_SIGMA = (0.1, 1.5)
"""Least and most, in pixels."""
_CHUNK = 8
"""Crops that a CPU changes at once: their values stay in its caches."""

# Luminance and two chromas of RGB (NTSC): a colour turns about the grey axis in their plane.
_TO_YIQ = torch.tensor(
    [[0.2990, 0.5870, 0.1140], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]]
)
_FROM_YIQ = torch.linalg.inv(_TO_YIQ)


@dataclass(frozen=True, slots=True)
class Strength:
    """How far a crop may be changed; each value is the largest, drawn evenly on both sides of 0."""

    degrees: float
    """Of turning."""
    shift: float
    """Share of the side, across and down each."""
    scale: float
    """Share by which the crop grows or shrinks."""
    brightness: float
    """Share, as the next two."""
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    """Share of a full turn of the colours."""
    blurred: float = 0.0
    """Share of the crops that are blurred, by a Gauss of ``BLUR_SIGMA``."""
    grey: float = 0.0
    """Share of the crops that lose their colour."""


STRENGTHS: dict[Augmentation, Strength | None] = {
    "none": None,
    "light": Strength(5, 0.05, 0.05, brightness=0.1),
    "strong": Strength(15, 0.1, 0.2, 0.3, 0.3, 0.3, 0.03, blurred=0.2, grey=0.05),
}


class Augmenter:
    """Changes crops so that an artefact stays in the picture and a face plausible, and normalises.

    It mirrors, shifts, turns and scales a little, and changes the light; ``strong`` does more of
    each, and colour, blur and grey. Normalisation is part of the last step, at no cost.
    """

    def __init__(self, kind: Augmentation, normalisation: Normalisation) -> None:
        self._strength = STRENGTHS[kind]
        self._normalisation = normalisation

    def apply(
        self, pixels: Tensor, views: int = 1, maps: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the changed crops as model input, and the maps moved with them.

        Args:
            pixels: (B*V, 3, S, S) uint8; they stay as they are.
            views: V. Each is changed by itself.
            maps: (B, S, S) float32 over each picture's first view; 0 is what comes in from outside.

        Returns:
            (B*V, 3, S, S) float32, normalised, channels last; (B, S, S) float32.
        """
        device, strength = pixels.device, self._strength
        if strength is None:
            return self._normalisation.apply(pixels, device), maps
        places = draw_places(strength, len(pixels)).to(device, non_blocking=True)
        light = _draw_light(strength, len(pixels), device)
        sigmas = _draw_sigmas(strength, len(pixels))
        changed = torch.empty(pixels.shape, device=device, memory_format=torch.channels_last)
        step = _CHUNK if device.type == "cpu" else len(pixels)
        for start in range(0, len(pixels), step):
            part = slice(start, start + step)
            # Less the fill, because what comes from outside is 0 then.
            moved = move_planes(pixels[part].float().sub_(FILL), places[part])
            _blur(moved, sigmas[part])
            _interleave(self._relight(moved, light.part(part)), changed[part])
        return changed, None if maps is None else move_planes(maps[:, None], places[::views])[:, 0]

    def _relight(self, moved: Tensor, light: _Light) -> Tensor:
        """Return new colours, kept within 0 to 255 and normalised: one product, one clamp."""
        device = moved.device
        mean, std = (
            255 * np.array(self._normalisation.mean),
            255 * np.array(self._normalisation.std),
        )
        values = moved.flatten(2)  # (B, 3, S*S), rows of colours: a product with long rows is fast
        offset = FILL * light.matrix.sum(2, keepdim=True)
        if light.lift is not None:
            luminance = _TO_YIQ[0].to(device, non_blocking=True)
            grey = (values.mean(2) * luminance).sum(1) + FILL
            offset = offset + (light.lift * grey)[:, None, None]
        shift, scale = (_column(column, device) for column in (mean, std))
        result = torch.baddbmm((offset - shift) / scale, light.matrix / scale, values)
        # Channel by channel: limits as tensors take 6 times as long.
        for channel, (low, high) in enumerate(zip(-mean / std, (255 - mean) / std, strict=True)):
            result[:, channel].clamp_(low, high)
        return result.view_as(moved)


def draw_places(strength: Strength, count: int) -> Tensor:
    """Return for each crop where its pixels come from: (count, 2, 3), see ``move_planes``."""
    flip = 1 - 2 * torch.randint(2, (count,)).float()
    angle = torch.deg2rad(_draw(strength.degrees, count))
    scale = 1 + _draw(strength.scale, count)
    across, down = (2 * _draw(strength.shift, count) for _ in range(2))
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    # The way back: shift, turn and scale undone, then the mirror.
    rows = (
        torch.stack([cos, sin, -(cos * across + sin * down)], 1) * flip[:, None],
        torch.stack([-sin, cos, sin * across - cos * down], 1),
    )
    return torch.stack(rows, 1)


def move_planes(planes: Tensor, places: Tensor) -> Tensor:
    """Return planes whose pixels come from elsewhere, bilinearly; 0 comes from outside.

    Args:
        planes: (B, C, S, S) floats.
        places: (B, 2, 3): where x and y of a pixel come from, as shares of a half side from the
            middle: ``[x', y'] = places @ [x, y, 1]``.
    """
    size_px = planes.shape[-1]
    line = (2 * torch.arange(size_px, device=planes.device) + 1) / size_px - 1
    across = places[:, :, :1] * line + places[:, :, 2:]  # (B, 2, S) along x
    down = places[:, :, 1:2] * line  # along y
    # By two sums: functional.affine_grid multiplies matrices, and takes 12 times as long on a CPU.
    grid = torch.empty((len(planes), size_px, size_px, 2), device=planes.device)
    for axis in range(2):
        torch.add(across[:, axis, None, :], down[:, axis, :, None], out=grid[..., axis])
    return functional.grid_sample(planes, grid, align_corners=False)


@dataclass(frozen=True, slots=True, eq=False)
class _Light:
    """New colours of each crop: ``matrix @ RGB``, and the share of its mean grey added to each."""

    matrix: Tensor
    """(B, 3, 3)."""
    lift: Tensor | None
    """(B,); None: no contrast is changed, and the mean grey need not be known."""

    def part(self, rows: slice) -> _Light:
        """Return the colours of some crops."""
        return _Light(self.matrix[rows], None if self.lift is None else self.lift[rows])


def _draw_light(strength: Strength, count: int, device: torch.device) -> _Light:
    """Return brightness, contrast, saturation, hue and grey as one product.

    All are linear and, with the mean grey held, the same in any order, but for values that would
    leave 0 to 255 in between: those are cut once, at the end.
    """
    brightness = 1 + _draw(strength.brightness, count)
    contrast = 1 + _draw(strength.contrast, count)
    saturation = 1 + _draw(strength.saturation, count)
    turn = 2 * math.pi * _draw(strength.hue, count)
    saturation[torch.rand(count) < strength.grey] = 0
    in_yiq = torch.zeros(count, 3, 3)
    in_yiq[:, 0, 0] = 1
    in_yiq[:, 1, 1] = in_yiq[:, 2, 2] = saturation * torch.cos(turn)
    in_yiq[:, 2, 1] = saturation * torch.sin(turn)
    in_yiq[:, 1, 2] = -in_yiq[:, 2, 1]
    matrix = (brightness * contrast)[:, None, None] * (_FROM_YIQ @ in_yiq @ _TO_YIQ)
    lift = brightness * (1 - contrast) if strength.contrast else None
    return _Light(
        matrix.to(device, non_blocking=True),
        None if lift is None else lift.to(device, non_blocking=True),
    )


def _draw_sigmas(strength: Strength, count: int) -> Tensor:
    """Return the blur of each crop in pixels, 0 where it gets none; stays on the CPU."""
    least, most = BLUR_SIGMA
    sigmas = least + (most - least) * torch.rand(count)
    return sigmas * (torch.rand(count) < strength.blurred)


def _blur(planes: Tensor, sigmas: Tensor) -> None:
    """Blur those of the (B, C, S, S) crops that have a sigma above 0, in place."""
    chosen = torch.nonzero(sigmas)[:, 0]
    if not len(chosen):
        return
    reach = BLUR_PX // 2
    offsets = torch.arange(-reach, reach + 1)
    weights = torch.exp(-0.5 * (offsets / sigmas[chosen, None]) ** 2)
    weights = weights / weights.sum(1, keepdim=True)
    rows = chosen.to(planes.device, non_blocking=True)
    picked = planes[rows]
    # (B, C, S, S) -> (1, B*C, S, S): one kernel for each plane.
    flat = functional.pad(picked, (reach,) * 4, mode="reflect").flatten(0, 1)[None]
    kernel = weights.repeat_interleave(picked.shape[1], 0).to(planes.device, non_blocking=True)
    flat = functional.conv2d(flat, kernel[:, None, :, None], groups=len(kernel))
    flat = functional.conv2d(flat, kernel[:, None, None, :], groups=len(kernel))
    planes[rows] = flat[0].view_as(picked)


def _interleave(planes: Tensor, target: Tensor) -> None:
    """Copy (B, 3, S, S) planes to ``target`` of the same shape, whose channels lie together."""
    if planes.device.type != "cpu":
        target.copy_(planes)
        return
    # By OpenCV, because torch takes 4 times as long to change the order of axes.
    for crop, place in zip(planes.numpy(), target.permute(0, 2, 3, 1).numpy(), strict=True):
        cv2.merge(list(crop), place)


def _column(values: NDArray[np.float64], device: torch.device) -> Tensor:
    # Sent without waiting: torch.tensor(…, device=…) waits for all that the GPU has to do.
    return torch.tensor(values[:, None], dtype=torch.float32).to(device, non_blocking=True)


def _draw(largest: float, count: int) -> Tensor:
    """Return ``count`` values drawn evenly from -``largest`` to ``largest``."""
    return (2 * torch.rand(count) - 1) * largest


class Mixer:
    """Mixes each picture of a batch with its neighbour, or leaves all as they are.

    Zhang et al. 2018, "mixup"; Yun et al. 2019, "CutMix". Where both are on, a batch gets one of
    them, by the toss of a coin. All is drawn from torch's global generator.
    """

    def __init__(self, classes: int, mixup: float = 0.0, cutmix: float = 0.0) -> None:
        """Take the a of each Beta(a, a) that the shares are drawn from; 0: not."""
        self._classes = classes
        ways = [
            way(alpha=alpha, num_classes=classes)
            for way, alpha in ((v2.MixUp, mixup), (v2.CutMix, cutmix))
            if alpha > 0
        ]
        self._mix = v2.RandomChoice(ways) if ways else None

    def apply(
        self, inputs: Tensor, labels: Tensor, maps: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the mixed inputs, targets and maps.

        Args:
            inputs: (B*V, 3, S, S); the views of a picture are mixed alike.
            labels: (B,) int64, on the same device.
            maps: (B, S, S); where NaN goes in, NaN comes out.

        Returns:
            Inputs as given; (B, K) float32, the share of each class; maps as given.
        """
        if self._mix is None:
            return inputs, functional.one_hot(labels, self._classes).float(), maps
        # (B*V, 3, S, S) -> (B, V*3, S, S), the map as one channel more: all get the same share.
        planes = inputs.reshape(len(labels), -1, *inputs.shape[2:])
        if maps is not None:
            planes = torch.cat([planes, maps[:, None]], 1)
        mixed, targets = self._mix(planes, labels)
        if maps is not None:
            mixed, maps = mixed[:, :-1], mixed[:, -1]
        result = mixed.reshape(inputs.shape).contiguous(memory_format=torch.channels_last)
        return result, targets, maps
