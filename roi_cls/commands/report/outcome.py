"""What a run's scores say: the outcome in words, the numbers that count, tables and figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from roi_cls.classifier.evaluation.pictures import ScoredPictures
from roi_cls.classifier.metrics.interval import Estimate, format_number, wilson
from roi_cls.classifier.metrics.measure import Metrics, worst_classes
from roi_cls.classifier.runs.openings import warn_of_openings
from roi_cls.commands.report.data import PART_TEXT, ReportedScores
from roi_cls.commands.report.figures import (
    draw_class_scores,
    draw_ranking,
    draw_reliability,
    draw_risk_coverage,
)
from roi_cls.commands.report.page import GroupsPart, Outcome
from roi_cls.commands.report.parts import Key, Table
from roi_cls.commands.report.slices import Seen, group_table, measure_slices
from roi_cls.console.words import count_text

MOST_IN_MATRIX = 20
"""Classes of a confusion matrix that can be read."""
MOST_CLASSES = 50
"""Rows of the table of classes; evaluation.json has all."""
MOST_MIX_UPS = 40
"""Rows of what stands in its place."""


def judge_scores(scores: ReportedScores, seen: Sequence[Seen | None]) -> Outcome:
    """Return the outcome; ``seen``: what the detector saw in each picture, None where unknown."""
    pictures, evaluation = scores.pictures, scores.evaluation
    unknown = sum(one is None for one in seen)
    return Outcome(
        verdict=evaluation.verdict,
        standing=standing(evaluation.overall),
        sentences=tell_outcome(scores),
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
        groups=_groups_part(pictures),
    )


def _groups_part(pictures: ScoredPictures) -> GroupsPart | None:
    groups, target = pictures.evaluation.groups, pictures.evaluation.target
    if groups is None:
        return None
    verdict = groups.verdict(target)
    return GroupsPart(verdict, groups.is_told, groups.remark, group_table(pictures, groups))


def tell_outcome(scores: ReportedScores) -> list[str]:
    """Return a few sentences for a reader who knows the task, but no metric."""
    evaluation = scores.evaluation
    overall, target = evaluation.overall, evaluation.target
    right = sum(row[i] for i, row in enumerate(overall.confusion_matrix))
    constant = evaluation.majority_label
    sentences = [
        f"Of {overall.images} {PART_TEXT[scores.part]} the run answered {right} rightly: "
        f"{_percent(overall.accuracy)}.",
        f"Always answering {constant!r}, without looking, would be right for "
        f"{_share(overall.majority_accuracy.value)}: {_compare(scores)}",
        *_of_target(scores),
    ]
    if overall.roc_auc.is_defined:
        sentences.append(
            f"Shown one picture of {target!r} and one of the others, it gives the former the "
            f"higher probability {_share(overall.roc_auc.value)} of the time (ROC-AUC; a coin "
            "would, half of the time)."
        )
    slices = dict(evaluation.slices)
    if "face" in slices and "full_frame" in slices:
        sentences.append(
            f"In {slices['full_frame'].images} of {overall.images} the whole picture was judged "
            "instead of a face; the slices below tell both apart."
        )
    if evaluation.abstain:
        sentences.append(
            f"{_share(evaluation.abstained.value)} were too close to call and are marked unsure."
        )
    return sentences


def _percent(estimate: Estimate) -> str:
    return (
        f"{_share(estimate.value)} (95 % interval {_share(estimate.low)} to "
        f"{_share(estimate.high)})"
    )


def _share(value: float) -> str:
    """Return a share in per cent, with a decimal where none would claim all or nothing."""
    for digits in (0, 1, 2):
        text = f"{100 * value:.{digits}f}"
        if float(text) not in (0.0, 100.0) or value in (0.0, 1.0):
            break
    return f"{text} %"


def _compare(scores: ReportedScores) -> str:
    return {
        "same": "on so many pictures that is no clear difference.",
        "better": "the run is clearly better than that.",
        "worse": "the run is clearly worse than that.",
    }[standing(scores.evaluation.overall)]


def _of_target(scores: ReportedScores) -> list[str]:
    overall, target = scores.evaluation.overall, scores.pictures.target
    name, support = scores.evaluation.target, overall.classes[target].support
    found = overall.confusion_matrix[target][target]
    called = sum(row[target] for row in overall.confusion_matrix)
    sentences = [f"None of the pictures is of {name!r}, the class it looks for."]
    if support:
        sentences = [
            f"It looks for {name!r}, and found {found} of {support} such pictures, "
            f"missing {support - found}."
        ]
    if called:
        sentences.append(
            f"Of {called} that it called {name!r}, {called - found} "
            f"{'was a false alarm' if called - found == 1 else 'were false alarms'}."
        )
    else:
        sentences.append(f"It called no picture {name!r}.")
    return sentences


def standing(overall: Metrics) -> Literal["better", "same", "worse"]:
    """Return how the accuracy stands beside that of a constant answer, beyond its interval."""
    baseline = overall.majority_accuracy.value
    if overall.accuracy.holds(baseline):
        return "same"
    return "better" if overall.accuracy.low > baseline else "worse"


def list_cautions(scores: ReportedScores) -> list[str]:
    """Return every reason to read the numbers with care, the evaluation's own notes included."""
    evaluation = scores.evaluation
    cautions = [warning] if (warning := warn_of_openings(evaluation.test_openings)) else []
    if evaluation.errors:
        cautions.append(
            f"{count_text(evaluation.errors, 'picture')} could not be read, and no number counts "
            f"{'it' if evaluation.errors == 1 else 'them'}."
        )
    if evaluation.skipped:
        cautions.append(
            f"{count_text(evaluation.skipped, 'picture')} without a face "
            f"{'was' if evaluation.skipped == 1 else 'were'} skipped, as the recipe says, and no "
            "number counts such pictures."
        )
    if evaluation.groups and evaluation.groups.is_told:
        cautions.append(evaluation.groups.verdict(evaluation.target))
    return [*cautions, *evaluation.overall.notes]


