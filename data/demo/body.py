"""A whole person, in the order in which one part covers another: neck, clothing, arms."""

from __future__ import annotations

import numpy as np

from roi_cls.data.demo.canvas import Points, curve, ellipse, shift, tint
from roi_cls.data.demo.defect import DefectKind, draw_defect
from roi_cls.data.demo.face import draw_glasses, draw_head, head_outline
from roi_cls.data.demo.features import shadow_of
from roi_cls.data.demo.hair import draw_hair_behind, draw_hair_front
from roi_cls.data.demo.pen import Pen

_WAIST = 7.2


def draw_person(
    pen: Pen, kind: DefectKind | None = None, rng: np.random.Generator | None = None
) -> None:
    """Draw ``pen.person``, its face spoilt by a defect of ``kind`` if one is given.

    Raises:
        ValueError: A defect without an ``rng`` to draw it with.
    """
    draw_hair_behind(pen)
    _draw_body(pen)
    draw_head(pen)
    draw_hair_front(pen, pen.mask(head_outline(pen.person)))
    draw_glasses(pen)
    if kind is not None:
        if rng is None:
            raise ValueError(f"a {kind} defect needs an rng, got None")
        draw_defect(pen, kind, rng)


def _draw_body(pen: Pen) -> None:
    """Draw trousers, arms, clothing, neck and collar, from the hips up."""
    person = pen.person
    wide = {"child": 0.82, "adult": 1.0, "elder": 0.96}[person.age]
    if not person.lashes and person.age == "adult":
        wide = 1.1
    pen.fill_body(_box(1.5 * wide, _WAIST - 0.3, 14), tint((58, 62, 82), 0.9))
    for side in (-1, 1):
        pen.fill_body(ellipse(side * 2.15 * wide, 8.3, 0.34, 0.5), tint(person.skin, 0.92))
    half = (
        (0.75, 1.72),
        (1.45 * wide, 1.95),
        (1.98 * wide, 2.35),
        (2.25 * wide, 3.3),
        (2.42 * wide, 5.2),
        (2.45 * wide, 7.9),
        (1.85 * wide, 7.9),
        (1.72 * wide, 5.4),
        (1.56 * wide, 4.4),
        (1.56 * wide, _WAIST),
    )
    outline = np.concatenate([curve(half, closed=False), curve(half, closed=False)[::-1] * (-1, 1)])
    pen.fill_body(outline, person.cloth)
    _shade_cloth(pen, outline, wide)
    _draw_neck(pen)
    _draw_collar(pen)


def _box(half: float, top: float, bottom: float) -> Points:
    return np.array([(-half, top), (half, top), (half, bottom), (-half, bottom)])


def _shade_cloth(pen: Pen, outline: Points, wide: float) -> None:
    person = pen.person
    pixels = outline * pen.unit + (pen.x, pen.y)
    inside = pen.canvas.mask(pixels)
    if person.striped:
        for y in np.arange(2.4, _WAIST, 0.62):
            line = curve(((-2.6, y + 0.2), (0, y), (2.6, y + 0.2)), closed=False)
            mask = pen.canvas.mask(line * pen.unit + (pen.x, pen.y), line_px=0.2 * pen.unit)
            pen.canvas.paint(mask, person.cloth_second, 0.85, inside)
    dark, far = tint(person.cloth, 0.55), -1 if person.light > 0 else 1

    def shade(points: Points, share: float, soft: float) -> None:
        mask = pen.canvas.mask(points * pen.unit + (pen.x, pen.y), soft=soft * pen.unit)
        pen.canvas.paint(mask, dark, share, inside)

    shade(ellipse(far * 2.1, 4.5, 0.9, 3.2), 0.45, 0.35)
    shade(ellipse(0, 1.75, 0.95, 0.5), 0.4, 0.18)
    for side in (-1, 1):
        arm = curve(((side * 1.5 * wide, 3.3), (side * 1.56 * wide, 5), (side * 1.6 * wide, 8)))
        shade(arm, 0.7, 0.06)
        fold = curve(((side * 1.4 * wide, 3.6), (side * 0.8, 4.1), (side * 0.3, 4.2), (side, 3.9)))
        shade(fold, 0.35, 0.1)


