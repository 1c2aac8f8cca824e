"""The work behind ``roi-cls train`` and ``evaluate``: what is shown while they go on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roi_cls.base.errors import RoiClsError
from roi_cls.base.machine import is_first_process
from roi_cls.cache.options import BuildOptions
from roi_cls.classifier.ensembles.train import EnsembleJob, multiply, train_ensemble
from roi_cls.classifier.evaluation.run import (
    EvaluateJob,
    EvaluateOutcome,
    evaluate_run,
    evaluate_tuning,
)
from roi_cls.classifier.evaluation.summary import render_summary, render_tuning
from roi_cls.classifier.evaluation.table import render_evaluation
from roi_cls.classifier.models.device import Backend
from roi_cls.classifier.models.origin import describe_origin, with_stand_in
from roi_cls.classifier.models.saved import NAMELESS
from roi_cls.classifier.recipe import TrainingRecipe
from roi_cls.classifier.runs.folder import RunFolder, honest_scores
from roi_cls.classifier.runs.openings import warn_of_openings
from roi_cls.classifier.training.data import TrainingData
from roi_cls.classifier.training.job import EpochReport, Observers, TrainJob, telling_resume
from roi_cls.classifier.training.methods.fit import check_weights
from roi_cls.classifier.training.run import TrainOutcome, train_run
from roi_cls.commands.train.mistakes import write_mistake_sheet
from roi_cls.console.arguments import CACHE, run_arguments
from roi_cls.console.cropping import cropping_progress, show_errors
from roi_cls.console.terminal import command_text, note, note_next, progress, show
from roi_cls.console.training import epoch_line, tell_data, watch_runs
from roi_cls.console.words import count_text
from roi_cls.data.table import read_split

_RARE = 0.25
"""Share of the training pictures below which the target may be a defect in what is else alike."""


def train_and_tell(job: TrainJob, recipe: TrainingRecipe, given: Mapping[str, Any]) -> TrainOutcome:
    """Train one model, or the several that make one run, with progress and epochs on stderr.

    Args:
        job: Data, folder and settings, with the recipe's.
        recipe: Says members, folds and seeds.
        given: Settings that the command line itself gives.
    """
    job, recipe = _with_stand_in(job, recipe, given)
    ensemble = multiply(job, recipe, given, lambda member: with_stand_in(member, given, note))
    with telling_resume(job.run), _telling_name(job):
        outcome = _train_several(ensemble) if ensemble else _train_one(job)
    if not outcome.trained:
        note(f"Run {job.run.path.name!r} is finished already, with these data and settings.")
    if is_first_process():  # of several processes one is enough
        _tell_tuning(job.run)
    return outcome


@contextmanager
def _telling_name(job: TrainJob) -> Iterator[None]:
    """Note, where the block is interrupted, by which name a run goes on: one may be made up."""
    try:
        yield
    except KeyboardInterrupt:
        if job.run.settings.is_file():
            note(f"To go on: the same command with --run {job.run.path.name} --resume.")
        raise


def _with_stand_in(
    job: TrainJob, recipe: TrainingRecipe, given: Mapping[str, Any]
) -> tuple[TrainJob, TrainingRecipe]:
    """Return both with another backbone where that of a named recipe has no weights here."""
    if not job.facts.get("recipe") or recipe.members:
        return job, recipe
    recipe = with_stand_in(recipe, given, note)
    if recipe.stands_in_for:
        config = replace(job.config, model=recipe.config.model)
        job = replace(job, config=config, facts={**job.facts, "recipe": recipe.to_dict()})
    return job, recipe


def _tell_tuning(run: RunFolder) -> None:
    """Note what the run says of the pictures that it was chosen by."""
    try:
        evaluation = evaluate_tuning(run)
    except RoiClsError as error:  # the run itself is ready
        note(f"warning: {error}")
        return
    note(render_tuning(evaluation, out_of_fold=honest_scores(run) == run.oof_scores))


def _train_one(job: TrainJob) -> TrainOutcome:
    if not job.run.settings.exists():
        # Nothing is written yet, so that the corrected command may use the same run name.
        check_weights(job.config, job.crop.size_px)
    with cropping_progress() as on_crop, progress("Training", "crops") as advance:
        epoch: int | None = None

        def on_step(done: int, total: int) -> None:
            nonlocal epoch
            if epoch is None:  # a resumed run goes on after the epochs it has lines of
                epoch = len(job.run.metrics.read_bytes().splitlines())
            advance(epoch * total + done, job.config.epochs * total, f"epoch {epoch + 1}")

        def on_epoch(report: EpochReport) -> None:
            nonlocal epoch
            epoch = report.epoch
            note(epoch_line(report, job.config.epochs))

        def on_start(backend: Backend, parameters: int) -> None:
            note(_start_line(job, backend, parameters))

        def on_data(data: TrainingData) -> None:
            tell_data(data)
            labels = data.labels
            is_pair = len(labels.names) == 2
            if is_pair and _suits_synthetic_defects(job, data.train.labels == labels.target_index):
                note(
                    f"If {labels.target!r} is a small local defect in faces that are else "
                    "like the others, `--recipe best` learns from synthetic ones, too, and finds "
                    "more."
                )

        return train_run(job, Observers(on_crop, on_data, on_start, on_step, on_epoch, note))


def _suits_synthetic_defects(job: TrainJob, is_target: NDArray[np.bool_]) -> bool:
    """Whether a recipe with synthetic defects is worth naming: the plain way was taken, by default.

    is_target: (N,) whether each training picture is of the target.
    """
    is_plain = not job.facts.get("recipe") and job.config.method == "network"
    is_face = job.crop.crop == "face" and not job.config.self_blend
    return is_plain and is_face and bool(is_target.mean() < _RARE)


def _train_several(ensemble: EnsembleJob) -> TrainOutcome:
    lengths = {system.config.epochs for system in ensemble.systems}
    epochs = lengths.pop() if len(lengths) == 1 else None
    with watch_runs() as observers:

        def on_epoch(report: EpochReport) -> None:
            observers.on_epoch(report)
            note(epoch_line(report, epochs))

        for system in ensemble.systems:
            if system.config.method not in NAMELESS:
                note(f"{system.name}: {system.config.model}, {describe_origin(system.config)}.")
        return train_ensemble(ensemble, replace(observers, on_data=tell_data, on_epoch=on_epoch))


def _start_line(job: TrainJob, backend: Backend, parameters: int) -> str:
    config = job.config
    size = f"{parameters / 1e6:.1f} M parameters"
    if config.method in ("network", "embedding", "zero_shot"):
        return (
            f"Training {config.model} ({size}, {describe_origin(config)}"
            f"{'' if config.method == 'network' else f', {config.method}'}) on {backend.name}."
        )
    return f"Training an {config.method} ({size}) on {backend.name}."


def next_after_training(job: TrainJob, runs: Path) -> list[str]:
    """Return the words of the command that comes next: where there is a test part, its opening.

    runs: folder of the runs.
    """
    words = [*run_arguments(job.run.path, runs), *_cache_arguments(job.options)]
    samples, _ = read_split(job.run.split)
    if any(sample.split == "test" for sample in samples):
        return ["evaluate", str(job.source), *words]
    return ["report", *words]


def _cache_arguments(options: BuildOptions) -> list[str]:
    """Return the words that name the cache, so that no picture is cropped again."""
    return [] if options.cache == CACHE else ["--cache", str(options.cache)]


def evaluate_and_tell(
    job: EvaluateJob, runs: Path, *, as_json: bool = False, full: bool = False
) -> EvaluateOutcome:
    """Evaluate and print the evaluation, with progress, warnings and what comes next on stderr.

    Args:
        job: What is evaluated.
        runs: Folder of the runs.
        as_json: Print all that ``evaluation.json`` holds.
        full: Print all of it in words; else what matters.
    """
    run = job.run

    def draw(outcome: EvaluateOutcome) -> None:
        sheet = job.place.mistake_sheet
        write_mistake_sheet(sheet, outcome.mistakes, outcome.evaluation, run.path.name)

    def on_score(done: int, total: int) -> None:
        advance(done, total, "")

    with cropping_progress() as on_crop, progress("Scoring") as advance:
        outcome = evaluate_run(job, on_crop, on_score=on_score, on_note=note, on_outcome=draw)
    evaluation = outcome.evaluation
    show_errors(outcome.errors, "`roi-cls crops PATH --manifest rows.csv` lists every picture")
    if outcome.unseen:
        note(
            f"warning: {outcome.unseen} pictures came after the run's split was made and are in "
            "no part; train a new run to use them."
        )
    if warning := warn_of_openings(evaluation.test_openings):
        note(f"warning: {warning}")
    if as_json:
        show(json.dumps(evaluation.to_dict(), indent=2, allow_nan=False))
    else:
        show(render_evaluation(evaluation) if full else render_summary(evaluation))
    _tell_files(outcome, job.place, as_json or full)
    words = run_arguments(run.path, runs)
    if not as_json and job.output is None:  # a report is of what is kept in the run
        data = ["--data", str(job.source)] if outcome.elsewhere else []
        report = command_text("report", *words, *data, *_cache_arguments(job.options))
        note(f"Report: {report}")
    note_next("predict", str(outcome.example), *words)
    return outcome


def _tell_files(outcome: EvaluateOutcome, run: RunFolder, has_all: bool) -> None:
    """Note where the mistakes are, and the numbers that were not printed."""
    if outcome.mistakes:
        total = count_text(outcome.evaluation.overall.images, "picture")
        count = f"{len(outcome.mistakes)} of {total}"
        note(f"Answered wrongly: {count}, see {run.mistake_sheet} and {run.mistakes.name}.")
    if not has_all:
        files = f"{run.evaluation.name} and {run.test_scores.name} in {run.path}"
        note(f"All numbers: --full, or {files}")
