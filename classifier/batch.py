"""Crops to model input: random changes in training, normalisation always."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from roi_cls.classifier._torchvision import ensure_torchvision
from roi_cls.classifier.config import Augmentation

ensure_torchvision()
from torchvision.transforms import v2  # noqa: E402  (declares its operators first)


@dataclass(frozen=True, slots=True)
class Normalisation:
    """Mean and standard deviation per RGB channel, 0 to 1, that the weights expect."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != 3 or len(self.std) != 3:
            raise ValueError(f"mean and std must be per RGB channel, got {self.mean}, {self.std}")
        if not (all(map(math.isfinite, self.mean)) and all(0 < s < math.inf for s in self.std)):
            raise ValueError(f"mean must be finite and std above 0, got {self.mean}, {self.std}")

    def apply(self, pixels: Tensor, device: torch.device) -> Tensor:
        """Return (B, 3, H, W) uint8 as normalised float32 on ``device``, channels last."""
        values = pixels.to(device, non_blocking=True).float()
        mean = torch.tensor(self.mean, device=device).view(1, 3, 1, 1) * 255
        std = torch.tensor(self.std, device=device).view(1, 3, 1, 1) * 255
        return ((values - mean) / std).contiguous(memory_format=torch.channels_last)


def pick_pixels(pixels: NDArray[np.uint8], rows: NDArray[np.int64]) -> Tensor:
    """Return the crops at ``rows``: (N, H, W, 3) -> (B, 3, H, W) uint8, channels last."""
    return torch.from_numpy(pixels[rows]).permute(0, 3, 1, 2)


def shuffled_rows(count: int, generator: torch.Generator) -> NDArray[np.int64]:
    """Return the row numbers 0 to ``count`` - 1, each once, in random order."""
    return np.asarray(torch.randperm(count, generator=generator).numpy(), np.int64)


def balanced_rows(labels: NDArray[np.int64], generator: torch.Generator) -> NDArray[np.int64]:
    """Return as many row numbers as there are labels, every class drawn as often on average.

    Drawn with replacement: a rare picture comes several times an epoch, a common one at times not.
    """
    weights = torch.from_numpy(1.0 / np.bincount(labels)[labels])
    rows = torch.multinomial(weights, len(labels), replacement=True, generator=generator)
    return np.asarray(rows.numpy(), np.int64)


def in_batches(rows: NDArray[np.int64], batch_size: int) -> Iterator[NDArray[np.int64]]:
    """Yield the rows in order, ``batch_size`` at a time.

    A last batch of a single row joins the one before: batch statistics need two.
    """
    starts = list(range(0, len(rows), batch_size))
    if len(starts) > 1 and len(rows) - starts[-1] == 1:
        starts.pop()
    for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        yield rows[start:end]


class Augmenter:
    """Random changes, drawn for each crop by itself and for training crops alone.

    What it may do keeps an artefact in the picture and a face plausible: mirror, shift, turn and
    scale a little, and the light. ``strong`` does more of each, and colour, blur, grey.
    """

    def __init__(self, kind: Augmentation) -> None:
        self._transform = _transform(kind)

    def apply(self, pixels: Tensor) -> Tensor:
        """Return changed crops. pixels: (B, 3, H, W) uint8, also the result."""
        if self._transform is None:
            return pixels
        changed = torch.stack([self._transform(crop) for crop in pixels])
        return changed.contiguous(memory_format=torch.channels_last)


def _transform(kind: Augmentation) -> v2.Compose | None:
    bilinear = v2.InterpolationMode.BILINEAR
    if kind == "none":
        return None
    if kind == "light":
        return v2.Compose(
            [
                v2.RandomHorizontalFlip(),
                v2.RandomAffine(5, (0.05, 0.05), (0.95, 1.05), interpolation=bilinear, fill=114),
                v2.ColorJitter(brightness=0.1),
            ]
        )
    return v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            v2.RandomAffine(15, (0.1, 0.1), (0.8, 1.2), interpolation=bilinear, fill=114),
            v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.03),
            v2.RandomApply([v2.GaussianBlur(5, (0.1, 1.5))], p=0.2),
            v2.RandomGrayscale(0.05),
        ]
    )
