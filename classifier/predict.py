"""Predict pictures with a trained run: the crop path of its bundle, then its model."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roi_cls.cache.builder import DetectorOpener
from roi_cls.classifier.bundle import ModelBundle, load_bundle, load_model
from roi_cls.classifier.config import Device
from roi_cls.classifier.decision import decide
from roi_cls.classifier.device import choose_backend
from roi_cls.classifier.run_folder import RunFolder
from roi_cls.classifier.score import BATCH_SIZE, compute_logits, to_probabilities
from roi_cls.closing import Closing
from roi_cls.errors import ImageReadError, NoFaceError
from roi_cls.roi.crop import Crop, make_crop
from roi_cls.roi.detector import FaceDetector
from roi_cls.roi.image import decode_image, read_image
from roi_cls.roi.mediapipe_detector import MediapipeDetector
from roi_cls.roi.models import DetectorModel, resolve_models
from roi_cls.roi.params import MAX_PIXELS


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture to predict: a file, or bytes under a name."""

    path: str
    data: bytes | None = None
    """The encoded picture; None: read it from ``path``."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one picture, or why there is none."""

    path: str
    status: str
    """``ok`` or ``error``."""
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

    def to_dict(self) -> dict[str, Any]:
        """Return the fields of ``roi-cls predict --json``."""
        return asdict(self)


def open_bundle_detector(bundle: ModelBundle, run: RunFolder, given: Path | None) -> DetectorOpener:
    """Return how to open the very detector that the run was trained with; picklable.

    Raises:
        DetectorModelError: Its model files are not to be had.
    """
    crop = bundle.crop
    models: tuple[DetectorModel, ...] = ()
    if crop.crop == "face":
        models = resolve_models(
            crop.detector,
            given=given,
            expected_sha256=crop.detector_sha256,
            extra_dirs=(run.detector,),
        )
    return partial(MediapipeDetector, models, crop)


class Predictor(Closing):
    """A loaded run. Owns a face detector, so it is used as a context manager."""

    def __init__(
        self,
        run: RunFolder,
        *,
        device: Device = "auto",
        detector_model: Path | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        """Load model and detector.

        Raises:
            BundleError, DetectorModelError, WeightsError: The run cannot be used here.
        """
        self.bundle = load_bundle(run.path)
        # Scores are computed in fp32 wherever they are shown or stored: bf16 moves them by 1e-2.
        self._backend = choose_backend(device, "fp32")
        self._model = load_model(run.path).to(self._backend.device)
        self._max_pixels = max_pixels
        self.detector: FaceDetector | None = None
        if self.bundle.crop.crop == "face":
            self.detector = open_bundle_detector(self.bundle, run, detector_model)()

    def predict(
        self, pictures: Iterable[Picture], batch_size: int = BATCH_SIZE
    ) -> Iterator[Prediction]:
        """Yield one prediction per picture, in order; a picture in error is a row, too.

        Args:
            pictures: Files or bytes.
            batch_size: Pictures scored at once; also how many are held in memory.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        waiting = iter(pictures)
        while batch := tuple(itertools.islice(waiting, batch_size)):  # itertools.batched is 3.12's
            yield from self._predict_batch(batch)

    def close(self) -> None:
        """Free the detector."""
        if self.detector is not None:
            self.detector.close()

    def _predict_batch(self, pictures: tuple[Picture, ...]) -> list[Prediction]:
        crops = [self._crop(picture) for picture in pictures]
        usable = [crop.pixels for crop in crops if isinstance(crop, Crop)]
        scores = iter(self._score(np.stack(usable)) if usable else ())
        return [
            self._answer(picture, crop, next(scores))
            if isinstance(crop, Crop)
            else Prediction(picture.path, "error", crop)
            for picture, crop in zip(pictures, crops, strict=True)
        ]

    def _crop(self, picture: Picture) -> Crop | str:
        """Return the crop, or why there is none."""
        try:
            if picture.data is None:
                image = read_image(Path(picture.path), max_pixels=self._max_pixels)
            else:
                image = decode_image(picture.data, picture.path, max_pixels=self._max_pixels)
            return make_crop(image, self.bundle.crop, self.detector)
        except (ImageReadError, NoFaceError) as error:
            return str(error)

    def _score(self, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        logits = compute_logits(self._model, pixels, self.bundle.normalisation, self._backend)
        return to_probabilities(logits, self.bundle.temperature)

    def _answer(self, picture: Picture, crop: Crop, scores: NDArray[np.float64]) -> Prediction:
        labels = self.bundle.labels
        answer = int(decide(scores[None], labels.target_index, self.bundle.threshold)[0])
        plan = crop.plan
        return Prediction(
            path=picture.path,
            status="ok",
            label=labels.names[answer],
            score=float(scores[answer]),
            probabilities={n: float(p) for n, p in zip(labels.names, scores, strict=True)},
            source=plan.source,
            reason=plan.reason,
            box=plan.face.box.xyxy if plan.face else None,
            face_score=plan.best_score,
            faces=plan.faces,
        )
