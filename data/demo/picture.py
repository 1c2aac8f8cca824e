"""One picture of the demo set: who stands where, in front of what. Knows labels only as a defect.

Everything but the defect comes from random streams that the defect does not touch, so the pictures
of one index with and without a defect are equal outside the spoilt face.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from roi_cls.data.demo.appearance import Appearance, sample_appearance
from roi_cls.data.demo.body import draw_person
from roi_cls.data.demo.canvas import Canvas, Planes
from roi_cls.data.demo.defect import DefectKind
from roi_cls.data.demo.face import head_outline
from roi_cls.data.demo.pen import Pen
from roi_cls.data.demo.scene import draw_scene
from roi_cls.roi.face import Box

if TYPE_CHECKING:
    from roi_cls.roi.image import Image


FRAME_HEIGHT = 448
FRAME_WIDTH = 640
_NO_FACE = 0.03  # share of frames
_TWO_FACES = 0.10  # share of frames
_FACE_WIDTH = (0.115, 0.26)  # share of the frame's width
_SMALLEST_PX = 64.0  # width of a second face: the detector still finds it
_FINER = 1.5  # canvas pixels per frame pixel; the shapes are anti-aliased, so more gains nothing
_REACH = (2.75, 2.3)  # of a drawn person from the face's centre: sideways, up; half face widths
_LOOKS, _SCENE, _NOISE, _DEFECT = range(4)  # names of an index's random streams


@dataclass(frozen=True, slots=True)
class PlacedPerson:
    """A person and its place in the frame."""

    appearance: Appearance
    x: float
    """Of the face's centre, in pixels of the frame."""
    y: float
    """Of the face's centre, in pixels of the frame."""
    face_width_px: float
    """Width of the bare face, ear to ear, in pixels of the frame."""

    @property
    def face_box(self) -> Box:
        """The box round the bare head, in pixels of the frame."""
        pen = Pen(Canvas.transparent(1, 1), self.appearance, self.x, self.y, self.face_width_px / 2)
        outline = pen.head_pixels(head_outline(self.appearance))
        (left, top), (right, bottom) = outline.min(axis=0).tolist(), outline.max(axis=0).tolist()
        return Box(left, top, right, bottom)


def count_faces(seed: int, index: int) -> int:
    """Return how many faces the picture has: 0, 1 or 2."""
    return _count(_stream(seed, index, _LOOKS))


def place_persons(seed: int, index: int) -> tuple[PlacedPerson, ...]:
    """Return the persons of the picture, the one with the largest face first."""
    rng = _stream(seed, index, _LOOKS)
    count = _count(rng)
    if count == 0:
        return ()
    if count == 1:
        width = float(rng.uniform(*_FACE_WIDTH)) * FRAME_WIDTH
        x = float(rng.uniform(0.72 * width, FRAME_WIDTH - 0.72 * width))
        return (PlacedPerson(sample_appearance(rng), x, _sample_y(rng, width), width),)
    return _place_two(rng)


def draw_picture(seed: int, index: int, kind: DefectKind | None) -> Image:
    """Return picture ``index`` of the demo set of ``seed``: (448, 640, 3) RGB uint8.

    Args:
        seed: Of the demo set, 0 or more.
        index: Of the picture, 0 or more.
        kind: Defect of the largest face; None: a clean picture. Without a face it is clean anyway.
    """
    frame = draw_scene(_stream(seed, index, _SCENE), FRAME_HEIGHT, FRAME_WIDTH)
    persons = place_persons(seed, index)
    for person in reversed(persons):  # the largest stands in front
        spoilt = kind if person is persons[0] else None
        _paste(frame, person, spoilt, _stream(seed, index, _DEFECT))
    return _expose(frame, _stream(seed, index, _NOISE))


def _stream(seed: int, index: int, purpose: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index, purpose)))


def _count(rng: np.random.Generator) -> int:
    chance = float(rng.random())
    return 0 if chance < _NO_FACE else 2 if chance < _NO_FACE + _TWO_FACES else 1


def _sample_y(rng: np.random.Generator, width: float, lowest: float = FRAME_HEIGHT) -> float:
    top, bottom = 0.95 * width, min(lowest, FRAME_HEIGHT - 0.92 * width)
    return float(rng.uniform(top, max(top, bottom)))


def _place_two(rng: np.random.Generator) -> tuple[PlacedPerson, ...]:
    """Return two persons whose faces do not meet; the first one's is 1.5 times as wide or more."""
    large = float(rng.uniform(0.15, _FACE_WIDTH[1])) * FRAME_WIDTH
    small = max(_SMALLEST_PX, large / float(rng.uniform(1.5, 2.0)))
    apart = 0.78 * (large + small)
    slack = FRAME_WIDTH - 0.72 * (large + small) - apart
    before, between = (np.sort(rng.uniform(0, slack, 2))).tolist()
    x_large = 0.72 * large + before
    x_small = x_large + apart + between - before
    if rng.random() < 0.5:
        x_large, x_small = FRAME_WIDTH - x_large, FRAME_WIDTH - x_small
    y_large = _sample_y(rng, large)
    # Not much lower than the large face: the shoulders beside that one would hide it.
    y_small = _sample_y(rng, small, y_large + 0.2 * large)
    return (
        PlacedPerson(sample_appearance(rng), x_large, y_large, large),
        PlacedPerson(sample_appearance(rng), x_small, y_small, small),
    )


def _paste(
    frame: Planes, person: PlacedPerson, kind: DefectKind | None, rng: np.random.Generator
) -> None:
    unit = person.face_width_px / 2
    left = max(0, 2 * int((person.x - _REACH[0] * unit) // 2))
    top = max(0, 2 * int((person.y - _REACH[1] * unit) // 2))
    right = min(FRAME_WIDTH, 2 * int(np.ceil((person.x + _REACH[0] * unit) / 2)))
    height, width = FRAME_HEIGHT - top, right - left  # even, so that the finer canvas has whole px
    canvas = Canvas.transparent(int(_FINER * height), int(_FINER * width))
    x, y = (person.x - left) * _FINER, (person.y - top) * _FINER
    draw_person(Pen(canvas, person.appearance, x, y, unit * _FINER), kind, rng)
    *sheet, alpha = (
        cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA) for plane in canvas.planes
    )
    behind = 1 - alpha * np.float32(1 / 255)
    for plane, colour in zip(frame[:, top:, left:right], sheet, strict=True):
        plane *= behind
        plane += colour


def _expose(frame: Planes, rng: np.random.Generator) -> Image:
    """Return the frame as a camera would give it: tinted, slightly soft, with noise."""
    balance, blur = rng.uniform(0.95, 1.04, 3).astype(np.float32), float(rng.uniform(0.4, 0.75))
    grain = rng.standard_normal(frame.shape[1:], dtype=np.float32)
    grain *= np.float32(rng.uniform(0.6, 1.5))
    planes = []
    for plane, factor in zip(frame, balance, strict=True):
        soft = cv2.GaussianBlur(plane * factor, (5, 5), blur).astype(np.float32, copy=False)
        planes.append(np.clip(np.rint(soft + grain), 0, 255).astype(np.uint8))
    return np.stack(planes, axis=2)
