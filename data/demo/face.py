"""A head without its hair: skin, shading, features, age, beard and glasses."""

from __future__ import annotations

import numpy as np

from roi_cls.data.demo.appearance import Appearance
from roi_cls.data.demo.canvas import Mask, Points, curve, ellipse, mix, tint
from roi_cls.data.demo.features import (
    draw_brow,
    draw_eye,
    draw_mouth,
    draw_nose,
    line_of,
    shadow_of,
)
from roi_cls.data.demo.pen import Pen


def head_outline(person: Appearance) -> Points:
    """Return the outline of the bare head in face coordinates, turned as the head is."""
    jaw, chin = person.parts.jaw, person.parts.chin_y
    cheek = 1.0 if person.age == "child" else 0.94
    right = (
        (0.5, -1.24),
        (0.86, -0.92),
        (1.0, -0.4),
        (0.99, 0.1),
        (cheek * jaw, 0.55),
        (0.72 * jaw, chin - 0.33),
        (0.36 * jaw, chin - 0.05),
    )
    left = tuple((-x, y) for x, y in reversed(right))
    outline = curve(((0.0, -1.32), *right, (0.0, chin), *left))
    # The chin follows the turn of the head, the skull does not.
    outline[:, 0] += 0.5 * np.sin(person.yaw) * np.clip(outline[:, 1] / chin, 0, 1) ** 2
    return outline


def draw_head(pen: Pen) -> None:
    """Draw ears, head and everything on the face, but the hair of the head and the glasses."""
    person = pen.person
    if person.hair_style != "headscarf":
        _draw_ears(pen)
    outline = head_outline(person)
    pen.fill(outline, person.skin, soft=0.008)
    head = pen.mask(outline)
    _draw_shading(pen, head)
    if person.beard != "none":
        _draw_beard(pen, head)
    _draw_age(pen, head)
    parts = person.parts
    for side in (-1, 1):
        draw_eye(pen, (side * parts.eye_x, parts.eye_y), parts.eye_size, side)
        draw_brow(pen, side)
    draw_nose(pen, (0, parts.nose_y))
    draw_mouth(pen, (0, parts.mouth_y))


def draw_glasses(pen: Pen) -> None:
    """Draw the frame, the bridge, the temples and a glint in the lenses, if any are worn."""
    person, parts = pen.person, pen.person.parts
    if person.glasses == "none":
        return
    corner = 1.0 if person.glasses == "round" else 0.45
    angles = np.linspace(0, 2 * np.pi, 48)
    cos, sin = np.cos(angles), np.sin(angles)
    ring = np.stack([np.sign(cos) * abs(cos) ** corner, np.sign(sin) * abs(sin) ** corner], axis=1)
    half = (0.34, 0.32 if person.glasses == "round" else 0.25)
    y = parts.eye_y + 0.03
    for side in (-1, 1):
        lens = pen.turn(ring * half + (side * parts.eye_x, y), 0.1)
        pen.fill(lens, (235, 244, 250), 0.10)
        pen.stroke(lens, person.frame, 0.055)
        temple = np.array([(side * (parts.eye_x + half[0]), y - 0.06), (side * 1.02, y - 0.1)])
        pen.stroke(pen.turn(temple, 0.04), person.frame, 0.05)
    nose = ((-0.09, y - 0.02), (0.0, y - 0.07), (0.09, y - 0.02))
    pen.stroke(pen.turn(curve(nose, closed=False), 0.14), person.frame, 0.05)


def _draw_ears(pen: Pen) -> None:
    person = pen.person
    for side in (-1, 1):
        visible = 1 - 2.2 * side * np.sin(person.yaw)  # the far ear hides behind the cheek
        width = 0.15 * float(np.clip(visible, 0.2, 1.4))
        y = person.parts.eye_y + 0.22 + person.pitch * 0.6
        outer = ellipse(side * 1.0, y, width, 0.3, side * 0.15)
        pen.fill(outer, tint(person.skin, 0.93, 0.88, 0.86))
        inner = ellipse(side * 1.03, y, 0.6 * width, 0.2, side * 0.15)
        pen.fill(inner, shadow_of(person), 0.6, soft=0.03)


