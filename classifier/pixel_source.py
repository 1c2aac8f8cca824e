"""Crops as the training loop's batches: taken, spoiled, changed at random, normalised, mixed."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from roi_cls.classifier.augmentation.augment import Augmenter
from roi_cls.classifier.augmentation.mixing import Mixer
from roi_cls.classifier.batch_source import Batch
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.crop_store import CropStore
from roi_cls.classifier.runs.bundle import Normalisation
from roi_cls.data.crops import CropArray


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
        self._store = CropStore(crops.pixels, device)
        self._device = device
        self._normalisation = normalisation
        self._augmenter = Augmenter(config.augmentation, normalisation)
        self._mixer = Mixer(classes, config.mixup, config.cutmix)
        self._target = target_index
        self._wants_evidence = config.head == "evidence" or config.self_blend > 0
        self._spoiler = None
        if config.self_blend and (crops.labels != target_index).any():
            from roi_cls.classifier.augmentation.spoiler import Spoiler

            self._spoiler = Spoiler(crops, target_index, config.self_blend)

    def __len__(self) -> int:
        return len(self.labels)

    def train_batch(self, rows: NDArray[np.int64]) -> Batch:
        """Return the pictures at ``rows``, changed at random."""
        pixels = self._store.take(rows)
        labels = torch.from_numpy(self.labels[rows])
        is_unknown = labels == self._target  # a real defect: where it is nobody has marked
        size_px = pixels.shape[-1]
        maps = torch.zeros(len(rows), size_px, size_px) if self._wants_evidence else None
        if self._spoiler is not None and maps is not None:
            spoiled = self._spoiler.draw(rows)
            places = torch.from_numpy(spoiled.places)
            labels[places] = self._target
            maps[places] = torch.from_numpy(spoiled.masks)
            crops = torch.from_numpy(spoiled.crops).permute(0, 3, 1, 2)
            pixels[places.to(self._device) * self._views] = crops.to(self._device)
        return self._finish(pixels, labels, maps, is_unknown)

    def plain_inputs(self, rows: NDArray[np.int64]) -> Tensor:
        """Return the model's input for the pictures at ``rows``, unchanged."""
        return self._normalisation.apply(self._store.take(rows), self._device)

    def _finish(
        self, pixels: Tensor, labels: Tensor, maps: Tensor | None, is_unknown: Tensor
    ) -> Batch:
        """Return the batch of pixels on the device, and labels and maps on the host."""
        if maps is not None:
            maps = maps.to(self._device, non_blocking=True)
        inputs, maps = self._augmenter.apply(pixels, self._views, maps)
        if maps is not None:
            maps[is_unknown.to(self._device)] = torch.nan
        targets = labels.to(self._device, non_blocking=True)
        return Batch(*self._mixer.apply(inputs, targets, maps))
