"""Hair and headscarf: the part behind the head, and the part over it."""

from __future__ import annotations

import numpy as np

from roi_cls.data.demo.appearance import HairStyle
from roi_cls.data.demo.canvas import Colour, Mask, Points, curve, ellipse, shift, tint
from roi_cls.data.demo.pen import Pen

_Line = tuple[tuple[float, float], ...]

# The edge of the hair on the forehead, left to right in face coordinates of a head facing us.
_HAIRLINES: dict[HairStyle, _Line] = {
    "crop": (
        (-0.97, -0.2),
        (-0.86, -0.62),
        (-0.5, -0.92),
        (0, -0.98),
        (0.5, -0.92),
        (0.86, -0.62),
        (0.97, -0.2),
    ),
    "side": (
        (-0.98, -0.1),
        (-0.9, -0.5),
        (-0.72, -0.66),
        (-0.2, -0.72),
        (0.32, -0.98),
        (0.62, -0.86),
        (0.88, -0.55),
        (0.98, -0.1),
    ),
    "fringe": (
        (-0.99, 0.0),
        (-0.88, -0.42),
        (-0.5, -0.52),
        (0, -0.5),
        (0.5, -0.52),
        (0.88, -0.42),
        (0.99, 0.0),
    ),
    "bob": (
        (-0.99, 0.3),
        (-0.84, -0.2),
        (-0.66, -0.6),
        (0.1, -1.02),
        (0.6, -0.72),
        (0.86, -0.2),
        (0.99, 0.3),
    ),
    "long": (
        (-0.99, 0.4),
        (-0.86, -0.2),
        (-0.62, -0.68),
        (0, -1.06),
        (0.62, -0.68),
        (0.86, -0.2),
        (0.99, 0.4),
    ),
    "curly": (
        (-0.97, -0.1),
        (-0.84, -0.55),
        (-0.45, -0.8),
        (0, -0.86),
        (0.45, -0.8),
        (0.84, -0.55),
        (0.97, -0.1),
    ),
    "bun": (
        (-0.98, -0.1),
        (-0.84, -0.6),
        (-0.45, -0.9),
        (0, -1.0),
        (0.45, -0.9),
        (0.84, -0.6),
        (0.98, -0.1),
    ),
}
_HAIRLINES["afro"] = _HAIRLINES["crop"]
_TOP = {"crop": 1.43, "side": 1.53, "fringe": 1.5, "bob": 1.5, "long": 1.48, "bun": 1.43}


def draw_hair_behind(pen: Pen) -> None:
    """Draw what hangs or stands behind head and neck; call it before body and head."""
    person = pen.person
    back = tint(person.hair, 0.72)
    half: _Line
    x = -0.25 * float(np.sin(person.yaw))
    if person.hair_style == "long":
        half = ((1.1, -0.6), (1.28, 0.3), (1.34, 1.3), (1.2, 2.3), (0.6, 2.6))
        pen.fill(shift(curve(_both_sides((0, -1.3), half, (0, 2.6))), x, 0), back, soft=0.02)
    elif person.hair_style == "bob":
        half = ((1.1, -0.7), (1.28, 0.2), (1.24, 1.0), (0.8, 1.28))
        pen.fill(shift(curve(_both_sides((0, -1.3), half, (0, 1.2))), x, 0), back, soft=0.02)
    elif person.hair_style == "afro":
        _draw_curls(pen, (x, -0.55), (1.42, 1.3), back)
    elif person.hair_style == "curly":
        _draw_curls(pen, (x, -0.4), (1.16, 1.35 if person.lashes else 1.1), back)
    elif person.hair_style == "bun":
        pen.fill(ellipse(x, -1.6, 0.46, 0.4), back, soft=0.01)
        pen.fill(ellipse(x - 0.1, -1.68, 0.26, 0.2), tint(person.hair, 1.2), 0.5, soft=0.08)
    elif person.hair_style == "headscarf":
        half = ((1.16, -0.7), (1.26, 0.2), (1.18, 1.0), (1.3, 1.8))
        shape = curve(_both_sides((0, -1.52), half, (0, 2.3)))
        pen.fill(shape, tint(person.cloth_second, 0.8))


