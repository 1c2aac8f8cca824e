"""From logits to probabilities to an answer: how sure it is, and what not answering gains.

Knows arrays only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from roi_cls.classifier.metrics.interval import Floats, Labels


def to_probabilities(
    logits: NDArray[np.floating], temperature: float = 1.0, offsets: ArrayLike = 0.0
) -> Floats:
    """Return softmax(logits / temperature + offsets) of (N, K) logits: rows sum to 1.

    offsets: (K,), see ``fit_scaling``.
    """
    scaled = logits.astype(np.float64) / temperature + np.asarray(offsets, np.float64)
    scaled -= scaled.max(axis=1, keepdims=True)
    powers = np.exp(scaled)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float64)


def join_scores(
    probabilities: Sequence[Floats],
    weights: Sequence[float],
    temperature: float = 1.0,
    offsets: ArrayLike = 0.0,
) -> Floats:
    """Return the weighted mean of the members' (N, K) probabilities.

    Temperature and offsets then act on its logarithm, as they do on logits.
    """
    mean = np.average(np.stack(probabilities), axis=0, weights=np.asarray(weights, np.float64))
    if temperature == 1.0 and not np.any(offsets):
        return np.asarray(mean, np.float64)
    with np.errstate(divide="ignore"):  # the logarithm of 0 becomes the probability 0 again
        return to_probabilities(np.log(mean), temperature, offsets)


def decide(probabilities: Floats, target: int, threshold: float | None) -> Labels:
    """Return the decided class of each row of (N, K) probabilities.

    Two classes: the target where its probability reaches ``threshold``, else the other one. More
    classes: the most probable, the lower index at a tie; ``threshold`` plays no part.
    """
    if probabilities.shape[1] == 2 and threshold is not None:
        answer = np.where(probabilities[:, target] >= threshold, target, 1 - target)
    else:
        answer = probabilities.argmax(axis=1)
    return np.asarray(answer, np.int64)


def measure_margin(probabilities: Floats, target: int, threshold: float | None) -> Floats:
    """Return how far each row of (N, K) probabilities lies from another answer, 0 to 1.

    Two classes: the distance of the target's probability from ``threshold``. More classes: the
    highest probability less the second.
    """
    if probabilities.shape[1] == 2 and threshold is not None:
        return np.asarray(np.abs(probabilities[:, target] - threshold), np.float64)
    ordered = np.sort(probabilities, axis=1)
    return np.asarray(ordered[:, -1] - ordered[:, -2], np.float64)


def is_unsure(
    probabilities: Floats, target: int, threshold: float | None, abstain: float
) -> NDArray[np.bool_]:
    """Return which rows of (N, K) probabilities are too close to call: margin below ``abstain``.

    With two classes ``abstain`` is thus half the width of a band around the threshold, with more
    the least lead of the first class over the second. At 0 every answer counts as sure.
    """
    return np.asarray(measure_margin(probabilities, target, threshold) < abstain, np.bool_)


@dataclass(frozen=True, slots=True, eq=False)
class RiskCoverage:
    """The share of wrong answers among the surest pictures, for each number of them."""

    coverage: Floats
    """(N,) share of the pictures that are answered, rising to 1."""
    risk: Floats
    """(N,) share of wrong answers among them."""
    margin: Floats
    """(N,) of the least sure picture among them: an abstain band up to it answers these."""
    best: Floats
    """(N,) risk if every wrong answer were less sure than every right one."""


def risk_coverage(wrong: NDArray[np.bool_], margins: Floats) -> RiskCoverage:
    """Return the curve, with equally sure pictures as equally wrong.

    wrong: (N,) whether the answer is wrong, N >= 1.  margins: (N,) how sure it is.
    """
    order = np.argsort(-margins, kind="stable")
    ranked = margins[order]
    starts = np.flatnonzero(np.diff(ranked, prepend=np.inf))
    sizes = np.diff(np.append(starts, len(order)))
    rate = np.repeat(np.add.reduceat(wrong[order].astype(np.float64), starts) / sizes, sizes)
    covered = np.arange(1, len(order) + 1)
    rightly = len(order) - int(wrong.sum())
    return RiskCoverage(
        coverage=covered / len(order),
        risk=np.cumsum(rate) / covered,
        margin=ranked,
        best=np.maximum(covered - rightly, 0) / covered,
    )


def risk_area(curve: RiskCoverage) -> float:
    """Return the area under the curve (AURC), 0 is best; a constant margin gives the error."""
    return float(curve.risk.mean())
