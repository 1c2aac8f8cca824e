"""Training and evaluation for the Python estimator: the one path of each, told to a log."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from roi_cls.base.errors import DataError
from roi_cls.cache.options import BuildOptions
from roi_cls.classifier.ensembles.train import multiply, train_ensemble
from roi_cls.classifier.evaluation.run import EvaluateJob, EvaluateOutcome, evaluate_run
from roi_cls.classifier.models.origin import with_stand_in
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.training.data import TrainingData
from roi_cls.classifier.training.job import EpochReport, Observers, TrainJob
from roi_cls.classifier.training.run import train_run
from roi_cls.console.cropping import cropping_progress
from roi_cls.console.terminal import Advance, progress
from roi_cls.console.training import epoch_line
from roi_cls.data.sample import Sample
from roi_cls.python.labels import Errors, check_errors
from roi_cls.python.parameters import FitJob
from roi_cls.python.pictures import common_folder, optional_path

_logger = logging.getLogger("roi_cls.fitting")  # the name that docs/python.md promises


def label_files(
    paths: Sequence[Path], names: Sequence[str], groups: Sequence[object] | None
) -> tuple[Sample, ...]:
    """Return the files as samples of their classes, each in its group where there are groups.

    Blanks around a group's name do not count, as in a CSV.
    """
    of = [None if group is None else str(group).strip() for group in groups or [None] * len(paths)]
    return tuple(
        Sample(path, name, group=group) for path, name, group in zip(paths, names, of, strict=True)
    )


def fit_run(
    job: FitJob, samples: tuple[Sample, ...], classes: Sequence[Any], run: RunFolder
) -> None:
    """Train as asked; a run that was cut short goes on, a finished one is left as it is.

    Args:
        job: What to train, and how.
        samples: What it is fitted on.
        classes: The labels in their own types, so that a loaded run gives them back; plain JSON
            values.
        run: Where.

    Raises:
        RoiClsError: Anything that keeps the run from its end, in words for its user.
    """
    check_errors(job.errors)
    job = _with_stand_in(job)
    recipe, base = job.recipe, job.base
    with _cache(job.cache) as cache:
        train = TrainJob(
            source=common_folder([sample.path for sample in samples]),
            run=run,
            config=recipe.config,
            crop=recipe.crop_params,
            split=job.split,
            options=BuildOptions(cache, job.workers, job.max_pixels),
            target=job.target,
            detector_model=job.detector_model,
            resume=True,
            abstain=recipe.abstain,
            facts={"recipe": base.to_dict() if base else None, "classes": list(classes)},
            samples=samples,
            log=job.log,
            export=job.export,
        )
        ensemble = multiply(train, recipe, job.given, lambda member: _stand_in(member, job.given))
        with _watch(job, is_one=ensemble is None) as observers:
            if ensemble:
                train_ensemble(ensemble, observers)
            else:
                train_run(train, observers)


_stand_in = partial(with_stand_in, tell=_logger.warning)


def _with_stand_in(job: FitJob) -> FitJob:
    """Return the job with another backbone where that of a named recipe has no weights here."""
    if job.base is None or job.recipe.members:
        return job
    recipe = _stand_in(job.recipe, job.given)
    if not recipe.stands_in_for:
        return job
    return replace(job, recipe=recipe, base=replace(job.base, stands_in_for=recipe.stands_in_for))


@contextlib.contextmanager
def _cache(given: Path | None) -> Iterator[Path]:
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="roi-cls-crops-") as folder:
        yield Path(folder)


@contextlib.contextmanager
def _watch(job: FitJob, *, is_one: bool) -> Iterator[Observers]:
    """Give observers that tell the log, and show progress where that is asked for."""
    told = _observers(job.recipe.config.epochs, job.errors)
    if not job.verbose:
        yield told
        return
    with cropping_progress() as on_crop, progress("Training", "crops") as advance:
        bar = _TrainingBar(advance, job.recipe.config.epochs, is_one)

        def on_epoch(report: EpochReport) -> None:
            told.on_epoch(report)
            bar.on_epoch(report)

        yield replace(told, on_crop=on_crop, on_step=bar.on_step, on_epoch=on_epoch)


class _TrainingBar:
    """One bar for all epochs, of all models where several are trained."""

    def __init__(self, advance: Advance, epochs: int, is_one: bool) -> None:
        self._advance, self._epochs, self._is_one = advance, epochs, is_one
        self._before = self._of_epoch = 0
        self._words = ""

    def on_step(self, done: int, total: int) -> None:
        """Show how far an epoch is."""
        self._of_epoch = total
        self._show(self._before + done)

    def on_epoch(self, report: EpochReport) -> None:
        """Count the epoch, and say how it went."""
        self._before += self._of_epoch
        best = ", the best so far" if report.best else ""
        self._words = (
            f"epoch {report.epoch}/{self._epochs}: AP {report.average_precision:.3f}, "
            f"ROC-AUC {report.roc_auc:.3f}{best}"
        )
        self._show(self._before)

    def _show(self, done: int) -> None:
        total = self._epochs * self._of_epoch if self._is_one else None
        self._advance(done, total, self._words)


def _observers(epochs: int, errors: Errors) -> Observers:
    def on_epoch(report: EpochReport) -> None:
        _logger.info(epoch_line(report, epochs))

    def on_note(text: str) -> None:
        is_warning = text.startswith("warning: ")
        _logger.log(logging.WARNING if is_warning else logging.INFO, text.removeprefix("warning: "))

    def on_data(data: TrainingData) -> None:
        _check_read(data, errors)
        for first, second in data.split.conflicts:
            _logger.warning("The same bytes have two labels: %s and %s", first, second)

    return Observers(on_data=on_data, on_epoch=on_epoch, on_note=on_note)


def _check_read(data: TrainingData, errors: Errors) -> None:
    failed = [(i, row) for i, row in enumerate(data.records) if row.status == "error"]
    if failed:
        i, row = failed[0]
        count = f"{len(failed)} of {len(data.records)} pictures cannot be used"
        text = f"{count}, first X[{i}]: {row.error}"
        if errors == "raise":
            raise DataError(
                f"Cannot fit: {text} Leave them out, or give errors='nan' to learn from the others."
            )
        warnings.warn(f"{text} It is fitted on the others.", stacklevel=2)


def evaluate_files(
    paths: Sequence[Path], names: Sequence[str], folder: RunFolder, given: Mapping[str, Any]
) -> EvaluateOutcome:
    """Score labelled files that were not learned from; the run keeps what ``evaluate`` leaves.

    Args:
        paths: (N,) files.
        names: (N,) the class of each.
        folder: The run.
        given: The estimator's parameters, by name.

    Raises:
        RoiClsError: They cannot be scored, or were learned from, in words for the user.
    """
    with contextlib.ExitStack() as stack:
        cache = stack.enter_context(_cache(optional_path(given["cache"])))
        job = EvaluateJob(
            source=common_folder(paths),
            run=folder,
            options=BuildOptions(cache, given["workers"], given["max_pixels"]),
            device=given["device"],
            runtime=given["runtime"],
            detector_model=optional_path(given["detector_model"]),
            samples=label_files(paths, names, None),
        )
        if given["verbose"]:
            return evaluate_run(job, stack.enter_context(cropping_progress()))
        return evaluate_run(job)
