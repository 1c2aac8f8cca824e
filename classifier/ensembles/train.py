"""A run of several models, over folds, seeds and recipes, and which models those are.

Resumes; repeats no finished one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roi_cls.base.errors import TrainingError
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.ensembles.join import (
    calibrate_table,
    choose_joint_point,
    fuse,
    mean_table,
    stack_tables,
)
from roi_cls.classifier.export.own import export_joint, pick_compared, remove_export
from roi_cls.classifier.inference.loaded import load_any
from roi_cls.classifier.metrics.decision import join_scores
from roi_cls.classifier.models.device import choose_backend
from roi_cls.classifier.recipe import Combine, TrainingRecipe, load_recipe
from roi_cls.classifier.runs.bundle import ModelBundle
from roi_cls.classifier.runs.ensemble import join_members, save_ensemble
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.scores import ScoreTable, read_scores, score_table, write_scores
from roi_cls.classifier.runs.writing import hold_run
from roi_cls.classifier.training.data import TrainingData, write_data
from roi_cls.classifier.training.distributed import join_processes
from roi_cls.classifier.training.job import Observers, TrainJob, check_free
from roi_cls.classifier.training.record import (
    Beginning,
    RunRecord,
    collect_settings,
    describe_weights,
    is_done,
)
from roi_cls.classifier.training.run import TrainOutcome, complete_run, load_job_data
from roi_cls.data.split import make_folds
from roi_cls.roi import CropParams


@dataclass(frozen=True, slots=True)
class EnsembleJob:
    """What to train: a job, multiplied by systems, folds and seeds."""

    job: TrainJob
    """Data, folder and all that the members share."""
    systems: tuple[System, ...]
    """What is combined; of one, only its folds and seeds."""
    folds: int = 0
    """0: one validation part for all."""
    seeds: int = 1
    combine: Combine = "mean"
    weights: tuple[float, ...] = ()
    """Of each system in their mean; none: all alike."""

    @property
    def whole(self) -> TrainJob:
        """The job of the joint run: the first system's settings, and what decides the rest."""
        systems = [system.to_dict() for system in self.systems]
        plan = {"systems": systems, "folds": self.folds, "seeds": self.seeds}
        ensemble = {**plan, "combine": self.combine}
        if self.weights:
            ensemble["weights"] = list(self.weights)
        # The tolerance is named here for its place among the settings, which stays as it was.
        facts = {**self.job.facts, "ensemble": ensemble, "abstain": self.job.abstain}
        return replace(self.job, config=self.systems[0].config, facts=facts)


def multiply(
    job: TrainJob,
    recipe: TrainingRecipe,
    given: Mapping[str, Any],
    adjust: Callable[[TrainingRecipe], TrainingRecipe] = lambda recipe: recipe,
) -> EnsembleJob | None:
    """Return the several models that a recipe makes of a job; None: it is one model.

    Args:
        job: Settled by the recipe, where that has no members.
        recipe: Says members, folds and seeds.
        given: Settings by the name of their fields that win over those of every recipe.
        adjust: Applied to each member first.

    Raises:
        TrainingError: The recipe's members cannot be combined.
    """
    if recipe.members:
        systems = systems_of(recipe, given, adjust)
    elif recipe.folds or recipe.seeds > 1:
        systems = (System(recipe.name, job.config, job.crop, recipe.stands_in_for),)
    else:
        return None
    return EnsembleJob(job, systems, recipe.folds, recipe.seeds, recipe.combine, recipe.weights)


def train_ensemble(ensemble: EnsembleJob, observers: Observers) -> TrainOutcome:
    """Train the members that are not finished, then join them into one run.

    Raises:
        RoiClsError: Anything that keeps the run from its end, in words for its user.
    """
    job = ensemble.whole
    backend = choose_backend(job.config.device, job.config.precision)
    with (
        join_processes(backend.device) as world,
        hold_run(job.run, only_unfinished=job.resume),
    ):
        if world.is_first:
            check_free(job)
        members = _Members(ensemble, observers)
        data = members.load(0)
        settings = collect_settings(job, data)
        if world.from_first(is_done(job.run, settings) if world.is_first else False):
            return TrainOutcome(len(data.errors), trained=False)
        begin = Beginning(job.run, settings, partial(write_data, job, data))
        record = RunRecord()
        for place in range(len(ensemble.systems)):
            members.train(place, begin)
        if world.is_first:
            begin()
            _join(members, settings, record, observers.on_note)
        world.wait()
    return TrainOutcome(len(data.errors), trained=True)


