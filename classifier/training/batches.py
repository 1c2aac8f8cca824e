"""What the training loop learns from: batches on the device, wherever they come from.

``PixelSource`` makes them of crops: kept where they are fast to take, spoiled, changed at random,
normalised and mixed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from roi_cls.classifier.augmentation.augment import Augmenter, Mixer
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.models.score import pick_pixels
from roi_cls.classifier.runs.bundle import Normalisation
from roi_cls.data.crops import CropArray

_SHARE_OF_FREE = 0.4
"""Of a GPU's free memory that crops may take: the rest is the model's."""
_MOVED_BYTES = 64 * 2**20
"""Sent to the GPU at once: pixels read from a file need not be in the host's memory together."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Model input and what is to be answered, on the device."""

    inputs: Tensor
    """What the model takes: (B*V, 3, S, S) normalised crops, the V views of one picture next to
    each other, or (B, F) embeddings; float32."""
    targets: Tensor
    """(B, K) float32 share of each class; rows sum to 1."""
    evidence: Tensor | None = None
    """(B, H, W) float32, 0 to 1: where the target's evidence lies; NaN throughout a picture of
    which it is unknown."""


class BatchSource(Protocol):
    """Labelled pictures, or their embeddings, that give batches by row numbers.

    Whatever is random in ``train_batch`` is drawn from torch's global generator, so that a resumed
    run draws what an uninterrupted one draws.
    """

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,) index of each picture's class."""
        ...

    def __len__(self) -> int:
        """How many pictures there are."""
        ...

    def train_batch(self, rows: NDArray[np.int64]) -> Batch:
        """Return the pictures at ``rows``, changed at random as training wants them."""
        ...

    def plain_inputs(self, rows: NDArray[np.int64]) -> Tensor:
        """Return the model's input for the pictures at ``rows``, unchanged."""
        ...


class PixelSource:
    """A ``BatchSource`` of crops."""

    def __init__(
        self,
        crops: CropArray,
        classes: int,
        normalisation: Normalisation,
        device: torch.device,
        config: TrainConfig,
        target_index: int,
    ) -> None:
        self.labels = crops.labels
        self._views = len(crops.by_view)
        self._store = DeviceCrops(crops.pixels, device)
        self._device = device
        self._normalisation = normalisation
        self._augmenter = Augmenter(config.augmentation, normalisation)
        self._mixer = Mixer(classes, config.mixup, config.cutmix)
        self._target = target_index
        self._wants_evidence = config.head == "evidence"
        self._spoiler = None
        if config.self_blend and (crops.labels != target_index).any():
            from roi_cls.classifier.augmentation.spoil import Spoiler

            share, beside = config.self_blend, config.self_blend_beside
            self._spoiler = Spoiler(crops, target_index, share, beside)

    def __len__(self) -> int:
        return len(self.labels)

    def train_batch(self, rows: NDArray[np.int64]) -> Batch:
        """Return the pictures at ``rows``, changed at random."""
        pixels = self._store.take(rows)
        labels = torch.from_numpy(self.labels[rows])
        is_unknown = labels == self._target  # a real defect: where it is nobody has marked
        maps = None
        if self._wants_evidence:
            maps = torch.zeros(len(rows), *pixels.shape[-2:], device=self._device)
        if self._spoiler is not None:
            spoiled = self._spoiler.draw(rows)
            places = torch.from_numpy(spoiled.places)
            labels[places] = self._target
            at = _hand_over(places, self._device)
            if maps is not None:
                maps[at] = _hand_over(torch.from_numpy(spoiled.masks), self._device)
            crops = torch.from_numpy(spoiled.crops).permute(0, 3, 1, 2)
            pixels[at * self._views] = _hand_over(crops, self._device)
        return self._finish(pixels, labels, maps, is_unknown)

    def plain_inputs(self, rows: NDArray[np.int64]) -> Tensor:
        """Return the model's input for the pictures at ``rows``, unchanged."""
        return self._normalisation.apply(self._store.take(rows), self._device)

    def _finish(
        self, pixels: Tensor, labels: Tensor, maps: Tensor | None, is_unknown: Tensor
    ) -> Batch:
        """Return the batch of pixels and maps on the device, and labels on the host."""
        inputs, maps = self._augmenter.apply(pixels, self._views, maps)
        if maps is not None:
            unknown = _hand_over(is_unknown, self._device)
            # Not by maps[unknown]: a GPU would have to say first how many there are.
            maps = maps.masked_fill(unknown[:, None, None], torch.nan)
        targets = _hand_over(labels, self._device)
        return Batch(*self._mixer.apply(inputs, targets, maps))


class DeviceCrops:
    """Pictures by row number, as tensors on the device."""

    def __init__(self, pixels: NDArray[np.uint8], device: torch.device) -> None:
        """Take (N, S, S, 3) or (N, V, S, S, 3) pixels, which are only read."""
        self._pixels = pixels
        self._device = device
        self._resident = _send(pixels, device) if _has_room(pixels, device) else None

    @property
    def is_on_gpu(self) -> bool:
        """Whether all pixels lie on the GPU."""
        return self._resident is not None

    def take(self, rows: NDArray[np.int64]) -> Tensor:
        """Return the pictures at ``rows``: (B*V, 3, S, S) uint8 on the device, channels last."""
        if self._resident is None:
            return _hand_over(pick_pixels(self._pixels, rows), self._device)
        index = _hand_over(torch.from_numpy(rows), self._device)
        size_px = self._pixels.shape[-2]
        picked = self._resident.index_select(0, index).view(-1, size_px, size_px, 3)
        return picked.permute(0, 3, 1, 2)


def _hand_over(values: Tensor, device: torch.device) -> Tensor:
    """Return the host's values on the device, without waiting for what a GPU has to do before."""
    if device.type == "cuda":
        values = values.pin_memory()  # else the copy of many bytes would wait
    return values.to(device, non_blocking=True)


def _has_room(pixels: NDArray[np.uint8], device: torch.device) -> bool:
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return pixels.nbytes < _SHARE_OF_FREE * free


def _send(pixels: NDArray[np.uint8], device: torch.device) -> Tensor:
    resident = torch.empty(pixels.shape, dtype=torch.uint8, device=device)
    step = max(1, _MOVED_BYTES // max(1, pixels[:1].nbytes))
    for start in range(0, len(pixels), step):
        # A copy, because torch warns of a file that it could not write to.
        resident[start : start + step] = torch.from_numpy(pixels[start : start + step].copy())
    return resident
