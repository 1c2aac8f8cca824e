"""Training for the Python estimator: the one training path, told to a log, with its limits.

And predictions as the arrays of scikit-learn, with what becomes of those that are no answer.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import accuracy_score
from sklearn.utils import check_consistent_length

from roi_cls.base.errors import DataError
from roi_cls.cache.options import BuildOptions
from roi_cls.classifier.ensembles.train import multiply, train_ensemble
from roi_cls.classifier.inference.prediction import Prediction
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.training.data import TrainingData
from roi_cls.classifier.training.job import TrainJob
from roi_cls.classifier.training.observers import EpochReport, Observers
from roi_cls.classifier.training.run import train_run
from roi_cls.console.training import epoch_line
from roi_cls.data.sample import Sample
from roi_cls.python.pictures import common_folder
from roi_cls.python.settings import Settings

Errors = Literal["raise", "nan"]


def collect_answers(predictions: Iterable[Prediction], errors: Errors) -> list[Prediction]:
    """Return the predictions; where one has no answer, raise or warn.

    Raises:
        DataError: One has no answer, and ``errors`` is ``raise``.
        ValueError: ``errors`` is none of its choices.
    """
    check_errors(errors)
    rows = list(predictions)
    failed = [(i, row) for i, row in enumerate(rows) if row.probabilities is None]
    if failed:
        i, row = failed[0]
        why = row.error or f"{row.path!r} shows no face, and the run's recipe skips it."
        text = f"{len(failed)} of {len(rows)} pictures cannot be judged, first X[{i}]: {why}"
        if errors == "raise":
            raise DataError(f"{text} Leave them out, or give errors='nan' for rows of NaN.")
        warnings.warn(text, stacklevel=3)  # at the line that asked the classifier
    return rows


def check_errors(errors: Errors) -> None:
    """Raise ``ValueError`` unless it is a choice."""
    if errors not in get_args(Errors):
        raise ValueError(f"errors must be one of {get_args(Errors)}, got {errors!r}")


def label_column(rows: list[Prediction], classes: NDArray[Any]) -> NDArray[Any]:
    """Return the (N,) labels answered; where one is missing they are objects, and it is None."""
    places = {str(value): i for i, value in enumerate(classes.tolist())}
    found = [None if row.label is None else places[row.label] for row in rows]
    if None not in found:
        return np.asarray(classes[np.array(found, np.intp)])
    return np.array([None if i is None else classes[i] for i in found], dtype=object)


def probability_columns(rows: list[Prediction], classes: NDArray[Any]) -> NDArray[np.float64]:
    """Return (N, K) probabilities, a column for each of ``classes``; NaN where there are none."""
    names = [str(value) for value in classes.tolist()]
    missing = dict.fromkeys(names, float("nan"))
    table = [[(row.probabilities or missing)[name] for name in names] for row in rows]
    return np.array(table, np.float64).reshape(len(rows), len(names))


def measure_accuracy(
    answers: NDArray[Any], y: ArrayLike, sample_weight: ArrayLike | None, dtype: np.dtype[Any]
) -> float:
    """Return the share of labels that are answered; an answer of None is a wrong one.

    Args:
        answers: (N,) labels, or None.
        y: (N,) true labels.
        sample_weight: (N,) how much each counts; None: alike.
        dtype: Of the labels.
    """
    labels = np.asarray(y)
    weights = np.ones(len(answers)) if sample_weight is None else np.asarray(sample_weight)
    check_consistent_length(answers, labels, weights)
    told = np.array([answer is not None for answer in answers], bool)
    if not told.any():
        return 0.0
    right = accuracy_score(
        labels[told],
        answers[told].astype(dtype),
        sample_weight=weights[told],
        normalize=False,
    )
    return float(right / weights.sum())


_logger = logging.getLogger("roi_cls.fitting")  # the name that docs/python.md promises


@dataclass(frozen=True, slots=True)
class FitOrder:
    """What the estimator asks for."""

    samples: tuple[Sample, ...]
    run: RunFolder
    settings: Settings
    target: str | None
    classes: list[Any]
    """The labels in their own types, so that a loaded run gives them back; plain JSON values."""
    cache: Path | None
    """Folder of the crop cache; None: a temporary one."""
    workers: int | None
    max_pixels: int
    detector_model: Path | None
    errors: Errors
    """``nan``: learn from the other pictures where some cannot be read."""


def fit_run(order: FitOrder) -> None:
    """Train as ordered; a run that was cut short goes on, a finished one is left as it is.

    Raises:
        RoiClsError: Anything that keeps the run from its end, in words for its user.
    """
    check_errors(order.errors)
    recipe = order.settings.recipe
    with _cache(order.cache) as cache:
        job = _job(order, BuildOptions(cache, order.workers, order.max_pixels))
        ensemble = multiply(job, recipe, order.settings.given)
        if ensemble:
            train_ensemble(ensemble, _observers(order))
        else:
            train_run(job, _observers(order))


def label_files(
    paths: Sequence[Path], names: Sequence[str], groups: Sequence[object] | None
) -> tuple[Sample, ...]:
    """Return the files as samples of their classes, each in its group where there are groups."""
    of = [None if group is None else str(group) for group in groups or [None] * len(paths)]
    return tuple(
        Sample(path, name, group=group) for path, name, group in zip(paths, names, of, strict=True)
    )


def _job(order: FitOrder, options: BuildOptions) -> TrainJob:
    recipe, base = order.settings.recipe, order.settings.base
    return TrainJob(
        source=common_folder([sample.path for sample in order.samples]),
        run=order.run,
        config=recipe.config,
        crop=recipe.crop_params,
        split=order.settings.split,
        options=options,
        target=order.target,
        detector_model=order.detector_model,
        resume=True,
        abstain=recipe.abstain,
        facts={"recipe": base.to_dict() if base else None, "classes": order.classes},
        samples=order.samples,
    )


def _observers(order: FitOrder) -> Observers:
    epochs = order.settings.recipe.config.epochs

    def on_epoch(report: EpochReport) -> None:
        _logger.info(epoch_line(report, epochs))

    def on_note(text: str) -> None:
        is_warning = text.startswith("warning: ")
        _logger.log(logging.WARNING if is_warning else logging.INFO, text.removeprefix("warning: "))

    def on_data(data: TrainingData) -> None:
        _check_read(data, order.errors)
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


@contextlib.contextmanager
def _cache(given: Path | None) -> Iterator[Path]:
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="roi-cls-crops-") as folder:
        yield Path(folder)
