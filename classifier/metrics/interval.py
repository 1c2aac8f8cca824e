"""How far a number, or a curve point by point, can be trusted. Knows arrays only.

An evaluation gives a share ``wilson``'s interval. That of any other metric is asked for by
``weighted.metric_interval``, which knows the metric's bounds, and made by ``resampled_interval``.
Bands are another thing: an interval at each place along a curve, from percentiles.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
"""Share of repeated experiments whose interval would hold the true value."""
RESAMPLES = 2000
"""Bootstrap repetitions: another seed then changes an interval's width by about 1.6 %."""
CURVE_GRID = np.linspace(0, 1, 101)
"""Places at which curves and their bands are read."""
_CHUNK = 2_000_000  # weights held at once: 16 MB

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured value and its 95 % interval; ``value`` is NaN where the metric is undefined."""

    value: float
    """What was measured; NaN: the data do not define it."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""

    def __post_init__(self) -> None:
        if self.low > self.high or self.value < self.low or self.value > self.high:
            raise ValueError(
                f"An interval must hold its value, got {self.value} in [{self.low}, {self.high}]"
            )

    @property
    def is_defined(self) -> bool:
        """Whether the data gave a value at all."""
        return not math.isnan(self.value)

    def holds(self, value: float) -> bool:
        """Return whether ``value`` lies within the interval, its ends included."""
        return self.low <= value <= self.high

    def to_dict(self) -> dict[str, float | None]:
        """Return strict JSON values: a number that is not finite becomes null."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        return {key: n if math.isfinite(n) else None for key, n in numbers.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, float | None]) -> Estimate:
        """Return the estimate that ``to_dict`` wrote, null read as NaN.

        Raises:
            KeyError, TypeError, ValueError: The values are not of that form.
        """
        found = (values[key] for key in ("value", "low", "high"))
        return cls(*(math.nan if number is None else float(number) for number in found))

    def __str__(self) -> str:
        if not self.is_defined:
            return "undefined"
        value, low, high = map(format_number, (self.value, self.low, self.high))
        return f"{value} [{low}, {high}]"


def format_number(value: float, landmarks: tuple[float, ...] = (0.0, 1.0)) -> str:
    """Return two decimals, or more where two would claim a landmark (0.998, not 1.00)."""
    for digits in (2, 3, 4):
        text = f"{value:.{digits}f}"
        if abs(float(text)) not in landmarks or abs(float(text) - value) < 1e-9:
            break
    return text.removeprefix("-") if float(text) == 0 else text


def wilson(successes: float, total: float, confidence: float = CONFIDENCE) -> Estimate:
    """Return ``successes / total`` with Wilson's score interval.

    Unlike the textbook interval it stays inside 0 to 1 and does not shrink to a point at 0 of n
    or n of n. Source: E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical
    Inference", Journal of the American Statistical Association 22 (1927), 209-212.

    No trial at all gives the value NaN and the interval 0 to 1: nothing is known.

    Raises:
        ValueError: Not 0 <= successes <= total, or a confidence outside 0 to 1 (exclusive).
    """
    if not 0 <= successes <= total:
        raise ValueError(f"successes must be between 0 and {total}, got {successes}")
    z = _z_score(confidence)
    if total == 0:
        return Estimate(math.nan, 0.0, 1.0)
    share = successes / total
    scale = 1 + z * z / total
    center = (share + z * z / (2 * total)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    # The interval holds the share by construction; rounding may miss it by 1e-17 at 0 and 1.
    low = 0.0 if successes == 0 else min(max(0.0, center - half), share)
    high = 1.0 if successes == total else max(min(1.0, center + half), share)
    return Estimate(share, low, high)


def _z_score(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
    return NormalDist().inv_cdf((1 + confidence) / 2)


def resample(labels: Labels, *, resamples: int = RESAMPLES, seed: int) -> Iterator[Floats]:
    """Yield bootstrap weights (B, N): how often each picture counts in each of B resamples.

    Every class is drawn with replacement from itself alone, so each keeps its size and stays
    present. The chunks together have ``resamples`` rows and depend on nothing but the arguments.
    """
    generator = np.random.default_rng(seed)
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    step = max(1, _CHUNK // max(1, len(labels)))
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        weights = np.zeros((rows, len(labels)))
        for pictures in members:
            size = len(pictures)
            drawn = generator.integers(size, size=(rows, size))
            drawn += np.arange(rows)[:, None] * size  # one bincount for all the rows
            counts = np.bincount(drawn.ravel(), minlength=rows * size)
            weights[:, pictures] = counts.reshape(rows, size)
        yield weights


def resampled_interval(
    value: float,
    draws: Floats,
    *,
    trials: int,
    bounds: tuple[float, float] = (0.0, 1.0),
    confidence: float = CONFIDENCE,
) -> Estimate:
    """Return ``value`` with an interval from the spread of its resampled ``draws`` (R,).

    The bootstrap's standard error is taken on the logit scale of ``bounds`` and corrected by
    n / (n - 1), so the interval never leaves the bounds and holds its value.

    A perfect score resampled stays perfect, and one picture resampled is itself: a spread of 0
    that claims certainty. There it is Wilson's for ``trials``, stretched over ``bounds``: for
    ROC-AUC the smaller class gives that many disjoint pairs; elsewhere it is of that order.

    Args:
        value: The metric of the data themselves; NaN gives NaN and the whole of ``bounds``.
        draws: The metric of each resample; NaN where a resample does not define it.
        trials: Size of the smallest class the metric depends on.
        bounds: Least and greatest value the metric can have.
        confidence: As ``CONFIDENCE``.
    """
    least, greatest = bounds
    draws = draws[~np.isnan(draws)]
    if math.isnan(value) or draws.size == 0:
        return Estimate(math.nan, least, greatest)
    span, value = greatest - least, min(max(value, least), greatest)  # MCC may be 1 + 1e-16
    share, error = (value - least) / span, float(draws.std()) / span
    if trials <= 1 or error < 1e-12 or share in (0.0, 1.0):
        found = wilson(share * trials, trials, confidence)
        low, high = found.low, found.high
    else:
        error *= math.sqrt(trials / (trials - 1))
        half = _z_score(confidence) * error / (share * (1 - share))
        center = math.log(share / (1 - share))
        low, high = _logistic(center - half), _logistic(center + half)
    return Estimate(value, min(least + span * low, value), max(least + span * high, value))


def _logistic(x: float) -> float:
    # Of the two forms, the one whose exponential cannot overflow
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


@dataclass(frozen=True, slots=True, eq=False)
class RankingBands:
    """Both curves of a ranking on ``CURVE_GRID``, with 95 % intervals for each point by itself."""

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
    totals = (np.full(len(CURVE_GRID), is_target.sum()), point[2])
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
    read = np.empty((3, len(weights), len(CURVE_GRID)))
    for row, (hit, alarm) in enumerate(zip(hits, alarms, strict=True)):
        share, called = hit / hit[-1], alarm / alarm[-1]
        # Rounding must not put 0.3 of 10 pictures beyond the third.
        last = np.searchsorted(called, CURVE_GRID + 1e-9, side="right") - 1
        read[0, row] = np.where(last >= 0, share[np.maximum(last, 0)], 0)
        first = np.searchsorted(share, np.maximum(CURVE_GRID - 1e-9, 1e-9), side="left")
        read[2, row] = hit[first] + alarm[first]
        read[1, row] = hit[first] / read[2, row]
    return read
