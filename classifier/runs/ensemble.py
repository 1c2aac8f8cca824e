"""An ensemble: several trained models in one bundle, whose score is the mean of theirs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from roi_cls.base.atomic import telling_storage
from roi_cls.base.errors import BundleError
from roi_cls.classifier.runs.bundle import (
    CONFIG_NAME,
    ENSEMBLE,
    MEMBERS_NAME,
    WEIGHTS_NAME,
    ModelBundle,
    describe_bundle,
    digest_members,
    load_bundle,
    package_versions,
    to_facts,
    write_config,
)
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.data.sample import name_some


def join_members(members: Sequence[Path], weights: Sequence[float] | None = None) -> ModelBundle:
    """Return the facts of an ensemble of finished runs; scaling and threshold are to be chosen.

    Args:
        members: Run folders; a member may be an ensemble itself.
        weights: Of the members in the mean; None: all alike.

    Raises:
        BundleError: A run cannot be used, or they tell other classes apart.
        ValueError: There is no member, or not a positive weight for each.
    """
    given = tuple(weights) if weights is not None else (1.0,) * len(members)
    if not members or len(given) != len(members) or not all(weight > 0 for weight in given):
        raise ValueError(f"{len(members)} members need a weight above 0 each, got {given}")
    bundles = [load_bundle(path) for path in members]
    first = bundles[0]
    for path, bundle in zip(members, bundles, strict=True):
        ours, theirs = first.labels, bundle.labels
        if (ours.names, ours.target) != (theirs.names, theirs.target):
            raise BundleError(
                f"Cannot join the runs {members[0].name!r} and {path.name!r}: they look for "
                f"{ours.target!r} among {name_some(ours.names)} and for {theirs.target!r} among "
                f"{name_some(theirs.names)}. Join runs of the same classes."
            )
    views = dict.fromkeys(view for bundle in bundles for view in bundle.views)
    # A face first, where one is looked at: an evaluation slices by what the first view shows.
    views = dict.fromkeys(sorted(views, key=lambda view: view.crop != "face"))
    network = {"kind": ENSEMBLE, MEMBERS_NAME: _names(members), "weights": list(given)}
    return ModelBundle(
        model=ENSEMBLE,
        views=tuple(views),
        labels=first.labels,
        normalisation=first.normalisation,
        temperature=1.0,
        offsets=(0.0,) * len(first.labels.names),
        threshold=None,
        data_digest=first.data_digest,
        network=network,
        training=first.training,
    )


def average_runs(folders: Sequence[Path]) -> ModelBundle:
    """Return the facts of the mean of several runs' probabilities, which nothing is chosen for.

    Its threshold and abstention band are the means of the runs' own: ``roi-cls ensemble`` chooses
    better ones, on validation.

    Raises:
        BundleError: A run cannot be used, or they tell other classes apart.
    """
    bundles = [load_bundle(folder) for folder in folders]
    thresholds = [bundle.threshold for bundle in bundles if bundle.threshold is not None]
    return replace(
        join_members(folders),
        threshold=sum(thresholds) / len(thresholds) if thresholds else None,
        abstain=sum(bundle.abstain for bundle in bundles) / len(bundles),
    )


def save_ensemble(
    folder: Path,
    members: Sequence[Path],
    bundle: ModelBundle,
    on_facts: Callable[[ModelBundle], None] = lambda bundle: None,
) -> None:
    """Write a bundle that holds copies of its members, the facts last.

    Args:
        folder: The ensemble's run folder. A member that lies in its ``members`` already, under its
            own name, is left where it is.
        members: Run folders, as they were given to ``join_members``.
        bundle: What that returned, completed.
        on_facts: Called with the facts as they will be written, before that makes the bundle whole.

    Raises:
        BundleError: A member cannot be used.
        StorageError: The disk is full or the folder cannot be written.
    """
    kept = []
    for name, source in zip(bundle.network[MEMBERS_NAME], members, strict=True):
        place = folder / MEMBERS_NAME / name
        if source.resolve() != place.resolve():
            _copy_bundle(source, place)
        _copy_files(RunFolder(source).detector, RunFolder(folder).detector)
        kept.append(place)
    bundle = replace(bundle, weights_sha256=digest_members(kept), versions=package_versions())
    on_facts(bundle)
    write_config(folder, describe_bundle(bundle, to_facts(bundle, bundle.weights_sha256)))


def _names(members: Sequence[Path]) -> list[str]:
    """Return a folder name for each member: its own, numbered where two share one."""
    names: list[str] = []
    for path in members:
        own = name = path.resolve().name
        while name in names:
            name = f"{own}-{len(names) + 1}" if name == own else f"{name}+"
        names.append(name)
    return names


def _copy_bundle(source: Path, place: Path) -> None:
    """Copy what the bundle in ``source`` is made of, and nothing else of its run."""
    bundle = load_bundle(source)
    for name in bundle.network.get(MEMBERS_NAME, ()):
        _copy_bundle(source / MEMBERS_NAME / name, place / MEMBERS_NAME / name)
    with telling_storage(place):
        place.mkdir(parents=True, exist_ok=True)
        for name in (WEIGHTS_NAME, CONFIG_NAME):
            if (source / name).is_file():
                shutil.copyfile(source / name, place / name)


def _copy_files(source: Path, place: Path) -> None:
    if source.is_dir():
        with telling_storage(place):
            shutil.copytree(source, place, dirs_exist_ok=True)
