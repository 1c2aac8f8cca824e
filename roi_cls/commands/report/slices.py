"""How a run fares on kinds of its pictures: those that the detector saw alike."""

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
from roi_cls.classifier.evaluation.pictures import ScoredPictures
from roi_cls.classifier.metrics.interval import Floats
from roi_cls.classifier.metrics.measure import Metrics, measure_scores
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.scores import ScoreTable
from roi_cls.commands.report.parts import Missing, Table
from roi_cls.data.crops import crop_samples
from roi_cls.data.sample import Sample
from roi_cls.roi import REASON_TEXT
from roi_cls.roi.recipe import OpenedRecipe

MOST_GROUPS = 4
"""Groups of equally many pictures into which sizes and scores are cut."""
FEWEST_IN_GROUP = 20
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
    return _in_groups(sizes, lambda low, high: f"face of {low:.0f} to {high:.0f} px")


def _by_score(seen: Sequence[Seen | None]) -> list[_Slice]:
    scores = np.array([one.face_score if one and one.face_score else np.nan for one in seen])
    return _in_groups(scores, lambda low, high: f"detector score {low:.3f} to {high:.3f}")


def _in_groups(values: Floats, name: Callable[[float, float], str]) -> list[_Slice]:
    """Return groups of equally many known values, the least first; none where all are alike."""
    known = values[~np.isnan(values)]
    count = min(MOST_GROUPS, len(known) // FEWEST_IN_GROUP)
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
