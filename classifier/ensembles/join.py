"""Several models' scores of the same pictures become one, and several runs become one run.

The weights of the members are chosen on scores of pictures that none of them learned from.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score

from roi_cls.base.atomic import telling_storage, write_atomically
from roi_cls.base.errors import BundleError, TrainingError
from roi_cls.classifier.export.own import export_joined
from roi_cls.classifier.metrics.decision import join_scores
from roi_cls.classifier.metrics.interval import Floats, Labels
from roi_cls.classifier.recipe import Combine
from roi_cls.classifier.runs.bundle import ModelBundle, load_bundle
from roi_cls.classifier.runs.ensemble import join_members, save_ensemble
from roi_cls.classifier.runs.folder import RunFolder, honest_scores
from roi_cls.classifier.runs.scores import (
    ScoreTable,
    choose_operating_point,
    class_indices,
    read_scores,
    write_scores,
)
from roi_cls.classifier.runs.writing import hold_run, is_unused
from roi_cls.data.sample import LabelSet

MOST_ROUNDS = 50
"""Members drawn at most; repetitions make weights in steps of 1/50."""


def join_runs(
    runs: Sequence[RunFolder],
    new: RunFolder,
    combine: Combine = "mean",
    on_note: Callable[[str], None] = lambda text: None,
    *,
    export: bool = False,
) -> Fusion:
    """Make an ensemble of finished runs; return how they are weighted, and the joint scores.

    Weights, scaling and threshold are chosen on pictures that no run learned from: those of
    the validation part, scored out of fold by runs over folds.

    Args:
        runs: Two or more, different ones; each is copied into the new run.
        new: Its folder must not be there yet.
        combine: See ``TrainingRecipe``.
        on_note: Told where no threshold keeps its rule, and how the export went.
        export: Whether the new run ends with its ONNX file.

    Raises:
        TrainingError: The folder is there, or there are not two different runs.
        BundleError: A run cannot be used, or they were trained on other classes or another split.
        StorageError: The disk is full or the folder cannot be written.
    """
    paths = [run.path for run in runs]
    if len({path.resolve() for path in paths}) < max(2, len(paths)):
        raise TrainingError("Cannot join runs: name two or more different ones, each by --run.")
    with hold_run(new):
        if not is_unused(new.path):
            raise TrainingError(
                f"Cannot make the run {new.path.name!r}: {str(new.path)!r} is there already. "
                "Choose another --name, or delete the folder."
            )
        return _join(runs, new, combine, on_note, export)


def _join(
    runs: Sequence[RunFolder],
    new: RunFolder,
    combine: Combine,
    on_note: Callable[[str], None],
    export: bool,
) -> Fusion:
    paths = [run.path for run in runs]
    bundles = [load_bundle(path) for path in paths]
    join_members(paths)  # refuses other classes
    _check_same_split(runs, bundles)
    labels = bundles[0].labels
    tables = [read_scores(honest_scores(run), labels.names) for run in runs]
    fusion = fuse(tables, labels, combine)
    kept = [i for i, weight in enumerate(fusion.weights) if weight > 0]
    members = [paths[i] for i in kept]
    rule = bundles[0].threshold_rule
    settings = _settings(runs, bundles, combine)
    joined = join_members(members, [fusion.weights[i] for i in kept])
    joined = replace(joined, abstain=bundles[0].abstain, training=settings)
    calibrate = settings["config"]["calibrate"]
    bundle, shortfall = choose_joint_point(joined, fusion.table, rule, calibrate)
    if shortfall:
        on_note(f"warning: {shortfall}")
    with _removed_on_failure(new.path):
        _write(runs[0], new, settings)
        if any(runs[i].oof_scores.is_file() for i in kept):
            write_scores(new.oof_scores, calibrate_table(fusion.table, bundle), labels.names)
        # What the ensemble itself says of the validation part, as `verify` will hear it.
        own = [read_scores(runs[i].validation_scores, labels.names) for i in kept]
        said = _average_tables(own, [fusion.weights[i] for i in kept])
        write_scores(new.validation_scores, calibrate_table(said, bundle), labels.names)

        def on_facts(whole: ModelBundle) -> None:
            if export:
                export_joined(new, members, whole, on_note)

        save_ensemble(new.path, members, bundle, on_facts)
    return fusion


@contextmanager
def _removed_on_failure(folder: Path) -> Iterator[None]:
    """Remove a new folder where the block fails: half a run would keep the next from its name."""
    try:
        yield
    except BaseException:  # reason: also after Ctrl-C; raised again
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _check_same_split(runs: Sequence[RunFolder], bundles: Sequence[ModelBundle]) -> None:
    """Refuse runs of which one may have learned from what another is tested by."""
    for run, bundle in zip(runs[1:], bundles[1:], strict=True):
        if bundle.data_digest != bundles[0].data_digest:
            raise BundleError(
                f"Cannot join the runs {runs[0].path.name!r} and {run.path.name!r}: they were "
                "trained on other pictures or another split, so one may have learned from the "
                "other's test pictures. Train them on the same data with the same --split-seed "
                "and shares."
            )


def _settings(
    runs: Sequence[RunFolder], bundles: Sequence[ModelBundle], combine: Combine
) -> dict[str, Any]:
    names = [run.path.name for run in runs]
    return {**bundles[0].training, "joined": {"runs": names, "combine": combine}}


def _write(first: RunFolder, new: RunFolder, settings: dict[str, Any]) -> None:
    """Write what an evaluation of the new run needs beside its bundle: the common split."""
    write_atomically(new.settings, (json.dumps(settings, indent=2) + "\n").encode())
    for source, copy in ((first.split, new.split), (first.crops, new.crops)):
        if source.is_file():
            with telling_storage(copy):
                shutil.copyfile(source, copy)


@dataclass(frozen=True, slots=True, eq=False)
class Fusion:
    """How systems are weighted, and what their weighted mean says."""

    weights: tuple[float, ...]
    """Of each system, at least 0, together 1."""
    table: ScoreTable
    """The mean's scores, before they are calibrated."""


