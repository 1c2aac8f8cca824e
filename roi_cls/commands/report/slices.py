"""How a run fares on kinds of its pictures: those that the detector saw alike, or of a source."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roi_cls.base.errors import BundleError
from roi_cls.base.location import as_path
from roi_cls.cache import CropRecord
from roi_cls.cache.options import BuildOptions
from roi_cls.classifier.evaluation.groups import FEWEST_IN_GROUP, GroupComparison
from roi_cls.classifier.evaluation.pictures import ScoredPictures
from roi_cls.classifier.metrics.interval import Estimate, Floats, format_number
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.scores import ScoreTable
from roi_cls.commands.report.parts import Cell, Missing, Table
from roi_cls.data.crops import crop_samples
from roi_cls.data.sample import Sample
from roi_cls.roi import REASON_TEXT
from roi_cls.roi.recipe import OpenedRecipe

MOST_RANGES = 4
"""Ranges of equally many pictures into which sizes and scores are cut."""
FEWEST_IN_RANGE = 20
"""Pictures of a range of sizes or scores; of fewer pictures there are fewer ranges."""
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
        seen |= _see(crop_samples(samples, view.params, view.open_detector, options))
    return [seen.get(digest) for digest in table.sha256]


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


def _see(records: Iterable[CropRecord]) -> dict[str, Seen]:
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
        rows.append((name, pictures.measure(at)))
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


_Slice = tuple[str, NDArray[np.bool_]]


def _by_reason(seen: Sequence[Seen | None]) -> list[_Slice]:
    reasons = [one.reason if one else None for one in seen]
    parts = [
        (f"full frame: {text}", np.array([found == reason for found in reasons]))
        for reason, text in REASON_TEXT.items()
    ]
    present = [part for part in parts if part[1].any()]
    return present if len(present) > 1 else []


def _by_size(seen: Sequence[Seen | None]) -> list[_Slice]:
    sizes = np.array([one.face_px if one and one.face_px else np.nan for one in seen])
    return _in_ranges(sizes, lambda low, high: f"face of {low:.0f} to {high:.0f} px")


def _by_score(seen: Sequence[Seen | None]) -> list[_Slice]:
    scores = np.array([one.face_score if one and one.face_score else np.nan for one in seen])
    return _in_ranges(scores, lambda low, high: f"detector score {low:.3f} to {high:.3f}")


def _in_ranges(values: Floats, name: Callable[[float, float], str]) -> list[_Slice]:
    """Return ranges of equally many known values, the least first; none where all are alike."""
    known = values[~np.isnan(values)]
    count = min(MOST_RANGES, len(known) // FEWEST_IN_RANGE)
    if count < 2 or known.min() == known.max():
        return []
    edges = np.unique(np.quantile(known, np.arange(1, count) / count, method="inverted_cdf"))
    group = np.where(np.isnan(values), -1, np.searchsorted(edges, values, side="left"))
    parts = []
    for i in np.unique(group[group >= 0]):
        own = values[group == i]
        parts.append((name(float(own.min()), float(own.max())), np.asarray(group == i)))
    return parts


def group_table(pictures: ScoredPictures, groups: GroupComparison) -> Table:
    """Return a row of numbers for each group, below one for all pictures."""
    evaluation, target = pictures.evaluation, pictures.evaluation.target
    overall, is_target = evaluation.overall, pictures.is_target
    everything: tuple[Cell, ...] = (
        "all",
        overall.images,
        _share_text(int(is_target.sum()), overall.images),
        overall.roc_auc,
        overall.average_precision,
        overall.accuracy,
        *(_mean_text(pictures.scores[at]) for at in (~is_target, is_target)),
        "",
    )
    rows = [
        (
            row.title,
            row.images,
            _share_text(row.targets, row.images),
            *(_or_few(one) for one in (row.roc_auc, row.average_precision, row.accuracy)),
            *(_or_few(one) for one in (row.mean_other, row.mean_target)),
            _or_few(row.told_apart),
        )
        for row in groups.rows
    ]
    return Table(
        "The pictures by source",
        (
            "Source",
            "Pictures",
            f"of {target!r}",
            "ROC-AUC",
            "Average precision",
            "Accuracy",
            "Mean score of others",
            f"Mean score of {target!r}",
            "Told from others",
        ),
        (everything, *rows),
    )


def _share_text(part: int, total: int) -> str:
    return f"{part} ({part / total:.0%})"


def _mean_text(scores: Floats) -> Cell:
    return _or_few(float(scores.mean())) if len(scores) >= FEWEST_IN_GROUP else _or_few(None)


def _or_few(value: Estimate | float | None) -> Cell:
    if value is None:
        return "too\N{NO-BREAK SPACE}few"
    return format_number(value) if isinstance(value, float) else value
