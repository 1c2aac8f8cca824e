"""From probabilities to an answer, and how sure it is. Knows arrays only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def decide(
    probabilities: NDArray[np.float64], target: int, threshold: float | None
) -> NDArray[np.int64]:
    """Return the decided class of each row of (N, K) probabilities.

    Two classes: the target where its probability reaches ``threshold``, else the other one. More
    classes: the most probable, the lower index at a tie; ``threshold`` plays no part.
    """
    if probabilities.shape[1] == 2 and threshold is not None:
        answer = np.where(probabilities[:, target] >= threshold, target, 1 - target)
    else:
        answer = probabilities.argmax(axis=1)
    return np.asarray(answer, np.int64)


def measure_margin(
    probabilities: NDArray[np.float64], target: int, threshold: float | None
) -> NDArray[np.float64]:
    """Return how far each row of (N, K) probabilities lies from another answer, 0 to 1.

    Two classes: the distance of the target's probability from ``threshold``. More classes: the
    highest probability less the second.
    """
    if probabilities.shape[1] == 2 and threshold is not None:
        return np.asarray(np.abs(probabilities[:, target] - threshold), np.float64)
    ordered = np.sort(probabilities, axis=1)
    return np.asarray(ordered[:, -1] - ordered[:, -2], np.float64)


def is_unsure(
    probabilities: NDArray[np.float64], target: int, threshold: float | None, abstain: float
) -> NDArray[np.bool_]:
    """Return which rows of (N, K) probabilities are too close to call: margin below ``abstain``.

    With two classes ``abstain`` is thus half the width of a band around the threshold, with more
    the least lead of the first class over the second. At 0 every answer counts as sure.
    """
    return np.asarray(measure_margin(probabilities, target, threshold) < abstain, np.bool_)
