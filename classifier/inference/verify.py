"""Prove a run: predict its validation pictures from the raw files and compare with its scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from roi_cls.base.errors import VerificationError
from roi_cls.classifier.config import Device, Runtime
from roi_cls.classifier.inference.prediction import Prediction, PredictOptions, Source
from roi_cls.classifier.inference.predictor import Predictor
from roi_cls.classifier.inference.scorer import ROUNDING_TOLERANCE, open_scorer
from roi_cls.classifier.runs.bundle import load_bundle
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.scores import data_root, read_scores


@dataclass(frozen=True, slots=True)
class Verification:
    """That the predict path gives the scores of the training path."""

    images: int
    largest_difference: float
    """max |Δp| over all pictures and classes."""
    engine: str
    """What computed, in words."""


def verify_run(
    run: RunFolder,
    *,
    source: Path | None = None,
    device: Device = "auto",
    runtime: Runtime = "auto",
    detector_model: Path | None = None,
) -> Verification:
    """Return the comparison of stored and recomputed scores; no cache is used.

    Args:
        run: A finished run.
        source: Where the data set lies now; None: where it was trained from.
        device: To compute on.
        runtime: To compute with.
        detector_model: See ``PredictOptions``.

    Raises:
        VerificationError: A file is gone or changed, or the scores differ.
        BundleError: The run cannot be used.
    """
    bundle = load_bundle(run.path)
    stored = read_scores(run.validation_scores, bundle.labels.names)
    root = data_root(source or Path(bundle.training["source"]))
    pictures = [Source(str(root / path)) for path in stored.paths]
    options = PredictOptions(detector_model=detector_model)
    opened = open_scorer([run.path], device, runtime=runtime)
    with Predictor(opened, options) as predictor:
        predictions = list(predictor.predict(pictures))
    failed = [p for p in predictions if p.probabilities is None]
    if failed:
        raise VerificationError(
            f"Cannot verify run {run.path.name!r}: {len(failed)} of {len(predictions)} validation "
            f"pictures cannot be predicted, first: {_why_not(failed[0])} "
            "If the data set moved, name its folder with --data."
        )
    names = bundle.labels.names
    fresh = np.array([[(p.probabilities or {})[name] for name in names] for p in predictions])
    differences = np.abs(fresh - stored.probabilities).max(axis=1)
    if not (differences <= ROUNDING_TOLERANCE).all():  # also where a score is no number
        raise _differs(run, pictures, differences)
    return Verification(len(predictions), float(differences.max()), opened.engine)


def _why_not(prediction: Prediction) -> str:
    # Its crop was learned from, so it had a face then, or another recipe.
    return prediction.error or f"{prediction.path!r} is skipped, as it has no face."


def _differs(run: RunFolder, pictures: list[Source], differences: np.ndarray) -> VerificationError:
    worst = int(differences.argmax())
    count = int((~(differences <= ROUNDING_TOLERANCE)).sum())
    return VerificationError(
        f"Run {run.path.name!r} does not predict as it was trained: the scores of {count} of "
        f"{len(pictures)} validation pictures differ, by up to {differences.max():.2g} in "
        f"{pictures[worst].path!r}. A picture file or the crop recipe has changed since, or "
        "another version of MediaPipe or OpenCV is installed; restore it or train again."
    )
