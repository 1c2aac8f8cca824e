"""Where the pictures of a run lie now, and whether its data are sound."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from roi_cls.base.digest import hash_file
from roi_cls.base.location import as_path
from roi_cls.cache.options import BuildOptions
from roi_cls.classifier.runs.bundle import ModelBundle
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.scores import ScoreTable, data_root
from roi_cls.commands.report.parts import Cell, Missing, Table
from roi_cls.data.audit import Audit, audit_samples, audit_verdict, name_examples
from roi_cls.data.picture_facts import read_all_facts
from roi_cls.data.table import read_split

MOST_STATISTICS = 8
"""Rows of the table of what else differs between the classes, beyond those that betray labels."""


def locate_data(
    given: Path | None, run: RunFolder, bundle: ModelBundle, table: ScoreTable | None
) -> Path | Missing:
    """Return the folder that the paths of scores and split start at.

    Args:
        given: Where the user says that the data set lies.
        run: The run.
        bundle: Its facts; they know where the data set lay.
        table: The scores; one of their pictures must be there, by its bytes.
    """
    known = bundle.training.get("source")
    source = given or (as_path(str(known)) if known else None)
    if source is not None:
        root = data_root(source)
        if table is None or _holds_any(root, table):
            return root
    where = f" in {str(source)!r}" if source else ""
    return Missing(
        f"The scored pictures are not to be found{where}: they moved, or others are there now.",
        "Say where they lie:",
        f"roi-cls report --run {shlex.quote(run.path.name)} --data FOLDER",
    )


def _holds_any(root: Path, table: ScoreTable) -> bool:
    # Some may have been taken away; that all of the first are others is no accident.
    pairs = zip(table.paths[:20], table.sha256[:20], strict=True)
    files = ((root / as_path(path), digest) for path, digest in pairs)
    return any(file.is_file() and hash_file(file) == digest for file, digest in files)


@dataclass(frozen=True, slots=True)
class FoundData:
    """An audit, in a form for a page."""

    verdict: str
    findings: tuple[tuple[str, str, tuple[str, ...]], ...]
    """Level, text and examples of each."""
    tables: tuple[Table, ...]


def audit_data(
    run: RunFolder,
    root: Path,
    target: str,
    options: BuildOptions,
    advance: Callable[[int, int, str], None],
) -> FoundData | Missing:
    """Return the audit of all the pictures of the run's split.

    Raises:
        DataError: The split is damaged.
    """
    if not run.split.is_file():
        return Missing("The run keeps no split.csv, so it is not known what it learned from.")
    samples, _ = read_split(run.split, root)
    absent = sum(not sample.path.is_file() for sample in samples)
    if absent:
        return Missing(
            f"{absent} of the {len(samples)} pictures of the run's split are not in {str(root)!r}.",
            "Say where they lie:",
            f"roi-cls report --run {shlex.quote(run.path.name)} --data FOLDER",
        )
    facts = []
    for fact in read_all_facts([sample.path for sample in samples], options):
        facts.append(fact)
        advance(len(facts), len(samples), "")
    return _tell(audit_samples(samples, facts, target), root)


def _tell(audit: Audit, root: Path) -> FoundData:
    findings = tuple(
        (one.level, one.text, tuple(name_examples(audit, one, root))) for one in audit.findings
    )
    return FoundData(audit_verdict(audit), findings, (_parts(audit), *_statistics(audit)))


def _parts(audit: Audit) -> Table:
    labels = list(next(iter(audit.parts.values()), {}))
    rows: list[tuple[Cell, ...]] = []
    for part, counts in audit.parts.items():
        total = sum(counts.values())
        cells = [f"{count} ({count / max(total, 1):.0%})" for count in counts.values()]
        rows.append((part, *cells, total))
    return Table("Pictures by part and class", ("Part", *labels, "All"), tuple(rows))


def _statistics(audit: Audit) -> list[Table]:
    if not audit.statistics:
        return []
    betraying = sum(one.betrays for one in audit.statistics)
    rows = tuple(
        (
            one.name,
            one.label,
            f"{one.roc_auc:.2f}",
            f"{one.p_corrected:.1g}",
            one.detail,
        )
        for one in audit.statistics[: betraying + MOST_STATISTICS]
    )
    columns = ("Statistic alone", "tells", "ROC-AUC", "corrected p", "Difference")
    caption = "What else differs between the classes: a model may learn it instead"
    return [Table(caption, columns, rows, frozenset({1, 4}))]
