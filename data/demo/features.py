"""Eyes, brows, noses and mouths. Each can be drawn anywhere, which is what defects need."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from roi_cls.data.demo.appearance import Appearance
from roi_cls.data.demo.canvas import Colour, Mask, Points, curve, ellipse, mix, rotate, shift, tint
from roi_cls.data.demo.pen import Pen

_UPPER_LID = ((-1, 0.1), (-0.6, -0.34), (0, -0.56), (0.55, -0.44), (1, -0.08))
_LOWER_LID = ((1, -0.08), (0.55, 0.27), (0, 0.38), (-0.55, 0.27), (-1, 0.1))
_SCLERA = (244.0, 241.0, 236.0)
_OPEN = 0.5  # height of a laughing mouth's gap, as the lips' heights are given


def shadow_of(person: Appearance) -> Colour:
    """Return the colour of the person's skin in shadow: darker and warmer."""
    return tint(person.skin, 0.70, 0.58, 0.53)


def line_of(person: Appearance) -> Colour:
    """Return the colour of fine lines in the person's skin."""
    return tint(person.skin, 0.50, 0.38, 0.34)


def draw_eye(
    pen: Pen,
    at: tuple[float, float],
    size: float,
    side: int,
    *,
    gaze: tuple[float, float] | None = None,
    turn: float = 0.0,
) -> None:
    """Draw one eye with its lids.

    Args:
        pen: Where to draw.
        at: Centre, in face coordinates.
        size: Half its width.
        side: Where its outer corner is: -1 left, 1 right on screen.
        gaze: Where it looks; None: where the person looks.
        turn: Rotation in radians, on top of the usual.
    """
    person = pen.person

    def place(local: Points) -> Points:
        return pen.turn(rotate(local * (side, 1), turn) * size + at)

    upper = curve(_UPPER_LID, closed=False) * (1, person.eyes_open)
    lower = curve(_LOWER_LID, closed=False)
    opening = place(np.concatenate([upper, lower]))
    pen.fill(opening, _SCLERA)
    inside = pen.mask(opening)
    _draw_iris(pen, at, size, inside, gaze or person.gaze)
    under_lid = place(shift(upper, 0, 0.12))
    pen.stroke(under_lid, (60, 40, 36), 0.3 * size, 0.4, soft=0.04, within=inside)
    dark = mix(line_of(person), (24, 16, 14), 0.75)
    made_up = person.lashes and person.age != "child"
    pen.stroke(place(lower), line_of(person), 0.09 * size, 0.55)
    pen.stroke(place(upper), dark, (0.26 if made_up else 0.19) * size)
    if made_up:
        pen.stroke(place(np.array([(0.8, -0.3), (1.22, -0.42)])), dark, 0.14 * size)
    crease = curve(((-0.85, -0.32), (-0.3, -0.75), (0.4, -0.78), (1.05, -0.38)), closed=False)
    pen.stroke(place(crease), line_of(person), 0.1 * size, 0.55)


def _draw_iris(
    pen: Pen,
    at: tuple[float, float],
    size: float,
    inside: Mask | None,
    gaze: tuple[float, float],
) -> None:
    person = pen.person
    centre = np.array([at]) + np.array([gaze]) * (0.5 * size, 0.3 * size)
    x, y = pen.turn(centre)[0].tolist()
    y -= 0.06 * size
    radius = (0.50 if person.age == "child" else 0.46) * size
    pen.fill(ellipse(x, y, radius, radius), tint(person.iris, 0.45), within=inside)
    pen.fill(ellipse(x, y, 0.82 * radius, 0.82 * radius), person.iris, within=inside)
    glow = tint(person.iris, 1.5)
    pen.fill(ellipse(x, y + 0.3 * radius, 0.6 * radius, 0.45 * radius), glow, 0.6, within=inside)
    pen.fill(ellipse(x, y, 0.45 * radius, 0.45 * radius), (12, 9, 9), within=inside)
    spot = ellipse(x + 0.3 * person.light * radius, y - 0.35 * radius, 0.22 * radius, 0.22 * radius)
    pen.fill(spot, (255, 255, 255), 0.95, within=inside)


