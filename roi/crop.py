"""From a picture to its crops: seen by a detector, planned, cut out. No file, no label.

What any face detector must do stands here, too; no implementation is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Protocol, Self

import cv2
import numpy as np
from PIL import Image as PillowImage

from roi_cls.roi.face import Box, Detection
from roi_cls.roi.image import Image
from roi_cls.roi.params import CropParams
from roi_cls.roi.picture import Picture, shrink
from roi_cls.roi.plan import CropPlan, Cut, choose_reduction, plan_crop

GREY = (124, 116, 104)
"""ImageNet's mean colour, RGB 0-255: after the usual normalisation the padding is about zero."""
LARGEST_CANVAS_PX = 4096
"""A region with a longer side is shrunk by a whole factor first, to bound memory at 50 MB."""


class FaceDetector(Protocol):
    """Finds faces; owns native resources, so it is used as a context manager.

    An implementation raises ``DetectorModelError`` on construction where its model cannot be
    loaded; in ``detect`` only the ``ImageReadError`` of a picture that cannot be decoded.
    """

    def detect(self, picture: Picture) -> Detection:
        """Return the faces of a picture, best first."""

    def close(self) -> None:
        """Free the native resources; calling it again does nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


DetectorOpener = Callable[[], FaceDetector]
"""Makes a detector in whichever process needs one; picklable."""


@dataclass(frozen=True, slots=True)
class Crops:
    """The square cut-outs of one picture and where they came from."""

    pixels: Image
    """(cuts of the plan, size_px, size_px, 3) RGB uint8."""
    plan: CropPlan
    detection: Detection


def make_crops(picture: Picture, params: CropParams, detector: FaceDetector | None) -> Crops:
    """Detect, decide and cut: the one crop path, in training and in prediction.

    Args:
        picture: As it was encoded, or as an array.
        params: The recipe.
        detector: May be None only where ``params.crop`` is ``full``.

    Raises:
        ImageReadError: The picture cannot be decoded.
        NoFaceError: No face meets the thresholds and ``params.fallback`` is ``error``.
    """
    detection = detect_faces(picture, params, detector)
    plan = plan_crop(detection, params)
    return Crops(cut_crops(picture, plan.cuts, params), plan, detection)


def detect_faces(picture: Picture, params: CropParams, detector: FaceDetector | None) -> Detection:
    """Return what the detector sees; nothing is looked for where the recipe cuts full frames."""
    if params.crop == "full":
        detection = Detection(picture.height, picture.width, ())
    elif detector is None:
        raise ValueError("a recipe that crops faces needs a detector")
    else:
        detection = detector.detect(picture)
    if params.damaged == "read":
        detection = replace(detection, damaged=picture.damaged)
    return replace(detection, color_profile=picture.colours.note)


def cut_crops(picture: Picture, cuts: Sequence[Cut], params: CropParams) -> Image:
    """Return the regions as a new (cuts, size_px, size_px, 3) RGB uint8 array.

    Args:
        picture: The one that was planned for.
        cuts: Regions, in pixels of the full-size picture.
        params: Size, border and resampling.

    Raises:
        ImageReadError: The picture cannot be decoded.
    """
    pixels = np.empty((len(cuts), params.size_px, params.size_px, 3), np.uint8)
    for i, cut in enumerate(cuts):
        image, region = _scaled(picture, cut.region, params)
        canvas = _rotated if cut.angle else _sliced
        pixels[i] = _resized(canvas(image, replace(cut, region=region), params), params)
    return pixels


def _scaled(picture: Picture, region: Box, params: CropParams) -> tuple[Image, Box]:
    """Return the picture, reduced as far as the crop allows, and the region in it.

    Every kind of picture takes this first step, so that a JPEG decoded at a reduced scale gives
    the crop that it gives when decoded in full, to within 0.7 of 255 on portraits (mean over the
    crop's pixels) and 1.6 on street photographs of high contrast.
    """
    factor = choose_reduction(region, params.size_px)
    return _bounded(picture.reduced(factor), picture.to_reduced(region, factor))


def _bounded(image: Image, region: Box) -> tuple[Image, Box]:
    factor = math.ceil(max(region.width, region.height) / LARGEST_CANVAS_PX)
    if factor <= 1:
        return image, region
    small = shrink(image, factor)
    scale_x, scale_y = small.shape[1] / image.shape[1], small.shape[0] / image.shape[0]
    # The sides by the factor itself: a picture one pixel high cannot shrink as its region does.
    x, y = region.center[0] * scale_x, region.center[1] * scale_y
    half_x, half_y = region.width / factor / 2, region.height / factor / 2
    return small, Box(x - half_x, y - half_y, x + half_x, y + half_y)


def _sliced(image: Image, cut: Cut, params: CropParams) -> Image:
    """Return the region at the picture's own scale, in whole pixels."""
    region = cut.region
    height, width = image.shape[:2]
    left, top = round(region.left), round(region.top)
    right = left + max(1, round(region.width))
    bottom = top + max(1, round(region.height))
    inside = image[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
    if not inside.size:  # a box beyond the picture: all of it is border
        return _rotated(image, cut, params)
    pads = (max(0, -top), max(0, bottom - height), max(0, -left), max(0, right - width))
    if not any(pads):
        return inside
    mode = _border_mode(cut, params)
    return _as_image(cv2.copyMakeBorder(inside, *pads, borderType=mode, value=GREY))


def _rotated(image: Image, cut: Cut, params: CropParams) -> Image:
    """Return the region turned level, at the picture's own scale."""
    side = max(1, round(cut.region.width))
    turn = math.radians(cut.angle)
    cos, sin = math.cos(turn), math.sin(turn)
    x, y = cut.region.center
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
            borderMode=_border_mode(cut, params),
            borderValue=GREY,
        )
    )


def _border_mode(cut: Cut, params: CropParams) -> int:
    # A padded full frame gets plain bars: repeating its edges would draw streaks over half of it.
    grey = cut.face is None or params.border == "constant"
    return cv2.BORDER_CONSTANT if grey else cv2.BORDER_REPLICATE


def _resized(canvas: Image, params: CropParams) -> Image:
    size = (params.size_px, params.size_px)
    if canvas.shape[:2] == size:
        return canvas
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
