"""Where a run's pictures lie now, whether the data are sound, how it fares on kinds of them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roi_cls.base.digest import hash_file
from roi_cls.base.errors import BundleError
from roi_cls.base.location import as_path
from roi_cls.cache import CropRecord
from roi_cls.cache.options import BuildOptions
from roi_cls.classifier.evaluation.pictures import ScoredPictures
from roi_cls.classifier.metrics.interval import Floats
from roi_cls.classifier.metrics.measure import measure_scores
from roi_cls.classifier.metrics.metrics import Metrics
from roi_cls.classifier.runs.bundle import ModelBundle
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.scores import ScoreTable, data_root
from roi_cls.commands.report.parts import Cell, Missing, Table
from roi_cls.data.audit import Audit, audit_samples, audit_verdict, name_examples
from roi_cls.data.crops import crop_samples
from roi_cls.data.picture_facts import read_all_facts
from roi_cls.data.sample import Sample
from roi_cls.data.table import read_split
from roi_cls.roi import REASON_TEXT
from roi_cls.roi.recipe import OpenedRecipe

MOST_GROUPS = 4
"""Groups of equally many pictures into which sizes and scores are cut."""
FEWEST = 20
"""Pictures of a group; of fewer pictures there are fewer groups."""
_SLICE_TEXT = {
    "face": "a face was cut",
    "full_frame": "the full frame",
    "decided": "sure enough to decide",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What the detector saw in a picture."""

    face_px: float | None
    """Shorter side of the face that was cut; None: none was."""
    face_score: float | None
    """Of the face that was cut."""
    reason: str | None
    """Why none was."""


def read_seen(manifest: Path) -> dict[str, Seen]:
    """Return what was seen in each cropped picture of a run, by the SHA-256 of its bytes.

    Raises:
        BundleError: The file is damaged.
    """
    try:
        lines = manifest.read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        return {row["sha256"]: _seen(row) for row in rows if row["status"] == "ok"}
    except FileNotFoundError:
        return {}
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"Cannot read {str(manifest)!r}, the run's table of crops: {error}. Copy the whole "
            "folder of the run again."
        ) from error


def see(records: Iterable[CropRecord]) -> dict[str, Seen]:
    """Return the same from rows at hand."""
    rows = (record.to_dict() for record in records if record.status == "ok")
    return {row["sha256"]: _seen(row) for row in rows}


def _seen(row: dict[str, Any]) -> Seen:
    if row["box"] is None:
        return Seen(None, None, row["reason"])
    left, top, right, bottom = row["box"]
    return Seen(min(right - left, bottom - top), row["face_score"], None)


def measure_slices(pictures: ScoredPictures, seen: Sequence[Seen | None]) -> Table:
    """Return a row of numbers for each kind of pictures; ``seen``: of each, None where unknown."""
    evaluation = pictures.evaluation
    rows = [("all pictures", evaluation.overall)]
    rows += [(_SLICE_TEXT[name], metrics) for name, metrics in evaluation.slices]
    for name, at in (*_by_reason(seen), *_by_size(seen), *_by_score(seen)):
        rows.append((name, _measure(pictures, at)))
    target = pictures.target
    return Table(
        "Slices of the pictures",
        (
            "Slice",
            "Pictures",
            f"of {evaluation.target!r}",
            "Accuracy",
            f"always {evaluation.majority_label!r}",
            "ROC-AUC",
            "Average precision",
            f"{evaluation.target!r} found",
        ),
        tuple(
            (
                name,
                metrics.images,
                metrics.classes[target].support,
                metrics.accuracy,
                f"{metrics.majority_accuracy.value:.2f}",
                metrics.roc_auc,
                metrics.average_precision,
                metrics.classes[target].recall,
            )
            for name, metrics in rows
        ),
    )


_Part = tuple[str, NDArray[np.bool_]]


def _by_reason(seen: Sequence[Seen | None]) -> list[_Part]:
    reasons = [one.reason if one else None for one in seen]
    parts = [
        (f"full frame: {text}", np.array([found == reason for found in reasons]))
        for reason, text in REASON_TEXT.items()
    ]
    present = [part for part in parts if part[1].any()]
    return present if len(present) > 1 else []


def _by_size(seen: Sequence[Seen | None]) -> list[_Part]:
    sizes = np.array([one.face_px if one and one.face_px else np.nan for one in seen])
    return _in_groups(sizes, lambda low, high: f"face of {low:.0f} to {high:.0f} px")


def _by_score(seen: Sequence[Seen | None]) -> list[_Part]:
    scores = np.array([one.face_score if one and one.face_score else np.nan for one in seen])
    return _in_groups(scores, lambda low, high: f"detector score {low:.3f} to {high:.3f}")


def _in_groups(values: Floats, name: Callable[[float, float], str]) -> list[_Part]:
    """Return groups of equally many known values, the least first; none where all are alike."""
    known = values[~np.isnan(values)]
    count = min(MOST_GROUPS, len(known) // FEWEST)
    if count < 2 or known.min() == known.max():
        return []
    edges = np.unique(np.quantile(known, np.arange(1, count) / count, method="inverted_cdf"))
    group = np.where(np.isnan(values), -1, np.searchsorted(edges, values, side="left"))
    parts = []
    for i in np.unique(group[group >= 0]):
        own = values[group == i]
        parts.append((name(float(own.min()), float(own.max())), np.asarray(group == i)))
    return parts


def _measure(pictures: ScoredPictures, at: NDArray[np.bool_]) -> Metrics:
    evaluation = pictures.evaluation
    return measure_scores(
        pictures.labels[at],
        pictures.probabilities[at],
        pictures.names,
        target=pictures.target,
        threshold=evaluation.threshold,
        majority=pictures.names.index(evaluation.majority_label),
    )


STATISTICS = 8
"""Rows of the table of what else differs between the classes, beyond those that betray labels."""


@dataclass(frozen=True, slots=True)
class FoundData:
    """An audit, in a form for a page."""

    verdict: str
    findings: tuple[tuple[str, str, tuple[str, ...]], ...]
    """Level, text and examples of each."""
    tables: tuple[Table, ...]


def find_root(
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


def find_seen(
    run: RunFolder,
    view: OpenedRecipe,
    table: ScoreTable,
    root: Path | Missing,
    options: BuildOptions,
) -> list[Seen | None]:
    """Return what the detector saw in each scored picture; None where that cannot be known.

    The run keeps it of its own data set; of other pictures the crop cache does, or they are
    looked at again.

    Raises:
        BundleError, CacheError: The run's table of crops, or the cache, cannot be read.
    """
    seen = read_seen(run.crops)
    absent = [
        (path, digest)
        for path, digest in zip(table.paths, table.sha256, strict=True)
        if digest not in seen
    ]
    if absent and isinstance(root, Path):
        samples = [Sample(root / as_path(path)) for path, _ in absent]
        seen |= see(crop_samples(samples, view.params, view.open_detector, options))
    return [seen.get(digest) for digest in table.sha256]


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
        for one in audit.statistics[: betraying + STATISTICS]
    )
    columns = ("Statistic alone", "tells", "ROC-AUC", "corrected p", "Difference")
    caption = "What else differs between the classes: a model may learn it instead"
    return [Table(caption, columns, rows, frozenset({1, 4}))]
