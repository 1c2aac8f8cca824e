"""What a run's scores say: words, numbers and figures for the page."""

from __future__ import annotations

from collections.abc import Sequence

from roi_cls.classifier.metrics.interval import wilson
from roi_cls.report.figures import (
    draw_class_scores,
    draw_ranking,
    draw_reliability,
    draw_risk_coverage,
)
from roi_cls.report.page import Outcome
from roi_cls.report.parts import Table
from roi_cls.report.scores import ReportedScores
from roi_cls.report.slices import Seen, measure_slices
from roi_cls.report.words import key_numbers, list_cautions, standing, summarise

MOST_IN_MATRIX = 20
"""Classes of a confusion matrix that can be read."""
MOST_MIX_UPS = 40
"""Rows of what stands in its place."""


def judge_scores(scores: ReportedScores, seen: Sequence[Seen | None]) -> Outcome:
    """Return the outcome; ``seen``: what the detector saw in each picture, None where unknown."""
    pictures, evaluation = scores.pictures, scores.evaluation
    unknown = sum(one is None for one in seen)
    return Outcome(
        verdict=evaluation.verdict,
        standing=standing(evaluation.overall),
        sentences=summarise(scores),
        cautions=list_cautions(scores),
        keys=key_numbers(scores),
        labels=pictures.names,
        classes=_class_table(scores),
        confusion=evaluation.overall.confusion_matrix,
        mix_ups=_mix_ups(scores) if len(pictures.names) > MOST_IN_MATRIX else None,
        ranking=draw_ranking(pictures),
        reliability=draw_reliability(pictures),
        class_scores=draw_class_scores(pictures),
        risk_coverage=draw_risk_coverage(pictures),
        slices=measure_slices(pictures, seen),
        unseen=(
            f"Of {unknown} of {len(seen)} pictures it is not known how large the face was and how "
            "sure the detector: they are in no slice of size or score. With --data FOLDER they "
            "are looked at again."
            if unknown
            else ""
        ),
    )


def _mix_ups(scores: ReportedScores) -> Table:
    names, rows = scores.pictures.names, scores.evaluation.overall.confusion_matrix
    found = [
        (count, label, answer)
        for label, counts in enumerate(rows)
        for answer, count in enumerate(counts)
        if count and label != answer
    ]
    found.sort(key=lambda one: -one[0])
    shown = tuple(
        (names[label], names[answer], count, wilson(count, sum(rows[label])))
        for count, label, answer in found[:MOST_MIX_UPS]
    )
    told = f"the {len(shown)} most frequent of {len(found)}"
    columns = ("True class", "Answered", "Pictures", "Share of the true class")
    caption = f"What is taken for what, {told}: a matrix of {len(names)} classes is too large"
    return Table(caption, columns, shown, frozenset({1}))


def _class_table(scores: ReportedScores) -> Table:
    rows = tuple(
        (one.label, one.precision, one.recall, one.f1, one.support)
        for one in scores.evaluation.overall.classes
    )
    columns = ("Class", "Precision", "Recall", "F1", "Pictures")
    return Table("Answers by class, with 95 % intervals", columns, rows)
