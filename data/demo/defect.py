"""Faults a picture generator leaves in a face, drawn into a finished one; all else stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from roi_cls.data.demo.appearance import SKIN_TONES
from roi_cls.data.demo.canvas import Mask, Points, curve, ellipse, mix, tint
from roi_cls.data.demo.face import head_outline
from roi_cls.data.demo.features import draw_eye, draw_mouth, draw_nose
from roi_cls.data.demo.pen import Pen

DefectKind = Literal["displaced_eye", "melted_mouth", "duplicate", "smear", "patch"]
DEFECT_KINDS: tuple[DefectKind, ...] = get_args(DefectKind)
_Rng = np.random.Generator


def draw_defect(pen: Pen, kind: DefectKind, rng: _Rng) -> None:
    """Spoil the face that ``pen`` has drawn; pixels outside its head's outline stay as they are."""
    head = pen.mask(head_outline(pen.person))
    if head is None:  # the face lies beside the canvas
        return
    before = pen.canvas.planes.copy()
    _DRAW[kind](pen, rng, head)
    keep = np.ones(before.shape[1:], np.float32)
    rows, columns = _area(head)
    keep[rows, columns] -= head.cover
    pen.canvas.planes += (before - pen.canvas.planes) * keep


def _area(mask: Mask) -> tuple[slice, slice]:
    height, width = mask.cover.shape
    return slice(mask.top, mask.top + height), slice(mask.left, mask.left + width)


def _displace_eye(pen: Pen, rng: _Rng, head: Mask) -> None:
    """Close one eye's place with skin and put a larger, averted eye beside it."""
    parts, side = pen.person.parts, int(rng.choice([-1, 1]))
    x = side * parts.eye_x
    hidden = pen.turn(ellipse(x, parts.eye_y - 0.08, 0.36, 0.36))
    pen.fill(hidden, tint(pen.person.skin, 0.97), soft=0.05, within=head)
    dy = float(rng.uniform(0.3, 0.45)) if rng.random() < 0.65 else float(rng.uniform(-0.45, -0.35))
    gaze = (float(rng.choice([-1, 1])) * 1.0, float(rng.choice([-1, 1])) * 0.9)
    size = parts.eye_size * float(rng.uniform(1.6, 1.9))
    turn = float(rng.choice([-1, 1]) * rng.uniform(0.4, 0.9))
    draw_eye(pen, (0.95 * x, parts.eye_y + dy), size, side, gaze=gaze, turn=turn)


def _melt_mouth(pen: Pen, rng: _Rng, head: Mask) -> None:
    """Let the lips run down the chin in drops of uneven length."""
    person, parts = pen.person, pen.person.parts
    lip = mix(person.lip_colour, (224, 116, 116), 0.6)
    draw_mouth(pen, (float(rng.uniform(-0.1, 0.1)), parts.mouth_y), 1.35, float(rng.normal(0, 0.2)))
    for x in np.linspace(-0.85, 0.85, 7) * parts.mouth_width * 1.3:
        length, thick = rng.uniform((0.22, 0.05), (0.62, 0.09)).tolist()
        top, bottom = parts.mouth_y - 0.02, parts.mouth_y + length
        path = curve(((x, top), (x + 0.03, (top + bottom) / 2), (x, bottom)), closed=False)
        tone = tint(lip, float(rng.uniform(0.6, 1.1)))
        pen.stroke(pen.turn(path), tone, 2 * thick, soft=0.012, within=head)
        pen.fill(pen.turn(ellipse(x, bottom, 1.2 * thick, 1.5 * thick)), tone, within=head)
    hole = ellipse(0, parts.mouth_y + 0.06, 0.8 * parts.mouth_width, 0.1)
    pen.fill(pen.turn(hole), tint(lip, 0.4), 0.85, soft=0.03, within=head)


def _duplicate(pen: Pen, rng: _Rng, head: Mask) -> None:
    """Draw a third eye, a second mouth or a second nose."""
    parts, side = pen.person.parts, int(rng.choice([-1, 1]))
    which = rng.choice(["eye", "mouth", "nose"])
    if which == "eye":
        y = parts.brow_y - 0.22
        x = float(rng.uniform(-0.25, 0.25))
        base = pen.turn(ellipse(x, y, 0.5, 0.28))
        pen.fill(base, pen.person.skin, soft=0.05, within=head)
        draw_eye(pen, (x, y), parts.eye_size * 1.45, side)
    elif which == "mouth":
        x, y = float(rng.uniform(-0.2, 0.2)), parts.brow_y - 0.25
        pen.fill(pen.turn(ellipse(x, y, 0.56, 0.24)), pen.person.skin, soft=0.05, within=head)
        draw_mouth(pen, (x, y), 1.35, float(rng.uniform(-0.25, 0.25)))
    else:
        side = -1 if pen.person.yaw > 0 else 1  # the cheek that is turned to us
        x, y = side * 0.47, parts.nose_y + float(rng.uniform(0.0, 0.15))
        light = tint(pen.person.skin, 1.12)
        pen.fill(pen.turn(ellipse(x, y - 0.08, 0.34, 0.4)), light, soft=0.06, within=head)
        draw_nose(pen, (x, y), 1.75)


