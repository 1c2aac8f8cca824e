"""The answer for a video as a whole, from those of its frames as they come. Keeps none of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from roi_cls.classifier.config import Aggregate
from roi_cls.classifier.inference.prediction import Prediction
from roi_cls.classifier.inference.predictor import Predictor


class VideoAnswer:
    """Adds up the frames of one video."""

    def __init__(self, predictor: Predictor, aggregate: Aggregate) -> None:
        """Begin with no frame.

        Args:
            predictor: What the frames are predicted with; it decides for the video, too.
            aggregate: The mean of the frames' probabilities, or the frame with the highest one of
                the target.
        """
        self._predictor = predictor
        self._aggregate = aggregate
        self._sum: NDArray[np.float64] = np.zeros(len(predictor.bundle.labels.names))
        self._scored = 0
        self._highest: Prediction | None = None
        self._last: Prediction | None = None

    def add(self, frame: Prediction) -> None:
        """Add the next frame, whatever became of it."""
        self._last = frame
        labels = self._predictor.bundle.labels
        if frame.probabilities is None:
            return
        self._scored += 1
        self._sum += [frame.probabilities[name] for name in labels.names]
        highest = self._highest and self._highest.probabilities
        if not highest or frame.probabilities[labels.target] > highest[labels.target]:
            self._highest = frame

    def to_prediction(self) -> Prediction | None:
        """Return the row of the video; None where it had no frame, only an error.

        By ``max`` it is that of the frame it was taken from, with its time. Where no frame was
        scored, the video is skipped as its frames are.
        """
        if self._last is None or (not self._scored and self._last.time_s is None):
            return None
        if self._highest is None:
            return Prediction(self._last.path, self._last.status, self._last.error, frames=0)
        if self._aggregate == "max":
            return replace(self._highest, per_face=None, frames=self._scored)
        verdict = self._predictor.verdict(self._sum / self._scored)
        return Prediction(self._last.path, "ok", **verdict, frames=self._scored)
