"""What a network says of crops."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from roi_cls.classifier.batch import pick_pixels
from roi_cls.classifier.device import Backend
from roi_cls.classifier.normalisation import Normalisation
from roi_cls.classifier.scorer import BATCH_SIZE


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
