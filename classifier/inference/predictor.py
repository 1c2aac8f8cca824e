"""Predict pictures with a trained model: the crop path of its bundle, then its scorer."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roi_cls.base.closing import Closing
from roi_cls.base.errors import BundleError
from roi_cls.classifier.config import Device, Runtime
from roi_cls.classifier.inference.cropping import (
    Cropped,
    Refusal,
    SourceCropper,
    crop_ahead,
    open_cropping,
)
from roi_cls.classifier.inference.prediction import Looked, Prediction, PredictOptions, Source
from roi_cls.classifier.inference.scorer import OpenedModel, open_scorer
from roi_cls.classifier.metrics.decision import decide, is_unsure
from roi_cls.classifier.runs.bundle import ModelBundle
from roi_cls.roi import CropParams
from roi_cls.roi.crop import Crops
from roi_cls.roi.params import FaceChoice


def open_predictor(
    models: Sequence[Path],
    device: Device = "auto",
    *,
    half: bool = False,
    runtime: Runtime = "auto",
    options: PredictOptions | None = None,
) -> Predictor:
    """Return a predictor with the model that the paths name; see ``open_scorer``.

    Raises:
        BundleError, DetectorModelError, TrainingError, WeightsError: It cannot be used here.
    """
    return Predictor(open_scorer(models, device, half=half, runtime=runtime), options)


class Predictor(Closing):
    """An opened model. Owns a face detector, so it is used as a context manager."""

    def __init__(self, opened: OpenedModel, options: PredictOptions | None = None) -> None:
        """Open the detector.

        Args:
            opened: The model.
            options: How to predict; None: as the defaults say.

        Raises:
            BundleError: The options do not suit the model.
            DetectorModelError: A model file of the detector is not to be had.
        """
        self.options = options or PredictOptions()
        self.scorer = opened.scorer
        self.runtime = opened.runtime
        """What computes: ``onnx`` or ``torch``."""
        self.bundle = _decided(opened, self.options)
        """The model's facts, with the threshold and the abstention band that are used."""
        self._views = _faced(opened, self.options.face)
        if damaged := self.options.damaged:
            self._views = tuple(replace(view, damaged=damaged) for view in self._views)
        self.shown = next((i for i, view in enumerate(self._views) if view.crop == "face"), 0)
        """Index of the view whose face and box are told."""
        model, folders = self.options.detector_model, opened.detector_folders
        cropping = (self._views, model, folders, self.options.max_pixels)
        self._cropper = SourceCropper(*cropping)
        self._opener = partial(open_cropping, *cropping)

    def predict(self, sources: Iterable[Source]) -> Iterator[Prediction]:
        """Yield one prediction per picture, in order; a picture in error is a row, too."""
        return (looked.prediction for looked in self.look(sources))

    def look(self, sources: Iterable[Source]) -> Iterator[Looked]:
        """Yield predictions as ``predict`` does, each with its crops.

        The next pictures are cropped meanwhile; how many does not grow with their number.
        """
        size, workers = self.options.batch_size, self.options.workers
        ahead = crop_ahead(sources, self._cropper.crop, self._opener, workers, 2 * size)
        with contextlib.closing(ahead) as cropped:
            while batch := tuple(itertools.islice(cropped, size)):  # itertools.batched is 3.12's
                yield from self._conclude(batch)

    def judge(self, sources: Sequence[Source]) -> list[Looked]:
        """Return the predictions of one batch, with the crops, all done in this thread."""
        return self._conclude([(source, self._cropper.crop(source)) for source in sources])

    def _conclude(self, batch: Sequence[tuple[Source, Cropped]]) -> list[Looked]:
        """Return the predictions of pictures that are cropped."""
        usable = [
            views for _, views in batch if not isinstance(views, Refusal) and self._faces(views)
        ]
        pixels = [
            np.concatenate([_for_each(views[i].pixels, self._faces(views)) for views in usable])
            for i in range(len(self._views) if usable else 0)
        ]
        size = self.options.batch_size
        scores = iter(self.scorer.probabilities(pixels, size) if usable else ())
        return [
            Looked(_refused(source, views), None)
            if isinstance(views, Refusal)
            else Looked(
                self._answer(
                    source,
                    views[self.shown],
                    np.array([next(scores) for _ in range(self._faces(views))]),
                ),
                views,
            )
            for source, views in batch
        ]

    def _faces(self, views: tuple[Crops, ...]) -> int:
        """Return how many crops of the picture are scored: one for each face that is shown.

        None, where a view has none: the picture is judged by all of its views or not at all.
        """
        return len(views[self.shown].pixels) if all(len(view.pixels) for view in views) else 0

    def _answer(self, source: Source, crops: Crops, scores: NDArray[np.float64]) -> Prediction:
        plan = crops.plan
        if not len(scores):
            return Prediction(
                source.path,
                "skipped",
                reason=plan.reason,
                face_score=plan.best_score,
                time_s=source.time_s,
                damaged=crops.detection.damaged,
                color_profile=crops.detection.color_profile,
            )
        together, first = self._aggregate_scores(scores)
        face = plan.cuts[first].face
        is_per_face = self._views[self.shown].face == "all" and plan.source == "face"
        return Prediction(
            path=source.path,
            status="ok",
            **self.verdict(together),
            source=plan.source,
            reason=plan.reason,
            box=face.box.xyxy if face else None,
            face_score=face.score if face else plan.best_score,
            faces=plan.faces,
            per_face=self._answer_each(crops, scores) if is_per_face else None,
            time_s=source.time_s,
            damaged=crops.detection.damaged,
            color_profile=crops.detection.color_profile,
            roll=face.roll if face else None,
            runtime=self.runtime,
        )

    def _aggregate_scores(self, scores: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
        """Return the picture's probabilities from its faces', and which face to show for it."""
        if self.options.aggregate == "mean":
            return scores.mean(axis=0), 0
        first = int(scores[:, self.bundle.labels.target_index].argmax())
        return scores[first], first

    def _answer_each(self, crops: Crops, scores: NDArray[np.float64]) -> tuple[dict[str, Any], ...]:
        answers = []
        for cut, of_face in zip(crops.plan.cuts, scores, strict=True):
            if cut.face:
                verdict = self.verdict(of_face)
                del verdict["unsure"], verdict["threshold"]  # of the picture as a whole
                told = {"box": cut.face.box.xyxy, "face_score": cut.face.score, **verdict}
                answers.append({**told, "roll": cut.face.roll})
        return tuple(answers)

    def verdict(self, scores: NDArray[np.float64]) -> dict[str, Any]:
        """Return what (K,) probabilities decide, by field name: label, score and what else."""
        bundle = self.bundle
        labels, target = bundle.labels, bundle.labels.target_index
        answer = int(decide(scores[None], target, bundle.threshold)[0])
        return {
            "label": labels.names[answer],
            "score": float(scores[answer]),
            "probabilities": {n: float(p) for n, p in zip(labels.names, scores, strict=True)},
            "unsure": bool(is_unsure(scores[None], target, bundle.threshold, bundle.abstain)[0]),
            "threshold": bundle.threshold if len(labels.names) == 2 else None,
        }

    def close(self) -> None:
        """Free the detectors."""
        self._cropper.close()


def _decided(opened: OpenedModel, options: PredictOptions) -> ModelBundle:
    """Return the model's facts with the threshold and the band that the options ask for."""
    bundle = opened.scorer.bundle
    if options.threshold is not None and len(bundle.labels.names) > 2:
        raise BundleError(
            f"Cannot use a threshold (--threshold {options.threshold:g}): {opened.name!r} tells "
            f"{len(bundle.labels.names)} classes apart and answers the most probable. "
            "Leave --threshold out."
        )
    threshold = bundle.threshold if options.threshold is None else options.threshold
    abstain = bundle.abstain if options.abstain is None else options.abstain
    return replace(bundle, threshold=threshold, abstain=abstain)


def _faced(opened: OpenedModel, face: FaceChoice | None) -> tuple[CropParams, ...]:
    """Return the model's views, each looking at the face that was asked for.

    Raises:
        BundleError: It looks at no face; or each face is asked for, and the views may not see the
            same.
    """
    views = opened.scorer.views
    if face and all(view.crop == "full" for view in views):
        raise BundleError(
            f"Cannot choose a face (--face {face}): {opened.name!r} was trained on whole pictures "
            "and looks for no face. Leave --face out, or name another --run."
        )
    if face:
        views = tuple(replace(v, face=face) if v.crop == "face" else v for v in views)
    ways = {(v.detector_digest, v.min_face_px) for v in views if v.crop == "face"}
    if len(ways) > 1 and any(view.face == "all" for view in views):
        raise BundleError(
            f"Cannot look at every face (--face all): the members of {opened.name!r} find faces "
            "in different ways. Leave --face out, or name another --run."
        )
    return views


def _refused(source: Source, refusal: Refusal) -> Prediction:
    damaged, time_s = refusal.damaged, source.time_s
    return Prediction(source.path, "error", refusal.error, damaged=damaged, time_s=time_s)


def _for_each(pixels: NDArray[np.uint8], faces: int) -> NDArray[np.uint8]:
    """Return the crops of a view, a whole picture once for each face it is judged with."""
    return pixels if len(pixels) == faces else np.repeat(pixels, faces, axis=0)
