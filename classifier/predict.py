"""Predict pictures with a trained run: the crop path of its bundle, then its model."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roi_cls.classifier.bundle import load_bundle, load_model
from roi_cls.classifier.config import Aggregate, Device
from roi_cls.classifier.decision import decide
from roi_cls.classifier.device import choose_backend
from roi_cls.classifier.run_folder import RunFolder
from roi_cls.classifier.score import BATCH_SIZE, compute_logits, to_probabilities
from roi_cls.closing import Closing
from roi_cls.errors import BundleError, ImageReadError, NoFaceError
from roi_cls.location import as_path
from roi_cls.roi import CropParams
from roi_cls.roi.crop import Crops, make_crops
from roi_cls.roi.detector import FaceDetector
from roi_cls.roi.image import read_bytes
from roi_cls.roi.params import MAX_PIXELS, FaceChoice
from roi_cls.roi.picture import Picture
from roi_cls.roi.recipe import open_recipe


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
        self.bundle = load_bundle(run.path)
        if face and self.bundle.crop.crop == "full":
            raise BundleError(
                f"Cannot choose a face (--face {face}): run {run.path.name!r} was trained on whole "
                "pictures and looks for no face. Leave --face out, or name another --run."
            )
        # Scores are computed in fp32 wherever they are shown or stored: bf16 moves them by 1e-2.
        self._backend = choose_backend(device, "fp32")
        self._model = load_model(run.path).to(self._backend.device)
        self._max_pixels = max_pixels
        self._aggregate = aggregate
        self._crop_params: CropParams = replace(
            self.bundle.crop, face=face or self.bundle.crop.face
        )
        self.detector: FaceDetector | None = None
        if self.bundle.crop.crop == "face":
            recipe = open_recipe(self._crop_params, detector_model, (run.detector,))
            self.detector = recipe.open_detector()

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
        """Free the detector."""
        if self.detector is not None:
            self.detector.close()

    def _predict_batch(self, sources: tuple[Source, ...]) -> list[Prediction]:
        crops = [self._crop(source) for source in sources]
        usable = [crop.pixels for crop in crops if isinstance(crop, Crops)]
        pixels = np.concatenate(usable) if usable else np.empty((0, 1, 1, 3), np.uint8)
        scores = iter(self._score(pixels) if len(pixels) else ())
        return [
            self._answer(source, crop, np.array([next(scores) for _ in crop.pixels]))
            if isinstance(crop, Crops)
            else Prediction(source.path, "error", crop)
            for source, crop in zip(sources, crops, strict=True)
        ]

    def _crop(self, source: Source) -> Crops | str:
        """Return the crops, or why there are none."""
        try:
            data = read_bytes(as_path(source.path)) if source.data is None else source.data
            picture = Picture(data, source.path, max_pixels=self._max_pixels)
            return make_crops(picture, self._crop_params, self.detector)
        except (ImageReadError, NoFaceError) as error:
            return str(error)

    def _score(self, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        logits = compute_logits(self._model, pixels, self.bundle.normalisation, self._backend)
        return to_probabilities(logits, self.bundle.temperature)

    def _answer(self, source: Source, crops: Crops, scores: NDArray[np.float64]) -> Prediction:
        plan = crops.plan
        if not plan.cuts:
            return Prediction(
                source.path, "skipped", reason=plan.reason, face_score=plan.best_score
            )
        together, first = self._aggregate_scores(scores)
        face = plan.cuts[first].face
        is_per_face = self._crop_params.face == "all" and plan.source == "face"
        return Prediction(
            path=source.path,
            status="ok",
            **self._decide(together),
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

    def _decide(self, scores: NDArray[np.float64]) -> dict[str, Any]:
        labels = self.bundle.labels
        answer = int(decide(scores[None], labels.target_index, self.bundle.threshold)[0])
        return {
            "label": labels.names[answer],
            "score": float(scores[answer]),
            "probabilities": {n: float(p) for n, p in zip(labels.names, scores, strict=True)},
        }
