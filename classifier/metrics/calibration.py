"""Whether a probability means what it says, and how to make it. Knows arrays only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from roi_cls.classifier.metrics.interval import Estimate, Floats, Labels, wilson

BINS = 10
"""Groups of equally many pictures, from the lowest score to the highest."""
FEWEST_PER_BIN = 10
"""Fewer pictures than ``BINS`` times this make fewer bins: in one of 3 the gap is mostly chance."""
TEMPERATURES = (0.2, 10.0)
"""Least and greatest temperature that is fitted: few pictures must not make it wild."""
OFFSETS = (-10.0, 10.0)
"""Least and greatest offset that is fitted."""
# A class this far below a picture's best is ruled out; how much farther it lies must not decide the
# fit. An ensemble whose members all give it probability 0 puts it infinitely far.
_EXCLUDED = -50.0


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Pictures of similar score: what was claimed of them, and what was so."""

    claimed: float
    """Mean probability of the target."""
    observed: Estimate
    """Share that is of the target; Wilson."""
    images: int


def fit_scaling(logits: NDArray[np.floating], labels: Labels) -> tuple[float, tuple[float, ...]]:
    """Return the temperature and the K offsets that make the probabilities fit the labels best.

    Those are softmax(logits / temperature + offsets); the last offset is 0, as only differences
    count. A temperature alone cannot undo that a rare class counted more in training; with
    offsets it can. With two classes the ranking stays, and with a threshold that is moved along
    every decision. Sources: A. Alexandari et al., "Maximum Likelihood with Bias-Corrected
    Calibration Is Hard-To-Beat at Label Shift Adaptation", ICML 2020, for both together; J. Platt,
    "Probabilistic Outputs for Support Vector Machines", 1999, for the targets: with n pictures of
    a class its label counts as (n + 1) / (n + 2), not as 1, so that a few pictures, all ranked
    rightly, do not claim certainty.

    Args:
        logits: (N, K), N >= 1; the logarithm of probabilities serves, too (ensembles).
        labels: (N,) true class indices.
    """
    scores = np.asarray(logits, np.float64)
    scores = np.maximum(scores - scores.max(axis=1, keepdims=True), _EXCLUDED)
    count, classes = scores.shape
    support = np.bincount(labels, minlength=classes)
    own = (support + 1) / (support + 2)
    targets = np.repeat(((1 - own[labels]) / (classes - 1))[:, None], classes, axis=1)
    targets[np.arange(count), labels] = own[labels]

    def loss(values: Floats) -> tuple[float, Floats]:
        """Return the mean cross-entropy, and its slopes."""
        scaled = scores * np.exp(-values[0])
        claimed = log_softmax(scaled + np.append(values[1:], 0.0), axis=1)
        excess = (np.exp(claimed) - targets) / count
        slopes = np.append(-(excess * scaled).sum(), excess.sum(axis=0)[:-1])
        return -float((targets * claimed).sum()) / count, slopes

    bounds = [np.log(TEMPERATURES), *[OFFSETS] * (classes - 1)]
    found = minimize(loss, np.zeros(classes), jac=True, method="L-BFGS-B", bounds=bounds).x
    return float(np.clip(np.exp(found[0]), *TEMPERATURES)), (*map(float, found[1:]), 0.0)


def calibration_bins(scores: Floats) -> Labels:
    """Return the bin of each of (N,) scores: at most ``BINS``, as equal in size as ties allow.

    Equal scores share a bin, so that the order of the pictures plays no part.
    """
    count = max(1, min(BINS, len(scores) // FEWEST_PER_BIN))
    edges = np.quantile(scores, np.arange(1, count) / count, method="inverted_cdf")
    return np.searchsorted(np.unique(edges), scores, side="left").astype(np.int64)


def calibration_curve(scores: Floats, is_target: NDArray[np.bool_]) -> tuple[CalibrationBin, ...]:
    """Return the bins of a reliability diagram, the lowest scores first."""
    bins = calibration_bins(scores)
    return tuple(
        CalibrationBin(
            claimed=float(scores[bins == i].mean()),
            observed=wilson(int(is_target[bins == i].sum()), int((bins == i).sum())),
            images=int((bins == i).sum()),
        )
        for i in np.unique(bins)
    )


def expected_calibration_error(scores: Floats, is_target: NDArray[np.bool_]) -> float:
    """Return the mean gap between claimed and observed share over the bins, 0 is best.

    Of the target's probability, not of the most probable class: with nine in ten clean pictures
    the latter looks calibrated whatever the target's scores are. Bins of equally many pictures,
    weighted by their pictures; of few pictures it comes out too high.
    """
    positive = is_target.astype(np.float64)
    return float(weighted_calibration_error(positive, scores, np.ones((1, len(scores))))[0])


def weighted_calibration_error(positive: Floats, scores: Floats, weights: Floats) -> Floats:
    """Return the calibration error of each of B resamples, (B,), in the bins of the data.

    positive: (N,) 1 where the picture is of the target, else 0.  scores: (N,).  weights: (B, N).
    """
    bins = calibration_bins(scores)
    member = (bins[:, None] == np.unique(bins)).astype(np.float64)  # (N, bins)
    gaps = weights @ (member * (scores - positive)[:, None])  # (B, bins)
    return np.asarray(np.abs(gaps).sum(axis=1) / weights.sum(axis=1), np.float64)
