"""A frame with the faces that were seen in it and the regions that are cut out of it.

Knows boxes and pixels; the few words at a face it is told.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw

from roi_cls.drawing.ink import (
    INK,
    PAPER,
    SHADE,
    Colour,
    Point,
    draw_dot,
    draw_path,
    measure,
    write,
)
from roi_cls.roi import Box, Cut, Face
from roi_cls.roi.image import Image

MOST_WIDTH, MOST_HEIGHT = 1200, 900
_ENOUGH = 800
"""A smaller frame is enlarged up to this, so that small faces can be seen."""
_LARGEST_FACTOR = 8.0
_SHOWS_PIXELS = 3.0  # from this factor on, the frame's pixels are drawn as squares
_MARGIN = 6  # px round everything, so that no line is cut off
_DIMMED = 0.6  # brightness of what is not cut
_TAG = 13  # of letters
_DOT: Colour = (226, 38, 122)

FaceFate = Literal["cut", "counts", "refused"]
LineStyle = tuple[Colour, int, float | None]
"""Colour, thickness, and length of dashes; None: a solid line."""
STYLES: dict[FaceFate, LineStyle] = {
    "cut": ((46, 229, 157), 3, None),
    "counts": ((124, 196, 255), 2, None),
    "refused": ((255, 180, 84), 2, 7.0),
}
"""They differ also without colours."""
REGION_STYLE: LineStyle = (PAPER, 2, None)


@dataclass(frozen=True, slots=True)
class MarkedFace:
    """A face that was seen, and what became of it."""

    face: Face
    kind: FaceFate
    tag: str
    """A few words at its box."""


@dataclass(frozen=True, slots=True)
class _View:
    """How the frame's pixels become the view's."""

    scale: float
    left: float
    """Of the view, in pixels of the frame."""
    top: float
    width: int
    """Of the view, in its own pixels."""
    height: int

    def point(self, x: float, y: float) -> Point:
        return (
            _MARGIN + (x - self.left) * self.scale,
            _MARGIN + (y - self.top) * self.scale,
        )

    def corners(self, box: Box, angle: float = 0.0) -> list[Point]:
        return [self.point(x, y) for x, y in _corners(box, angle)]


def draw_frame(frame: Image, cuts: Sequence[Cut], marks: Sequence[MarkedFace]) -> PillowImage.Image:
    """Return the frame, as large as a screen takes it, and whatever of a region lies beyond it.

    What is cut keeps its brightness, the rest is dimmed.

    Args:
        frame: (height, width, 3) RGB uint8.
        cuts: What is cut.
        marks: The most important first: its tag finds a place first.
    """
    view = _fit(frame, cuts, marks)
    canvas = np.full((view.height, view.width, 3), SHADE, np.uint8)
    _paste(canvas, frame, cuts, view)
    for mark in reversed(marks):
        if mark.kind != "cut":
            draw_path(canvas, view.corners(mark.face.box), *STYLES[mark.kind])
    for cut in cuts:
        draw_path(canvas, view.corners(cut.region, cut.angle), *REGION_STYLE)
    for mark in marks:
        if mark.kind == "cut":  # over the regions of its neighbours
            draw_path(canvas, view.corners(mark.face.box), *STYLES[mark.kind])
            _draw_keypoints(canvas, mark.face, view)
    picture = PillowImage.fromarray(canvas)
    _write_tags(picture, marks, view)
    return picture


def _fit(frame: Image, cuts: Sequence[Cut], marks: Sequence[MarkedFace]) -> _View:
    height, width = frame.shape[:2]
    points = _corners(Box(0, 0, width, height), 0.0)
    for cut in cuts:
        points += _corners(cut.region, cut.angle)
    for mark in marks:
        points += _corners(mark.face.box, 0.0)
    xs, ys = [x for x, _ in points], [y for _, y in points]
    left, top = math.floor(min(xs)), math.floor(min(ys))
    wide, high = math.ceil(max(xs)) - left, math.ceil(max(ys)) - top
    scale = min(1.0, MOST_WIDTH / wide, MOST_HEIGHT / high)
    if scale == 1.0:
        scale = max(1.0, min(_ENOUGH / max(wide, high), _LARGEST_FACTOR))
    size = (math.ceil(side * scale) + 2 * _MARGIN for side in (wide, high))
    return _View(scale, left, top, *size)


def _corners(box: Box, angle: float) -> list[Point]:
    """Return the corners of the box turned clockwise about its centre by ``angle`` degrees."""
    x, y = box.center
    turn = math.radians(angle)
    cos, sin = math.cos(turn), math.sin(turn)
    half_x, half_y = box.width / 2, box.height / 2
    offsets = ((-half_x, -half_y), (half_x, -half_y), (half_x, half_y), (-half_x, half_y))
    return [(x + dx * cos - dy * sin, y + dx * sin + dy * cos) for dx, dy in offsets]


def _paste(canvas: Image, frame: Image, cuts: Sequence[Cut], view: _View) -> None:
    """Draw the frame in place, and darker what no face's region covers, where one is cut."""
    height, width = (max(1, round(side * view.scale)) for side in frame.shape[:2])
    how = cv2.INTER_CUBIC if view.scale < _SHOWS_PIXELS else cv2.INTER_NEAREST
    scaled = cv2.resize(
        frame, (width, height), interpolation=cv2.INTER_AREA if view.scale < 1 else how
    )
    left, top = (round(value) for value in view.point(0, 0))
    place = canvas[top : top + height, left : left + width]
    place[:] = np.asarray(scaled, dtype=np.uint8)[: place.shape[0], : place.shape[1]]
    regions = [cut for cut in cuts if cut.face]
    if regions:
        outside: NDArray[np.uint8] = np.ones(canvas.shape[:2], np.uint8)
        for cut in regions:
            corners = np.rint(view.corners(cut.region, cut.angle)).astype(np.int32)
            cv2.fillPoly(outside, [corners], (0,))
        dark = outside[top : top + height, left : left + width].astype(bool)
        place[dark] = (place[dark] * _DIMMED).astype(np.uint8)