def _smear(pen: Pen, rng: _Rng, head: Mask) -> None:
    """Stir the face round a point, or drag its features aside, as on a wet painting."""
    rows, columns = _area(head)
    part = pen.canvas.planes[:, rows, columns]
    y, x = np.mgrid[: part.shape[1], : part.shape[2]].astype(np.float32)
    side, parts = float(rng.choice([-1, 1])), pen.person.parts
    if rng.random() < 0.5:
        at = np.array([(side * rng.uniform(0.1, 0.35), rng.uniform(0.42, 0.6))])
        turn, reach = float(rng.uniform(2.4, 3.6)) * side, 0.72 * pen.unit
    else:
        at = np.array([(side * parts.eye_x, parts.eye_y + 0.13)])
        turn, reach = 0.0, 0.0
    centre = pen.head_pixels(pen.turn(at))[0] - (head.left, head.top)
    dx, dy = x - np.float32(centre[0]), y - np.float32(centre[1])
    if turn:
        angle = turn * np.clip(1 - np.hypot(dx, dy) / reach, 0, 1)
        from_x = dx * np.cos(angle) - dy * np.sin(angle)
        from_y = dx * np.sin(angle) + dy * np.cos(angle)
    else:
        from_x, from_y = _drag(dx, dy, pen.unit, rng)
    map_x = (from_x + centre[0]).astype(np.float32)
    map_y = (from_y + centre[1]).astype(np.float32)
    for plane in part:
        plane[:] = cv2.remap(
            plane.copy(), map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )


def _drag(
    dx: NDArray[np.float32], dy: NDArray[np.float32], unit: float, rng: _Rng
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return where the paint comes from when an eye is wiped down over cheek and mouth."""
    edges = np.linspace(-1.1, 1.1, 12) * unit * 0.42
    starts = rng.uniform(-0.16, 0.1, 13).astype(np.float32) * np.float32(unit)
    start = starts[np.digitize(dx, edges)]  # each streak of the finger begins elsewhere
    weight = np.exp(-((dx / (0.46 * unit)) ** 6)) * np.clip((1.35 * unit - dy) / (0.2 * unit), 0, 1)
    past = np.maximum(dy - start, 0)
    return dx, dy - 0.95 * past * weight


def _patch(pen: Pen, rng: _Rng, head: Mask) -> None:
    """Lay a piece of another skin, of cloth or of noise over a third of the face."""
    person, side = pen.person, int(rng.choice([-1, 1]))
    x, y = side * float(rng.uniform(0.3, 0.5)), float(rng.uniform(-0.35, 0.5))
    angles = np.linspace(0, 2 * np.pi, 9, endpoint=False)
    radius = rng.uniform(0.42, 0.66, 9)
    shape = curve(np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1))
    area = pen.mask(pen.turn(shape))
    inside = area.times(head) if area is not None else None
    other = SKIN_TONES[(person.tone + 4 + int(rng.integers(-1, 2))) % len(SKIN_TONES)]
    pen.canvas.paint(inside, other)
    if rng.random() < 0.6:
        ink = tint(other, 0.45) if sum(other) > 360 else tint(other, 2.0)
        turn, gap = float(rng.uniform(-0.8, 0.8)), float(rng.uniform(0.14, 0.2))
        for offset in np.arange(-1.2, 1.2, gap).tolist():
            pen.stroke(_line(x, y, offset, turn), ink, 0.06, 0.85, within=inside)
            pen.stroke(_line(x, y, offset, turn + 1.57), ink, 0.06, 0.6, within=inside)
    edge = pen.turn(np.concatenate([shape, shape[:1]]))
    pen.stroke(edge, tint(person.skin, 0.4), 0.05, 0.8, within=head)


def _line(x: float, y: float, offset: float, turn: float) -> Points:
    along = np.array([np.cos(turn), np.sin(turn)])
    middle = np.array([x, y]) + offset * along[::-1] * (-1, 1)
    return np.stack([middle - 1.2 * along, middle + 1.2 * along])


_DRAW: dict[DefectKind, Callable[[Pen, _Rng, Mask], None]] = {
    "displaced_eye": _displace_eye,
    "melted_mouth": _melt_mouth,
    "duplicate": _duplicate,
    "smear": _smear,
    "patch": _patch,
}
