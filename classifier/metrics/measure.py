"""Measure one set of scores: every metric and its interval. Knows arrays, no picture, no model.

The values are scikit-learn's where it has the metric; ``weighted`` gives the same for the
bootstrap's resamples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from sklearn import metrics as sk

from roi_cls.classifier.metrics.calibration import (
    expected_calibration_error,
    weighted_calibration_error,
)
from roi_cls.classifier.metrics.decision import decide, measure_margin, risk_area, risk_coverage
from roi_cls.classifier.metrics.interval import (
    RESAMPLES,
    Estimate,
    Floats,
    Labels,
    resample,
    wilson,
)
from roi_cls.classifier.metrics.metrics import SCORE_NAMES, ClassMetrics, Metrics
from roi_cls.classifier.metrics.weighted import (
    metric_interval,
    weighted_aurc,
    weighted_losses,
    weighted_metrics,
)

FEW_PICTURES = 10
"""A class smaller than this gives bootstrap intervals that are too narrow; a note says so."""
BOOTSTRAPPED = tuple(
    name for name in SCORE_NAMES if name not in ("micro_f1", "accuracy", "majority_accuracy")
)
"""Those whose interval is resampled; the others are shares and have Wilson's."""


def measure_scores(
    labels: Labels,
    probabilities: Floats,
    label_names: Sequence[str],
    *,
    target: int,
    threshold: float,
    majority: int,
    seed: int = 0,
) -> Metrics:
    """Return every metric of one set of scores.

    labels: (N,) true class indices, N >= 1.  probabilities: (N, K), rows sum to 1 within 1e-3.
    target, majority: indices of the class looked for and of the baseline's constant answer.
    threshold: the target's probability from which two classes are decided for it.
    """
    predicted = decide(probabilities, target, threshold)
    confusion = sk.confusion_matrix(labels, predicted, labels=range(len(label_names)))
    table = tuple(tuple(int(count) for count in row) for row in confusion)
    support = [sum(row) for row in table]
    margins = measure_margin(probabilities, target, threshold)
    resampled = bootstrap_metrics(labels, probabilities, predicted, margins, target, seed=seed)
    accuracy = wilson(sum(row[i] for i, row in enumerate(table)), len(labels))
    return Metrics(
        images=len(labels),
        micro_f1=accuracy,
        accuracy=accuracy,
        majority_accuracy=wilson(support[majority], len(labels)),
        **{name: resampled[name] for name in BOOTSTRAPPED},
        classes=_class_metrics(table, label_names, resampled),
        confusion_matrix=table,
        notes=tuple(find_caveats(support, label_names, target)),
    )


def _class_metrics(
    table: tuple[tuple[int, ...], ...], label_names: Sequence[str], resampled: dict[str, Estimate]
) -> tuple[ClassMetrics, ...]:
    return tuple(
        ClassMetrics(
            label=name,
            precision=wilson(table[i][i], sum(row[i] for row in table)),
            recall=wilson(table[i][i], sum(table[i])),
            f1=resampled[f"f1_{i}"],
            support=sum(table[i]),
        )
        for i, name in enumerate(label_names)
    )


def bootstrap_metrics(
    labels: Labels,
    probabilities: Floats,
    predicted: Labels,
    margins: Floats,
    target: int,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Return every bootstrapped metric by its name; ``f1_<index>`` is the F1 of one class.

    labels: (N,) true class indices, N >= 1.  probabilities: (N, K).  predicted: (N,) decisions.
    margins: (N,) how sure each decision is.
    """
    values = point_metrics(labels, probabilities, predicted, margins, target)
    positive, scores = (labels == target).astype(np.float64), probabilities[:, target]
    wrong = (labels != predicted).astype(np.float64)
    chunks = []
    for weights in resample(labels, resamples=resamples, seed=seed):
        found = weighted_metrics(labels, probabilities, predicted, target, weights)
        found |= weighted_losses(labels, probabilities, target, weights)
        found["ece"] = weighted_calibration_error(positive, scores, weights)
        found["aurc"] = weighted_aurc(wrong, margins, weights)
        chunks.append(found)
    return {
        name: metric_interval(name, value, np.concatenate([c[name] for c in chunks]), labels)
        for name, value in values.items()
    }


def point_metrics(
    labels: Labels, probabilities: Floats, predicted: Labels, margins: Floats, target: int
) -> dict[str, float]:
    """Return the value of each metric by name; NaN where the labels do not define it.

    ROC-AUC and average precision need pictures of the target and others, MCC needs two classes,
    and the F1 of a class needs that it is present or predicted.
    """
    positive, scores = labels == target, probabilities[:, target]
    classes = list(range(probabilities.shape[1]))
    present = np.unique(labels)
    # A float32 softmax sums to 1 within 1e-7 only, and scikit-learn warns of that.
    exact = probabilities / probabilities.sum(axis=1, keepdims=True)
    f1 = sk.f1_score(labels, predicted, labels=classes, average=None, zero_division=np.nan)
    found = {
        "roc_auc": math.nan,
        "average_precision": math.nan,
        "mcc": math.nan,
        "macro_f1": float(np.nanmean(f1)),
        # sk.balanced_accuracy_score is this, but warns when an absent class is predicted
        "balanced_accuracy": sk.recall_score(labels, predicted, labels=present, average="macro"),
        "brier": sk.brier_score_loss(positive, np.clip(scores, 0, 1), pos_label=True),
        "log_loss": sk.log_loss(labels, exact, labels=classes),
        "ece": expected_calibration_error(scores, positive),
        "aurc": risk_area(risk_coverage(labels != predicted, margins)),
    }
    if 0 < positive.sum() < len(labels):
        found["roc_auc"] = sk.roc_auc_score(positive, scores)
        # A perfect 1.0 that scikit-learn gives where every picture is of the target says nothing.
        found["average_precision"] = sk.average_precision_score(positive, scores)
    if len(present) > 1:
        found["mcc"] = sk.matthews_corrcoef(labels, predicted)
    found |= {f"f1_{i}": f1[i] for i in classes}
    return {name: float(value) for name, value in found.items()}


def find_caveats(support: Sequence[int], label_names: Sequence[str], target: int) -> list[str]:
    """Return one sentence for each reason to read a metric or an interval with care.

    support: pictures of each of the K classes.
    """
    caveats = []
    if support[target] in (0, sum(support)):
        what = "none" if support[target] == 0 else "every one"
        caveats.append(
            "ROC-AUC and average precision are undefined: "
            f"of these pictures {what} is of {label_names[target]!r}."
        )
    if sum(1 for count in support if count) == 1:
        caveats.append("MCC is undefined: these pictures are all of one class.")
    few = [
        f"{n!r} ({c})" for n, c in zip(label_names, support, strict=True) if 0 < c < FEW_PICTURES
    ]
    if few:
        caveats.append(
            f"Few pictures of {', '.join(few)}: bootstrap intervals come out too narrow."
        )
    return caveats
