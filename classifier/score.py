"""Probabilities of crops. The one way that evaluation, prediction and verification compute them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from roi_cls.classifier.batch import Normalisation, pick_pixels
from roi_cls.classifier.device import Backend

BATCH_SIZE = 32


def compute_logits(
    model: nn.Module,
    pixels: NDArray[np.uint8],
    normalisation: Normalisation,
    backend: Backend,
    batch_size: int = BATCH_SIZE,
) -> NDArray[np.float32]:
    """Return (N, K) logits of (N, H, W, 3) RGB uint8 crops, the model in evaluation mode."""
    model.eval()
    outputs = []
    with torch.inference_mode(), backend.autocast():
        for start in range(0, len(pixels), batch_size):
            rows = np.arange(start, min(start + batch_size, len(pixels)))
            batch = normalisation.apply(pick_pixels(pixels, rows), backend.device)
            outputs.append(model(batch).float().cpu().numpy())
    return np.concatenate(outputs)


def to_probabilities(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    """Return the softmax of (N, K) logits divided by ``temperature``: rows sum to 1."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    powers = np.exp(scaled)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float64)