def draw_brow(pen: Pen, side: int) -> None:
    """Draw the brow over one eye, thick inside and thin outside."""
    person, parts = pen.person, pen.person.parts
    thick = 0.055 * person.brow
    top = ((-1.05, -0.02), (-0.4, -0.06), (0.45, -0.09), (1.25, 0.06))
    under = ((1.25, 0.07), (0.45, -0.09), (-0.4, -0.06), (-1.1, -0.02))
    outline = np.concatenate([curve(top, closed=False), curve(under, closed=False)])
    outline[: len(outline) // 2, 1] -= thick * np.linspace(0.7, 0.15, len(outline) // 2)
    outline[len(outline) // 2 :, 1] += thick * np.linspace(0.15, 0.9, len(outline) // 2)
    local = outline * (side * parts.eye_size, 1) + (side * parts.eye_x, parts.brow_y)
    dark = mix(tint(person.hair, 0.7), line_of(person), 0.2)
    colour = person.hair if person.age == "elder" else dark
    pen.fill(pen.turn(local), colour, 0.9, soft=0.012)


def draw_nose(pen: Pen, at: tuple[float, float], scale: float = 1.0) -> None:
    """Draw a nose whose tip is at ``at``, in face coordinates."""
    person, width = pen.person, pen.person.parts.nose_width * scale
    shadow, dark = shadow_of(person), line_of(person)
    away = -1 if person.light > 0 else 1

    def place(points: Points, depth: float = 0.12) -> Points:
        return pen.turn(points * scale + at, depth)

    bridge = curve(((0.16, -0.45), (0.3, -0.2), (0.75, 0.02), (0.3, 0.1), (0.1, -0.2)))
    pen.fill(place(bridge * (away * width / scale, 1)), shadow, 0.55, soft=0.04)
    ridge = ellipse(-0.1 * away * width, -0.22, 0.22 * width, 0.26)
    pen.fill(place(ridge), tint(person.skin, 1.12), 0.5, soft=0.04)
    pen.fill(place(ellipse(0, 0.13, 0.95 * width / scale, 0.05)), shadow, 0.6, soft=0.04)
    tip = ellipse(-0.12 * away * width, -0.03, 0.4 * width / scale, 0.07)
    pen.fill(place(tip, 0.2), tint(person.skin, 1.14), 0.7, soft=0.035)
    for side in (-1, 1):
        wide = width / scale
        wing = ((0.72, -0.08), (1.0, 0.0), (0.95, 0.09), (0.7, 0.1))
        pen.stroke(place(curve(wing, closed=False) * (side * wide, 1)), dark, 0.03, 0.7, soft=0.006)
        hole = ellipse(side * 0.45 * wide, 0.08, 0.24 * wide, 0.03, side * 0.25)
        pen.fill(place(hole), tint(dark, 0.6), 0.85, soft=0.01)


def draw_mouth(pen: Pen, at: tuple[float, float], scale: float = 1.0, turn: float = 0.0) -> None:
    """Draw a mouth whose centre is at ``at``, in face coordinates."""
    person = pen.person
    half, smile = person.parts.mouth_width * scale * (1 + 0.12 * person.smile), person.smile

    def place(points: Points) -> Points:
        bent = points * (half, 0.2 * scale)
        bent[:, 1] -= smile * 0.14 * scale * (points[:, 0] ** 2 - 0.35)
        return pen.turn(shift(rotate(bent, turn), *at), 0.06)

    full, gap = person.parts.lips, _OPEN if person.open_mouth else 0.0
    low = ((0.55, 0.5 * full + gap), (0, 0.8 * full + gap), (-0.55, 0.5 * full + gap))
    bow = ((0.16, -0.58 * full), (0.5, -0.32 * full), (1, 0))
    left_bow = tuple((-x, y) for x, y in reversed(bow))
    upper = curve((*left_bow, (0, -0.46 * full), *bow), closed=False)
    lower = curve(((1, 0), *low, (-1, 0)), closed=False)
    pen.fill(place(shift(lower, 0, 0.35)), shadow_of(person), 0.5, soft=0.05 * scale)
    pen.fill(place(np.concatenate([upper, lower])), person.lip_colour)
    pen.fill(place(upper), tint(person.lip_colour, 0.82), 0.8, soft=0.01)
    shine = ellipse(0.12 * person.light, 0.48 * full + gap, 0.4, 0.14 * full)
    pen.fill(place(shine), tint(person.lip_colour, 1.25), 0.6, soft=0.03 * scale)
    _draw_gap(pen, place, scale)
    for side in (-1, 1):
        pen.fill(place(ellipse(1.04 * side, 0, 0.07, 0.2)), line_of(person), 0.5, soft=0.015)


def _draw_gap(pen: Pen, place: Callable[[Points], Points], scale: float) -> None:
    """Draw what is between the lips: teeth, or the line where they meet."""
    person = pen.person
    dark = tint(person.lip_colour, 0.38, 0.3, 0.3)
    if person.open_mouth:
        top = ((-0.86, 0), (-0.4, -0.1), (0.4, -0.1), (0.86, 0))
        low = ((0.5, 0.8 * _OPEN), (0, 1.1 * _OPEN), (-0.5, 0.8 * _OPEN))
        pen.fill(place(curve((*top, *low))), dark)
        edge = ((-0.76, 0.02), (-0.4, -0.06), (0.4, -0.06), (0.76, 0.02))
        bite = ((0.45, 0.55 * _OPEN), (0, 0.75 * _OPEN), (-0.45, 0.55 * _OPEN))
        pen.fill(place(curve((*edge, *bite))), (243, 239, 232))
    else:
        seam = curve(((-1.02, 0), (-0.45, 0.03), (0, 0.09), (0.45, 0.03), (1.02, 0)), closed=False)
        pen.stroke(place(seam), dark, 0.034 * scale, 0.9)
