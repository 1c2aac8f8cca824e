"""Face detectors that see what a test says, here or in a worker; training without its figure."""

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from roi_cls.base.closing import Closing
from roi_cls.roi import Box, Detection, Face
from roi_cls.roi.detection import detector as network_detector
from roi_cls.roi.detection import models
from roi_cls.roi.detection.models import DetectorModel
from roi_cls.roi.picture import Picture

See = Callable[[Picture], Sequence[Face]]
"""Returns the faces of a picture, the most confident first."""

EYES = ((10.0, 12.0), (20.0, 14.0)) * 3
FACE = Face(Box(5, 5, 25, 25), 0.9, EYES, "short")
"""In pictures of 30 x 40 px and larger."""
_POINTS = ((0.4, 0.4), (0.6, 0.4), (0.5, 0.5), (0.5, 0.65), (0.3, 0.45), (0.7, 0.45))


class FakeDetector(Closing):
    """Sees the faces that ``see`` returns, and counts its work."""

    def __init__(self, see: See) -> None:
        self.see = see
        self.calls = 0
        self.opened = 0

    def open(self, *_: object) -> "FakeDetector":
        """Return itself, as what opens a detector."""
        self.opened += 1
        return self

    def detect(self, picture: Picture) -> Detection:
        """Return the faces."""
        self.calls += 1
        faces = tuple(self.see(picture))
        return Detection(picture.height, picture.width, faces, "short" if faces else "turned")

    def close(self) -> None:
        """Count down."""
        self.opened -= 1


def replace_mediapipe(
    patch: pytest.MonkeyPatch, see: See, found: tuple[DetectorModel, ...] = ()
) -> FakeDetector:
    """Let all of this process see by ``see`` in place of MediaPipe and ``found`` models."""
    detector = FakeDetector(see)
    patch.setattr(network_detector, "NetworkDetector", detector.open)
    patch.setattr(models, "resolve_models", lambda *given, **options: found)
    return detector


def no_detector() -> FakeDetector:
    """Open a detector where none is needed."""
    raise AssertionError("there is nothing to detect")


def see(*faces: Face) -> See:
    """See these faces in every picture."""
    return partial(_given, faces)


def _given(faces: tuple[Face, ...], _: Picture) -> tuple[Face, ...]:
    return faces


def unless_black(found: See) -> See:
    """See as ``found``, except in black pictures, where no face is."""
    return partial(_unless_black, found)


def _unless_black(found: See, picture: Picture) -> Sequence[Face]:
    return found(picture) if picture.pixels().any() else ()


def see_boxes(*boxes: Box) -> See:
    """See faces in these boxes in every picture, all keypoints in the middle."""
    return see(*(Face(box, 0.9, (box.center,) * 6, "short") for box in boxes))


def see_centre(picture: Picture) -> tuple[Face, ...]:
    """See a face half as wide and high as the picture, in its middle."""
    height, width = picture.height, picture.width
    box = Box(width / 4, height / 4, width * 3 / 4, height * 3 / 4)
    return (Face(box, 0.9, tuple((x * width, y * height) for x, y in _POINTS), "short"),)


def see_at(
    x: float, y: float, share: float, tilt: float = 0.0, narrow: float = 1.0
) -> Callable[[Picture], tuple[Face]]:
    """See a face around (x, y), in shares of the picture, ``share`` of its shorter side wide."""
    return partial(_see_at, x, y, share, tilt, narrow)


def _see_at(
    x: float, y: float, share: float, tilt: float, narrow: float, picture: Picture
) -> tuple[Face]:
    x, y = x * picture.width, y * picture.height
    half = share * min(picture.width, picture.height) / 2
    eyes = ((x - half / 2, y - half * tilt), (x + half / 2, y + half * tilt))
    box = Box(x - half, y - half, x + half * narrow, y + half)
    return (Face(box, 0.9, eyes * 3, "short"),)


def see_or_die(picture: Picture) -> tuple[Face, ...]:
    """See ``FACE``, except in black pictures; die of blue ones."""
    image = picture.pixels()
    if image[..., 2].min() == 255 and not image[..., 0].any():
        os._exit(9)
    return (FACE,) if image.any() else ()


def see_white(picture: Picture) -> tuple[Face, ...]:
    """See a face in every white rectangle, from left to right ever less sure."""
    white = (picture.pixels() == 255).all(axis=2).astype(np.uint8)
    stats = cv2.connectedComponentsWithStats(white)[2][1:]  # the first is what is not white
    boxes = [Box(x, y, x + width, y + height) for x, y, width, height, _ in stats.tolist()]
    boxes.sort(key=lambda box: box.left)
    return tuple(
        Face(box, 0.9 - 0.05 * i, (box.center,) * 6, "short") for i, box in enumerate(boxes)
    )


def undraw_curves(patch: pytest.MonkeyPatch) -> None:
    """Let training leave an empty figure: to draw one takes longer than most tests train."""
    from roi_cls.classifier.training import run  # not above: it imports torch

    def leave_empty(epochs: object, path: Path, title: str | None = None) -> None:
        path.touch()

    patch.setattr(run, "draw_curves", leave_empty)
