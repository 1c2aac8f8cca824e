"""Defects laid over the face: something before it, marks and letters, smears, flat colour."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from roi_cls.classifier.augmentation.face_map import FaceMap
from roi_cls.classifier.augmentation.letters import write_letters
from roi_cls.classifier.augmentation.patch import (
    Blob,
    Drawn,
    Point,
    Window,
    about,
    draw_blob,
    lay,
    move_picture,
)
from roi_cls.roi.image import Image

_Canvas = NDArray[np.uint8]


def cover(crop: Image, other: Image, face: FaceMap, rng: np.random.Generator) -> Drawn:
    """Lay fingers, a blob or a polygon before the face: of skin, of one colour, or of texture."""
    blob, spread = _draw_occluder(face, rng)
    solid = _paint(crop, other, face, blob, rng)
    below = crop
    if rng.random() < 0.4:
        below = crop.copy()
        below[blob.window.slices] = _cast_shadow(crop[blob.window.slices], blob, spread, rng)
    opacity = float(rng.choice((1, 1, 1, 0.8)))
    return blob.window, lay(below, solid, blob, opacity)


def _draw_occluder(face: FaceMap, rng: np.random.Generator) -> tuple[Blob, float]:
    """Return a shape, and the softness of its shadow in pixels; its window has room for that."""
    draw, spread = rng.random(), 0.05 * face.span
    soft = max(0.5, face.span * math.exp(rng.uniform(math.log(0.004), math.log(0.04))))
    if draw < 0.6:
        canvas = _draw_fingers(face, rng)
    elif draw < 0.85:
        center = face.draw_at(rng, eyes=0.15, mouth=0.25, nose=0.15)
        blob = draw_blob(center, face.span * rng.uniform(0.2, 0.7), 0.0, face.size_px, rng)
        canvas = _new_canvas(face)
        canvas[blob.window.slices] = 255 * (blob.alpha > 0.5)
    else:
        canvas = _draw_polygon(face, rng)
    return _cut_out(canvas, soft, room=3 * spread + 1), spread


def _draw_fingers(face: FaceMap, rng: np.random.Generator) -> _Canvas:
    """Draw one to three bent, round-ended bars beside each other."""
    canvas, span = _new_canvas(face), face.span
    start = np.asarray(face.draw_at(rng, eyes=0.15, mouth=0.25, nose=0.15))
    angle, count = rng.uniform(0, 2 * math.pi), int(rng.integers(1, 4))
    length, width = span * rng.uniform(0.4, 1.6), span * rng.uniform(0.08, 0.3)
    beside = np.array([-math.sin(angle), math.cos(angle)])
    for i in range(count):
        root = start + beside * ((i - (count - 1) / 2) * width * rng.uniform(0.9, 1.4))
        first = angle + rng.normal(0, 0.12)
        joint = root + length / 2 * _direction(first)
        tip = joint + length / 2 * _direction(first + rng.normal(0, 0.25))
        thickness = max(2, int(width * rng.uniform(0.7, 1)))
        corners = np.array([root, joint, tip]).astype(np.int32)
        cv2.polylines(canvas, [corners], False, 255, thickness, cv2.LINE_AA)
    return canvas


def _draw_polygon(face: FaceMap, rng: np.random.Generator) -> _Canvas:
    canvas = _new_canvas(face)
    center = np.asarray(face.draw_at(rng, eyes=0.1, mouth=0.3, nose=0.2))
    angles = np.sort(rng.uniform(0, 2 * math.pi, rng.integers(3, 6)))
    reach = face.span * rng.uniform(0.3, 1.1)
    corners = center + reach * np.stack([np.cos(angles), 0.7 * np.sin(angles)], axis=1)
    cv2.fillPoly(canvas, [corners.astype(np.int32)], 255, cv2.LINE_AA)
    return canvas


def _paint(crop: Image, other: Image, face: FaceMap, blob: Blob, rng: np.random.Generator) -> Image:
    """Return what the shape is made of, over its window."""
    draw, window = rng.random(), blob.window
    if draw >= 0.75:  # something of another picture
        shift = rng.uniform(-0.5, 0.5, 2) * face.size_px
        middle = (face.size_px / 2, face.size_px / 2)
        return move_picture(other, about(middle, 0.0, 1.0, (shift[0], shift[1])), window)
    if draw < 0.5:
        source = crop if rng.random() < 0.7 else other
        colour = _skin(source, face, rng) * rng.uniform(0.8, 1.15)
    else:
        colour = rng.uniform(0, 255, 3)
    coarse = rng.normal(0, rng.uniform(4, 18), rng.integers(2, 9, 2)).astype(np.float32)
    size = (window.width, window.height)
    uneven = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    # Round: darker to the rim.
    inside = (blob.alpha > 0.5).astype(np.uint8)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 3) / (face.span * rng.uniform(0.03, 0.2))
    light = 1 - rng.uniform(0, 0.5) * (1 - np.clip(depth, 0, 1))
    grain = rng.normal(0, 2, (window.height, window.width))
    solid = light[..., None] * colour + (uneven + grain)[..., None]
    return np.asarray(np.clip(solid + 0.5, 0, 255), dtype=np.uint8)


def _skin(crop: Image, face: FaceMap, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the colour of a cheek, (3,)."""
    nose, eye = (face.points[2], face.points[rng.integers(2)]) if face.is_known else (
        face.center,
        face.center,
    )  # fmt: skip
    half = max(2, int(0.08 * face.span))
    spot = nose + (eye - nose) * rng.uniform(0.2, 0.6)
    x, y = np.clip(spot, half, len(crop) - half - 1).astype(int).tolist()
    patch = crop[y - half : y + half, x - half : x + half]
    return np.asarray(patch.reshape(-1, 3).mean(axis=0), dtype=np.float64)


