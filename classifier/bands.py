"""How far a ROC or a precision-recall curve can be trusted, point by point. Knows arrays only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roi_cls.classifier.interval import CONFIDENCE, RESAMPLES, Estimate, Floats, resample, wilson

GRID = np.linspace(0, 1, 101)


@dataclass(frozen=True, slots=True, eq=False)
class RankingBands:
    """Both curves of a ranking on ``GRID``, with 95 % intervals for each point by itself."""

    found: tuple[Estimate, ...]
    """The greatest share of the target that is found while no more of the others than this share
    are called so."""
    precision: tuple[Estimate, ...]
    """The share of the called that are of the target, where at least this share of it is found."""


def ranking_bands(
    is_target: NDArray[np.bool_], scores: Floats, *, resamples: int = RESAMPLES, seed: int = 0
) -> RankingBands:
    """Return the bands of both curves, from the bootstrap's percentiles, class by class.

    Percentiles alone are too narrow, most of all where a curve lies at 0 or 1 and every resample
    does; so no interval is narrower than Wilson's of the pictures that its point is a share of.

    is_target: (N,), of both kinds at least one.  scores: (N,) of the target.
    """
    order = np.argsort(-scores, kind="stable")
    # Equal scores are called together: only where a score ends may a threshold lie.
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    positive = is_target[order]
    point = _read_curves(np.ones((1, len(order))), positive, ends)[:, 0]  # (3, G)
    chunks = [
        _read_curves(weights[:, order], positive, ends)
        for weights in resample(is_target.astype(np.int64), resamples=resamples, seed=seed)
    ]
    outer = (100 * (1 - CONFIDENCE) / 2, 100 * (1 + CONFIDENCE) / 2)
    low, high = np.percentile(np.concatenate(chunks, axis=1), outer, axis=1)  # (3, G) each
    totals = (np.full(len(GRID), is_target.sum()), point[2])
    found, precision = (
        tuple(
            _widen(wilson(point[curve, i] * totals[curve][i], totals[curve][i]), ends)
            for i, ends in enumerate(zip(low[curve], high[curve], strict=True))
        )
        for curve in (0, 1)
    )
    return RankingBands(found, precision)


def _widen(estimate: Estimate, ends: tuple[float, float]) -> Estimate:
    low, high = min(estimate.low, float(ends[0])), max(estimate.high, float(ends[1]))
    return Estimate(estimate.value, low, high)


def _read_curves(weights: Floats, positive: NDArray[np.bool_], ends: NDArray[np.int64]) -> Floats:
    """Return found, precision, and pictures called for it, at each place of the grid, (3, B, G).

    weights: (B, N), the highest score first.  positive: (N,).  ends: places of thresholds.
    """
    hits = np.cumsum(weights * positive, axis=1)[:, ends]
    alarms = np.cumsum(weights * ~positive, axis=1)[:, ends]
    read = np.empty((3, len(weights), len(GRID)))
    for row, (hit, alarm) in enumerate(zip(hits, alarms, strict=True)):
        share, called = hit / hit[-1], alarm / alarm[-1]
        # Rounding must not put 0.3 of 10 pictures beyond the third.
        last = np.searchsorted(called, GRID + 1e-9, side="right") - 1
        read[0, row] = np.where(last >= 0, share[np.maximum(last, 0)], 0)
        first = np.searchsorted(share, np.maximum(GRID - 1e-9, 1e-9), side="left")
        read[2, row] = hit[first] + alarm[first]
        read[1, row] = hit[first] / read[2, row]
    return read
