"""What scores are worth: each metric of an evaluation, with its interval. Knows arrays only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
from roi_cls.classifier.metrics.weighted import (
    metric_interval,
    weighted_aurc,
    weighted_losses,
    weighted_metrics,
)
from roi_cls.data.sample import MOST_LISTED

FEW_PICTURES = 10
"""A class smaller than this gives bootstrap intervals that are too narrow; a note says so."""

SCORE_NAMES = (
    "roc_auc",
    "average_precision",
    "micro_f1",
    "macro_f1",
    "balanced_accuracy",
    "mcc",
    "accuracy",
    "majority_accuracy",
    "brier",
    "log_loss",
    "ece",
    "aurc",
)
"""The metrics of a set as a whole, in the order in which they are written."""

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


def worst_classes(metrics: Metrics, most: int) -> list[ClassMetrics]:
    """Return the classes of which the smallest share was recognised, the worst one first.

    Of equal ones the larger comes first: it says more. Classes without pictures are left out.
    """
    there = [one for one in metrics.classes if one.support]
    return sorted(there, key=lambda one: (one.recall.value, -one.support))[:most]


def find_caveats(
    support: Sequence[int],
    label_names: Sequence[str],
    target: int,
    *,
    most_named: int = MOST_LISTED,
) -> list[str]:
    """Return one sentence for each reason to read a metric or an interval with care.

    support: pictures of each of the K classes.
    most_named: classes that one sentence names, the others are counted.
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
        words = few[:most_named]
        if left := len(few) - len(words):
            words[-1] += f" and {left} more {'class' if left == 1 else 'classes'}"
        caveats.append(
            f"Few pictures of {', '.join(words)}: bootstrap intervals come out too narrow."
        )
    return caveats


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """How one class fared."""

    label: str
    """Class name."""
    precision: Estimate
    """Share of the pictures called this class that are of it; Wilson."""
    recall: Estimate
    """Share of the pictures of this class that were called it; Wilson."""
    f1: Estimate
    """Harmonic mean of the two; bootstrap."""
    support: int
    """Pictures of this class."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """How one set of pictures fared; a metric that the set does not define has the value NaN."""

    images: int
    """Pictures scored."""
    roc_auc: Estimate
    """From the target's probabilities, target against all others; 0.5 is chance. Bootstrap."""
    average_precision: Estimate
    """From the target's probabilities; chance is the target's share of pictures. Bootstrap."""
    micro_f1: Estimate
    """With one label per picture this equals accuracy; Wilson."""
    macro_f1: Estimate
    """Mean F1 of the classes that are present or predicted; bootstrap."""
    balanced_accuracy: Estimate
    """Mean recall of the classes present; from decisions, so it is no AUC. Bootstrap."""
    mcc: Estimate
    """Matthews correlation of decisions with labels, -1 to 1, 0 is chance; bootstrap."""
    accuracy: Estimate
    """Share of pictures decided rightly; Wilson."""
    majority_accuracy: Estimate
    """Accuracy of always answering the majority class; Wilson."""
    brier: Estimate
    """Mean squared error of the target's probability, 0 is best; bootstrap."""
    log_loss: Estimate
    """Mean negative log probability of the true class, nats, 0 is best; bootstrap."""
    ece: Estimate
    """Expected calibration error of the target's probability, 0 is best: the mean gap between
    claimed and observed share over ten groups of similar score, fewer for under 100 pictures, for
    which it comes out too high; bootstrap."""
    aurc: Estimate
    """Area under the risk-coverage curve, 0 is best: the mean share of wrong answers among the
    surest pictures, for every number of them; bootstrap."""
    classes: tuple[ClassMetrics, ...]
    """One per class, in index order."""
    confusion_matrix: tuple[tuple[int, ...], ...]
    """Counts; rows are true classes, columns predicted ones, both in index order."""
    notes: tuple[str, ...]
    """Why a metric is undefined or an interval is not to be relied on."""

    @property
    def constant_balanced_accuracy(self) -> float:
        """What always answering the majority class reaches: one class found, the others not."""
        present = sum(one.support > 0 for one in self.classes)
        return 1 / present if self.majority_accuracy.value else 0.0

    @property
    def constant_macro_f1(self) -> float:
        """What always answering the majority class reaches: one class has an F1, the others 0."""
        share = self.majority_accuracy.value
        return 2 * share / (1 + share) * self.constant_balanced_accuracy

    def to_dict(self) -> dict[str, Any]:
        """Return strict JSON values, the notes last; ``from_dict`` reads them back."""
        return {
            "images": self.images,
            **{name: getattr(self, name).to_dict() for name in SCORE_NAMES},
            "classes": [
                {
                    "label": one.label,
                    "precision": one.precision.to_dict(),
                    "recall": one.recall.to_dict(),
                    "f1": one.f1.to_dict(),
                    "support": one.support,
                }
                for one in self.classes
            ],
            "confusion_matrix": {
                "labels": [one.label for one in self.classes],
                "counts": [list(row) for row in self.confusion_matrix],
            },
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Metrics:
        """Return the metrics that ``to_dict`` wrote.

        Raises:
            KeyError, TypeError, ValueError: The values are not of that form.
        """
        classes = tuple(
            ClassMetrics(
                label=str(one["label"]),
                precision=Estimate.from_dict(one["precision"]),
                recall=Estimate.from_dict(one["recall"]),
                f1=Estimate.from_dict(one["f1"]),
                support=int(one["support"]),
            )
            for one in values["classes"]
        )
        counts = values["confusion_matrix"]["counts"]
        return cls(
            images=int(values["images"]),
            **{name: Estimate.from_dict(values[name]) for name in SCORE_NAMES},
            classes=classes,
            confusion_matrix=tuple(tuple(int(count) for count in row) for row in counts),
            notes=tuple(str(note) for note in values["notes"]),
        )
