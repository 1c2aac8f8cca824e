"""Predict pictures with a trained run: the crop path of its bundle, then its model."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roi_cls.classifier.config import Aggregate, Device
from roi_cls.classifier.decision import decide, is_unsure
from roi_cls.classifier.device import choose_backend
from roi_cls.classifier.loaded import load_any
from roi_cls.classifier.run_folder import RunFolder
from roi_cls.classifier.score import BATCH_SIZE
from roi_cls.classifier.view_cropper import ViewCropper
from roi_cls.closing import Closing
from roi_cls.errors import BundleError, ImageReadError, NoFaceError
from roi_cls.location import as_path
from roi_cls.roi import CropParams
from roi_cls.roi.crop import Crops
from roi_cls.roi.image import read_bytes
from roi_cls.roi.params import MAX_PIXELS, FaceChoice
from roi_cls.roi.picture import Picture


@dataclass(frozen=True, slots=True)
class Source:
    """Where a picture to predict comes from: a file, or bytes under a name."""

    path: str
    data: bytes | None = None
    """The encoded picture; None: read it from ``path``."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one picture, or why there is none."""

    path: str
    status: str
    """``ok``, ``error``, or ``skipped``: no face, and the recipe has no substitute."""
    error: str | None = None
    label: str | None = None
    score: float | None = None
    """Probability of ``label``, 0 to 1."""
    probabilities: dict[str, float] | None = None
    """By class; they sum to 1."""
    unsure: bool = False
    source: str | None = None
    """What was looked at: ``face`` or ``full_frame``."""
    reason: str | None = None
    """Why the full frame: ``no_face``, ``low_score`` or ``too_small``."""
    box: tuple[float, float, float, float] | None = None
    """The face as left, top, right, bottom; pixels of the upright picture."""
    face_score: float | None = None
    """The detector's confidence in the face, or in the best one it refused."""
    faces: int = 0
    """How many faces met the recipe's thresholds."""
    per_face: tuple[dict[str, Any], ...] | None = None
    """With ``face = all``, each face's box, face_score, label, score and probabilities."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields of ``roi-cls predict --json``."""
        return asdict(self)


