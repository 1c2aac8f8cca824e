"""Several models' scores of the same pictures become one: the weights, the scores, the settings.

Every score used here is of a picture that its model did not learn from: of the validation part, or
out of fold. A test picture's never is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from roi_cls.base.errors import BundleError
from roi_cls.classifier.metrics.decision import join_scores
from roi_cls.classifier.metrics.selection import select_greedily
from roi_cls.classifier.recipe import Combine
from roi_cls.classifier.runs.bundle import ModelBundle
from roi_cls.classifier.runs.operating_point import choose_operating_point
from roi_cls.classifier.runs.scores import ScoreTable, class_indices
from roi_cls.data.sample import LabelSet


@dataclass(frozen=True, slots=True, eq=False)
class Fusion:
    """How systems are weighted, and what their weighted mean says."""

    weights: tuple[float, ...]
    """Of each system, at least 0, together 1."""
    table: ScoreTable
    """The mean's scores, before they are calibrated."""


def fuse(tables: Sequence[ScoreTable], labels: LabelSet, combine: Combine) -> Fusion:
    """Return the systems' weights, and their mean for the pictures that all of them scored.

    Args:
        tables: Of each system, for pictures it did not learn from.
        labels: The classes.
        combine: ``mean``: all alike; ``greedy``: see ``select_greedily``.

    Raises:
        BundleError: No picture was scored by all, or not of all classes.
    """
    shared = _shared(tables)
    truth = class_indices(shared[0], labels)
    if len(np.unique(truth)) < 2:
        raise BundleError(
            f"Cannot join {len(tables)} runs: there are no pictures of different classes that all "
            "of them scored without having learned from them. Train them on the same split."
        )
    scores = [table.probabilities for table in shared]
    weights = (1 / len(scores),) * len(scores)
    if combine == "greedy":
        weights = select_greedily(scores, truth, labels.target_index)
    return Fusion(weights, average_tables(shared, weights))


def average_tables(tables: Sequence[ScoreTable], weights: Sequence[float]) -> ScoreTable:
    """Return the weighted mean of the tables' scores, for the pictures that stand in all."""
    shared = _shared(tables)
    scores = join_scores([table.probabilities for table in shared], weights)
    return replace(shared[0], probabilities=scores)


def choose_joint_point(
    bundle: ModelBundle, table: ScoreTable, threshold_rule: str, calibrate: bool
) -> tuple[ModelBundle, str | None]:
    """Return the ensemble's facts with the scaling and threshold that ``table`` asks for.

    And, where no threshold keeps the rule, a sentence that says so.
    """
    with np.errstate(divide="ignore"):  # what every member rules out stays ruled out
        logarithms = np.log(table.probabilities)
    truth = class_indices(table, bundle.labels)
    ruled = replace(bundle, threshold_rule=threshold_rule)
    return choose_operating_point(ruled, logarithms, truth, calibrate=calibrate)


def calibrate_table(table: ScoreTable, bundle: ModelBundle) -> ScoreTable:
    """Return the scores that an ensemble gives whose members' mean is ``table``."""
    mean = table.probabilities
    scores = join_scores([mean], [1.0], bundle.temperature, bundle.offsets)
    return replace(table, probabilities=scores)


def mean_table(tables: Sequence[ScoreTable]) -> ScoreTable:
    """Return the mean scores of models of one system, for the same pictures."""
    return average_tables(tables, [1.0] * len(tables))


def stack_tables(tables: Sequence[ScoreTable]) -> ScoreTable:
    """Return the rows of the tables one after another: the folds of one system."""
    return ScoreTable(
        paths=tuple(path for table in tables for path in table.paths),
        sha256=tuple(digest for table in tables for digest in table.sha256),
        labels=tuple(label for table in tables for label in table.labels),
        sources=tuple(source for table in tables for source in table.sources),
        probabilities=np.concatenate([table.probabilities for table in tables]),
    )


def _shared(tables: Sequence[ScoreTable]) -> list[ScoreTable]:
    """Return each table's rows of the pictures that stand in all, in the order of the first."""
    places = [
        {key: i for i, key in enumerate(zip(table.paths, table.sha256, table.labels, strict=True))}
        for table in tables
    ]
    keys = [key for key in places[0] if all(key in rows for rows in places)]
    return [
        _pick(table, [rows[key] for key in keys])
        for table, rows in zip(tables, places, strict=True)
    ]


def _pick(table: ScoreTable, rows: Sequence[int]) -> ScoreTable:
    return ScoreTable(
        paths=tuple(table.paths[i] for i in rows),
        sha256=tuple(table.sha256[i] for i in rows),
        labels=tuple(table.labels[i] for i in rows),
        sources=tuple(table.sources[i] for i in rows),
        probabilities=table.probabilities[list(rows)],
    )