def draw_hair_front(pen: Pen, head: Mask | None) -> None:
    """Draw what lies over the head; call it after the head. ``head``: where its shadow falls."""
    person = pen.person
    if person.hair_style == "headscarf":
        _draw_scarf(pen)
    elif person.hair_style == "balding":
        _draw_sides(pen)
    elif person.hair_style != "bald":
        cap = _hair_cap(pen)
        shadow = tint(person.skin, 0.5, 0.4, 0.36)
        pen.fill(shift(cap, 0, 0.07), shadow, 0.5, soft=0.06, within=head)
        pen.fill(cap, person.hair, soft=0.012)
        _draw_strands(pen, pen.mask(cap))
        if person.hair_style in ("curly", "afro"):
            _draw_curly_edge(pen)
        if person.hair_style in ("long", "bob"):
            _draw_locks(pen)


def _both_sides(top: tuple[float, float], half: _Line, end: tuple[float, float]) -> _Line:
    return (top, *half, end, *((-x, y) for x, y in reversed(half)))


def _hairline(pen: Pen) -> Points:
    person = pen.person
    line = np.array(_HAIRLINES[person.hair_style])
    if person.texture % 2:  # the parting is on the other side
        line = line[::-1] * (-1, 1)
    return pen.turn(curve(line, closed=False))


def _hair_cap(pen: Pen) -> Points:
    """Return the outline of the hair over the skull: hairline below, top of the hair above."""
    line = _hairline(pen)
    low = float(line[-1, 1])
    top = _TOP.get(pen.person.hair_style, 1.5)
    wide = 1.07 if pen.person.hair_style != "bun" else 1.03
    half = ((wide, low), (wide + 0.02, -0.4), (0.96, -0.96), (0.56, -top + 0.1))
    above = (*half, (0.0, -top), *((-x, y) for x, y in reversed(half)))
    return np.concatenate([line, curve(above, closed=False)])


def _draw_strands(pen: Pen, cap: Mask | None) -> None:
    """Draw lighter and darker strands and a gloss on the hair."""
    person = pen.person
    rng = np.random.default_rng(person.texture + 1)
    gloss = curve(((-0.7, -0.95), (-0.25, -1.2), (0.3, -1.2), (0.72, -0.92)), closed=False)
    side = 0.25 * person.light
    pen.stroke(shift(gloss, side, 0), tint(person.hair, 1.5), 0.13, 0.32, soft=0.06, within=cap)
    part = float(rng.uniform(-0.4, 0.4))
    for x in np.linspace(-1.05, 1.05, 22) + rng.normal(0, 0.02, 22):
        start, end = (part + 0.25 * (x - part), -1.45), (float(x), -0.1)
        middle = (0.75 * float(x) + 0.15 * part, -1.08 + 0.15 * abs(float(x)))
        tone = tint(person.hair, float(rng.choice([0.68, 0.8, 1.25, 1.4])))
        strand = curve((start, middle, end), closed=False)
        pen.stroke(strand, tone, 0.024, float(rng.uniform(0.25, 0.55)), within=cap)


