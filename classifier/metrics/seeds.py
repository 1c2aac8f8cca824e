"""Metrics of one system over one or several seeds. Knows arrays, no picture, file or model.

Of several seeds the value is the mean of the seeds' values. Its interval says how far that mean
would move with other test pictures: each resample draws the pictures once, and all seeds are
measured on it. How far the seeds lie apart is told beside it, as a standard deviation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from roi_cls.classifier.metrics.decision import decide
from roi_cls.classifier.metrics.interval import (
    Estimate,
    Floats,
    Labels,
    resample,
    resampled_interval,
)
from roi_cls.classifier.metrics.measure import measure_scores
from roi_cls.classifier.metrics.weighted import weighted_decisions, weighted_ranking

COMPARED = (
    *("accuracy", "micro_f1", "macro_f1", "precision", "recall", "f1"),
    *("roc_auc", "average_precision", "balanced_accuracy", "mcc"),
)
"""What systems are compared by; precision, recall and F1 are the target's."""
_BOUNDS = {"mcc": (-1.0, 1.0)}


@dataclass(frozen=True, slots=True, eq=False)
class SeedScores:
    """What one trained model says of the test pictures."""

    probabilities: Floats
    """(N, K), rows sum to 1."""
    threshold: float
    """Of the target's probability, chosen without the test pictures; unused with K > 2."""


@dataclass(frozen=True, slots=True)
class SystemMetrics:
    """How one system fared."""

    estimates: Mapping[str, Estimate]
    """By the names in ``COMPARED``: the mean over seeds, with its interval."""
    spread: Mapping[str, float]
    """Standard deviation between the seeds, by the same names; empty with one seed."""


def measure_seeds(
    labels: Labels, seeds: Sequence[SeedScores], label_names: Sequence[str], target: int
) -> SystemMetrics:
    """Return the metrics of a system from the scores of each of its seeds on the same pictures.

    labels: (N,) true class indices, N >= 1.  target: index of the class looked for.
    """
    if len(seeds) == 1:
        return SystemMetrics(_of_one(labels, seeds[0], label_names, target), {})
    ones = np.ones((1, len(labels)))
    points = [_weighted(labels, one, len(label_names), target, ones) for one in seeds]
    draws: dict[str, list[Floats]] = {name: [] for name in COMPARED}
    for weights in resample(labels, seed=0):
        found = [_weighted(labels, one, len(label_names), target, weights) for one in seeds]
        for name in COMPARED:
            draws[name].append(np.mean([values[name] for values in found], axis=0))
    smallest = int(np.unique(labels, return_counts=True)[1].min())
    estimates, spread = {}, {}
    for name in COMPARED:
        values = np.array([float(point[name][0]) for point in points])
        trials = len(labels) if name in ("accuracy", "micro_f1") else smallest
        estimates[name] = resampled_interval(
            float(values.mean()),  # NaN where one seed does not define it
            np.concatenate(draws[name]),
            trials=trials,
            bounds=_BOUNDS.get(name, (0.0, 1.0)),
        )
        spread[name] = float(values.std(ddof=1))
    return SystemMetrics(estimates, spread)


def measure_majority(
    labels: Labels, majority: int, label_names: Sequence[str], target: int
) -> SystemMetrics:
    """Return what always answering ``majority`` reaches.

    Only its accuracy is an estimate: it finds and ranks nothing, by definition.
    """
    constant = np.zeros((len(labels), len(label_names)))
    constant[:, majority] = 1.0
    found = _of_one(labels, SeedScores(constant, 0.5), label_names, target)
    share = float((labels == target).mean())
    exact = {name: found[name].value for name in COMPARED if name not in ("accuracy", "micro_f1")}
    if 0 < share < 1:
        exact |= {"roc_auc": 0.5, "average_precision": share}
    known = {n: Estimate(v, v, v) for n, v in exact.items() if not math.isnan(v)}
    return SystemMetrics(found | known, {})


def _of_one(
    labels: Labels, one: SeedScores, label_names: Sequence[str], target: int
) -> dict[str, Estimate]:
    found = measure_scores(
        labels,
        one.probabilities,
        label_names,
        target=target,
        threshold=one.threshold,
        majority=int(np.bincount(labels).argmax()),
    )
    own = found.classes[target]
    estimates = {"precision": own.precision, "recall": own.recall, "f1": own.f1}
    return {name: estimates.get(name) or getattr(found, name) for name in COMPARED}


def _weighted(
    labels: Labels, one: SeedScores, count: int, target: int, weights: Floats
) -> dict[str, Floats]:
    """Return each metric of each resample, (B,), NaN where a resample does not define it."""
    predicted = decide(one.probabilities, target, one.threshold)
    is_target, is_called = labels == target, predicted == target
    hits = weights @ (is_target & is_called)
    right = weights @ (labels == predicted) / weights.sum(axis=1)
    found = weighted_decisions(labels, predicted, count, weights)
    auc, precision = weighted_ranking(
        is_target.astype(np.float64), one.probabilities[:, target], weights
    )
    return {
        "accuracy": right,
        "micro_f1": right,
        "macro_f1": found["macro_f1"],
        "precision": _ratio(hits, weights @ is_called),
        "recall": _ratio(hits, weights @ is_target),
        "f1": found[f"f1_{target}"],
        "roc_auc": auc,
        "average_precision": precision,
        "balanced_accuracy": found["balanced_accuracy"],
        "mcc": found["mcc"],
    }


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.where(below > 0, above / np.where(below > 0, below, 1), np.nan)
