"""One picture to all the crops a model wants of it: decoded once, and looked through once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from roi_cls.base.closing import Closing
from roi_cls.roi import CropParams, Detection, plan_crop
from roi_cls.roi.crop import Crops, cut_crops, detect_faces
from roi_cls.roi.detector import FaceDetector
from roi_cls.roi.picture import Picture
from roi_cls.roi.recipe import open_recipe


class ViewCropper(Closing):
    """Crops pictures by several recipes. Owns a face detector for each way to detect."""

    def __init__(
        self, views: Sequence[CropParams], given: Path | None, folders: Sequence[Path]
    ) -> None:
        """Open the detectors.

        Args:
            views: The recipes.
            given: Where the detector's model files lie, if not in ``folders``.
            folders: Where to look for them first.

        Raises:
            DetectorModelError: A model file is not to be had.
        """
        self.views = tuple(views)
        self._detectors: dict[str, FaceDetector] = {}
        for view in self.views:
            if view.crop == "face" and view.detector_digest not in self._detectors:
                detector = open_recipe(view, given, folders).open_detector()
                self._detectors[view.detector_digest] = detector

    def crop(self, picture: Picture) -> tuple[Crops, ...]:
        """Return the crops of each view.

        Raises:
            ImageReadError: The picture cannot be decoded.
            NoFaceError: It shows no face, and a recipe has no substitute.
        """
        seen: dict[str, Detection] = {}
        found = []
        for view in self.views:
            key = view.detector_digest
            if key not in seen:
                seen[key] = detect_faces(picture, view, self._detectors.get(key))
            plan = plan_crop(seen[key], view)
            found.append(Crops(cut_crops(picture, plan.cuts, view), plan, seen[key]))
        return tuple(found)

    def close(self) -> None:
        """Free the detectors."""
        for detector in self._detectors.values():
            detector.close()