def _draw_locks(pen: Pen) -> None:
    """Draw the hair that falls beside the cheeks."""
    person = pen.person
    end = 2.15 if person.hair_style == "long" else 1.12
    for side in (-1, 1):
        shape = np.array(
            [
                (0.93, -0.5),
                (1.12, -0.3),
                (1.3, 0.4),
                (1.3, end - 0.4),
                (1.08, end),
                (0.98, end - 0.3),
                (1.02, 0.6),
                (0.92, 0.1),
            ]
        )
        lock = shift(curve(shape * (side, 1)), 0.08 * float(np.sin(person.yaw)), 0)
        pen.fill(lock, person.hair, soft=0.012)
        inside = pen.mask(lock)
        for i in range(4):
            x = 1.0 + 0.08 * i
            path = curve(((0.95, -0.4), (x + 0.06, 0.3), (x, end)), closed=False) * (side, 1)
            tone = tint(person.hair, (0.7, 1.3, 0.8, 1.2)[i])
            pen.stroke(path, tone, 0.03, 0.45, within=inside)


def _draw_sides(pen: Pen) -> None:
    """Draw the ring of hair that is left above the ears."""
    person = pen.person
    for side in (-1, 1):
        shape = np.array(
            [(0.9, -0.72), (1.05, -0.6), (1.12, -0.2), (1.04, 0.12), (0.97, 0.02), (0.93, -0.3)]
        )
        pen.fill(curve(shape * (side, 1)), person.hair, 0.95, soft=0.03)


def _draw_curls(
    pen: Pen, centre: tuple[float, float], radii: tuple[float, float], colour: Colour
) -> None:
    rng = np.random.default_rng(pen.person.texture + 2)
    pen.fill(ellipse(*centre, *radii), colour, soft=0.02)
    for angle in np.linspace(0, 2 * np.pi, 30, endpoint=False):
        size = float(rng.uniform(0.14, 0.22))
        x = centre[0] + radii[0] * float(np.cos(angle)) * 0.97
        y = centre[1] + radii[1] * float(np.sin(angle)) * 0.97
        pen.fill(ellipse(x, y, size, size), tint(colour, float(rng.uniform(0.9, 1.2))))


def _draw_curly_edge(pen: Pen) -> None:
    """Draw curls over the cap and along the hairline."""
    person = pen.person
    rng = np.random.default_rng(person.texture + 3)
    line = _hairline(pen)
    ends = line[:: max(1, len(line) // 14)]
    rows = [shift(ends, 0, -0.22 * row) for row in (2, 1, 0)]
    for points in rows:
        for x, y in (points * (1.02, 1)).tolist():
            size = float(rng.uniform(0.11, 0.17))
            tone = tint(person.hair, float(rng.uniform(0.85, 1.2)))
            pen.fill(ellipse(x, y, size, size), tone, 0.95, soft=0.01)
            arc = ellipse(x, y, 0.6 * size, 0.6 * size)[18:30]
            pen.stroke(arc, tint(tone, 1.35), 0.025, 0.5)


def _draw_scarf(pen: Pen) -> None:
    person = pen.person
    cloth = person.cloth_second
    face = pen.turn(ellipse(0, 0.1, 0.84, 1.06))
    half = ((0.7, -1.34), (1.1, -0.75), (1.19, 0.1), (1.1, 0.9), (1.2, 1.5), (0.9, 2.0))
    shape = curve(_both_sides((0, -1.5), half, (0, 2.2)))
    # One polygon with a hole: out along the shape, then back round the face.
    ring = np.concatenate([shape, shape[:1], face[27:28], face[27::-1], face[:26:-1]])
    pen.fill(ring, cloth)
    inside = pen.mask(ring)
    rim = np.concatenate([face, face[:1]])
    pen.stroke(rim, tint(cloth, 0.6), 0.07, 0.6, soft=0.03, within=inside)
    for side, start, end in ((1, -0.9, 1.9), (-1, -0.6, 1.6), (1, 0.2, 2.1)):
        fold = curve(((side * 0.98, start), (side * 1.08, 0.6), (-side * 0.2, end)), closed=False)
        pen.stroke(fold, tint(cloth, 0.72), 0.06, 0.5, soft=0.03, within=inside)
        pen.stroke(shift(fold, 0, -0.08), tint(cloth, 1.25), 0.05, 0.4, soft=0.03, within=inside)