def _cast_shadow(below: Image, blob: Blob, spread: float, rng: np.random.Generator) -> Image:
    down, right = rng.integers(-1, 2, 2) * max(1, round(spread / 2))
    moved = cv2.warpAffine(
        blob.alpha,
        np.array([[1, 0, right], [0, 1, down]], np.float64),
        (blob.window.width, blob.window.height),
    )
    shadow = np.asarray(cv2.GaussianBlur(moved, (0, 0), max(0.5, spread)), dtype=np.float32)
    return np.asarray(below * (1 - 0.4 * shadow[..., None]) + 0.5, dtype=np.uint8)


def mark(crop: Image, other: Image, face: FaceMap, rng: np.random.Generator) -> Drawn:
    """Write letters, or draw curves, lines or rings, in any colour, more or less opaque."""
    draw = rng.random() * (1 - 0.5 * face.beside)  # beside a face it is mostly letters
    center = face.draw_at(rng, eyes=0.15, mouth=0.15, nose=0.15)
    thickness = max(1, int(face.span * math.exp(rng.uniform(math.log(0.01), math.log(0.06)))))
    if draw < 0.4:
        canvas = write_letters(face, rng)
    elif draw < 0.75:
        canvas = _draw_curves(center, thickness, face, rng)
    else:
        canvas = _draw_rings(center, thickness, face, rng)
    blob = _cut_out(canvas, max(0.4, face.span * rng.uniform(0.003, 0.02)))
    if rng.random() < 0.4:
        colour = rng.uniform(0, 255, 3)
    else:  # dark or light ink
        tone = rng.uniform(0, 70) if rng.random() < 0.5 else rng.uniform(200, 255)
        colour = tone + rng.normal(0, 12, 3)
    return blob.window, lay(crop, _plain(blob.window, colour), blob, rng.uniform(0.35, 1))


def _draw_curves(center: Point, thickness: int, face: FaceMap, rng: np.random.Generator) -> _Canvas:
    canvas = _new_canvas(face)
    for _ in range(rng.integers(1, 6)):
        count = int(rng.integers(2, 9))
        corners = center + np.cumsum(rng.normal(0, 0.22 * face.span, (count, 2)), axis=0)
        steps = np.linspace(0, count - 1, 12 * count)
        path = np.stack([np.interp(steps, np.arange(count), corners[:, i]) for i in (0, 1)], 1)
        if rng.random() < 0.7:  # round the corners
            path = np.asarray(cv2.GaussianBlur(path, (1, 9), 2), dtype=np.float64)
        is_closed = bool(rng.random() < 0.2)
        cv2.polylines(canvas, [path.astype(np.int32)], is_closed, 255, thickness, cv2.LINE_AA)
    return canvas


def _draw_rings(center: Point, thickness: int, face: FaceMap, rng: np.random.Generator) -> _Canvas:
    canvas = _new_canvas(face)
    for _ in range(rng.integers(1, 4)):
        x, y = rng.normal(center, 0.2 * face.span).astype(int).tolist()
        half = (face.span * rng.uniform(0.05, 0.5, 2)).astype(int).tolist()
        turn, end = float(rng.uniform(0, 180)), float(rng.uniform(90, 360))
        width = thickness if rng.random() < 0.6 else -1
        cv2.ellipse(canvas, (x, y), half, turn, 0, end, 255, width, cv2.LINE_AA)
    return canvas


