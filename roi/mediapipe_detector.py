"""The MediaPipe face detector. The only module of the project that imports mediapipe."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from roi_cls.closing import Closing
from roi_cls.errors import DetectorModelError
from roi_cls.roi.box import Box
from roi_cls.roi.face import Detection, Face
from roi_cls.roi.image import Image
from roi_cls.roi.models import DetectorModel
from roi_cls.roi.params import CropParams

if TYPE_CHECKING:
    from mediapipe.tasks.python import vision

SCORE_FLOOR = 0.2
"""Faces from this confidence on are kept, so that ``low_score`` can be told from ``no_face``."""
LONGEST_SIDE_PX = 16_384
"""Longer pictures are shrunk by a whole factor: from 32,767 px on MediaPipe aborts the process."""


class MediapipeDetector(Closing):
    """MediaPipe's BlazeFace networks asked in order; the first that finds an acceptable face wins.

    Each network is loaded when it is first needed. Not for use from several threads: MediaPipe
    serves one call at a time, and more throughput needs more processes. Those must be spawned: a
    forked one hangs.
    """

    def __init__(self, models: Sequence[DetectorModel], params: CropParams) -> None:
        self._models = tuple(models)
        self._params = params
        self._networks: dict[str, vision.FaceDetector] = {}

    def detect(self, image: Image) -> Detection:
        """Return every face from ``SCORE_FLOOR`` on, of the network that decided, best first.

        Args:
            image: (height, width, 3) RGB uint8, upright.
        """
        height, width = image.shape[:2]
        faint: tuple[Face, ...] = ()
        for model in self._models:
            faces = self._faces(model, image)
            if any(self._is_acceptable(face) for face in faces):
                return Detection(height, width, faces)
            faint += faces
        return Detection(height, width, _best_first(faint))

    def close(self) -> None:
        """Free the networks."""
        while self._networks:
            network = self._networks.popitem()[1]
            with _native_log():
                network.close()

    def _is_acceptable(self, face: Face) -> bool:
        return face.score >= self._params.min_score

    def _faces(self, model: DetectorModel, image: Image) -> tuple[Face, ...]:
        import mediapipe

        small = _bounded(image)
        picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=small)
        if model.name in self._networks:
            result = self._networks[model.name].detect(picture)
        else:
            with _native_log():  # the first call logs, too
                self._networks[model.name] = _load_network(
                    model, min(SCORE_FLOOR, self._params.min_score)
                )
                result = self._networks[model.name].detect(picture)
        height, width = image.shape[:2]
        scale_x, scale_y = width / small.shape[1], height / small.shape[0]
        faces = []
        for found in result.detections:
            frame = found.bounding_box
            if frame.width <= 0 or frame.height <= 0:
                continue  # seen on pictures of a few pixels: no area, nothing to cut
            left, top = frame.origin_x * scale_x, frame.origin_y * scale_y
            box = Box(left, top, left + frame.width * scale_x, top + frame.height * scale_y)
            points = tuple((float(p.x) * width, float(p.y) * height) for p in found.keypoints)
            faces.append(Face(box, float(found.categories[0].score), points, model.name))
        return _best_first(tuple(faces))


def _bounded(image: Image) -> Image:
    """Return the picture as MediaPipe takes it: contiguous, no side too long."""
    factor = math.ceil(max(image.shape[:2]) / LONGEST_SIDE_PX)
    if factor > 1:
        height, width = (max(1, round(side / factor)) for side in image.shape[:2])
        small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        image = np.asarray(small, dtype=np.uint8)
    return np.ascontiguousarray(image)


def _best_first(faces: tuple[Face, ...]) -> tuple[Face, ...]:
    return tuple(sorted(faces, key=lambda face: (-face.score, face.box.xyxy)))


def _load_network(model: DetectorModel, floor: float) -> vision.FaceDetector:
    try:
        from mediapipe.tasks.python import BaseOptions, vision

        # The bytes, not the path: MediaPipe cannot open some non-ASCII paths on Windows.
        options = vision.FaceDetectorOptions(
            base_options=BaseOptions(model_asset_buffer=model.path.read_bytes()),
            min_detection_confidence=floor,
        )
        return vision.FaceDetector.create_from_options(options)
    except ImportError as error:
        raise DetectorModelError(
            f"Cannot load MediaPipe: {error}. On Debian and Ubuntu: "
            "apt-get install -y libgl1 libglib2.0-0 libegl1 libgles2"
        ) from error
    except OSError as error:
        raise DetectorModelError(
            f"Cannot load the face detector {str(model.path)!r}: {error}. If a library is missing, "
            "on Debian and Ubuntu: apt-get install -y libgl1 libglib2.0-0 libegl1 libgles2"
        ) from error
    except (RuntimeError, ValueError) as error:
        raise DetectorModelError(
            f"Cannot load the face detector {str(model.path)!r}: {str(error).splitlines()[0]}. "
            "Give a MediaPipe face detection model (.tflite) or leave --detector-model out."
        ) from error


@contextlib.contextmanager
def _native_log() -> Iterator[None]:
    """Keep MediaPipe's C++ log lines off stderr; show them only if the calls inside fail.

    They go to the file descriptor itself, and no log level of the Python package stops them.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as log:
        kept = os.dup(2)
        os.dup2(log.fileno(), 2)
        try:
            yield
        except BaseException:
            log.seek(0)
            os.write(kept, log.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
