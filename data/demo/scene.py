"""Backgrounds of the demo pictures: hills, a room, a street, a studio, lights out of focus."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from roi_cls.data.demo.canvas import (
    Canvas,
    Colour,
    Mask,
    Planes,
    Points,
    curve,
    ellipse,
    mix,
    shift,
    tint,
)

SceneKind = Literal["hills", "room", "street", "studio", "bokeh"]
_Rng = np.random.Generator
_COARSER = 2  # frame pixels per canvas pixel: what is out of focus needs no more

_WALLS = ((222, 208, 186), (190, 204, 208), (206, 190, 178), (176, 190, 170), (214, 204, 212))
_WOODS = ((150, 106, 70), (118, 82, 56), (188, 150, 108))
_SPINES = (
    (168, 70, 60),
    (60, 92, 122),
    (206, 172, 96),
    (88, 122, 92),
    (226, 218, 204),
    (96, 74, 96),
)
# No colours of skin, and many small windows: two dark squares in a pink wall pass for a face.
_HOUSES = ((206, 200, 170), (164, 162, 158), (148, 168, 180), (166, 186, 164), (150, 96, 92))
_HILLS = ((96, 134, 92), (124, 152, 96), (150, 164, 104), (86, 118, 110))
_SKIES = (
    ((118, 166, 214), (222, 234, 242)),
    ((140, 150, 190), (246, 214, 186)),
    ((158, 178, 196), (226, 228, 230)),
)
_PLAIN = ((150, 162, 172), (176, 160, 150), (108, 124, 140), (196, 192, 186), (128, 140, 122))


@dataclass(frozen=True, slots=True)
class _Sheet:
    """A coarse canvas that takes coordinates in pixels of the frame."""

    canvas: Canvas
    height: int
    """Of the frame, in pixels."""
    width: int
    """Of the frame, in pixels."""

    def mask(self, points: Points, soft: float = 0.0) -> Mask | None:
        return self.canvas.mask(points / _COARSER, soft=soft / _COARSER)


def draw_scene(rng: _Rng, height: int, width: int) -> Planes:
    """Return a random background of (3, height, width), RGB 0 to 255, a little out of focus."""
    kind: SceneKind = tuple(_DRAW)[rng.integers(len(_DRAW))]
    small = np.zeros((3, height // _COARSER, width // _COARSER), np.float32)
    _DRAW[kind](_Sheet(Canvas(small), height, width), rng)
    small *= np.float32(rng.uniform(0.85, 1.05))
    blur = float(rng.uniform(0.3, 1.3))
    soft = [cv2.GaussianBlur(plane, (0, 0), blur) for plane in small]
    return np.stack([cv2.resize(plane, (width, height)) for plane in soft], dtype=np.float32)


def _gradient(sheet: _Sheet, top: Colour, bottom: Colour) -> None:
    share = np.linspace(0, 1, sheet.canvas.planes.shape[1], dtype=np.float32)[:, None]
    for plane, first, last in zip(sheet.canvas.planes, top, bottom, strict=True):
        plane[:] = first * (1 - share) + last * share


def _fill(
    sheet: _Sheet, points: Points, colour: Colour, opacity: float = 1.0, soft: float = 0.0
) -> None:
    sheet.canvas.paint(sheet.mask(points, soft), colour, opacity)


def _box(left: float, top: float, right: float, bottom: float) -> Points:
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def _choose(rng: _Rng, colours: tuple[Colour, ...], spread: float = 0.1) -> Colour:
    colour = colours[rng.integers(len(colours))]
    return tint(colour, float(rng.uniform(1 - spread, 1 + spread)))


def _draw_hills(sheet: _Sheet, rng: _Rng) -> None:
    height, width = sheet.height, sheet.width
    top, low = _SKIES[rng.integers(len(_SKIES))]
    _gradient(sheet, top, mix(low, top, 0.2))
    x, y = (rng.uniform((0.1, 0.08), (0.9, 0.3)) * (width, height)).tolist()
    _fill(sheet, ellipse(x, y, 60, 60), (255, 244, 214), 0.6, 26)
    for _ in range(int(rng.integers(2, 5))):
        x, y = (rng.uniform((0, 0.05), (1, 0.35)) * (width, height)).tolist()
        for _ in range(5):
            dx, dy, size = rng.uniform((-55, -9, 12), (55, 9, 26)).tolist()
            _fill(sheet, ellipse(x + dx, y + dy, 1.7 * size, size), (250, 250, 250), 0.55, 7)
    base = _choose(rng, _HILLS)
    for i in range(4):
        level = height * (0.45 + 0.13 * i)
        x = np.linspace(-80, width + 80, 7)
        y = level + rng.uniform(-0.08, 0.08, 7) * height
        ridge = curve(np.stack([x, y], axis=1), closed=False)
        land = np.concatenate([ridge, [(width + 90, height + 9), (-90, height + 9)]])
        _fill(sheet, land, mix(tint(base, 1 - 0.08 * i), low, 0.5 - 0.15 * i))
        if i >= 2:
            for tree in ridge[rng.integers(4, len(ridge) - 4, 6)].tolist():
                _draw_tree(sheet, rng, tree[0], tree[1] + 6, 9 + 9 * (i - 1))


def _draw_tree(sheet: _Sheet, rng: _Rng, x: float, y: float, size: float) -> None:
    _fill(sheet, _box(x - 0.1 * size, y - size, x + 0.1 * size, y), (92, 70, 52))
    leaf = tint((76, 112, 70), float(rng.uniform(0.75, 1.2)))
    for dx, dy, part in ((-0.35, 1.2, 0.55), (0.35, 1.25, 0.5), (0, 1.7, 0.6)):
        crown = ellipse(x + dx * size, y - dy * size, part * size, part * size)
        _fill(sheet, crown, tint(leaf, 1 + 0.2 * dx), soft=1)


def _draw_room(sheet: _Sheet, rng: _Rng) -> None:
    height, width = sheet.height, sheet.width
    wall, wood = _choose(rng, _WALLS), _choose(rng, _WOODS)
    _gradient(sheet, tint(wall, 1.04), tint(wall, 0.84))
    floor = float(rng.uniform(0.78, 0.88)) * height
    _fill(sheet, _box(0, floor, width, height), tint(wood, 0.85))
    _fill(sheet, _box(0, floor - 9, width, floor), (236, 232, 226))
    on_left = bool(rng.random() < 0.5)
    window = (0.06 if on_left else 0.6) * width + float(rng.uniform(0, 0.06)) * width
    _draw_window(sheet, rng, window, float(rng.uniform(0.08, 0.16)) * height)
    shelf = (0.5 if on_left else 0.04) * width + float(rng.uniform(0, 0.05)) * width
    _draw_shelves(sheet, rng, shelf, floor, wood)
    if rng.random() < 0.6:
        _draw_plant(sheet, rng, (0.44 + 0.06 * float(rng.random())) * width, floor + 12)


def _draw_window(sheet: _Sheet, rng: _Rng, left: float, top: float) -> None:
    height, width = sheet.height, sheet.width
    right, bottom = left + 0.3 * width, top + 0.46 * height
    _fill(sheet, _box(left - 9, top - 9, right + 9, bottom + 9), (240, 238, 232))
    sky = _SKIES[rng.integers(len(_SKIES))]
    _fill(sheet, _box(left, top, right, bottom), mix(*sky, 0.6))
    green = curve(((left, bottom - 50), (left + 60, bottom - 70), (right - 50, bottom - 40)))
    pane = sheet.mask(_box(left, top, right, bottom))
    sheet.canvas.paint(sheet.mask(shift(green, 20, 30), 6), (112, 146, 104), 0.9, pane)
    x, y = (left + right) / 2, top + 0.4 * (bottom - top)
    _fill(sheet, _box(x - 4, top, x + 4, bottom), (240, 238, 232))
    _fill(sheet, _box(left, y - 3, right, y + 3), (240, 238, 232))
    cloth = _choose(rng, _WALLS, 0.2)
    for edge, way in ((left - 14, 1), (right + 14, -1)):
        for i in range(3):
            fold = _box(edge + way * 11 * i, top - 16, edge + way * 11 * (i + 1), bottom + 60)
            _fill(sheet, fold, tint(cloth, (0.95, 0.8, 1.0)[i]), 0.95, 1.5)


def _draw_shelves(sheet: _Sheet, rng: _Rng, left: float, floor: float, wood: Colour) -> None:
    height, width = sheet.height, sheet.width
    right, top = left + 0.34 * width, 0.08 * height
    _fill(sheet, _box(left, top, right, floor), tint(wood, 0.62))
    for y in np.linspace(top, floor, 7)[1:].tolist():
        x = left + 8
        while x < right - 26:
            thick, tall = rng.uniform((6, 28), (14, 44)).tolist()
            if rng.random() < 0.82:
                _fill(sheet, _box(x, y - tall, x + thick, y), _choose(rng, _SPINES, 0.2))
            x += thick + 1
        _fill(sheet, _box(left, y - 3, right, y + 4), wood)
    for x in (left, right):
        _fill(sheet, _box(x - 5, top - 4, x + 5, floor), wood)
    _fill(sheet, _box(left - 5, top - 5, right + 5, top + 4), wood)


def _draw_plant(sheet: _Sheet, rng: _Rng, x: float, y: float) -> None:
    for _ in range(14):
        angle, size = float(rng.uniform(-1.3, 1.3)), float(rng.uniform(36, 66))
        tip_x, tip_y = x + size * np.sin(angle), y - 40 - size * np.cos(angle)
        leaf = ellipse((x + tip_x) / 2, (y - 40 + tip_y) / 2, 8, size / 2, angle)
        _fill(sheet, leaf, tint((84, 128, 82), float(rng.uniform(0.7, 1.2))))
    pot = np.array([(x - 24, y - 46), (x + 24, y - 46), (x + 17, y), (x - 17, y)])
    _fill(sheet, pot, (190, 120, 88))


def _draw_street(sheet: _Sheet, rng: _Rng) -> None:
    height, width = sheet.height, sheet.width
    top, low = _SKIES[rng.integers(len(_SKIES))]
    _gradient(sheet, top, low)
    ground, x = 0.8 * height, -float(rng.uniform(0, 60))
    while x < width:
        wide = float(rng.uniform(90, 170))
        roof = float(rng.uniform(0.06, 0.4)) * height
        house = _choose(rng, _HOUSES, 0.15)
        _fill(sheet, _box(x, roof, x + wide, ground), house)
        _fill(sheet, _box(x - 3, roof - 6, x + wide + 3, roof + 5), tint(house, 0.7))
        lit = tint((118, 140, 160), float(rng.uniform(0.7, 1.3)))
        columns = max(3, int(wide // 34))
        step = wide / columns
        for row in np.arange(roof + 20, ground - 60, 44).tolist():
            for i in range(columns):
                left = x + (i + 0.25) * step
                _fill(
                    sheet, _box(left - 2, row - 2, left + 0.5 * step + 2, row + 26), (222, 219, 212)
                )
                _fill(sheet, _box(left, row, left + 0.5 * step, row + 24), lit)
        _fill(sheet, _box(x + 8, ground - 46, x + wide - 8, ground), tint(house, 0.55))
        shade = _choose(rng, _SPINES)
        _fill(sheet, _box(x + 4, ground - 56, x + wide - 4, ground - 42), shade)
        x += wide
    _fill(sheet, _box(0, ground, width, ground + 26), (186, 182, 176))
    _fill(sheet, _box(0, ground + 26, width, height), (104, 106, 112))
    for x in np.arange(float(rng.uniform(-60, 60)), width, 210).tolist():
        _draw_tree(sheet, rng, x, ground + 8, float(rng.uniform(55, 80)))


def _draw_studio(sheet: _Sheet, rng: _Rng) -> None:
    height, width = sheet.height, sheet.width
    colour = _choose(rng, _PLAIN, 0.2)
    _gradient(sheet, tint(colour, 0.9), tint(colour, 0.7))
    x, y = (rng.uniform((0.25, 0.2), (0.75, 0.7)) * (width, height)).tolist()
    glow = ellipse(x, y, 0.34 * width, 0.36 * height)
    _fill(sheet, glow, tint(colour, 1.25), 0.8, 70)
    cloudy = rng.normal(0, 5, (7, 10)).astype(np.float32)
    planes = sheet.canvas.planes
    planes += cv2.resize(cloudy, planes.shape[:0:-1], interpolation=cv2.INTER_CUBIC)


def _draw_bokeh(sheet: _Sheet, rng: _Rng) -> None:
    height, width = sheet.height, sheet.width
    dark = _choose(rng, ((44, 50, 74), (62, 48, 56), (40, 62, 62), (84, 74, 60)))
    _gradient(sheet, dark, tint(dark, 1.5))
    lamps = ((255, 206, 130), (255, 160, 110), (150, 200, 255), (255, 236, 200), (176, 232, 176))
    for _ in range(int(rng.integers(34, 60))):
        x, y, size = rng.uniform((0, 0, 9), (width, height, 34)).tolist()
        colour, share = _choose(rng, lamps), float(rng.uniform(0.1, 0.45))
        _fill(sheet, ellipse(x, y, size, size), colour, share, 1.5)
        _fill(sheet, ellipse(x, y, 0.86 * size, 0.86 * size), tint(colour, 0.85), 0.5 * share, 2)


_DRAW: dict[SceneKind, Callable[[_Sheet, _Rng], None]] = {
    "hills": _draw_hills,
    "room": _draw_room,
    "street": _draw_street,
    "studio": _draw_studio,
    "bokeh": _draw_bokeh,
}