def fuse(
    tables: Sequence[ScoreTable],
    labels: LabelSet,
    combine: Combine,
    given: Sequence[float] = (),
) -> Fusion:
    """Return the systems' weights, and their mean for the pictures that all of them scored.

    Args:
        tables: Of each system, for pictures it did not learn from.
        labels: The classes.
        combine: ``mean``: all alike; ``greedy``: see ``select_greedily``.
        given: Of each system in the mean, instead of all alike.

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
    shares = given or [1.0] * len(scores)
    weights = tuple(share / sum(shares) for share in shares)
    if combine == "greedy":
        weights = select_greedily(scores, truth, labels.target_index)
    return Fusion(weights, _average_tables(shared, weights))


def _average_tables(tables: Sequence[ScoreTable], weights: Sequence[float]) -> ScoreTable:
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
    return _average_tables(tables, [1.0] * len(tables))


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


def select_greedily(
    members: Sequence[Floats], labels: Labels, target: int, rounds: int = MOST_ROUNDS
) -> tuple[float, ...]:
    """Return the weight of each member, at least 0, together 1.

    From nothing, the member is added again and again whose addition gives the mean of those chosen
    so far the best average precision; a member may be added more than once. Of all rounds, the
    first with the best mean counts. Caruana et al. 2004, "Ensemble Selection from Libraries of
    Models".

    Args:
        members: (N, K) probabilities of each member for the same N pictures.
        labels: (N,) true class indices, of the target and of others.
        target: Index of the class looked for.
        rounds: See ``MOST_ROUNDS``.

    Raises:
        ValueError: There is no member, or the labels are of one kind.
    """
    is_target = labels == target
    if not members or not 0 < is_target.sum() < len(labels):
        raise ValueError("a selection needs members, and pictures of the target and of others")
    scores = np.stack([member[:, target] for member in members])  # (M, N)
    total = np.zeros(len(labels))
    chosen: list[int] = []
    best, best_length = -1.0, 0
    for _ in range(rounds):
        reached = [average_precision_score(is_target, total + one) for one in scores]
        # Of equal gains the member that is there least often: equal members share the weight.
        added = max(range(len(scores)), key=lambda i: (reached[i], -chosen.count(i)))
        chosen.append(added)
        total += scores[added]
        if reached[added] > best + 1e-12:
            best, best_length = reached[added], len(chosen)
    counts = Counter(chosen[:best_length])
    return tuple(counts[i] / best_length for i in range(len(members)))
