"""One of MediaPipe's face detection networks, and mediapipe imported without what it does not need.

The only module of the project that imports mediapipe.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import math
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from roi_cls.base.closing import Closing
from roi_cls.base.errors import DetectorModelError
from roi_cls.base.quiet import stderr_held
from roi_cls.roi.detection.models import DetectorModel
from roi_cls.roi.face import Box, Face
from roi_cls.roi.image import Image
from roi_cls.roi.picture import shrink

if TYPE_CHECKING:
    from mediapipe.tasks.python import vision

LONGEST_SIDE_PX = 16_384
"""Longer pictures are shrunk by a whole factor: from 32,767 px on MediaPipe aborts the process."""
NOISY_CALLS = 8
"""Calls after loading a network during which its native log is kept off stderr."""


class BlazeFace(Closing):
    """A BlazeFace network, short or full range, or one of the user's of that form.

    Not for use from several threads: MediaPipe serves one call at a time, and more throughput
    needs more processes. Those must be spawned: a forked one hangs.
    """

    def __init__(self, model: DetectorModel, floor: float) -> None:
        """Load the network.

        Args:
            model: Its file.
            floor: Score from which faces are told.

        Raises:
            DetectorModelError: It cannot be loaded.
        """
        with stderr_held():
            self._network = _load_network(model, floor)
        self._name = model.name
        self._calls = 0

    def see(self, image: Image) -> tuple[Face, ...]:
        """Return the faces in a (height, width, 3) RGB uint8 image, in its pixels."""
        mediapipe = import_mediapipe()
        small = _bounded(image)
        picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=small)
        # The first call logs, and the first one whose memory is not aligned.
        is_noisy = self._calls < NOISY_CALLS
        with stderr_held() if is_noisy else contextlib.nullcontext():
            result = self._network.detect(picture)
            self._calls += 1
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
            faces.append(Face(box, float(found.categories[0].score), points, self._name))
        return tuple(faces)

    def close(self) -> None:
        """Free the network."""
        with stderr_held():
            self._network.close()


def _bounded(image: Image) -> Image:
    """Return the picture as MediaPipe takes it: contiguous, no side too long."""
    factor = math.ceil(max(image.shape[:2]) / LONGEST_SIDE_PX)
    return np.ascontiguousarray(shrink(image, factor) if factor > 1 else image)


def _load_network(model: DetectorModel, floor: float) -> vision.FaceDetector:
    try:
        import_mediapipe()
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


@functools.cache
def import_mediapipe() -> Any:
    """Return mediapipe, imported without what it draws figures and records sound with.

    That takes 0.1 s in place of 0.4; matplotlib is imported when mediapipe draws a first figure.
    """
    with stand_ins("matplotlib", "matplotlib.pyplot", "sounddevice"):
        import mediapipe
    return mediapipe


@contextlib.contextmanager
def stand_ins(*names: str) -> Iterator[None]:
    """Let whoever imports these modules meanwhile get them when they are first used.

    Args:
        names: Full names, parents before their children. Those already imported stay as they are.
    """
    if any(name in sys.modules for name in names):
        names = ()
    for name in names:
        sys.modules[name] = stand_in = _StandIn(name)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, stand_in)
    try:
        yield
    finally:
        _give_way()


class _StandIn(ModuleType):
    """Is in the place of a module that nobody has used yet; once used, it passes all on to it."""

    def __getattr__(self, name: str) -> Any:
        _give_way()  # else the module would be looked for here
        return getattr(importlib.import_module(self.__name__), name)


def _give_way() -> None:
    """Let the next import of each module be the true one."""
    for name, module in list(sys.modules.items()):
        if isinstance(module, _StandIn):
            sys.modules.pop(name, None)