def key_numbers(scores: ReportedScores) -> list[Key]:
    """Return the numbers that say most, each with what it is to be compared with."""
    evaluation, pictures = scores.evaluation, scores.pictures
    overall = evaluation.overall
    of_target = overall.classes[pictures.target]
    baseline, share = overall.majority_accuracy.value, of_target.support / overall.images
    target, majority = evaluation.target, evaluation.majority_label
    present = sum(one.support > 0 for one in overall.classes)
    return [
        Key(
            "Accuracy",
            overall.accuracy,
            f"always {majority!r}: {format_number(baseline)}",
            baseline,
        ),
        Key("ROC-AUC", overall.roc_auc, "chance: 0.5", 0.5),
        Key(
            "Average precision",
            overall.average_precision,
            f"chance: {format_number(share)}",
            share,
        ),
        Key(f"{target!r} found (recall)", of_target.recall, f"of {of_target.support}"),
        Key(f"{target!r} rightly called (precision)", of_target.precision, _called(scores)),
        Key(
            "Balanced accuracy",
            overall.balanced_accuracy,
            f"always {majority!r}: {format_number(1 / present)}",
            1 / present,
        ),
    ]


def _called(scores: ReportedScores) -> str:
    target = scores.pictures.target
    return f"of {sum(row[target] for row in scores.evaluation.overall.confusion_matrix)} called so"


def _class_table(scores: ReportedScores) -> Table:
    classes = list(scores.evaluation.overall.classes)
    caption = "Answers by class, with 95 % intervals"
    if len(classes) > MOST_CLASSES:
        caption += f": the {MOST_CLASSES} least recognised of {len(classes)}"
        classes = worst_classes(scores.evaluation.overall, MOST_CLASSES)
    rows = tuple((one.label, one.precision, one.recall, one.f1, one.support) for one in classes)
    columns = ("Class", "Precision", "Recall", "F1", "Pictures")
    return Table(caption, columns, rows)


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
