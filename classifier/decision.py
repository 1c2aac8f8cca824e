"""From probabilities to an answer: the threshold, and how it is chosen on validation."""

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


def choose_threshold(scores: NDArray[np.float64], is_target: NDArray[np.bool_]) -> float:
    """Return the threshold with the best F1 of the target.

    Only for validation scores. Of neighbouring scores it takes the middle, so that it lies as far
    from the pictures on both sides as can be; at a tie of F1, the higher threshold.

    Args:
        scores: (N,) probability of the target.
        is_target: (N,) whether the picture is of the target; at least one is.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(is_target[order])
    # Equal scores cannot be told apart: only the last of each run is a place to cut.
    cuts = np.flatnonzero(np.append(ranked[:-1] > ranked[1:], True))
    f1 = 2 * hits[cuts] / (cuts + 1 + hits[-1])
    cut = int(cuts[int(np.argmax(f1))])
    below = float(ranked[cut + 1]) if cut + 1 < len(ranked) else 0.0
    middle = (float(ranked[cut]) + below) / 2
    # Between two neighbouring floats there is none: the middle is rounded to one of them.
    return middle if middle > below else float(ranked[cut])