def smear(crop: Image, other: Image, face: FaceMap, rng: np.random.Generator) -> Drawn:
    """Blur a blob along a direction or evenly, or scatter what is in it."""
    center = face.draw_at(rng, eyes=0.25, mouth=0.25, nose=0.15)
    radius, soft = face.span * rng.uniform(0.15, 0.6), face.span * rng.uniform(0.01, 0.12)
    blob = draw_blob(center, max(2.0, radius), soft, len(crop), rng)
    draw = rng.random()
    if draw < 0.6:
        patch = _blur_along(crop[blob.window.slices], face, rng)
    elif draw < 0.8:
        sigma = max(0.5, face.span * rng.uniform(0.03, 0.1))
        patch = np.asarray(cv2.GaussianBlur(crop[blob.window.slices], (0, 0), sigma), np.uint8)
    else:
        patch = _scatter(crop, blob.window, face, rng)
        if rng.random() < 0.5:
            patch = np.asarray(cv2.blur(patch, (max(3, round(0.02 * len(crop))), 1)), np.uint8)
    return blob.window, lay(crop, patch, blob, 1.0)


def _blur_along(patch: Image, face: FaceMap, rng: np.random.Generator) -> Image:
    side = max(5, int(face.span * rng.uniform(0.1, 0.5))) | 1
    kernel = np.zeros((side, side), np.float32)
    way = side / 2 * _direction(rng.uniform(0, math.pi))
    first, last = (side / 2 - way).astype(int).tolist(), (side / 2 + way).astype(int).tolist()
    cv2.line(kernel, first, last, 1, 1)
    blurred = cv2.filter2D(patch, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)
    return np.asarray(blurred, dtype=np.uint8)


def _scatter(crop: Image, window: Window, face: FaceMap, rng: np.random.Generator) -> Image:
    cells = rng.normal(0, 0.12 * face.span, (6, 6, 2)).astype(np.float32)
    size = (window.width, window.height)
    way = np.asarray(cv2.resize(cells, size, interpolation=cv2.INTER_CUBIC), dtype=np.float32)
    x = np.arange(window.left, window.right, dtype=np.float32)[None]
    y = np.arange(window.top, window.bottom, dtype=np.float32)[:, None]
    scattered = cv2.remap(
        crop, x + way[..., 0], y + way[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    return np.asarray(scattered, dtype=np.uint8)


def flatten(crop: Image, other: Image, face: FaceMap, rng: np.random.Generator) -> Drawn:
    """Cover a blob with one colour, or tint it."""
    center = face.draw_at(rng, eyes=0.15, mouth=0.2, nose=0.15)
    radius, soft = face.span * rng.uniform(0.12, 0.6), face.span * rng.uniform(0.005, 0.1)
    blob = draw_blob(center, max(2.0, radius), soft, len(crop), rng)
    if rng.random() < 0.5:
        colour = rng.uniform(0, 255, 3)
    else:
        colour = _skin(crop, face, rng) * rng.uniform(0.6, 1.3)
    patch = _plain(blob.window, colour)
    if rng.random() < 0.3:
        tinted = crop[blob.window.slices] * (np.clip(colour, 0, 255) / 255)
        patch = np.asarray(tinted + 0.5, dtype=np.uint8)
    return blob.window, lay(crop, patch, blob, float(rng.choice((0.5, 0.8, 1, 1))))


def _new_canvas(face: FaceMap) -> _Canvas:
    return np.zeros((face.size_px, face.size_px), np.uint8)


def _cut_out(canvas: _Canvas, soft: float, room: float = 0.0) -> Blob:
    """Return what is drawn on a canvas as a blob with soft edges.

    Args:
        canvas: (S, S), 255 where it covers.
        soft: Standard deviation of its edge, pixels.
        room: Pixels of the window around it besides.
    """
    left, top, width, height = cv2.boundingRect(canvas)
    reach, size_px = math.ceil(3 * soft + room + 1), len(canvas)
    window = Window(
        max(0, min(left - reach, size_px - 1)),
        max(0, min(top - reach, size_px - 1)),
        min(size_px, left + width + reach),
        min(size_px, top + height + reach),
    )
    covered = canvas[window.slices].astype(np.float32) / 255
    return Blob(window, np.asarray(cv2.GaussianBlur(covered, (0, 0), soft), dtype=np.float32))


def _plain(window: Window, colour: NDArray[np.float64]) -> Image:
    return np.full((window.height, window.width, 3), np.clip(colour, 0, 255) + 0.5).astype(np.uint8)


def _direction(angle: float) -> NDArray[np.float64]:
    return np.array([math.cos(angle), math.sin(angle)])
