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
from roi_cls.classifier.metrics.interval import Estimate, Floats, Labels, resample
from roi_cls.classifier.metrics.measure import measure_scores
from roi_cls.classifier.metrics.weighted import metric_interval, weighted_metrics

COMPARED = (
    *("accuracy", "micro_f1", "macro_f1", "precision", "recall", "f1"),
    *("roc_auc", "average_precision", "balanced_accuracy", "mcc"),
)
"""What systems are compared by; precision, recall and F1 are the target's."""


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
    scored = [
        (one.probabilities, decide(one.probabilities, target, one.threshold)) for one in seeds
    ]
    ones = np.ones((1, len(labels)))
    points = [weighted_metrics(labels, *one, target, ones) for one in scored]
    draws: dict[str, list[Floats]] = {name: [] for name in COMPARED}
    for weights in resample(labels, seed=0):
        found = [weighted_metrics(labels, *one, target, weights) for one in scored]
        for name in COMPARED:
            draws[name].append(np.mean([values[name] for values in found], axis=0))
    estimates, spread = {}, {}
    for name in COMPARED:
        values = np.array([float(point[name][0]) for point in points])
        mean = float(values.mean())  # NaN where one seed does not define it
        estimates[name] = metric_interval(name, mean, np.concatenate(draws[name]), labels)
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
