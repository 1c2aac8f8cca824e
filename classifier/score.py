"""What a network says of crops, and probabilities from it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from roi_cls.classifier.batch import Normalisation, pick_pixels
from roi_cls.classifier.device import Backend

BATCH_SIZE = 32


def compute_logits(
    model: nn.Module,
    pixels: NDArray[np.uint8],
    normalisation: Normalisation,
    backend: Backend,
    batch_size: int = BATCH_SIZE,
    *,
    mirror: bool = False,
) -> NDArray[np.float32]:
    """Return (N, K) logits of (N, S, S, 3) or (N, V, S, S, 3) RGB uint8 crops.

    The model is put into evaluation mode and stays in it. With ``mirror``, the logits are the mean
    of those of the crops and of their mirror images.
    """
    model.eval()

    def apply_to_both(inputs: Tensor) -> Tensor:
        both: Tensor = model(inputs).float() + model(inputs.flip(-1)).float()
        return both / 2

    apply = apply_to_both if mirror else model
    return compute_outputs(apply, pixels, normalisation, backend, batch_size)


def compute_outputs(
    apply: Callable[[Tensor], Tensor],
    pixels: NDArray[np.uint8],
    normalisation: Normalisation,
    backend: Backend,
    batch_size: int = BATCH_SIZE,
) -> NDArray[np.float32]:
    """Return what ``apply`` makes of the crops as model input, batch by batch."""
    outputs = []
    with torch.inference_mode(), backend.autocast():
        for start in range(0, len(pixels), batch_size):
            rows = np.arange(start, min(start + batch_size, len(pixels)))
            batch = normalisation.apply(pick_pixels(pixels, rows), backend.device)
            outputs.append(apply(batch).float().cpu().numpy())
    return np.concatenate(outputs)


def to_probabilities(
    logits: NDArray[np.floating], temperature: float = 1.0, offsets: ArrayLike = 0.0
) -> NDArray[np.float64]:
    """Return softmax(logits / temperature + offsets) of (N, K) logits: rows sum to 1.

    offsets: (K,), see ``fit_scaling``.
    """
    scaled = logits.astype(np.float64) / temperature + np.asarray(offsets, np.float64)
    scaled -= scaled.max(axis=1, keepdims=True)
    powers = np.exp(scaled)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float64)
