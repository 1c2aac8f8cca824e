"""Training for the Python estimator: the one training path, told to a log."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from roi_cls.base.errors import DataError
from roi_cls.cache.options import BuildOptions
from roi_cls.classifier.ensembles.train import multiply, train_ensemble
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.training.data import TrainingData
from roi_cls.classifier.training.job import EpochReport, Observers, TrainJob
from roi_cls.classifier.training.run import train_run
from roi_cls.console.training import epoch_line
from roi_cls.data.sample import Sample
from roi_cls.python.labels import Errors, check_errors
from roi_cls.python.parameters import FitJob
from roi_cls.python.pictures import common_folder

_logger = logging.getLogger("roi_cls.fitting")  # the name that docs/python.md promises


def label_files(
    paths: Sequence[Path], names: Sequence[str], groups: Sequence[object] | None
) -> tuple[Sample, ...]:
    """Return the files as samples of their classes, each in its group where there are groups."""
    of = [None if group is None else str(group) for group in groups or [None] * len(paths)]
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
    recipe, base = job.recipe, job.base
    observers = _observers(recipe.config.epochs, job.errors)
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
        )
        ensemble = multiply(train, recipe, job.given)
        if ensemble:
            train_ensemble(ensemble, observers)
        else:
            train_run(train, observers)


@contextlib.contextmanager
def _cache(given: Path | None) -> Iterator[Path]:
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="roi-cls-crops-") as folder:
        yield Path(folder)


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
