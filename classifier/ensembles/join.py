"""Finished runs become one ensemble run: of the same classes, trained on the same split."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from roi_cls.base.atomic import telling_storage, write_atomically
from roi_cls.base.errors import BundleError, TrainingError
from roi_cls.classifier.ensembles.fusion import (
    Fusion,
    average_tables,
    calibrate_table,
    choose_joint_point,
    fuse,
)
from roi_cls.classifier.recipe import Combine
from roi_cls.classifier.runs.bundle import ModelBundle, load_bundle
from roi_cls.classifier.runs.ensemble import join_members, save_ensemble
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.scores import read_scores, write_scores


def join_runs(
    runs: Sequence[RunFolder],
    new: RunFolder,
    combine: Combine = "mean",
    on_note: Callable[[str], None] = lambda text: None,
) -> Fusion:
    """Make an ensemble of finished runs; return how they are weighted, and the joint scores.

    Weights, scaling and threshold are chosen on pictures that no run learned from: those of
    the validation part, scored out of fold by runs over folds.

    Args:
        runs: Two or more, different ones; each is copied into the new run.
        new: Its folder must not be there yet.
        combine: See ``TrainingRecipe``.
        on_note: Told where no threshold keeps its rule.

    Raises:
        TrainingError: The folder is there, or there are not two different runs.
        BundleError: A run cannot be used, or they were trained on other classes or another split.
        StorageError: The disk is full or the folder cannot be written.
    """
    paths = [run.path for run in runs]
    if len({path.resolve() for path in paths}) < max(2, len(paths)):
        raise TrainingError("Cannot join runs: name two or more different ones, each by --run.")
    if new.path.exists():
        raise TrainingError(
            f"Cannot make the run {new.path.name!r}: {str(new.path)!r} is there already. "
            "Choose another --name, or delete the folder."
        )
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
    _write(runs[0], new, settings)
    if any(runs[i].oof_scores.is_file() for i in kept):
        write_scores(new.oof_scores, calibrate_table(fusion.table, bundle), labels.names)
    # What the ensemble itself says of the validation part, as `verify` will hear it.
    own = [read_scores(runs[i].validation_scores, labels.names) for i in kept]
    said = average_tables(own, [fusion.weights[i] for i in kept])
    write_scores(new.validation_scores, calibrate_table(said, bundle), labels.names)
    save_ensemble(new.path, members, bundle)
    return fusion


def honest_scores(run: RunFolder) -> Path:
    """Return where a run keeps its scores of pictures that it did not learn from."""
    return run.oof_scores if run.oof_scores.is_file() else run.validation_scores


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
