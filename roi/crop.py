"""Cut a planned region out of a picture. Pixels only: no detector, no file, no label."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image as PillowImage

from roi_cls.roi.box import Box
from roi_cls.roi.detector import FaceDetector
from roi_cls.roi.face import Detection
from roi_cls.roi.image import Image
from roi_cls.roi.params import CropParams
from roi_cls.roi.plan import CropPlan, plan_crop

GREY = (124, 116, 104)
"""ImageNet's mean colour, RGB 0-255: after the usual normalisation the padding is about zero."""
LARGEST_CANVAS_PX = 4096
"""A region with a longer side is shrunk by a whole factor first, to bound memory at 50 MB."""


@dataclass(frozen=True, slots=True)
class Crop:
    """A square cut-out and where it came from."""

    pixels: Image
    """(size_px, size_px, 3) RGB uint8."""
    plan: CropPlan
    detection: Detection


def make_crop(image: Image, params: CropParams, detector: FaceDetector | None) -> Crop:
    """Detect, decide and cut: the one crop path, in training and in prediction.

    Args:
        image: (height, width, 3) RGB uint8, upright.
        params: The recipe.
        detector: May be None only where ``params.crop`` is ``full``.

    Raises:
        NoFaceError: No face meets the thresholds and ``params.fallback`` is ``error``.
    """
    detection = detect_faces(image, params, detector)
    plan = plan_crop(detection, params)
    return Crop(cut_crop(image, plan, params), plan, detection)


def detect_faces(image: Image, params: CropParams, detector: FaceDetector | None) -> Detection:
    """Return what the detector sees; nothing is looked for where the recipe cuts full frames."""
    if params.crop == "full":
        return Detection(image.shape[0], image.shape[1], ())
    if detector is None:
        raise ValueError("a recipe that crops faces needs a detector")
    return detector.detect(image)


def cut_crop(image: Image, plan: CropPlan, params: CropParams) -> Image:
    """Return the planned region as a new (size_px, size_px, 3) RGB uint8 array.

    Args:
        image: (height, width, 3) RGB uint8, the picture that was planned for.
        plan: The region, in pixels of ``image``.
        params: Size, border and resampling.
    """
    image, region = _bounded(image, plan.region)
    canvas = (
        _rotated(image, region, plan, params)
        if plan.angle
        else _sliced(image, region, plan, params)
    )
    return _resized(canvas, params)


def _bounded(image: Image, region: Box) -> tuple[Image, Box]:
    factor = math.ceil(max(region.width, region.height) / LARGEST_CANVAS_PX)
    if factor <= 1:
        return image, region
    height, width = (max(1, round(side / factor)) for side in image.shape[:2])
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    scale_x, scale_y = width / image.shape[1], height / image.shape[0]
    # The sides by the factor itself: a picture one pixel high cannot shrink as its region does.
    x, y = region.center[0] * scale_x, region.center[1] * scale_y
    half_x, half_y = region.width / factor / 2, region.height / factor / 2
    return _as_image(small), Box(x - half_x, y - half_y, x + half_x, y + half_y)


def _sliced(image: Image, region: Box, plan: CropPlan, params: CropParams) -> Image:
    """Return the region at the picture's own scale, in whole pixels."""
    height, width = image.shape[:2]
    left, top = round(region.left), round(region.top)
    right = left + max(1, round(region.width))
    bottom = top + max(1, round(region.height))
    inside = image[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
    if not inside.size:  # a box beyond the picture: all of it is border
        return _rotated(image, region, plan, params)
    pads = (max(0, -top), max(0, bottom - height), max(0, -left), max(0, right - width))
    if not any(pads):
        return inside
    mode = _border_mode(plan, params)
    return _as_image(cv2.copyMakeBorder(inside, *pads, borderType=mode, value=GREY))


def _rotated(image: Image, region: Box, plan: CropPlan, params: CropParams) -> Image:
    """Return the region turned level, at the picture's own scale."""
    side = max(1, round(region.width))
    turn = math.radians(plan.angle)
    cos, sin = math.cos(turn), math.sin(turn)
    x, y = region.center
    middle = (side - 1) / 2  # pixel centres lie on whole numbers here, on halves in boxes
    to_source = np.array(
        [
            [cos, -sin, x - 0.5 - middle * (cos - sin)],
            [sin, cos, y - 0.5 - middle * (sin + cos)],
        ]
    )
    return _as_image(
        cv2.warpAffine(
            image,
            to_source,
            (side, side),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=_border_mode(plan, params),
            borderValue=GREY,
        )
    )


def _border_mode(plan: CropPlan, params: CropParams) -> int:
    # A padded full frame gets plain bars: repeating its edges would draw streaks over half of it.
    grey = plan.source == "full_frame" or params.border == "constant"
    return cv2.BORDER_CONSTANT if grey else cv2.BORDER_REPLICATE


def _resized(canvas: Image, params: CropParams) -> Image:
    size = (params.size_px, params.size_px)
    if canvas.shape[:2] == size:
        return canvas.copy()
    if params.resampling == "lanczos":
        picture = PillowImage.fromarray(canvas).resize(size, PillowImage.Resampling.LANCZOS)
        return np.array(picture)
    # A squashed picture may shrink along one side and grow along the other.
    height, width = canvas.shape[:2]
    shrunk = (min(width, params.size_px), min(height, params.size_px))
    if shrunk != (width, height):
        canvas = _as_image(cv2.resize(canvas, shrunk, interpolation=cv2.INTER_AREA))
    if shrunk == size:
        return canvas
    return _as_image(cv2.resize(canvas, size, interpolation=cv2.INTER_CUBIC))


def _as_image(array: object) -> Image:
    """Return a cv2 result under the type we use for it; its stubs allow any dtype."""
    return np.asarray(array, dtype=np.uint8)