class _Members:
    """Trains the members, system by system; holds the crops of one system at a time."""

    def __init__(self, ensemble: EnsembleJob, observers: Observers) -> None:
        self.ensemble = ensemble
        self.plan = plan_members(ensemble.systems, ensemble.folds, ensemble.seeds)
        self.scores: list[NDArray[np.float64]] = []
        """Of each member in the order of the plan, for the pictures of the validation part."""
        self._observers = observers
        self.compared: dict[CropParams, NDArray[np.uint8]] = {}
        """Of each view, crops of the validation part that an export is compared on."""
        self._digest = ""
        self._loaded: tuple[int, TrainingData] | None = None

    @property
    def folders(self) -> list[RunFolder]:
        """Of the members, in the order of the plan."""
        return [RunFolder(self.ensemble.job.run.members / member.name) for member in self.plan]

    def load(self, place: int) -> TrainingData:
        """Return the data of a system, cropped as it wants them and divided as for all."""
        if self._loaded is not None and self._loaded[0] == place:
            return self._loaded[1]
        system = self.ensemble.systems[place]
        job = replace(self.ensemble.job, config=system.config, crop=system.crop)
        observers = self._observers
        if place > 0:  # what is to be told of the data is told once
            observers = replace(observers, on_data=lambda data: None)
        data = load_job_data(job, observers)
        if self._digest not in ("", data.digest):
            raise TrainingError(
                f"Cannot train {system.name!r} beside {self.ensemble.systems[0].name!r}: they "
                "would learn from other pictures, because one of them skips pictures without a "
                "face or cannot read some. Give all the same --fallback."
            )
        self._digest, self._loaded = data.digest, (place, data)
        return data

    def train(self, place: int, begin: Callable[[], None]) -> None:
        """Train the members of a system, and score the validation part with each.

        begin: called before the first file of a member is written.
        """
        data = self.load(place)
        if self.ensemble.job.export:
            rows = pick_compared(len(data.validation))
            views = zip(data.recipes, data.validation.by_view, strict=True)
            self.compared |= {recipe.params: pixels[rows].copy() for recipe, pixels in views}
        folds = _fold_of_rows(self.ensemble, data)
        for number, (member, run) in enumerate(zip(self.plan, self.folders, strict=True), 1):
            if member.place != place:
                continue
            self._observers.on_note(f"Member {number} of {len(self.plan)}: {member.name}")
            own = data if member.fold is None else data.divide(folds == member.fold)
            complete_run(self._job(member, run), own, self._observers, begin)
            model = load_any(run.path, choose_backend(member.system.config.device, "fp32"))
            self.scores.append(model.probabilities(data.validation.by_view))
            scores = read_scores(run.validation_scores, data.labels.names)
            self._observers.on_member(number, len(self.plan), scores)

    def _job(self, member: Member, run: RunFolder) -> TrainJob:
        """Return the job of a member, whose run can be used by itself."""
        fold = None
        if member.fold is not None:
            fold = {"held_out": member.fold + 1, "of": self.ensemble.folds}
        facts = {"label_names": self.ensemble.job.label_names, "fold": fold}
        system = member.system
        return replace(
            self.ensemble.job,
            run=run,
            config=system.config,
            crop=system.crop,
            facts=facts,
            export=False,  # the joint run's file holds them all
        )


def _join(
    members: _Members,
    settings: dict[str, Any],
    record: RunRecord,
    on_note: Callable[[str], None],
) -> None:
    """Weigh the members, choose scaling and threshold, write scores and, last, the bundle."""
    ensemble = members.ensemble
    run, first = ensemble.job.run, ensemble.systems[0].config
    data = members.load(len(ensemble.systems) - 1)
    names = data.labels.names
    tables = [_system_table(members, place, names) for place in range(len(ensemble.systems))]
    fusion = fuse(tables, data.labels, ensemble.combine, ensemble.weights)
    share = len(ensemble.systems) / len(members.plan)
    weights = [fusion.weights[member.place] * share for member in members.plan]
    kept = [i for i, weight in enumerate(weights) if weight > 0]
    folders = [members.folders[i].path for i in kept]
    joined = replace(
        join_members(folders, [weights[i] for i in kept]),
        abstain=ensemble.job.abstain,
        data_digest=data.digest,
        training=settings,
    )
    bundle, shortfall = choose_joint_point(
        joined, fusion.table, first.threshold_rule, first.calibrate
    )
    record.add("threshold_shortfall", shortfall)
    if shortfall:
        on_note(f"warning: {shortfall}")
    if ensemble.folds:
        write_scores(run.oof_scores, calibrate_table(fusion.table, bundle), names)
    # With folds, members have learned from these pictures: only `verify` may use the scores.
    scores = join_scores(
        [members.scores[i] for i in kept],
        [weights[i] for i in kept],
        bundle.temperature,
        bundle.offsets,
    )
    table = score_table(data.validation, data.labels, scores, data.root)
    write_scores(run.validation_scores, table, names)
    record.add("members", {m.name: w for m, w in zip(members.plan, weights, strict=True)})
    end = partial(_export_and_record, members, folders, scores, record, on_note)
    save_ensemble(run.path, folders, bundle, end)


