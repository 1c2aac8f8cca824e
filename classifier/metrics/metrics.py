"""Metrics of one set of scores, each with its interval: the value, and its written form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from roi_cls.classifier.metrics.interval import Estimate

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
