"""An evaluation as plain text for people. Knows layout only; every number comes from the value."""

from __future__ import annotations

import io

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from roi_cls.classifier.evaluation.evaluation import Evaluation
from roi_cls.classifier.metrics.interval import format_number
from roi_cls.classifier.metrics.measure import Metrics

EVALUATION_WIDTH = 80
"""Characters of the widest line."""
MOST_CONFUSIONS = 10
"""Lines in place of a confusion matrix that is wider than ``EVALUATION_WIDTH``."""
_LONGEST_NAME = 24  # characters; a longer class name is cut with an ellipsis
_ROWS = (
    ("roc_auc", "ROC-AUC (chance 0.5)"),
    ("average_precision", "average precision"),
    ("accuracy", "accuracy"),
    ("majority_accuracy", "  always {majority}"),
    ("balanced_accuracy", "balanced accuracy"),
    ("micro_f1", "micro F1 (= accuracy)"),
    ("macro_f1", "macro F1"),
    ("mcc", "MCC (chance 0)"),
    ("brier", "Brier (0 is best)"),
    ("log_loss", "log loss (0 is best)"),
    ("ece", "calibration error, ECE"),
    ("aurc", "risk-coverage, AURC"),
)


def render_evaluation(evaluation: Evaluation) -> str:
    """Return the evaluation as text, ``EVALUATION_WIDTH`` wide at most, without a final newline.

    Estimates are shown as ``value [low, high]``. The verdict comes first, the reasons to doubt a
    number last.
    """
    parts = [
        Text(evaluation.verdict),
        Text(_describe(evaluation)),
        *_scores_tables(evaluation),
        _classes_table(evaluation.overall),
        _confusion_table(evaluation.overall),
        Text("\n".join(_remarks(evaluation))),
    ]
    stream = io.StringIO()
    # Whatever terminal this runs in, and wherever the text goes, it is the same text.
    console = Console(
        file=stream,
        width=EVALUATION_WIDTH,
        color_system=None,
        force_terminal=False,
        emoji=False,
        markup=False,
    )
    for part in parts:
        console.print(part)
        console.print()
    return "\n".join(line.rstrip() for line in stream.getvalue().rstrip().splitlines())


def _describe(evaluation: Evaluation) -> str:
    total, errors = evaluation.overall.images, evaluation.errors
    lines = [f"{_pictures(total)} scored, {errors} unreadable and not scored."]
    if evaluation.skipped:
        lines.append(f"{_pictures(evaluation.skipped)} without a face skipped, as the recipe says.")
    if len(evaluation.overall.classes) == 2:
        rule = (
            f"decided from probability {evaluation.threshold:.4g} on "
            f"(rule {evaluation.threshold_rule}, chosen on validation)"
        )
    else:
        rule = "decided for the most probable class"
    lines.append(f"Looked for: {evaluation.target!r}, {rule}.")
    if evaluation.temperature != 1 or any(evaluation.offsets):
        lines.append(_describe_scaling(evaluation))
    if evaluation.abstain:
        share = evaluation.abstained
        lines.append(f"Too close to call (margin below {evaluation.abstain:g}): {share} of them.")
    if evaluation.test_openings > 1:
        lines.append(
            f"These pictures were scored {evaluation.test_openings} times by this run, this time "
            "included."
        )
    lines.append(f"In brackets: {evaluation.confidence:.0%} intervals.")
    return "\n".join(lines)


def _describe_scaling(evaluation: Evaluation) -> str:
    """Return how scores became probabilities."""
    classes = evaluation.overall.classes
    added = [
        f"{offset:+.3g} for {one.label!r}"
        for one, offset in zip(classes, evaluation.offsets, strict=bool(evaluation.offsets))
        if offset
    ]
    return (
        f"Probabilities: the model's scores divided by {evaluation.temperature:.3g}"
        + (f", then {', '.join(added)}" if added else "")
        + ". Fitted on validation, so that they hold where classes are as frequent as there."
    )


def _scores_tables(evaluation: Evaluation) -> list[Table]:
    """Return one table with a column for each slice, or several where it would be too wide."""
    columns = [("all", evaluation.overall)]
    columns += [(name.replace("_", " "), metrics) for name, metrics in evaluation.slices]
    for per_table in range(len(columns), 0, -1):
        parts = [columns[i : i + per_table] for i in range(0, len(columns), per_table)]
        tables = [_scores_table(evaluation, part) for part in parts]
        if all(_width(table) <= EVALUATION_WIDTH for table in tables):
            break
    return tables


def _scores_table(evaluation: Evaluation, columns: list[tuple[str, Metrics]]) -> Table:
    table = _table("metric", *(name for name, _ in columns))
    majority = repr(_cut(evaluation.majority_label))
    table.add_row("pictures", *(str(metrics.images) for _, metrics in columns))
    names = [one.label for one in evaluation.overall.classes]
    target = names.index(evaluation.target)
    shares = (metrics.classes[target].support / metrics.images for _, metrics in columns)
    for field, title in _ROWS:
        cells = [str(getattr(metrics, field)) for _, metrics in columns]
        table.add_row(title.format(majority=majority), *cells)
        if field == "average_precision":
            table.add_row("  by chance", *map(format_number, shares))
    return table


def _classes_table(metrics: Metrics) -> Table:
    table = _table("class", "precision", "recall", "F1", "pictures")
    for one in metrics.classes:
        cells = (str(one.precision), str(one.recall), str(one.f1), str(one.support))
        table.add_row(_cut(one.label), *cells)
    return table


def _confusion_table(metrics: Metrics) -> Table:
    names = [_cut(one.label) for one in metrics.classes]
    counts = metrics.confusion_matrix
    table = _table("true \\ predicted", *names)
    for name, row in zip(names, counts, strict=True):
        table.add_row(name, *map(str, row))
    if _width(table) <= EVALUATION_WIDTH:
        return table
    wrong = [
        (count, true, predicted)
        for i, (true, row) in enumerate(zip(names, counts, strict=True))
        for j, (predicted, count) in enumerate(zip(names, row, strict=True))
        if i != j and count
    ]
    table = _table("most confused: true", "predicted", "pictures")
    for count, true, predicted in sorted(wrong, key=lambda pair: -pair[0])[:MOST_CONFUSIONS]:
        table.add_row(true, predicted, str(count))
    return table


def _remarks(evaluation: Evaluation) -> list[str]:
    remarks = [f"Note: {note}" for note in evaluation.overall.notes]
    for source, metrics in evaluation.slices:
        remarks += [
            f"Note ({source.replace('_', ' ')}): {note}"
            for note in metrics.notes
            if note not in evaluation.overall.notes
        ]
    return remarks


def _table(first: str, *others: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column(Text(first), overflow="fold")  # numbers are never cut for a name
    for name in others:
        table.add_column(Text(name), justify="right", no_wrap=True)
    return table


def _width(table: Table) -> int:
    columns = len(table.columns)
    return Console(width=2 * _LONGEST_NAME * (columns + 1), markup=False).measure(table).maximum


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def _pictures(count: int) -> str:
    return f"{count} picture{'' if count == 1 else 's'}"
