"""What a network is given to look at: a picture or a part of it, at a scale, mirrored or turned.

Knows where every pixel of it lies in the frame (the upright picture at full size); it must not
know what is looked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

import cv2
import numpy as np

from roi_cls.roi.face import KEYPOINT_NAMES, Box, Face
from roi_cls.roi.image import Image
from roi_cls.roi.picture import Picture, fitting_factor

WHOLE_PX = 384
"""Longer side that a reduced picture keeps: twice what the larger network sees of it.

On 199 portraits of 768 px the best scores at 384 px are those at 768 px (short range: mean 0.899
against 0.896, full range 0.786 against 0.780), and the boxes agree (IoU 0.98 in the median).
"""
REGION_PX = 256
"""Longer side that a part of a picture keeps when it is read from a reduced one."""
LEAST_CONTEXT = 3.0
"""Sides of the face that are shown around it even where they reach beyond the frame.

Faces that fill the frame score 0.4 to 0.7 there with short range and hardly any with full range;
in wider grey surroundings 0.6 to 0.8 with both (8 of 248 portraits). 4.2 and 6 find the same ones
at more cost, and a dog.
"""
_GREY = (128, 128, 128)
_ROTATIONS = (-1, cv2.ROTATE_90_CLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_COUNTERCLOCKWISE)
_OTHER_SIDE = tuple(
    KEYPOINT_NAMES.index(name.replace("right", "*").replace("left", "right").replace("*", "left"))
    for name in KEYPOINT_NAMES
)  # (1, 0, 2, 3, 5, 4)


@dataclass(frozen=True, slots=True)
class Glimpse:
    """Pixels, and the frame's coordinates of them."""

    image: Image
    """(height, width, 3) RGB uint8."""
    left: float
    """x in the frame of the image's left edge, in pixels of the frame."""
    top: float
    """y in the frame of the image's top edge, in pixels of the frame."""
    scale: float
    """Pixels of the frame that one pixel of the image stands for."""
    is_mirrored: bool = False
    """Whether x runs to the left in the frame."""
    angle: float = 0.0
    """Degrees, clockwise, by which the image was turned about its middle after all that."""

    def mirror(self) -> Self:
        """Return the same part of the frame, mirrored about its vertical middle; before a turn."""
        # OpenCV's flip takes a fortieth of the time of copying a reversed array.
        image = np.asarray(cv2.flip(self.image, 1), dtype=np.uint8)
        edge = self._to_frame(self.image.shape[1], 0)[0]
        return replace(self, image=image, left=edge, is_mirrored=not self.is_mirrored)

    def turn(self, angle: float) -> Self:
        """Return the same part of the frame, turned clockwise by so many degrees; once only.

        By quarters pixel by pixel; else within the same sides, with grey in the corners.
        """
        if angle % 360 == 0:
            return self
        if angle % 90 == 0:
            turned = cv2.rotate(self.image, _ROTATIONS[int(angle % 360) // 90])
        else:
            height, width = self.image.shape[:2]
            middle = ((width - 1) / 2, (height - 1) / 2)
            matrix = cv2.getRotationMatrix2D(
                middle, -angle, 1.0
            )  # OpenCV's angles run the other way
            turned = cv2.warpAffine(self.image, matrix, (width, height), borderValue=_GREY)
        return replace(self, image=np.asarray(turned, dtype=np.uint8), angle=angle)

    def place(self, face: Face) -> Face:
        """Return a face seen in the image as it lies in the frame, its box upright there."""
        x, y = self._to_frame(*face.box.center)
        half_x, half_y = face.box.width * self.scale / 2, face.box.height * self.scale / 2
        if self.angle % 180 == 90:
            half_x, half_y = half_y, half_x
        points = tuple(self._to_frame(*point) for point in face.keypoints)
        if self.is_mirrored and len(points) == len(_OTHER_SIDE):
            points = tuple(points[i] for i in _OTHER_SIDE)
        box = Box(x - half_x, y - half_y, x + half_x, y + half_y)
        return replace(face, box=box, keypoints=points)

    def _to_frame(self, x: float, y: float) -> tuple[float, float]:
        if self.angle:
            height, width = self.image.shape[:2]
            turn = math.radians(self.angle)
            cos, sin = math.cos(turn), math.sin(turn)
            if self.angle % 90 == 0:
                cos, sin = round(cos), round(sin)
            across, down = x - width / 2, y - height / 2
            if self.angle % 180 == 90:
                height, width = width, height
            x = across * cos + down * sin + width / 2
            y = down * cos - across * sin + height / 2
        left = -x if self.is_mirrored else x
        return self.left + left * self.scale, self.top + y * self.scale


def glimpse_whole(picture: Picture) -> Glimpse:
    """Return the whole picture, reduced while its longer side stays at ``WHOLE_PX`` or above."""
    return _reduce(picture, fitting_factor(max(picture.height, picture.width), WHOLE_PX))


def glimpse_frame(picture: Picture) -> Glimpse:
    """Return the whole picture as ``glimpse_whole``, mirrored where ``is_brighter_left``."""
    whole = glimpse_whole(picture)
    return whole.mirror() if is_brighter_left(whole.image) else whole


def glimpse_scaled(picture: Picture, side_px: int) -> Glimpse:
    """Return the whole picture, shrunk or enlarged so that its longer side has ``side_px``."""
    longer = max(picture.height, picture.width)
    whole = _reduce(picture, fitting_factor(longer, side_px))
    height, width = whole.image.shape[:2]
    scale = longer / side_px
    size = (max(1, round(picture.width / scale)), max(1, round(picture.height / scale)))
    if size == (width, height):
        return whole
    method = cv2.INTER_AREA if size < (width, height) else cv2.INTER_LINEAR
    image = np.asarray(cv2.resize(whole.image, size, interpolation=method), dtype=np.uint8)
    return Glimpse(image, whole.left, whole.top, scale)


def glimpse_region(picture: Picture, region: Box) -> Glimpse:
    """Return the pixels that hold a region of the frame, reduced where it is large.

    What lies outside the frame is grey.
    """
    side = max(region.width, region.height)
    factor = fitting_factor(side, REGION_PX)
    whole = _reduce(picture, factor)
    height, width = whole.image.shape[:2]
    place = picture.to_reduced(region, factor)
    left, right = _cover(place.left, place.right)
    top, bottom = _cover(place.top, place.bottom)
    inside = whole.image[max(0, top) : bottom, max(0, left) : right]
    # More than 8 times too large: pixels are left out, and the image is small whatever the face.
    stride = max(1, int(side / factor / REGION_PX))
    above, below, before, after = (
        max(0, margin) // stride for margin in (-top, bottom - height, -left, right - width)
    )
    image = cv2.copyMakeBorder(
        inside[::stride, ::stride],
        above,
        below,
        before,
        after,
        cv2.BORDER_CONSTANT,
        value=_GREY,
    )
    return Glimpse(
        np.asarray(image, dtype=np.uint8),
        whole.left + (max(0, left) - before * stride) * factor,
        whole.top + (max(0, top) - above * stride) * factor,
        factor * stride,
    )


def is_brighter_left(image: Image) -> bool:
    """Return whether the picture is brighter on its left than on its right.

    Networks answer differently to a picture and its mirror image, by 6 % of the box's width in
    the median on drawn faces. This says which of the two is looked at, so both have one answer;
    looking at both would double the cost of the first step.
    """
    columns = cv2.reduce(image[::8], 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S)
    sums = columns.reshape(-1, 3).sum(axis=1, dtype=np.int64)
    # Integers, so that the two sums differ in their sign alone.
    positions = 2 * np.arange(sums.size, dtype=np.int64) - (sums.size - 1)
    return bool(np.dot(sums, positions) < 0)


def _reduce(picture: Picture, factor: int) -> Glimpse:
    corner = picture.from_reduced(Box(0, 0, 1, 1), factor)
    return Glimpse(picture.reduced(factor), corner.left, corner.top, factor)


def _cover(start: float, stop: float) -> tuple[int, int]:
    """Return the pixels that hold an interval."""
    nothing = 1e-6  # of a pixel: what rounding leaves must not add a pixel on one side
    first = math.floor(start + nothing)
    return first, max(first + 1, math.ceil(stop - nothing))


def surround(box: Box, context: float, height: int, width: int) -> Box:
    """Return a square around a box, ``context`` times its side, that shows much of the frame.

    It is moved from the box's centre as far as that shows more of the frame. Where it is larger
    than the frame it reaches beyond it: a face that fills the frame is seen in grey surroundings.
    """
    x, y = box.center
    face = max(box.width, box.height)
    side = min(context * face, max(height, width, LEAST_CONTEXT * face))
    left, top = _move_inside(x - side / 2, side, width), _move_inside(y - side / 2, side, height)
    return Box(left, top, left + side, top + side)


def _move_inside(start: float, side: float, length: int) -> float:
    low, high = sorted((0.0, length - side))
    return min(max(start, low), high)