def _draw_shading(pen: Pen, head: Mask | None) -> None:
    person, parts = pen.person, pen.person.parts
    shadow, bright = shadow_of(person), mix(tint(person.skin, 1.05), (255, 240, 220), 0.1)
    light = person.light
    far = -1 if light > 0 else 1
    strength = 0.3 + 0.25 * abs(light)

    def fill(points: Points, colour: tuple[float, float, float], share: float, soft: float) -> None:
        pen.fill(points, colour, share, soft=soft, within=head)

    fill(ellipse(far * 1.1, 0.15, 0.5, 1.5), shadow, strength, 0.22)
    fill(ellipse(-far * 1.18, 0.2, 0.3, 1.3), shadow, 0.35, 0.14)
    fill(ellipse(0.1 * far, parts.chin_y + 0.12, 0.9, 0.3), shadow, 0.55, 0.13)
    fill(pen.turn(ellipse(-0.25 * far, -0.75, 0.5, 0.28)), bright, 0.5, 0.16)
    fill(pen.turn(ellipse(-0.5 * far, 0.3, 0.26, 0.16)), bright, 0.5, 0.1)
    fill(pen.turn(ellipse(0, parts.chin_y - 0.22, 0.18, 0.1)), bright, 0.4, 0.07)
    blush = tint(person.skin, 1.02, 0.74, 0.70)
    for side in (-1, 1):
        cheek = ellipse(side * 0.58, parts.nose_y + 0.1, 0.24, 0.17)
        fill(pen.turn(cheek), blush, 0.5 if person.age == "child" else 0.36, 0.1)
        socket = ellipse(side * parts.eye_x * 0.97, parts.eye_y - 0.05, 0.31, 0.19)
        fill(pen.turn(socket), shadow, 0.42, 0.08)
        inner = ellipse(side * 0.17, parts.eye_y - 0.04, 0.08, 0.16)
        fill(pen.turn(inner), shadow, 0.35, 0.05)
    groove = ellipse(0, (parts.nose_y + parts.mouth_y) / 2 + 0.02, 0.04, 0.08)
    fill(pen.turn(groove, 0.08), shadow, 0.4, 0.03)


def _draw_age(pen: Pen, head: Mask | None) -> None:
    """Draw wrinkles: many for an elder, faint folds beside the nose for an adult."""
    person, parts = pen.person, pen.person.parts
    if person.age == "child":
        return
    share = 0.75 if person.age == "elder" else 0.16
    line = mix(shadow_of(person), line_of(person), 0.45)

    def stroke(points: tuple[tuple[float, float], ...], width: float = 0.03) -> None:
        path = pen.turn(curve(points, closed=False))
        pen.stroke(path, line, width, share, soft=0.012, within=head)

    for side in (-1, 1):
        nose, mouth = parts.nose_y, parts.mouth_y
        stroke(((side * 0.26, nose), (side * 0.42, nose + 0.18), (side * 0.5, mouth + 0.04)), 0.035)
        bag = parts.eye_y + 0.19
        x = side * parts.eye_x
        stroke(((x - 0.17, bag - 0.03), (x, bag + 0.04), (x + 0.17, bag - 0.03)))
        if person.age == "elder":
            corner = abs(x) + parts.eye_size
            for i in range(3):
                rise = (i - 1) * 0.08
                start, end = corner + 0.04, corner + 0.19
                y = parts.eye_y + 0.02 + 0.4 * rise
                stroke(((side * start, y), (side * end, y + rise)), 0.022)
    if person.age == "elder":
        for i in range(3):
            y = parts.brow_y - 0.18 - 0.12 * i
            stroke(((-0.45, y + 0.03), (-0.15, y - 0.01), (0.15, y), (0.45, y + 0.03)), 0.025)


def _draw_beard(pen: Pen, head: Mask | None) -> None:
    person, parts = pen.person, pen.person.parts
    rng = np.random.default_rng(person.texture)
    colour = tint(person.hair, 0.92)
    mouth, chin = parts.mouth_y, parts.chin_y
    if person.beard in ("stubble", "full"):
        half = ((0.98, 0.12), (0.9, 0.45), (0.62, mouth - 0.22), (0.3, mouth - 0.26))
        edge = [*half, (0.0, mouth - 0.2), *((-x, y) for x, y in reversed(half))]
        around = [
            (-1.1, 0.6),
            (-0.85, chin + 0.1),
            (0.0, chin + 0.35),
            (0.85, chin + 0.1),
            (1.1, 0.6),
        ]
        area = np.concatenate([pen.turn(curve(edge, closed=False)), curve(around, closed=False)])
        full = person.beard == "full"
        pen.fill(area, colour, 0.9 if full else 0.3, soft=0.05, within=head)
        if full:
            pen.fill(ellipse(0.4 * np.sin(person.yaw), chin, 0.5, 0.16), colour, 0.95, soft=0.04)
    if person.beard in ("moustache", "goatee", "full"):
        y = mouth - 0.14
        half = ((0.12, y - 0.08), (0.34, y - 0.01), (0.47, y + 0.16), (0.3, y + 0.1))
        shape = curve((*half, (0.0, y + 0.06), *((-x, v) for x, v in reversed(half))))
        pen.fill(pen.turn(shape, 0.06), colour, 0.95, soft=0.015)
    if person.beard == "goatee":
        pen.fill(pen.turn(ellipse(0, chin - 0.1, 0.24, 0.19), 0.05), colour, 0.92, soft=0.03)
    if person.beard in ("goatee", "full"):
        for _ in range(26 if person.beard == "full" else 8):
            x = rng.uniform(-0.75, 0.75) if person.beard == "full" else rng.uniform(-0.2, 0.2)
            y = rng.uniform(mouth + 0.25, chin) - 0.3 * abs(x)
            path = pen.turn(np.array([(x, y), (0.94 * x, y + 0.13)]))
            tone = tint(colour, float(rng.choice([0.7, 1.35])))
            pen.stroke(path, tone, 0.02, 0.45, within=head)
