"""The scores of labelled pictures as a CSV, and what is fitted on those of validation, once.

A CSV has path, digest, label and a probability per class. Calibration and threshold are fitted on
pictures that the model did not learn from.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roi_cls.base.atomic import write_atomically
from roi_cls.base.errors import BundleError
from roi_cls.classifier.metrics.calibration import fit_scaling
from roi_cls.classifier.metrics.decision import to_probabilities
from roi_cls.classifier.metrics.threshold import choose_threshold, find_shortfall
from roi_cls.classifier.runs.bundle import ModelBundle
from roi_cls.data.archives import source_root
from roi_cls.data.crops import CropArray
from roi_cls.data.sample import LabelSet

_FIXED = ("path", "sha256", "label", "source")


@dataclass(frozen=True, slots=True, eq=False)
class ScoreTable:
    """Scores of N pictures; row i is the same picture everywhere."""

    paths: tuple[str, ...]
    sha256: tuple[str, ...]
    """Of each picture's bytes."""
    labels: tuple[str, ...]
    """True class names."""
    sources: tuple[str, ...]
    """What was looked at: ``face`` or ``full_frame``."""
    probabilities: NDArray[np.float64]
    """(N, K), in the order of the run's labels."""


def score_table(
    crops: CropArray, labels: LabelSet, probabilities: NDArray[np.float64], root: Path
) -> ScoreTable:
    """Return the scores of crops with their paths below ``root``."""
    return ScoreTable(
        paths=tuple(relative_path(record.path, root) for record in crops.records),
        sha256=tuple(record.sha256 or "" for record in crops.records),
        labels=tuple(labels.names[i] for i in crops.labels),
        sources=tuple(record.source or "" for record in crops.records),
        probabilities=probabilities,
    )


def relative_path(path: Path, root: Path) -> str:
    """Return ``path`` below ``root`` with / between its parts, or whole where it lies elsewhere."""
    absolute, base = path.absolute(), root.absolute()
    return absolute.relative_to(base).as_posix() if absolute.is_relative_to(base) else str(absolute)


def data_root(source: Path) -> Path:
    """Return the folder that the paths of a data set are relative to, also where it is gone."""
    is_table = source.suffix.lower() in (".csv", ".tsv") and not source.is_dir()
    return source.parent if is_table else source_root(source)


def write_scores(path: Path, table: ScoreTable, names: Sequence[str]) -> None:
    """Write the table; probabilities are kept to the last bit. Raises ``StorageError``."""
    buffer = io.StringIO()
    # The default line end (\r\n) makes the writer quote a lone \r, which a reader would drop.
    writer = csv.writer(buffer)
    writer.writerow([*_FIXED, *(f"p_{name}" for name in names)])
    columns = (table.paths, table.sha256, table.labels, table.sources)
    for i, row in enumerate(zip(*columns, strict=True)):
        writer.writerow([*row, *(repr(float(p)) for p in table.probabilities[i])])
    write_atomically(path, buffer.getvalue().encode("utf-8", "surrogateescape"))


def read_scores(path: Path, names: Sequence[str]) -> ScoreTable:
    """Return the table that ``write_scores`` wrote for these classes.

    Raises:
        BundleError: It is missing or not such a table.
    """
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        scores = [[float(row[f"p_{name}"]) for name in names] for row in rows]
        columns = {name: tuple(row[name] for row in rows) for name in _FIXED}
        if not rows:
            raise ValueError("it has no row")
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"Cannot read the stored scores {str(path)!r}: {error}. Train the run again."
        ) from error
    values = np.array(scores, np.float64).reshape(len(rows), len(names))
    return ScoreTable(
        columns["path"], columns["sha256"], columns["label"], columns["source"], values
    )


def class_indices(table: ScoreTable, labels: LabelSet) -> NDArray[np.int64]:
    """Return the (N,) indices of the true classes."""
    return np.array([labels.index(name) for name in table.labels], np.int64)


def choose_operating_point(
    bundle: ModelBundle,
    logits: NDArray[np.floating],
    labels: NDArray[np.int64],
    *,
    calibrate: bool,
) -> tuple[ModelBundle, str | None]:
    """Return the bundle with temperature, offsets and threshold, and how its rule is missed.

    Args:
        bundle: Says the classes, the target and the threshold's rule; not calibrated yet.
        logits: (N, K) of validation or out-of-fold pictures; the logarithm of probabilities
            serves, too, minus infinity included.
        labels: (N,) true class indices.
        calibrate: Fit temperature and offsets first.

    Returns:
        The bundle; and a sentence where no threshold keeps the rule, else None. With three
        classes or more there is no threshold.
    """
    if calibrate:
        temperature, offsets = fit_scaling(logits, labels)
        bundle = replace(bundle, temperature=temperature, offsets=offsets)
    if len(bundle.labels.names) != 2:
        return bundle, None
    target, rule = bundle.labels.target_index, bundle.threshold_rule
    scores = to_probabilities(logits, bundle.temperature, bundle.offsets)[:, target]
    is_target = labels == target
    threshold = choose_threshold(scores, is_target, rule)
    shortfall = find_shortfall(scores, is_target, threshold, rule)
    return replace(bundle, threshold=threshold), shortfall