def _draw_neck(pen: Pen) -> None:
    person = pen.person
    half = 0.42 if person.age == "child" else 0.5 if person.lashes else 0.6
    side = ((half, 0.7), (half, 1.4), (half + 0.12, 1.75), (half + 0.3, 1.95))
    right, left = np.array(side), np.array(side) * (-1, 1)
    low = ellipse(0, 1.92, half + 0.32, 0.26)[:19]
    outline = np.concatenate([curve(right, closed=False), low, curve(left, closed=False)[::-1]])
    pen.fill_body(outline, tint(person.skin, 0.92, 0.89, 0.87))
    chin = person.parts.chin_y
    pen.fill_body(ellipse(0, chin + 0.08, half * 0.98, 0.26), shadow_of(person), 0.85, soft=0.07)
    for way in (-1, 1):
        bone = curve(((way * 0.12, 2.02), (way * 0.38, 1.9), (way * 0.7, 1.88)), closed=False)
        pen.stroke_body(bone, shadow_of(person), 0.05, 0.5, soft=0.02)


def _draw_collar(pen: Pen) -> None:
    person = pen.person
    dark, edge = tint(person.cloth, 0.68), tint(person.cloth, 1.2)
    if person.collar in ("shirt", "jacket"):
        if person.collar == "jacket":
            front = np.array([(-0.62, 1.72), (0.62, 1.72), (0.0, 4.4)])
            pen.fill_body(front, (236, 234, 230))
            tie = np.array([(-0.14, 2.0), (0.14, 2.0), (0.22, 3.7), (0.0, 4.1), (-0.22, 3.7)])
            pen.fill_body(tie, person.cloth_second)
        for side in (-1, 1):
            wing = np.array([(0.55, 1.5), (0.82, 1.72), (0.62, 2.45), (0.03, 2.02)]) * (side, 1)
            pen.fill_body(shift(wing, 0, 0.05), dark, 0.6, soft=0.04)
            pen.fill_body(wing, edge if person.collar == "shirt" else person.cloth)
            if person.collar == "jacket":
                lapel = np.array([(0.78, 1.7), (0.95, 2.5), (0.0, 4.5), (0.5, 2.5)]) * (side, 1)
                pen.fill_body(lapel, tint(person.cloth, 0.85))
                pen.stroke_body(lapel, tint(person.cloth, 0.55), 0.04, 0.7)
        if person.collar == "shirt":
            pen.stroke_body(np.array([(0.0, 2.1), (0.0, 7.0)]), dark, 0.05)
            for y in np.arange(2.7, 7, 0.9):
                pen.fill_body(ellipse(0.0, float(y), 0.07, 0.07), (238, 236, 232))
    elif person.collar == "hood":
        hood = ((0.62, 1.5), (1.05, 1.7), (0.95, 2.2), (0, 2.45), (-0.95, 2.2), (-1.05, 1.7))
        line = curve((*hood, (-0.62, 1.5)), closed=False)
        pen.stroke_body(shift(line, 0, 0.06), tint(person.cloth, 0.5), 0.34, 0.5, soft=0.05)
        pen.stroke_body(line, tint(person.cloth, 0.92), 0.3)
        for side in (-1, 1):
            cord = np.array([(side * 0.3, 2.4), (side * 0.34, 3.3)])
            pen.stroke_body(cord, (236, 234, 230), 0.06)
    else:
        depth = 2.2 if person.collar == "crew" else 2.75
        neck: tuple[tuple[float, float], ...] = ((-0.86, 1.68), (-0.55, 0.2 * depth + 1.6))
        line = curve((*neck, (0, depth), (0.55, 0.2 * depth + 1.6), (0.86, 1.68)), closed=False)
        if person.collar == "v":
            line = np.array([(-0.84, 1.7), (-0.6, 2.0), (0, depth), (0.6, 2.0), (0.84, 1.7)])
            pen.fill_body(line, tint(person.skin, 0.95, 0.92, 0.9))
        pen.stroke_body(line, dark, 0.12)
