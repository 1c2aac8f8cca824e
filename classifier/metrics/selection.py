"""How much the best of many flatters: chosen on some pictures, scored on others. Knows arrays only.

Whoever tries many systems on the same pictures and reports the best reports luck, too. Here the
choice itself is repeated: on a resample of the pictures the best system is chosen, and scored on
the pictures that the resample left out. The mean over resamples is what the choice is worth, by
BBC-CV: I. Tsamardinos, E. Greasidou and G. Borboudakis, "Bootstrapping the out-of-sample
predictions for efficient and accurate cross-validation", Machine Learning 107 (2018), 1895-1922.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from roi_cls.classifier.metrics.interval import CONFIDENCE, Estimate, Floats, Labels, resample
from roi_cls.classifier.metrics.weighted import metric_interval, weighted_ranking

Score = Literal["roc_auc", "average_precision"]
"""Metrics of the target's rank that systems are chosen by."""
SELECTIONS = 500
"""Resamples in which the choice is repeated; the paper has no use for more."""


@dataclass(frozen=True, slots=True)
class BestOfMany:
    """The best of several systems, and what is left of its score when the choice is repeated."""

    best: int
    """Its place; of equal ones the first."""
    apparent: Estimate
    """Its score on all pictures, on which it was chosen, with the interval of a single system."""
    corrected: Estimate
    """The mean score of the system chosen in each resample on the pictures left out, with the
    bootstrap's percentiles: rather too wide, as about 37 % of the pictures are left out."""

    @property
    def optimism(self) -> float:
        """What the choice alone adds to the score, on average; NaN where it is undefined."""
        return self.apparent.value - self.corrected.value


def rank_score(labels: Labels, scores: Floats, target: int, score: Score) -> float:
    """Return the ROC-AUC or average precision of the target; NaN without both kinds.

    labels: (N,) true class indices.  scores: (N,) of the target.
    """
    return float(_ranking(labels == target, scores, np.ones((1, len(labels))), score)[0])


def choose_best(
    labels: Labels,
    systems: Sequence[Floats],
    target: int,
    score: Score = "roc_auc",
    *,
    resamples: int = SELECTIONS,
    seed: int = 0,
) -> BestOfMany:
    """Return the best of the systems, and how much the choice flatters it.

    labels: (N,) true class indices.  systems: each (N,), its scores of the target for pictures it
    did not learn from.  target: index of the class looked for.

    Raises:
        ValueError: There is no system.
    """
    if not systems:
        raise ValueError("a choice needs systems")
    is_target = labels == target
    ones = np.ones((1, len(labels)))
    values = np.array([_ranking(is_target, one, ones, score)[0] for one in systems])
    best = int(np.argmax(np.nan_to_num(values, nan=-1)))
    inside, outside, draws = [], [], []
    # Drawn by kind alone: of more than two classes the others are one side.
    for weights in resample(is_target.astype(np.int64), resamples=resamples, seed=seed):
        left_out = (weights == 0).astype(np.float64)
        inside.append([_ranking(is_target, one, weights, score) for one in systems])
        outside.append([_ranking(is_target, one, left_out, score) for one in systems])
        draws.append(inside[-1][best])
    chosen = np.concatenate(inside, axis=1).argmax(axis=0)  # (M, B) -> (B,)
    reached = np.concatenate(outside, axis=1)[chosen, np.arange(len(chosen))]
    apparent = metric_interval(
        score, float(values[best]), np.concatenate(draws), is_target.astype(np.int64)
    )
    return BestOfMany(best, apparent, _mean_reached(reached))


def _mean_reached(reached: Floats) -> Estimate:
    reached = reached[~np.isnan(reached)]
    if not reached.size:  # of one target, none is ever left out beside one that is drawn
        return Estimate(math.nan, 0.0, 1.0)
    outer = (100 * (1 - CONFIDENCE) / 2, 100 * (1 + CONFIDENCE) / 2)
    low, high = np.percentile(reached, outer)
    value = float(reached.mean())
    return Estimate(value, min(float(low), value), max(float(high), value))


def _ranking(
    is_target: np.typing.NDArray[np.bool_], scores: Floats, weights: Floats, score: Score
) -> Floats:
    found = weighted_ranking(is_target.astype(np.float64), scores, weights)
    return found[0 if score == "roc_auc" else 1]
