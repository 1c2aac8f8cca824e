"""An evaluation as plain text for people, all of it, and what any text about one is made of.

Knows layout only; every number comes from the value. No line is wider than ``EVALUATION_WIDTH``,
and no name is broken: what is too long loses a part to an ellipsis, never what tells it from
another name.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from roi_cls.classifier.evaluation.evaluation import Evaluation
from roi_cls.classifier.evaluation.groups import FEWEST_IN_GROUP
from roi_cls.classifier.metrics.interval import Estimate, format_number
from roi_cls.classifier.metrics.measure import Metrics, find_caveats
from roi_cls.data.sample import MOST_LISTED

EVALUATION_WIDTH = 80
"""Characters of the widest line."""
MOST_CONFUSIONS = 10
"""Lines in place of a confusion matrix that is too wide or has too many classes."""
MOST_GROUPS_ON_SCREEN = 5
"""Rows of groups where not all is asked for."""
_LONGEST_NAME = 32  # cells; also in a sentence a longer class name is shortened
_NAME_WIDTHS = (_LONGEST_NAME, 24, 20, 16, 14, 12)
"""Cells of a name that a table tries, until it fits."""
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
_Column = TypeVar("_Column")


def render_evaluation(evaluation: Evaluation) -> str:
    """Return all of the evaluation as text, without a final newline.

    Estimates are shown as ``value [low, high]``. The verdict comes first, the reasons to doubt a
    number last.
    """
    evaluation = shorten_classes(evaluation)
    return render_parts(
        Text(evaluation.verdict),
        Text(_describe(evaluation)),
        *_scores_tables(evaluation),
        *_classes_tables(evaluation.overall),
        show_confusions(evaluation.overall),
        *show_groups(evaluation, full=True),
        Text("\n".join(_remarks(evaluation))),
    )


def _describe(evaluation: Evaluation) -> str:
    total, errors = evaluation.overall.images, evaluation.errors
    lines = [f"{pictures_text(total)} scored, {errors} unreadable and not scored."]
    if evaluation.skipped:
        skipped = pictures_text(evaluation.skipped)
        lines.append(f"{skipped} without a face skipped, as the recipe says.")
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
    if len(added) > MOST_LISTED:
        low, high = min(evaluation.offsets), max(evaluation.offsets)
        added = [f"{low:+.3g} to {high:+.3g}, another for each class"]
    return (
        f"Probabilities: the model's scores divided by {evaluation.temperature:.3g}"
        + (f", then {', '.join(added)}" if added else "")
        + ". Fitted on validation, so that they hold where classes are as frequent as there."
    )


def _scores_tables(evaluation: Evaluation) -> list[Table]:
    slices = [("all", evaluation.overall)]
    slices += [(name.replace("_", " "), metrics) for name, metrics in evaluation.slices]
    names = [one.label for one in evaluation.overall.classes]
    majority = names.index(evaluation.majority_label)

    def build(columns: Sequence[tuple[str, Metrics]], short: Sequence[str]) -> Table:
        table = make_table("metric", *(name for name, _ in columns))
        table.add_row("pictures", *(str(metrics.images) for _, metrics in columns))
        for field, title in _ROWS:
            cells = [str(getattr(metrics, field)) for _, metrics in columns]
            table.add_row(title.format(majority=repr(short[majority])), *cells)
            if field == "average_precision":
                shares = (evaluation.count_target(m) / m.images for _, m in columns)
                table.add_row("  by chance", *map(format_number, shares))
        return table

    return fit_tables(slices, names, build)


def _classes_tables(metrics: Metrics) -> list[Table]:
    classes = metrics.classes
    columns = (
        ("precision", [str(one.precision) for one in classes]),
        ("recall", [str(one.recall) for one in classes]),
        ("F1", [str(one.f1) for one in classes]),
        ("pictures", [str(one.support) for one in classes]),
    )

    names = [one.label for one in classes]
    return fit_tables(columns, names, lambda part, short: join_columns("class", short, part))


def show_confusions(
    metrics: Metrics,
    most_classes: int = EVALUATION_WIDTH // 3,
    most_pairs: int = MOST_CONFUSIONS,
) -> RenderableType:
    """Return the confusion matrix, or where it has no room the pairs that were confused most.

    most_classes: more have no room; unset: so many that not even the counts fit beside each other.
    most_pairs: how many pairs.
    """
    names = [one.label for one in metrics.classes]
    if len(names) <= most_classes:
        for heads in (names, [str(i) for i in range(1, len(names) + 1)]):
            table = _matrix(metrics, heads)
            if _is_narrow(table):
                return table
    return _top_confusions(metrics, most_pairs)


def _matrix(metrics: Metrics, heads: Sequence[str]) -> Table:
    """Return the matrix, its columns called by the names, or by numbers that the rows explain."""
    table = make_table("true \\ predicted", *heads)
    for head, one, row in zip(heads, metrics.classes, metrics.confusion_matrix, strict=True):
        table.add_row(one.label if head == one.label else f"{head} {one.label}", *map(str, row))
    return table


def _top_confusions(metrics: Metrics, most: int) -> RenderableType:
    counts = metrics.confusion_matrix
    wrong = [
        (count, true, predicted)
        for true, row in enumerate(counts)
        for predicted, count in enumerate(row)
        if true != predicted and count
    ]
    if not wrong:
        return Text("No picture was taken for one of another class.")
    wrong.sort(key=lambda pair: -pair[0])

    def build(columns: Sequence[str], short: Sequence[str]) -> Table:
        table = make_table("most confused: true")
        table.add_column(Text(columns[0]), no_wrap=True)
        table.add_column(Text("pictures"), justify="right", no_wrap=True)
        for count, true, predicted in wrong[:most]:
            share = f"{count} of {sum(counts[true])}"
            table.add_row(short[true], short[predicted], share)
        return table

    tables = fit_tables(["predicted"], [one.label for one in metrics.classes], build)
    left = wrong[most:]
    if not left:
        return Group(*tables)
    count = pictures_text(sum(count for count, *_ in left))
    return Group(*tables, Text(f"In {len(left)} more pairs of classes: {count}."))


def _remarks(evaluation: Evaluation) -> list[str]:
    remarks = [f"Note: {note}" for note in evaluation.overall.notes]
    for source, metrics in evaluation.slices:
        remarks += [
            f"Note ({source.replace('_', ' ')}): {note}"
            for note in metrics.notes
            if note not in evaluation.overall.notes
        ]
    return remarks


def show_groups(evaluation: Evaluation, *, full: bool = False) -> list[RenderableType]:
    """Return what there is to say of groups of pictures: what the score tells of them, a table.

    full: with every figure, in several tables if need be.
    """
    groups = evaluation.groups
    if groups is None:
        return []
    rows = groups.rows if full else groups.rows[:MOST_GROUPS_ON_SCREEN]
    columns = [
        ("pictures", [str(row.images) for row in rows]),
        ("target", [str(row.targets) for row in rows]),
        ("ROC-AUC", [_cell(row.roc_auc) for row in rows]),
        ("accuracy", [_cell(row.accuracy) for row in rows]),
        ("others' score", [_cell(row.mean_other) for row in rows]),
    ]
    if full:
        columns += [
            ("target's score", [_cell(row.mean_target) for row in rows]),
            ("target's share", [format_number(row.targets / row.images) for row in rows]),
            ("average precision", [_cell(row.average_precision) for row in rows]),
            ("told from the others", [_cell(row.told_apart) for row in rows]),
        ]
    shown = [row.title for row in rows]
    tables = fit_tables(columns, shown, lambda part, names: join_columns("source", names, part))
    titles = shorten_names([row.title for row in groups.rows], _LONGEST_NAME)
    verdict = groups.verdict(evaluation.target, titles)
    texts = [verdict, groups.remark]
    if left := len(groups.rows) - len(rows):
        texts.append(f"And {left} more row{'' if left == 1 else 's'}: --full shows all.")
    if any("too few" in cells for _, cells in columns):
        texts.append(f"Too few: below {FEWEST_IN_GROUP} pictures of what a figure is of.")
    return [Group(*tables, Text(" ".join(filter(None, texts))))]


def _cell(value: Estimate | float | None) -> str:
    if value is None:
        return "too few"
    return format_number(value) if isinstance(value, float) else str(value)


def render_parts(*parts: RenderableType) -> str:
    """Return the parts as text, an empty line between them; an empty part leaves none."""
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
    for part in filter(None, parts):
        console.print(part)
        console.print()
    return "\n".join(line.rstrip() for line in stream.getvalue().rstrip().splitlines())


def make_table(first: str, *others: str) -> Table:
    """Return a table without rows, the first column flush left; no cell is ever broken."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column(Text(first), no_wrap=True)
    for name in others:
        table.add_column(Text(name), justify="right", no_wrap=True)
    return table


