"""YuNet, the face detection network of OpenCV's ``FaceDetectorYN``, told as BlazeFace would.

Wu, Peng, Yu (2023): YuNet: A Tiny Millisecond-level Face Detector. Machine Intelligence Research.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from roi_cls.base.closing import Closing
from roi_cls.base.errors import DetectorModelError
from roi_cls.base.quiet import stderr_held
from roi_cls.roi.detection.models import DetectorModel
from roi_cls.roi.face import Box, Face
from roi_cls.roi.image import Image

BOX_SHRINK = 1.0455
"""Sides of a square of YuNet's area, in sides of BlazeFace's box of the same face.

YuNet's boxes take in the forehead, BlazeFace's are square and end at the brows: so a crop shows as
much of a face whoever found it. Median of 681 faces seen by both; with this, and the shift below,
true boxes of street photographs have an IoU of 0.77 with YuNet's faces of 30 px or more, and one
of 0.72 to 0.77 with BlazeFace's."""
BOX_SHIFT = 0.084
"""How much lower the centre of BlazeFace's box lies, in sides of it."""
EAR = (1.89, -0.16, -2.025, 1.295)
"""An ear as a sum of the eye on its side, the other eye, the nose tip and the mouth's centre.

YuNet does not look for ears. Least squares over 1,253 faces seen by BlazeFace, both sides as one;
off by 0.02 of the box's side (root mean square).
"""
_NMS_IOU = 0.3  # OpenCV's default
_MOST_FACES = 5000  # the same


class YuNet(Closing):
    """Sees faces from about 10 to about 300 px in an image. Not for several threads."""

    def __init__(self, model: DetectorModel, floor: float) -> None:
        """Load the network.

        Args:
            model: Its file.
            floor: Score from which faces are told.

        Raises:
            DetectorModelError: It cannot be loaded.
        """
        try:
            content = np.frombuffer(model.path.read_bytes(), np.uint8)
            empty = np.empty(0, np.uint8)
            with stderr_held():  # a warning about targets, which nobody set
                self._network = cv2.FaceDetectorYN.create(
                    "onnx", content, empty, (320, 320), floor, _NMS_IOU, _MOST_FACES
                )
        except (OSError, cv2.error) as error:
            # Of OpenCV's, what it says without the place in its source.
            told = error.strerror if isinstance(error, OSError) else f"OpenCV says {error.err!r}"
            reason = " ".join((told or str(error)).split())
            raise DetectorModelError(
                f"Cannot load the face detector {str(model.path)!r}: {reason}. "
                "Remove the file and run `roi-cls doctor --fetch`, or use --detector mediapipe."
            ) from error
        self._name = model.name

    def see(self, image: Image) -> tuple[Face, ...]:
        """Return the faces in a (height, width, 3) RGB uint8 image, in its pixels.

        Each as BlazeFace has it: a square box without the forehead, six keypoints.
        """
        height, width = image.shape[:2]
        self._network.setInputSize((width, height))
        found = self._network.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
        rows = () if found is None else np.asarray(found, np.float64)
        return tuple(self._as_face(row) for row in rows if row[2] >= 1 and row[3] >= 1)

    def close(self) -> None:
        """Let go of the network."""
        vars(self).pop("_network", None)

    def _as_face(self, row: np.ndarray) -> Face:
        left, top, width, height = map(float, row[:4])
        side = math.sqrt(width * height) / BOX_SHRINK
        x, y = left + width / 2, top + height / 2 + BOX_SHIFT * side
        box = Box(x - side / 2, y - side / 2, x + side / 2, y + side / 2)
        right_eye, left_eye, nose, *corners = row[4:14].reshape(5, 2)
        mouth = (corners[0] + corners[1]) / 2
        ears = (_ear(right_eye, left_eye, nose, mouth), _ear(left_eye, right_eye, nose, mouth))
        points = (right_eye, left_eye, nose, mouth, *ears)
        return Face(box, float(row[14]), tuple((float(x), float(y)) for x, y in points), self._name)


def _ear(eye: np.ndarray, other: np.ndarray, nose: np.ndarray, mouth: np.ndarray) -> np.ndarray:
    return EAR[0] * eye + EAR[1] * other + EAR[2] * nose + EAR[3] * mouth
