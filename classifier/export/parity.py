"""Whether an exported model answers as its run, on crops of real pictures."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from roi_cls.base.errors import ExportError
from roi_cls.classifier.inference.cropping import Refusal, SourceCropper
from roi_cls.classifier.inference.loaded import LoadedModel
from roi_cls.classifier.inference.prediction import Source
from roi_cls.classifier.inference.scorer import Scorer
from roi_cls.classifier.metrics.decision import decide
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.scores import data_root, read_scores
from roi_cls.data.collect import collect_samples
from roi_cls.data.sample import Sample
from roi_cls.roi.archives.opening import is_there

EXPORT_TOLERANCE = 1e-4
"""Largest difference of a probability that a file may be written with."""
BATCHES = (1, 32)
"""Pictures at once, with which it is compared."""
MOST_PICTURES = 128
"""That are compared; more are taken at even distances."""


@dataclass(frozen=True, slots=True, eq=False)
class RealCrops:
    """Crops of N pictures, as the run cuts them."""

    by_view: tuple[NDArray[np.uint8], ...]
    """For each view (N, size_px, size_px, 3) RGB."""
    labels: tuple[str | None, ...]
    """True classes, where they are known."""


@dataclass(frozen=True, slots=True)
class Parity:
    """How far an exported model is from its run."""

    pictures: int
    largest_difference: float
    """max |Δp| over pictures, classes and batch sizes."""


@dataclass(frozen=True, slots=True)
class Int8Accuracy:
    """What a model in int8 gains and loses against the same in fp32."""

    pictures: int
    agreement: float
    """Share of pictures with the same answer, 0 to 1."""
    largest_difference: float
    """max |Δp|."""
    mean_difference: float
    """Mean |Δp|."""
    labelled: int
    """Pictures whose class is known."""
    roc_auc: tuple[float, float] | None
    """Of the target on these, fp32 and int8; None where they are not of both sides."""
    images_per_second: tuple[float, float]
    """fp32 and int8, one picture at a time, on this machine's CPU."""


def find_pictures_to_compare(
    run: RunFolder, loaded: LoadedModel, data: Path | None
) -> tuple[Sample, ...]:
    """Return the run's validation pictures, or those in ``data`` where it holds none of them.

    Test pictures are not looked at: only ``evaluate`` opens them.

    Raises:
        ExportError: No picture is left where it was.
        DataError: ``data`` holds no picture.
    """
    bundle = loaded.bundle
    stored = read_scores(run.validation_scores, bundle.labels.names)
    root = data_root(data or Path(bundle.training["source"]))
    pairs = [(root / path, label) for path, label in zip(stored.paths, stored.labels, strict=True)]
    found = [Sample(path, label) for path, label in pairs if is_there(path)]
    if not found and data is not None:
        found = list(collect_samples(data, bundle.training.get("label_names"), labelled=False))
    if not found:
        raise ExportError(
            "Cannot compare the exported model with the run: none of its "
            f"{len(pairs)} validation pictures lies in {str(root)!r} any more. Name their folder, "
            "or one with other pictures of the kind, with --data."
        )
    return tuple(found[:: -(-len(found) // MOST_PICTURES)])


def crop_real_pictures(
    run: RunFolder,
    loaded: LoadedModel,
    samples: Sequence[Sample],
    detector_model: Path | None = None,
    on_picture: Callable[[int, int], None] = lambda done, total: None,
) -> RealCrops:
    """Return the pictures' crops, by the path that prediction takes; unreadable ones are left out.

    Args:
        run: Of the model.
        loaded: The model.
        samples: The pictures.
        detector_model: Where the detector's model files lie, if not in the run.
        on_picture: Called with (done, total).

    Raises:
        ExportError: None of them can be cropped.
        DetectorModelError: A model file is not to be had.
    """
    kept: list[list[NDArray[np.uint8]]] = []
    labels: list[str | None] = []
    with SourceCropper(loaded.views, detector_model, (run.detector,)) as cropper:
        for done, sample in enumerate(samples, 1):
            views = cropper.crop(Source(str(sample.path)))
            if not isinstance(views, Refusal) and all(len(view.pixels) for view in views):
                kept.append([view.pixels[0] for view in views])
                labels.append(sample.label)
            on_picture(done, len(samples))
    if not kept:
        raise ExportError(
            f"Cannot compare the exported model with the run: none of {len(samples)} pictures can "
            f"be cropped, the first is {str(samples[0].path)!r}. Name others with --data."
        )
    return RealCrops(tuple(np.stack(view) for view in zip(*kept, strict=True)), tuple(labels))


def check_parity(
    run: Scorer, exported: Scorer, crops: RealCrops, tolerance: float = EXPORT_TOLERANCE
) -> Parity:
    """Return how alike they answer, in batches of every size of ``BATCHES``.

    Raises:
        ExportError: They differ by more than ``tolerance``.
    """
    return check_scores(run.probabilities(crops.by_view), exported, crops.by_view, tolerance)


def check_scores(
    wanted: NDArray[np.float64],
    exported: Scorer,
    by_view: Sequence[NDArray[np.uint8]],
    tolerance: float,
) -> Parity:
    """Return ``check_parity`` with a run that gives the (N, K) ``wanted`` of these crops.

    Raises:
        ExportError: They differ by more than ``tolerance``.
    """
    pictures = len(wanted)
    rows = max(pictures, max(BATCHES) + 1)  # a few pictures come repeatedly, to fill a batch
    views = [np.resize(view, (rows, *view.shape[1:])) for view in by_view]
    wanted = np.resize(wanted, (rows, wanted.shape[1]))
    found = [exported.probabilities(views, size) for size in BATCHES]
    difference = float(max(np.abs(one - wanted).max() for one in found))
    if not difference <= tolerance:  # also where it is no number
        raise ExportError(
            f"Cannot export the model {exported.bundle.model!r}: exported, it answers otherwise, "
            f"by up to {difference:.2g} on {pictures} pictures, and {tolerance:g} is allowed. "
            "No file was written. Use another --opset, or predict with the run itself."
        )
    return Parity(pictures, difference)


def measure_int8(exact: Scorer, int8: Scorer, crops: RealCrops) -> Int8Accuracy:
    """Return what int8 changes on these crops."""
    labels, threshold = exact.bundle.labels, exact.bundle.threshold
    before, speed_before = _timed(exact, crops)
    after, speed_after = _timed(int8, crops)
    answers = [decide(scores, labels.target_index, threshold) for scores in (before, after)]
    known = [i for i, label in enumerate(crops.labels) if label in labels.names]
    is_target = [crops.labels[i] == labels.target for i in known]
    both = len(set(is_target)) == 2
    areas = [
        float(roc_auc_score(is_target, scores[known, labels.target_index]))
        for scores in (before, after)
        if both
    ]
    return Int8Accuracy(
        pictures=len(crops.labels),
        agreement=float((answers[0] == answers[1]).mean()),
        largest_difference=float(np.abs(after - before).max()),
        mean_difference=float(np.abs(after - before).mean()),
        labelled=len(known),
        roc_auc=(areas[0], areas[1]) if both else None,
        images_per_second=(speed_before, speed_after),
    )


def _timed(scorer: Scorer, crops: RealCrops) -> tuple[NDArray[np.float64], float]:
    scorer.probabilities([view[:1] for view in crops.by_view], 1)  # the first run allocates
    started = time.perf_counter()
    scores = scorer.probabilities(crops.by_view, 1)
    return scores, len(scores) / (time.perf_counter() - started)
