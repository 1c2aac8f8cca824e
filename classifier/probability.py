"""From logits to probabilities, and from several models' to one. Knows arrays only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


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


def join_scores(
    probabilities: Sequence[NDArray[np.float64]],
    weights: Sequence[float],
    temperature: float = 1.0,
    offsets: ArrayLike = 0.0,
) -> NDArray[np.float64]:
    """Return the weighted mean of the members' (N, K) probabilities.

    Temperature and offsets then act on its logarithm, as they do on logits.
    """
    mean = np.average(np.stack(probabilities), axis=0, weights=np.asarray(weights, np.float64))
    if temperature == 1.0 and not np.any(offsets):
        return np.asarray(mean, np.float64)
    with np.errstate(divide="ignore"):  # the logarithm of 0 becomes the probability 0 again
        return to_probabilities(np.log(mean), temperature, offsets)
