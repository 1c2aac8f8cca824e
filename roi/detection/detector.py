"""The face detector that looks as a recipe says, with the networks that were found for it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from roi_cls.base.closing import Closing
from roi_cls.roi.detection.cascade import RANGES, find_by_mediapipe, look_whole
from roi_cls.roi.detection.faces import SCORE_FLOOR, best_first
from roi_cls.roi.detection.mediapipe import BlazeFace
from roi_cls.roi.detection.models import DetectorModel, ModelName
from roi_cls.roi.detection.search import find_faces
from roi_cls.roi.detection.yunet import YuNet
from roi_cls.roi.face import Detection, Face
from roi_cls.roi.image import Image
from roi_cls.roi.params import CropParams
from roi_cls.roi.picture import Picture

LEAST_SCORE = 0.05
"""Faces below are never told: with 0, hundreds of places would be looked at again."""


class NetworkDetector(Closing):
    """One network on the whole frame, or several as ``search`` or ``cascade`` has it.

    Each network is loaded when it is first needed. Not for use from several threads.
    """

    def __init__(self, models: Sequence[DetectorModel], params: CropParams) -> None:
        self._models: dict[ModelName, DetectorModel] = {model.name: model for model in models}
        self._params = params
        self._networks: dict[ModelName, BlazeFace | YuNet] = {}

    def detect(self, picture: Picture) -> Detection:
        """Return every face from ``SCORE_FLOOR`` on, best first.

        Raises:
            ImageReadError: The picture cannot be decoded.
            DetectorModelError: A network cannot be loaded.
        """
        min_score, wants_all = self._params.min_score, self._params.wants_all_faces
        if self._models.keys() >= {*RANGES, "yunet"}:
            return find_faces(picture, self._see, min_score, wants_all=wants_all)
        if self._models.keys() >= set(RANGES):
            return find_by_mediapipe(picture, self._see, min_score, wants_all=wants_all)
        faces: list[Face] = []
        for name in self._models:
            faces += look_whole(picture, partial(self._see, name))
        step = next((name for name in RANGES if name in self._models), None)
        return Detection(picture.height, picture.width, best_first(faces), step)

    def close(self) -> None:
        """Free the networks."""
        while self._networks:
            self._networks.popitem()[1].close()

    def _see(self, name: ModelName, image: Image) -> tuple[Face, ...]:
        """Return the faces that one network sees, in pixels of the image."""
        if name not in self._networks:
            floor = max(LEAST_SCORE, min(SCORE_FLOOR, self._params.min_score))
            kind = YuNet if name == "yunet" else BlazeFace
            self._networks[name] = kind(self._models[name], floor)
        return self._networks[name].see(image)
