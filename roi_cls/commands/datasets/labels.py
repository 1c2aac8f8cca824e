"""The work behind ``roi-cls data labels``: labels that are likely wrong, as a list."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Literal

from roi_cls.base.rows import markdown_table, to_json
from roi_cls.classifier.evaluation.label_review import DoubtfulLabel, review_labels
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.console.words import printable

ListForm = Literal["text", "json", "csv"]
LOOKS_WRONG = 0.5
"""Doubt from which the scores speak for other classes more than for the label."""


def list_doubtful_labels(run: RunFolder, most: int | None, form: ListForm) -> str:
    """Return the most doubtful labels of a run's training pictures, in a form.

    most: how many; None: those that look wrong.

    Raises:
        RoiClsError: The run cannot be used, or has no out-of-fold scores.
    """
    found = review_labels(run)
    wrong = [one for one in found if one.doubt >= LOOKS_WRONG]
    shown = wrong if most is None else found[:most]
    if form == "json":
        return to_json([one.to_dict() for one in shown], indent=2)
    if form == "csv":
        return _csv(shown)
    summary = (
        f"{len(wrong)} of {len(found)} labels look wrong to models that did not learn from them. "
        "Look at each picture: a hard one looks like this, too."
    )
    return f"{_table(shown)}\n\n{summary}" if shown else summary


def _table(shown: Sequence[DoubtfulLabel]) -> str:
    rows = [
        [
            printable(one.path),
            one.label,
            one.suggested,
            f"{one.doubt:.2f}",
            f"{one.probability:.2f}",
        ]
        for one in shown
    ]
    return markdown_table(["picture", "label", "more likely", "doubt", "p(label)"], rows, left=3)


def _csv(shown: Sequence[DoubtfulLabel]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["path", "label", "suggested", "doubt", "probability"])
    for one in shown:
        writer.writerow([one.path, one.label, one.suggested, one.doubt, one.probability])
    return stream.getvalue().removesuffix("\n")
