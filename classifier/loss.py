"""What training makes small: cross-entropy over soft labels, and evidence where it is known."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from roi_cls.classifier.config import TrainConfig

_EVIDENCE_WEIGHT = 3.0
"""Of a place with evidence against one without: most of a crop has none."""


class Loss(nn.Module):
    """The sum of the pictures' losses.

    A sum, because the step that calls it divides by the pictures of all its batches and processes:
    then neither accumulation nor a second GPU changes what is learned.
    """

    _weights: Tensor
    _prior: Tensor

    def __init__(self, config: TrainConfig, frequencies: NDArray[np.float64]) -> None:
        """Take the settings, and the (K,) numbers of pictures of each class in an epoch."""
        super().__init__()
        classes = len(frequencies)
        shares = np.maximum(frequencies, 1) / frequencies.sum()
        # Inverse to the classes' frequencies, of mean 1 over the pictures.
        weights = 1 / (classes * shares) if config.imbalance == "weights" else np.ones(classes)
        # Menon et al. 2021, "Long-tail learning via logit adjustment": the loss sees the logits
        # with the classes' shares added, so that the logits themselves come out as if balanced.
        adjusts = config.imbalance == "logit_adjustment"
        prior = np.log(shares) if adjusts else np.zeros(classes)
        self.register_buffer("_weights", torch.tensor(weights, dtype=torch.float32))
        self.register_buffer("_prior", torch.tensor(prior, dtype=torch.float32))
        self._smoothing = config.label_smoothing
        self._gamma = config.focal_gamma

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the summed loss of (B, K) logits for (B, K) shares of the classes."""
        log_shares = functional.log_softmax(logits.float() + self._prior, dim=1)
        targets = targets * (1 - self._smoothing) + self._smoothing / targets.shape[1]
        losses = -targets * self._weights * log_shares
        if self._gamma:
            # Lin et al. 2017, "Focal Loss for Dense Object Detection". The base is kept above 0,
            # where the power of a gamma below 1 has no finite slope.
            losses = losses * (1 - log_shares.exp()).clamp(min=1e-6) ** self._gamma
        return losses.sum()


def evidence_loss(places: Tensor, evidence: Tensor) -> Tensor:
    """Return the summed loss of the local logits; a picture without known evidence adds nothing.

    Args:
        places: (B, h, w) logits of the target's evidence at each place.
        evidence: (B, H, W) its share there, 0 to 1; NaN where it is unknown.
    """
    size = (places.shape[-2], places.shape[-1])
    wanted = functional.adaptive_avg_pool2d(evidence.unsqueeze(1), size).squeeze(1)
    is_known = wanted.isfinite().flatten(1).all(dim=1)
    weight = torch.tensor(_EVIDENCE_WEIGHT, device=places.device)
    losses = functional.binary_cross_entropy_with_logits(
        places.float(), wanted.nan_to_num(), reduction="none", pos_weight=weight
    )
    return (losses.flatten(1).mean(dim=1) * is_known).sum()


def class_frequencies(
    labels: NDArray[np.int64], classes: int, target: int, self_blend: float
) -> NDArray[np.float64]:
    """Return how many pictures of each class an epoch shows: blended ones count as the target."""
    counts = np.bincount(labels, minlength=classes).astype(np.float64)
    blended = self_blend * (counts.sum() - counts[target])
    others = np.arange(classes) != target
    counts[others] *= 1 - self_blend
    counts[target] += blended
    return counts