def join_columns(
    first: str, names: Sequence[str], columns: Sequence[tuple[str, Sequence[str]]]
) -> Table:
    """Return a table of columns, each a title with a cell for each of the names."""
    table = make_table(first, *(title for title, _ in columns))
    for i, name in enumerate(names):
        table.add_row(name, *(cells[i] for _, cells in columns))
    return table


def fit_tables(
    columns: Sequence[_Column],
    names: Sequence[str],
    build: Callable[[Sequence[_Column], Sequence[str]], Table],
) -> list[Table]:
    """Return one table of all columns, or several where it would be too wide.

    Args:
        columns: Beside the first. They part where shorter names do not help, either.
        names: Of all classes.
        build: Makes a table of some columns, with the names as short as is needed.
    """
    tables: list[Table] = []
    for per_table in range(len(columns), 0, -1):
        parts = [columns[i : i + per_table] for i in range(0, len(columns), per_table)]
        for width in _NAME_WIDTHS:
            tables = [build(part, shorten_names(names, width)) for part in parts]
            if all(map(_is_narrow, tables)):
                return tables
    return tables


def _is_narrow(table: Table) -> bool:
    ample = 2 * _LONGEST_NAME * (len(table.columns) + 1)
    return Console(width=ample, markup=False).measure(table).maximum <= EVALUATION_WIDTH


