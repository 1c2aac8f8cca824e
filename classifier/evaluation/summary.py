"""What matters of an evaluation, as text for one screen; ``table`` has all of it.

Knows layout only; every number comes from the value.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from roi_cls.classifier.evaluation.evaluation import FEWEST_IN_SLICE, Evaluation
from roi_cls.classifier.evaluation.table import (
    fit_tables,
    join_columns,
    make_table,
    pictures_text,
    render_parts,
    shorten_classes,
    show_confusions,
    show_groups,
)
from roi_cls.classifier.metrics.calibration import BINS, FEWEST_PER_BIN
from roi_cls.classifier.metrics.interval import format_number
from roi_cls.classifier.metrics.measure import Metrics, worst_classes

MOST_CLASSES = 10
"""Of a confusion matrix: a larger one is looked up, not read."""
_MOST_WORST = 4
"""Of many classes, those shown of which the least was recognised."""
_MOST_PAIRS = 8
"""Of many classes, pairs that were confused; with the worst ones a screen has room for them."""
MOST_NAMED = 3
"""Small classes that a note names."""


def render_summary(evaluation: Evaluation) -> str:
    """Return the summary, without a final newline.

    The verdict, six numbers with what each is to be compared with, what was confused, the slices
    that are large enough to say anything, and the reasons to doubt a number.
    """
    evaluation = shorten_classes(evaluation, MOST_NAMED)
    return render_parts(
        Text(evaluation.verdict),
        Text(_describe(evaluation)),
        *_numbers(evaluation),
        *_worst_classes(evaluation.overall),
        show_confusions(evaluation.overall, MOST_CLASSES, _MOST_PAIRS),
        _show_slices(evaluation),
        *show_groups(evaluation),
        Text("\n".join(_warnings(evaluation))),
    )


def render_tuning(evaluation: Evaluation, *, out_of_fold: bool) -> str:
    """Return what a run says of the pictures that it was chosen by, in a few lines.

    Args:
        evaluation: Of validation, or of out-of-fold scores.
        out_of_fold: Which of the two.
    """
    evaluation = shorten_classes(evaluation, MOST_NAMED)
    overall = evaluation.overall
    counts = f"{pictures_text(overall.images)}, {_count_target(evaluation)}"
    where = f"On validation ({counts})"
    if out_of_fold:
        where = f"Out of fold ({counts}; each scored by models that did not learn from it)"
    tuned = "scale, threshold" if len(overall.classes) == 2 else "scale"
    lines = (
        f"{where}, which is no test:",
        evaluation.verdict,
        f"The run was tuned on them ({tuned}, perhaps epoch), so they flatter it.",
        *(f"Note: {note}" for note in overall.notes),
    )
    return render_parts(Text("\n".join(lines)))


def _describe(evaluation: Evaluation) -> str:
    overall, times = evaluation.overall, evaluation.test_openings
    often = f", {times} times by this run so far" if times > 1 else ""
    target = f"{_count_target(evaluation)}, the target"
    if len(overall.classes) == 2:
        rule = f"answered from probability {evaluation.threshold:.4g} on (chosen on validation)"
        return f"{pictures_text(overall.images)} scored{often}; {target}, {rule}."
    return (
        f"{pictures_text(overall.images)} of {len(overall.classes)} classes scored{often}; "
        f"{target}. ROC-AUC, average precision and calibration error are of it against all others."
    )


def _worst_classes(metrics: Metrics) -> list[RenderableType]:
    """Return, of many classes, those of which the least was recognised; of few, nothing."""
    if len(metrics.classes) <= MOST_CLASSES:
        return []
    shown = worst_classes(metrics, _MOST_WORST)
    columns = (
        ("recall", [str(one.recall) for one in shown]),
        ("precision", [str(one.precision) for one in shown]),
        ("pictures", [str(one.support) for one in shown]),
    )
    names = [one.label for one in shown]

    def build(part: Sequence[tuple[str, Sequence[str]]], short: Sequence[str]) -> Table:
        return join_columns("worst classes", short, part)

    left = len(metrics.classes) - len(shown)
    rest = Text(f"And {left} more classes: --full shows all.")
    return [Group(*fit_tables(columns, names, build), rest)] if left else []


def _count_target(evaluation: Evaluation) -> str:
    return f"{evaluation.count_target(evaluation.overall)} of them {evaluation.target!r}"


def compared_numbers(
    evaluation: Evaluation, names: Sequence[str] | None = None
) -> tuple[tuple[str, str, str], ...]:
    """Return six numbers that matter: title, value with interval, and what to compare it with.

    names: what the classes are called; None: their labels.
    """
    overall = evaluation.overall
    labels = [one.label for one in overall.classes]
    names = labels if names is None else names
    target, majority = map(labels.index, (evaluation.target, evaluation.majority_label))
    constant = f"for always {names[majority]!r}"
    baseline = format_number(overall.majority_accuracy.value)
    chance = format_number(evaluation.count_target(overall) / overall.images)
    return (
        ("accuracy", str(overall.accuracy), f"{baseline} {constant}"),
        ("ROC-AUC", str(overall.roc_auc), "0.5 by chance"),
        ("average precision", str(overall.average_precision), f"{chance} by chance"),
        *_decisions(overall, target, names[target], constant),
        ("calibration error", str(overall.ece), "0 at best"),
    )


def _numbers(evaluation: Evaluation) -> list[Table]:
    """Return ``compared_numbers`` as a table, or several where it would be too wide."""

    def build(columns: Sequence[str], short: Sequence[str]) -> Table:
        table = make_table("number", columns[0])
        table.add_column(Text("to be compared with"), no_wrap=True)
        for row in compared_numbers(evaluation, short):
            table.add_row(*row)
        return table

    names = [one.label for one in evaluation.overall.classes]
    return fit_tables([f"value, {evaluation.confidence:.0%} interval"], names, build)


def _decisions(
    metrics: Metrics, target: int, name: str, constant: str
) -> tuple[tuple[str, str, str], ...]:
    """Return two rows on what was decided: of the target, or with more classes of each alike."""
    if len(metrics.classes) > 2:
        balanced = format_number(metrics.constant_balanced_accuracy)
        macro = format_number(metrics.constant_macro_f1)
        return (
            ("balanced accuracy", str(metrics.balanced_accuracy), f"{balanced} {constant}"),
            ("macro F1", str(metrics.macro_f1), f"{macro} {constant}"),
        )
    own, counts = metrics.classes[target], metrics.confusion_matrix
    hits, called = counts[target][target], sum(row[target] for row in counts)
    found = f"{hits} of {own.support} {name!r} found" if own.support else f"no {name!r} is here"
    right = f"{hits} of {called} answers {name!r} right" if called else f"never answered {name!r}"
    return ("recall", str(own.recall), found), ("precision", str(own.precision), right)


def _show_slices(evaluation: Evaluation) -> RenderableType:
    """Return the slices that are large enough to be judged, and a line on those that are not."""
    slices = [
        (name.replace("_", " "), metrics)
        for name, metrics in evaluation.slices
        if metrics.images < evaluation.overall.images
    ]
    if not slices:
        return Text(f"Every picture was judged by its {evaluation.slices[0][0].replace('_', ' ')}.")
    telling = [pair for pair in slices if evaluation.is_telling(pair[1])]
    thin = []
    for name, metrics in slices:
        if not evaluation.is_telling(metrics):
            targets = evaluation.count_target(metrics)
            thin.append(f"{name} ({targets} of the target, {metrics.images - targets} others)")
    parts: list[RenderableType] = [*_slices_tables(evaluation, telling)] if telling else []
    if thin:
        least = f"it takes {FEWEST_IN_SLICE} of each"
        parts.append(Text(f"Too few to tell: {', '.join(thin)}; {least}."))
    return Group(*parts)


def _slices_tables(evaluation: Evaluation, slices: Sequence[tuple[str, Metrics]]) -> list[Table]:
    columns = (
        ("pictures", [str(metrics.images) for _, metrics in slices]),
        ("target", [str(evaluation.count_target(metrics)) for _, metrics in slices]),
        ("accuracy", [str(metrics.accuracy) for _, metrics in slices]),
        ("baseline", [format_number(metrics.majority_accuracy.value) for _, metrics in slices]),
        ("ROC-AUC", [str(metrics.roc_auc) for _, metrics in slices]),
    )

    names = [name for name, _ in slices]
    return fit_tables(columns, (), lambda part, _: join_columns("slice", names, part))


def _warnings(evaluation: Evaluation) -> list[str]:
    """Return the reasons to doubt what is shown; the slices among it are large enough."""
    notes = [f"Note: {note}" for note in evaluation.overall.notes]
    if evaluation.overall.images < BINS * FEWEST_PER_BIN:
        notes.append(
            f"Note: of fewer than {BINS * FEWEST_PER_BIN} pictures the calibration error comes "
            "out too high."
        )
    return notes