def _draw_keypoints(canvas: Image, face: Face, view: _View) -> None:
    width = face.box.width * view.scale
    for x, y in face.keypoints:
        draw_keypoint(canvas, view.point(x, y), 3 if width >= 60 else 2 if width >= 24 else 1)


def draw_keypoint(canvas: Image, center: Point, radius: int = 3) -> None:
    """Draw one of a face's points in place."""
    draw_dot(canvas, center, radius, _DOT)


def _write_tags(picture: PillowImage.Image, marks: Sequence[MarkedFace], view: _View) -> None:
    pen = ImageDraw.Draw(picture)
    boxes = []
    for mark in marks:
        (left, top), _, (right, bottom), _ = view.corners(mark.face.box)
        boxes.append(Box(left, top, right, bottom))
    sizes = [(measure(mark.tag, _TAG) + 8, float(_TAG + 6)) for mark in marks]
    places = place_tags(boxes, sizes, Box(0, 0, view.width, view.height))
    for mark, place in zip(marks, places, strict=True):
        if place:
            pen.rectangle(place.xyxy, fill=STYLES[mark.kind][0], outline=INK)
            write(pen, (place.left + 4, place.top + 3), mark.tag, _TAG, INK)


def place_tags(
    boxes: Sequence[Box], sizes: Sequence[tuple[float, float]], room: Box
) -> list[Box | None]:
    """Return a place in the room for the tag of each box, where it hides no box and no other tag.

    Args:
        boxes: The most important first: its tag finds a place first.
        sizes: (width, height) of each tag, in the same pixels.
        room: What a tag must lie in.

    Returns:
        None for a tag without a place.
    """
    taken = list(boxes)
    found: list[Box | None] = []
    for box, (width, height) in zip(boxes, sizes, strict=True):
        free = (
            place
            for place in _places(box, width, height)
            if _is_within(place, room) and not any(map(place.iou, taken))
        )
        place = next(free, None)
        found.append(place)
        if place:
            taken.append(place)
    return found


def _places(box: Box, width: float, height: float) -> Iterator[Box]:
    """Yield where a tag may stand: above, below, to the right and to the left of a box."""
    away = 4  # px: clear of the lines
    above, below = box.top - away - height, box.bottom + away
    for y in (above, below):
        for x in (box.left - 2, box.right + 2 - width):
            yield Box(x, y, x + width, y + height)
    for x in (box.right + away, box.left - away - width):
        for y in (box.top - 2, box.bottom + 2 - height):
            yield Box(x, y, x + width, y + height)


def _is_within(box: Box, room: Box) -> bool:
    return (
        room.left <= box.left
        and room.top <= box.top
        and box.right <= room.right
        and box.bottom <= room.bottom
    )
