"""The work behind ``roi-cls data audit`` and ``data labels``: what is wrong with a data set.

Its files, read with progress, with a report and an exit code; and labels that are likely wrong.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table

from roi_cls.base.rows import markdown_table, to_json
from roi_cls.cache.options import BuildOptions
from roi_cls.classifier.evaluation.label_review import DoubtfulLabel, review_labels
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.scores import data_root
from roi_cls.console.terminal import note, progress, show
from roi_cls.console.words import printable
from roi_cls.data.audit import MOST_EXAMPLES, Audit, audit_samples, audit_verdict, name_examples
from roi_cls.data.collect import collect_data
from roi_cls.data.picture_facts import read_all_facts
from roi_cls.data.sample import MOST_LISTED, choose_labels, tell_extremes
from roi_cls.data.units import group_samples
from roi_cls.data.walk import tell_passed_over

AUDIT_WIDTH = 100
ListForm = Literal["text", "json", "csv"]
LOOKS_WRONG = 0.5
"""Doubt from which the scores speak for other classes more than for the label."""


@dataclass(frozen=True, slots=True)
class AuditJob:
    """What to audit, and how its labels and groups are read."""

    source: Path
    options: BuildOptions
    label_names: dict[str, str] | None = None
    target: str | None = None
    group_regex: str | None = None


def audit_and_tell(job: AuditJob, as_json: bool) -> int:
    """Print the audit; return the exit code: 1 for leaks, 3 for unreadable files, else 0.

    Raises:
        DataError: The labels or the groups cannot be read.
    """
    found = collect_data(job.source, job.label_names)
    for text in found.remarks:
        note(text)
    samples = group_samples(found.samples, job.group_regex, data_root(job.source))
    target = choose_labels(samples, job.target).target
    facts = []
    with progress("Reading") as advance:
        for fact in read_all_facts([sample.path for sample in samples], job.options):
            facts.append(fact)
            advance(len(facts), len(samples), "")
    audit = audit_samples(samples, facts, target, found.passed_over)
    show(to_json(audit.to_dict(), indent=2) if as_json else _render_audit(audit, job.source))
    return 1 if audit.failed else 3 if audit.unreadable else 0


def _render_audit(audit: Audit, source: Path) -> str:
    """Return the audit as text, without a final newline; paths are relative to ``source``."""
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=AUDIT_WIDTH,
        color_system=None,
        force_terminal=False,
        emoji=False,
        markup=False,
    )
    console.print(audit_verdict(audit), soft_wrap=True)
    for text in tell_passed_over(audit.passed_over):
        console.print(text, soft_wrap=True)
    told: Counter[str] = Counter()
    for finding in audit.findings:
        told[finding.kind] += 1
        if told[finding.kind] > MOST_LISTED:
            continue
        console.print(f"{finding.level}: {finding.text}", soft_wrap=True)
        for example in name_examples(audit, finding, data_root(source)):
            console.print(f"      {example}", soft_wrap=True)
    for kind, count in told.items():
        if count > MOST_LISTED:
            more = f"{count - MOST_LISTED} more findings of {kind}: --json lists them."
            console.print(more, soft_wrap=True)
    console.print(_counts_table("pictures", audit.parts))
    if audit.color_profiles.keys() - {"none"}:
        console.print(_counts_table("colour profile", audit.color_profiles))
    if audit.statistics:
        console.print(_statistics_table(audit))
    return "\n".join(line.rstrip() for line in stream.getvalue().rstrip().splitlines())


def _counts_table(what: str, rows: Mapping[str, Mapping[str, int]]) -> Table:
    """Return how many pictures of each class there are in each row."""
    labels = list(next(iter(rows.values()), {}))
    if len(labels) > MOST_LISTED:
        return _extremes_table(what, rows)
    table = _new_table(what, [*labels, "all"])
    for name, counts in rows.items():
        total = sum(counts.values())
        cells = [f"{count} ({count / total:.0%})" for count in counts.values()]
        table.add_row(name, *cells, str(total))
    return table


def _extremes_table(what: str, rows: Mapping[str, Mapping[str, int]]) -> Table:
    """Return the same for many classes: how many there are, and the smallest and the largest."""
    table = _new_table(what, ["classes", "fewest", "most", "all"])
    for name, counts in rows.items():
        there = sum(map(bool, counts.values()))
        table.add_row(name, str(there), *tell_extremes(counts), str(sum(counts.values())))
    return table


def _statistics_table(audit: Audit) -> Table:
    betraying = sum(one.betrays for one in audit.statistics)
    table = _new_table("statistic alone", ["tells", "ROC-AUC", "p", "corrected p", "difference"])
    for one in audit.statistics[: min(betraying, MOST_LISTED) + MOST_EXAMPLES]:
        numbers = (f"{one.roc_auc:.2f}", f"{one.p:.1g}", f"{one.p_corrected:.1g}")
        table.add_row(one.name, one.label, *numbers, one.detail)
    return table


def _new_table(first: str, columns: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first)
    for name in columns:
        table.add_column(name, justify="left" if name in ("tells", "difference") else "right")
    return table


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
        return _labels_csv(shown)
    summary = (
        f"{len(wrong)} of {len(found)} labels look wrong to models that did not learn from them. "
        "Look at each picture: a hard one looks like this, too."
    )
    return f"{_labels_table(shown)}\n\n{summary}" if shown else summary


def _labels_table(shown: Sequence[DoubtfulLabel]) -> str:
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


def _labels_csv(shown: Sequence[DoubtfulLabel]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["path", "label", "suggested", "doubt", "probability"])
    for one in shown:
        writer.writerow([one.path, one.label, one.suggested, one.doubt, one.probability])
    return stream.getvalue().removesuffix("\n")