def _export_and_record(
    members: _Members,
    folders: Sequence[Path],
    scores: NDArray[np.float64],
    record: RunRecord,
    on_note: Callable[[str], None],
    bundle: ModelBundle,
) -> None:
    """Do what comes before the facts, with which the run is finished."""
    job, config = members.ensemble.job, members.ensemble.systems[0].config
    run = job.run
    remove_export(run)
    if job.export:
        crops = [members.compared[view] for view in bundle.views]
        exact = choose_backend(config.device, "fp32")
        known = scores[pick_compared(len(scores))] if exact.is_exact_cpu else None
        record.add("onnx", export_joint(run, folders, bundle, crops, known, on_note))
    record.write(run.record, run.metrics, choose_backend(config.device, config.precision))


def _system_table(members: _Members, place: int, names: Sequence[str]) -> ScoreTable:
    """Return the mean over seeds of a system's scores of pictures that it did not learn from."""
    by_seed: dict[int, list[ScoreTable]] = {}
    for member, run in zip(members.plan, members.folders, strict=True):
        if member.place == place:
            table = read_scores(run.validation_scores, names)
            by_seed.setdefault(member.system.config.seed, []).append(table)
    return mean_table([stack_tables(folds) for folds in by_seed.values()])


def _fold_of_rows(ensemble: EnsembleJob, data: TrainingData) -> NDArray[np.int64]:
    """Return the fold of each picture of the training and then of the validation part."""
    rows = [*data.train.records, *data.validation.records]
    if not ensemble.folds:
        return np.full(len(rows), -1)
    usable = [
        sample if record.status == "ok" else replace(sample, split=None)
        for sample, record in zip(data.split.samples, data.records, strict=True)
    ]
    digests = [record.sha256 or "" for record in data.records]
    seed = ensemble.job.split.split_seed
    folds = make_folds(usable, ensemble.folds, seed, digests, data.near)
    places = {record.path: fold for record, fold in zip(data.records, folds, strict=True)}
    return np.array([places[record.path] for record in rows], np.int64)


@dataclass(frozen=True, slots=True)
class System:
    """One way to cut and to train, under a name."""

    name: str
    config: TrainConfig
    crop: CropParams
    stands_in_for: str = ""
    """As of a recipe."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "name": self.name,
            "config": self.config.to_dict(),
            "crop": self.crop.to_dict(),
            "weights_from": describe_weights(self.config)["weights_from"],
            **({"stands_in_for": self.stands_in_for} if self.stands_in_for else {}),
        }


@dataclass(frozen=True, slots=True)
class Member:
    """One model of an ensemble, before it is trained."""

    name: str
    """Of its folder."""
    system: System
    """With the member's own seed."""
    place: int
    """Of its system among all."""
    fold: int | None
    """The fold of the training data that it is judged by; None: the validation part."""


def systems_of(
    recipe: TrainingRecipe,
    given: Mapping[str, Any],
    adjust: Callable[[TrainingRecipe], TrainingRecipe] = lambda recipe: recipe,
) -> tuple[System, ...]:
    """Return what a recipe combines: its members, or itself.

    Args:
        recipe: Its own settings win over its members'.
        given: Settings by the name of their fields that win over those of every recipe.
        adjust: Applied to each member first.

    Raises:
        TrainingError: A member is no recipe, has members itself, or is called like another.
    """
    if not recipe.members:
        own = recipe.changed(given)
        return (System(own.name, own.config, own.crop_params, own.stands_in_for),)
    systems: list[System] = []
    for name in recipe.members:
        member = load_recipe(name)
        if member.members:
            raise TrainingError(
                f"Cannot use the recipe {recipe.name!r}: its member {name!r} has members itself. "
                "Name those members instead."
            )
        changed = adjust(member.changed(recipe.fields)).changed(given)
        if any(member.name == system.name for system in systems):
            raise TrainingError(
                f"Cannot use the recipe {recipe.name!r}: two members are called {member.name!r}, "
                "and each needs a folder of its name. Rename one of the files."
            )
        systems.append(
            System(member.name, changed.config, changed.crop_params, changed.stands_in_for)
        )
    return tuple(systems)


def plan_members(systems: Sequence[System], folds: int, seeds: int) -> tuple[Member, ...]:
    """Return the models to train: each system with each seed, and with each fold held out once.

    Args:
        systems: One, or several to be combined, of different names.
        folds: 0: all learn from the training part and are judged by the validation part.
        seeds: Counted on from each system's own.

    Raises:
        ValueError: There would be no member, or one fold, or two systems share a name.
    """
    if not systems or seeds < 1 or folds < 0 or folds == 1:
        raise ValueError(f"need systems, seeds and no single fold, got {folds=} {seeds=}")
    if len({system.name for system in systems}) != len(systems):
        raise ValueError("two systems of an ensemble share a name")
    members = []
    for place, system in enumerate(systems):
        for shift in range(seeds):
            seeded = replace(system, config=replace(system.config, seed=system.config.seed + shift))
            for fold in range(folds) if folds else (None,):
                parts = [
                    system.name if len(systems) > 1 else "",
                    f"seed-{seeded.config.seed}" if seeds > 1 else "",
                    f"fold-{fold + 1}" if fold is not None else "",
                ]
                name = "-".join(part for part in parts if part) or system.name
                members.append(Member(name, seeded, place, fold))
    return tuple(members)
