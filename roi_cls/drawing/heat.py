"""Heat drawn on a crop, and in its place on the frame. Knows colours, no model and no words."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from roi_cls.classifier.explanation.heat import Heat
from roi_cls.drawing.frame import REGION_STYLE, STYLES
from roi_cls.drawing.ink import INK, PAPER, SHADE, Point, draw_path
from roi_cls.roi import Box
from roi_cls.roi.image import Image

COLOUR_MAP = cv2.COLORMAP_VIRIDIS
"""Evenly graded, also for the colour-blind; and no face has its colours, as it has Inferno's."""
_MOST_COVER = 0.72  # of what is hottest: the picture below stays to be seen
_OUTLINED = 0.5  # of the greatest heat
_FINE_PX = 500  # a frame with a longer side gets lines of more than one pixel


def draw_on_crop(heat: Heat, side: int | None = None) -> Image:
    """Return the crop with its heat as a new (side, side, 3) RGB uint8 array.

    What is hotter is covered more; a line is drawn round what has half of the greatest heat.

    Args:
        heat: The crop and its heat.
        side: In pixels; None: the crop's own.
    """
    side = side or len(heat.crop)
    size = (side, side)
    how = cv2.INTER_AREA if side < len(heat.crop) else cv2.INTER_CUBIC
    crop = np.asarray(cv2.resize(heat.crop, size, interpolation=how), np.uint8)
    values = cv2.resize(heat.heat, size, interpolation=cv2.INTER_LINEAR)
    return _blend(crop, np.asarray(values, np.float32))


def draw_on_frame(frame: Image, heats: Sequence[Heat]) -> Image:
    """Return the frame with the heat in its place, and lines round face and region, as a new array.

    Where several heats lie, the greatest is drawn.

    Args:
        frame: (height, width, 3) RGB uint8, upright.
        heats: Of crops of this frame.
    """
    drawn = paint_frame(frame, heats)
    scale = max(1, round(max(frame.shape[:2]) / _FINE_PX))
    for heat in heats:
        if heat.cut.face:
            colour, _, dash_px = REGION_STYLE
            draw_path(drawn, _region_corners(heat), colour, scale, dash_px)
            colour, _, dash_px = STYLES["cut"]
            draw_path(drawn, _corners(heat.cut.face.box), colour, scale, dash_px)
    return drawn


def paint_frame(frame: Image, heats: Sequence[Heat]) -> Image:
    """Return the frame with the heat in its place and nothing else, as a new array."""
    height, width = frame.shape[:2]
    values = np.zeros((height, width), np.float32)
    for heat in heats:
        np.maximum(values, _warp(heat, height, width), out=values)
    return _blend(frame, values)


def draw_scale(width: int, height: int) -> Image:
    """Return a (height, width, 3) bar of the colours of heat, from none on the left to the most."""
    values = np.broadcast_to(np.linspace(0, 1, width, dtype=np.float32), (height, width))
    return _mix(np.full((height, width, 3), SHADE, np.uint8), np.ascontiguousarray(values))


def _region_corners(heat: Heat) -> list[Point]:
    """Return the corners of the crop in the frame, in its pixels."""
    side = len(heat.heat)
    corners = np.array([(0, 0, 1), (side, 0, 1), (side, side, 1), (0, side, 1)], np.float64)
    return [(float(x), float(y)) for x, y in corners @ heat.to_frame.T]


def _warp(heat: Heat, height: int, width: int) -> NDArray[np.float32]:
    """Return the heat as (height, width) of the frame; 0 outside the crop."""
    to_frame = heat.to_frame.copy()
    # OpenCV puts pixels' middles on whole numbers, on both sides.
    to_frame[:, 2] += to_frame[:, :2] @ (0.5, 0.5) - 0.5
    # A crop larger than its region: what lies between its pixels in the frame must not be lost.
    shrink = float(np.hypot(*to_frame[:, 0]))
    values = heat.heat if shrink >= 1 else cv2.GaussianBlur(heat.heat, (0, 0), 0.5 / shrink)
    return np.asarray(
        cv2.warpAffine(values, to_frame, (width, height), flags=cv2.INTER_LINEAR), np.float32
    )


def _blend(picture: Image, values: NDArray[np.float32]) -> Image:
    mixed = _mix(picture, values)
    if values.max() > _OUTLINED:
        hot = (values >= _OUTLINED).astype(np.uint8)
        lines, _ = cv2.findContours(hot, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        width = max(1, round(max(picture.shape[:2]) / _FINE_PX))
        for tone, thickness in ((INK, width + 2), (PAPER, width)):  # seen on anything
            cv2.drawContours(mixed, lines, -1, tone, thickness, cv2.LINE_AA)
    return mixed


def _mix(picture: Image, values: NDArray[np.float32]) -> Image:
    """Return the picture covered by the colour of each value, 0 to 1, in proportion to it."""
    steps = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(steps, COLOUR_MAP), cv2.COLOR_BGR2RGB)
    cover = (_MOST_COVER / 255 * steps.astype(np.float32))[..., None]
    return np.asarray(np.rint(picture * (1 - cover) + colours * cover), np.uint8)


def _corners(box: Box) -> list[Point]:
    left, top, right, bottom = box.xyxy
    return [(left, top), (right, top), (right, bottom), (left, bottom)]