class Predictor(Closing):
    """A loaded run. Owns a face detector, so it is used as a context manager."""

    def __init__(
        self,
        run: RunFolder,
        *,
        device: Device = "auto",
        detector_model: Path | None = None,
        max_pixels: int = MAX_PIXELS,
        face: FaceChoice | None = None,
        aggregate: Aggregate = "max",
    ) -> None:
        """Load model and detector.

        Args:
            run: A finished run.
            device: Where to compute.
            detector_model: Where the detector's model files lie, if not in the run.
            max_pixels: Larger pictures are refused.
            face: Which face is looked at; None: the one the run was trained on.
            aggregate: How a picture's several faces become its answer: the face with the highest
                probability of the target, or the mean over faces.

        Raises:
            BundleError, DetectorModelError, WeightsError: The run cannot be used here, or looks at
                no face.
        """
        # Scores are computed in fp32 wherever they are shown or stored: bf16 moves them by 1e-2.
        self._backend = choose_backend(device, "fp32")
        self._model = load_any(run.path, self._backend.device)
        self.bundle = self._model.bundle
        if face and all(view.crop == "full" for view in self._model.views):
            raise BundleError(
                f"Cannot choose a face (--face {face}): run {run.path.name!r} was trained on whole "
                "pictures and looks for no face. Leave --face out, or name another --run."
            )
        self._max_pixels = max_pixels
        self._aggregate = aggregate
        views = tuple(_facing(view, face) for view in self._model.views)
        _check_same_faces(run, views)
        self._shown = next((i for i, view in enumerate(views) if view.crop == "face"), 0)
        self._cropper = ViewCropper(views, detector_model, (run.detector,))

    def predict(
        self, sources: Iterable[Source], batch_size: int = BATCH_SIZE
    ) -> Iterator[Prediction]:
        """Yield one prediction per picture, in order; a picture in error is a row, too.

        Args:
            sources: Files or bytes.
            batch_size: Pictures scored at once; also how many are held in memory.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        waiting = iter(sources)
        while batch := tuple(itertools.islice(waiting, batch_size)):  # itertools.batched is 3.12's
            yield from self._predict_batch(batch)

    def close(self) -> None:
        """Free the detectors."""
        self._cropper.close()

    def _predict_batch(self, sources: tuple[Source, ...]) -> list[Prediction]:
        crops = [self._crop(source) for source in sources]
        usable = [views for views in crops if not isinstance(views, str) and self._faces(views)]
        pixels = [
            np.concatenate([_for_each(views[i].pixels, self._faces(views)) for views in usable])
            for i in range(len(self._cropper.views) if usable else 0)
        ]
        scores = iter(self._score(pixels) if usable else ())
        return [
            Prediction(source.path, "error", views)
            if isinstance(views, str)
            else self._answer(
                source,
                views[self._shown],
                np.array([next(scores) for _ in range(self._faces(views))]),
            )
            for source, views in zip(sources, crops, strict=True)
        ]

    def _faces(self, views: tuple[Crops, ...]) -> int:
        """Return how many crops of the picture are scored: one for each face that is shown.

        None, where a view has none: the picture is judged by all of its views or not at all.
        """
        return len(views[self._shown].pixels) if all(len(view.pixels) for view in views) else 0

    def _crop(self, source: Source) -> tuple[Crops, ...] | str:
        """Return the crops of each view, or why there are none."""
        try:
            data = read_bytes(as_path(source.path)) if source.data is None else source.data
            return self._cropper.crop(Picture(data, source.path, max_pixels=self._max_pixels))
        except (ImageReadError, NoFaceError) as error:
            return str(error)

    def _score(self, pixels: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        return self._model.probabilities(pixels, self._backend)

    def _answer(self, source: Source, crops: Crops, scores: NDArray[np.float64]) -> Prediction:
        plan = crops.plan
        if not len(scores):
            return Prediction(
                source.path, "skipped", reason=plan.reason, face_score=plan.best_score
            )
        together, first = self._aggregate_scores(scores)
        face = plan.cuts[first].face
        is_per_face = self._cropper.views[self._shown].face == "all" and plan.source == "face"
        return Prediction(
            path=source.path,
            status="ok",
            **self._decide(together),
            unsure=self._is_unsure(together),
            source=plan.source,
            reason=plan.reason,
            box=face.box.xyxy if face else None,
            face_score=face.score if face else plan.best_score,
            faces=plan.faces,
            per_face=tuple(
                {"box": cut.face.box.xyxy, "face_score": cut.face.score, **self._decide(of_face)}
                for cut, of_face in zip(plan.cuts, scores, strict=True)
                if cut.face
            )
            if is_per_face
            else None,
        )

    def _aggregate_scores(self, scores: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
        """Return the picture's probabilities from its faces', and which face to show for it."""
        if self._aggregate == "mean":
            return scores.mean(axis=0), 0
        first = int(scores[:, self.bundle.labels.target_index].argmax())
        return scores[first], first

    def _is_unsure(self, scores: NDArray[np.float64]) -> bool:
        bundle = self.bundle
        target = bundle.labels.target_index
        return bool(is_unsure(scores[None], target, bundle.threshold, bundle.abstain)[0])

    def _decide(self, scores: NDArray[np.float64]) -> dict[str, Any]:
        labels = self.bundle.labels
        answer = int(decide(scores[None], labels.target_index, self.bundle.threshold)[0])
        return {
            "label": labels.names[answer],
            "score": float(scores[answer]),
            "probabilities": {n: float(p) for n, p in zip(labels.names, scores, strict=True)},
        }


def _facing(view: CropParams, face: FaceChoice | None) -> CropParams:
    return replace(view, face=face) if face and view.crop == "face" else view


def _check_same_faces(run: RunFolder, views: Sequence[CropParams]) -> None:
    """Raise ``BundleError`` where each face is asked for, and the views may not see the same."""
    ways = {(v.detector_digest, v.min_face_px) for v in views if v.crop == "face"}
    if len(ways) > 1 and any(view.face == "all" for view in views):
        raise BundleError(
            f"Cannot look at every face (--face all): the members of run {run.path.name!r} find "
            "faces in different ways. Leave --face out, or name another --run."
        )


def _for_each(pixels: NDArray[np.uint8], faces: int) -> NDArray[np.uint8]:
    """Return the crops of a view, a whole picture once for each face it is judged with."""
    return pixels if len(pixels) == faces else np.repeat(pixels, faces, axis=0)
