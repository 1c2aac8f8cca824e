"""A run of several models: over folds, seeds and recipes. Resumes, and repeats no finished member.

With folds, the training and the validation part are one and every picture is scored by models that
did not learn from it. Those out-of-fold scores choose weights, scaling and threshold; they
also chose each member's best epoch, so they flatter a little, which the test part does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roi_cls.base.errors import TrainingError
from roi_cls.classifier.ensembles.fusion import (
    calibrate_table,
    fuse,
    mean_table,
    settle,
    stack_tables,
)
from roi_cls.classifier.ensembles.members import Member, System, plan_members
from roi_cls.classifier.inference.loaded import load_any
from roi_cls.classifier.metrics.decision import join_scores
from roi_cls.classifier.models.device import Backend, choose_backend
from roi_cls.classifier.recipe import Combine
from roi_cls.classifier.runs.ensemble import join_members, save_ensemble
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.scores import (
    ScoreTable,
    data_root,
    read_scores,
    score_table,
    write_scores,
)
from roi_cls.classifier.training.data import TrainingData
from roi_cls.classifier.training.distributed import join_processes
from roi_cls.classifier.training.record import Beginning, RunRecord, collect_settings, is_done
from roi_cls.classifier.training.run import (
    Observers,
    RunPlan,
    TrainJob,
    TrainOutcome,
    check_free,
    load_job_data,
    train_on,
    write_data,
)
from roi_cls.data.split import make_folds
from roi_cls.roi.recipe import OpenedRecipe


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

    @property
    def facts(self) -> dict[str, Any]:
        """What decides the result beside the job, as plain JSON values."""
        systems = [system.to_dict() for system in self.systems]
        plan = {"systems": systems, "folds": self.folds, "seeds": self.seeds}
        return {**self.job.facts, "ensemble": {**plan, "combine": self.combine}}


def train_ensemble(ensemble: EnsembleJob, observers: Observers) -> TrainOutcome:
    """Train the members that are not finished, then join them into one run.

    Raises:
        RoiClsError: Anything that keeps the run from its end, in words for its user.
    """
    job = ensemble.job
    first = ensemble.systems[0].config
    with join_processes(choose_backend(first.device, first.precision).device) as world:
        if world.is_first:
            check_free(job)
        trainer = _Members(ensemble, observers)
        data = trainer.load(0)
        settings = collect_settings(first, data, {**ensemble.facts, "abstain": job.abstain})
        settings["label_names"] = job.label_names
        if world.from_first(is_done(job.run, settings) if world.is_first else False):
            return TrainOutcome(len(data.errors), trained=False)
        begin = Beginning(job.run, settings, partial(write_data, job, data, trainer.recipes))
        record = RunRecord()
        for place in range(len(ensemble.systems)):
            trainer.train(place, begin)
        if world.is_first:
            begin()
            _join(ensemble, trainer, settings, record, observers)
        world.wait()
    return TrainOutcome(len(data.errors), trained=True)


class _Members:
    """Trains the members, system by system; holds the crops of one system at a time."""

    def __init__(self, ensemble: EnsembleJob, observers: Observers) -> None:
        self.ensemble = ensemble
        self.plan = plan_members(ensemble.systems, ensemble.folds, ensemble.seeds)
        self.recipes: tuple[OpenedRecipe, ...] = ()
        self.scores: list[NDArray[np.float64]] = []
        """Of each member in the order of the plan, for the pictures of the validation part."""
        self._observers = observers
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
        data, self.recipes = load_job_data(job, observers)
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
        folds = _fold_of_rows(self.ensemble, data)
        job = self.ensemble.job
        for number, (member, run) in enumerate(zip(self.plan, self.folders, strict=True), 1):
            if member.place != place:
                continue
            self._observers.on_note(f"Member {number} of {len(self.plan)}: {member.name}")
            own = data if member.fold is None else data.divide(folds == member.fold)
            facts = {"label_names": job.label_names, "fold": _fold_facts(self.ensemble, member)}
            plan = RunPlan(run, member.system.config, job.abstain, facts)
            write = partial(_write_member, begin, replace(job, run=run), data, self.recipes)
            train_on(own, plan, self._observers, write)
            model = load_any(run.path, _exact(member))
            self.scores.append(model.probabilities(data.validation.by_view))


def _write_member(
    begin: Callable[[], None], job: TrainJob, data: TrainingData, recipes: Sequence[OpenedRecipe]
) -> None:
    """Write what a member's run is made from, too, so that it can be used by itself."""
    begin()
    write_data(job, data, recipes)


def _join(
    ensemble: EnsembleJob,
    trainer: _Members,
    settings: dict[str, Any],
    record: RunRecord,
    observers: Observers,
) -> None:
    """Weigh the members, choose scaling and threshold, write scores and, last, the bundle."""
    run, first = ensemble.job.run, ensemble.systems[0].config
    data = trainer.load(len(ensemble.systems) - 1)
    names = data.labels.names
    tables = [_system_table(trainer, place, names) for place in range(len(ensemble.systems))]
    fusion = fuse(tables, data.labels, ensemble.combine)
    share = len(ensemble.systems) / len(trainer.plan)
    weights = [fusion.weights[member.place] * share for member in trainer.plan]
    kept = [i for i, weight in enumerate(weights) if weight > 0]
    folders = [trainer.folders[i].path for i in kept]
    joined = replace(
        join_members(folders, [weights[i] for i in kept]),
        abstain=ensemble.job.abstain,
        data_digest=data.digest,
        training=settings,
    )
    bundle, shortfall = settle(joined, fusion.table, first.threshold_rule, first.calibrate)
    record.add("threshold_shortfall", shortfall)
    if shortfall:
        observers.on_note(f"warning: {shortfall}")
    if ensemble.folds:
        write_scores(run.oof_scores, calibrate_table(fusion.table, bundle), names)
    # With folds, members have learned from these pictures: only `verify` may use the scores.
    scores = join_scores(
        [trainer.scores[i] for i in kept],
        [weights[i] for i in kept],
        bundle.temperature,
        bundle.offsets,
    )
    table = score_table(data.validation, data.labels, scores, data_root(data.source))
    write_scores(run.validation_scores, table, names)
    record.add("members", {m.name: w for m, w in zip(trainer.plan, weights, strict=True)})
    record.write(run.record, run.metrics, choose_backend(first.device, first.precision))
    save_ensemble(run.path, folders, bundle)


def _system_table(trainer: _Members, place: int, names: Sequence[str]) -> ScoreTable:
    """Return the mean over seeds of a system's scores of pictures that it did not learn from."""
    by_seed: dict[int, list[ScoreTable]] = {}
    for member, run in zip(trainer.plan, trainer.folders, strict=True):
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


def _fold_facts(ensemble: EnsembleJob, member: Member) -> dict[str, int] | None:
    if member.fold is None:
        return None
    return {"held_out": member.fold + 1, "of": ensemble.folds}


def _exact(member: Member) -> Backend:
    return choose_backend(member.system.config.device, "fp32")
