"""Crops where they are fast to take: on the GPU if they fit there, else in the host's memory."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from roi_cls.classifier.models.pixels import pick_pixels

_SHARE_OF_FREE = 0.4
"""Of a GPU's free memory that crops may take: the rest is the model's."""
_MOVED_BYTES = 64 * 2**20
"""Sent to the GPU at once: pixels read from a file need not be in the host's memory together."""


class CropStore:
    """Pictures by row number, as tensors on the device."""

    def __init__(self, pixels: NDArray[np.uint8], device: torch.device) -> None:
        """Take (N, S, S, 3) or (N, V, S, S, 3) pixels, which are only read."""
        self._pixels = pixels
        self._device = device
        self._resident = _send(pixels, device) if _fits(pixels, device) else None

    @property
    def is_on_gpu(self) -> bool:
        """Whether all pixels lie on the GPU."""
        return self._resident is not None

    def take(self, rows: NDArray[np.int64]) -> Tensor:
        """Return the pictures at ``rows``: (B*V, 3, S, S) uint8 on the device, channels last."""
        if self._resident is None:
            picked = pick_pixels(self._pixels, rows)
            if self._device.type == "cuda":
                picked = picked.pin_memory()  # else the copy would wait for the GPU
            return picked.to(self._device, non_blocking=True)
        index = torch.from_numpy(rows).to(self._device, non_blocking=True)
        size_px = self._pixels.shape[-2]
        picked = self._resident.index_select(0, index).view(-1, size_px, size_px, 3)
        return picked.permute(0, 3, 1, 2)


def _fits(pixels: NDArray[np.uint8], device: torch.device) -> bool:
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
