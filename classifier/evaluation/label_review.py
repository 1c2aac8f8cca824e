"""Which labels of a run's training pictures are likely wrong, by its out-of-fold scores."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from roi_cls.base.errors import DataError
from roi_cls.classifier.metrics.label_errors import find_label_errors
from roi_cls.classifier.runs.bundle import load_bundle
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.scores import class_indices, read_scores


@dataclass(frozen=True, slots=True)
class DoubtfulLabel:
    """A picture whose label its out-of-fold score speaks against."""

    path: str
    """Below the data's root."""
    label: str
    """As given."""
    suggested: str
    """The class that the scores speak for most, other than the label."""
    doubt: float
    """0 to 1; from 0.5 on the scores speak for other classes more than for the label."""
    probability: float
    """Of the given label."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def review_labels(run: RunFolder) -> tuple[DoubtfulLabel, ...]:
    """Return every training picture, the most doubtful label first.

    Raises:
        DataError: The run has no out-of-fold scores.
        BundleError: The run cannot be used.
    """
    labels = load_bundle(run.path).labels
    if not run.oof_scores.is_file():
        raise DataError(
            f"Cannot review labels by run {run.path.name!r}: it has no out-of-fold scores, and a "
            "model does not doubt what it has learned by heart. Train with --folds 5, and name "
            "that run."
        )
    table = read_scores(run.oof_scores, labels.names)
    return tuple(
        DoubtfulLabel(
            path=table.paths[found.index],
            label=labels.names[found.given],
            suggested=labels.names[found.suggested],
            doubt=found.doubt,
            probability=float(table.probabilities[found.index, found.given]),
        )
        for found in find_label_errors(class_indices(table, labels), table.probabilities)
    )