def pictures_text(count: int) -> str:
    """Return a number of pictures in words."""
    return f"{count} picture{'' if count == 1 else 's'}"


def shorten_classes(evaluation: Evaluation, most_named: int = MOST_LISTED) -> Evaluation:
    """Return the evaluation with class names that a line has room for, also in its notes.

    most_named: see ``find_caveats``.
    """
    names = [one.label for one in evaluation.overall.classes]
    short = shorten_names(names, _LONGEST_NAME)
    target = names.index(evaluation.target)

    def rename(metrics: Metrics) -> Metrics:
        pairs = zip(metrics.classes, short, strict=True)
        support = [one.support for one in metrics.classes]
        return replace(
            metrics,
            classes=tuple(replace(one, label=name) for one, name in pairs),
            notes=tuple(find_caveats(support, short, target, most_named=most_named)),
        )

    return replace(
        evaluation,
        overall=rename(evaluation.overall),
        slices=tuple((name, rename(metrics)) for name, metrics in evaluation.slices),
        target=short[target],
        majority_label=short[names.index(evaluation.majority_label)],
    )


def shorten_names(names: Sequence[str], width: int) -> list[str]:
    """Return each name in at most ``width`` cells of a terminal, different ones differently.

    What is longer keeps its beginning and its end. Where that makes two alike it keeps the end
    alone, or the beginning; where these do not tell them apart, either, every name is numbered.
    What a terminal would obey is written as Python does.
    """
    shown = [name if name.isprintable() else repr(name)[1:-1] for name in names]
    for head in (width // 2, 0, width - 1):
        short = [_shorten(name, width, head) for name in shown]
        if len({name.strip() for name in short}) == len(set(names)):
            return short
    tags = [f"{i} " for i in range(1, len(names) + 1)]
    rooms = [width - len(tag) for tag in tags]
    return [
        tag + _shorten(name, room, room // 2)
        for tag, room, name in zip(tags, rooms, shown, strict=True)
    ]


def _shorten(name: str, width: int, head: int) -> str:
    """Return the name in at most ``width`` cells, ``head`` of them before the ellipsis."""
    if cell_len(name) <= width:
        return name
    first = _take(name, head)
    last = _take(name[::-1], width - 1 - cell_len(first))[::-1]
    # A name that was shortened before is not to have two of them.
    return f"{first.partition('…')[0]}…{last.rpartition('…')[2]}"


def _take(name: str, width: int) -> str:
    """Return the first characters that ``width`` cells have room for, if possible whole words."""
    end = 0
    while end < len(name) and cell_len(name[: end + 1]) <= width:  # a wide one has two cells
        end += 1
    words = re.match(r".*[\W_](?=[^\W_])", name[: end + 1])
    return words[0] if words and 2 * len(words[0]) >= end else name[:end]
