"""Defects of whole features: one too many, one out of place, an eye that differs or looks aside."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from roi_cls.classifier.augmentation.displaced import factor, merge
from roi_cls.classifier.augmentation.face_map import FaceMap
from roi_cls.classifier.augmentation.patch import (
    Blob,
    Drawn,
    Point,
    about,
    draw_blob,
    ease,
    enclose,
    lay,
    move_picture,
    recolour,
    reflect,
    retexture,
)
from roi_cls.roi.image import Image

_EYE = (0.3, 0.16)  # half width and height of the opening with its lids, in spans
_FEATURE_RADIUS = {"eye": 0.3, "nose": 0.34, "mouth": 0.4, "brow": 0.3, "ear": 0.3}  # in spans


def push(crop: Image, other: Image, face: FaceMap, rng: np.random.Generator) -> Drawn:
    """Shift a disc within its surroundings, a quarter of the times scaled, too; the rim stays."""
    center = face.draw_at(rng, eyes=0.6, mouth=0.2, nose=0.1)
    radius = max(3.0, face.span * math.exp(rng.uniform(math.log(0.12), math.log(0.45))))
    way, angle = radius * rng.uniform(0.3, 0.75), rng.uniform(0, 2 * math.pi)
    scale = factor(0.5, rng) if rng.random() < 0.25 else 1.0
    flat = rng.uniform(0, 0.5)
    shift = (way * math.cos(angle), way * math.sin(angle))
    return _shift_within(crop, center, (radius, radius), shift, scale=scale, flat=flat)


def move_iris(crop: Image, other: Image, face: FaceMap, rng: np.random.Generator) -> Drawn:
    """Let an eye look elsewhere: what is between the lids moves, the corners stay."""
    eye, sign = face.points[rng.integers(min(2, len(face.points)))], rng.choice((-1.0, 1.0))
    across = np.asarray(face.across) / max(math.hypot(*face.across), 1e-6)
    way = sign * across * rng.uniform(0.07, 0.17) + face.down * rng.normal(0, 0.03)
    reach = tuple(max(3.0, face.span * side * rng.uniform(0.9, 1.25)) for side in _EYE)
    shift = (way * face.span).tolist()
    center = face.near(eye, 0.02, rng)
    turn = math.atan2(across[1], across[0])
    return _shift_within(
        crop, center, (reach[0], reach[1]), (shift[0], shift[1]), turn=turn, flat=0.35
    )


def alter_eye(crop: Image, other: Image, face: FaceMap, rng: np.random.Generator) -> Drawn:
    """Make one eye differ from the other: another size, tilt, colour, texture, or mirrored."""
    eye = face.points[rng.integers(min(2, len(face.points)))]
    center = face.near(eye, 0.03, rng)
    blob = _ellipse(crop, center, face, rng)
    draw = rng.random()
    if draw < 0.35:
        matrix = about(center, rng.uniform(-25, 25), factor(0.45, rng), (0.0, 0.0))
    elif draw < 0.6:
        matrix = reflect(center, face.across if rng.random() < 0.5 else tuple(face.down.tolist()))
    else:
        matrix = about(center, 0.0, 1.0, (0.0, 0.0))
    patch = move_picture(crop, matrix, blob.window)
    if draw >= 0.6 or rng.random() < 0.4:
        patch = recolour(patch, rng.uniform(0.6, 1.6), rng)
    if draw >= 0.8:
        patch = retexture(patch, len(crop), rng)
    return blob.window, lay(crop, patch, blob, 1.0)


def copy_feature(crop: Image, other: Image, face: FaceMap, rng: np.random.Generator) -> Drawn:
    """Put an eye, a mouth, a nose, an ear or a brow, whole, where none belongs."""
    source, radius = _draw_feature(face, rng)
    place = _draw_wrong_place(source, face, rng)
    shift = (place[0] - source[0], place[1] - source[1])
    matrix = about(source, rng.uniform(-20, 20), factor(0.3, rng), shift)
    if rng.random() < 0.3:
        flipped = reflect(source, face.across)
        matrix = (np.vstack([matrix, [0, 0, 1]]) @ np.vstack([flipped, [0, 0, 1]]))[:2]
    blur = max(0.6, face.span * rng.uniform(0.01, 0.09))
    blob = draw_blob(place, max(3.0, radius), blur, len(crop), rng)
    patch = move_picture(crop, matrix, blob.window)
    if rng.random() < 0.3:
        patch = recolour(patch, rng.uniform(0.3, 1.0), rng)
    if rng.random() < 0.35:
        return blob.window, merge(crop, patch, blob)
    return blob.window, lay(crop, patch, blob, float(rng.choice((0.6, 0.85, 1, 1))))


def _draw_wrong_place(source: Point, face: FaceMap, rng: np.random.Generator) -> Point:
    """Return where a copy goes: on the face or close by, in a wide crop also anywhere."""
    if rng.random() < face.beside:
        return face.anywhere(rng)
    angle, way = rng.uniform(0, 2 * math.pi), rng.uniform(0.35, 1.3) * face.span
    return (source[0] + way * math.cos(angle), source[1] + way * math.sin(angle))


def _draw_feature(face: FaceMap, rng: np.random.Generator) -> tuple[Point, float]:
    """Return the middle of a feature and how far it reaches, in pixels."""
    name = str(rng.choice(("eye", "mouth", "nose", "brow", "ear"), p=(0.35, 0.3, 0.12, 0.11, 0.12)))
    if not face.is_known:
        point: NDArray[np.float64] = np.asarray(face.draw(rng))
    elif name in ("eye", "brow"):
        point = face.points[rng.integers(2)]
        point = point - 0.3 * face.span * face.down if name == "brow" else point
    elif name == "ear":
        point = face.ears[rng.integers(2)]
    else:
        point = face.points[2 if name == "nose" else 3]
    x, y = np.clip(rng.normal(point, 0.04 * face.span), 0, face.size_px - 1).tolist()
    return (x, y), face.span * _FEATURE_RADIUS[name] * rng.uniform(0.75, 1.25)


def _ellipse(crop: Image, center: Point, face: FaceMap, rng: np.random.Generator) -> Blob:
    """Return an eye's opening with its lids, softly."""
    size_px = len(crop)
    half = [max(3.0, face.span * side * rng.uniform(0.9, 1.4)) for side in _EYE]
    reach = max(half) + 2
    window = enclose(
        (center[0] - reach, center[1] - reach), (center[0] + reach, center[1] + reach), size_px
    )
    turn = math.atan2(face.across[1], face.across[0])
    distance = _distances(window.left, window.top, window.width, window.height, center, half, turn)
    return Blob(window, ease(distance, rng.uniform(0.2, 0.6)))


def _shift_within(
    crop: Image,
    center: Point,
    half: tuple[float, float],
    shift: Point,
    *,
    turn: float = 0.0,
    scale: float = 1.0,
    flat: float = 0.0,
) -> Drawn:
    """Move what lies in an ellipse by up to ``shift``: most in the middle, nothing at its rim.

    Args:
        crop: (S, S, 3) uint8.
        center: Of the ellipse, pixels.
        half: Its half axes, pixels.
        shift: Of its middle, pixels.
        turn: Of its first axis, radians, clockwise as seen.
        scale: By which the middle grows.
        flat: Share of the radius within which all moves by the whole shift.
    """
    reach = max(half)
    low, high = np.subtract(center, reach), np.add(center, reach)
    window = enclose((low[0], low[1]), (high[0], high[1]), len(crop))
    distance = _distances(window.left, window.top, window.width, window.height, center, half, turn)
    weight = ease(distance, flat)
    x = np.arange(window.left, window.right, dtype=np.float32)[None]
    y = np.arange(window.top, window.bottom, dtype=np.float32)[:, None]
    shrink = np.float32(1 / scale - 1)
    from_x = x + ((x - np.float32(center[0])) * shrink - np.float32(shift[0])) * weight
    from_y = y + ((y - np.float32(center[1])) * shrink - np.float32(shift[1])) * weight
    moved = cv2.remap(crop, from_x, from_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return window, np.asarray(moved, dtype=np.uint8)


def _distances(
    left: int,
    top: int,
    width: int,
    height: int,
    center: Point,
    half: tuple[float, float] | list[float],
    turn: float,
) -> NDArray[np.float32]:
    """Return each pixel's distance from an ellipse's middle, 1 at its rim: (height, width)."""
    dx = np.arange(left, left + width, dtype=np.float32)[None] - np.float32(center[0])
    dy = np.arange(top, top + height, dtype=np.float32)[:, None] - np.float32(center[1])
    cos, sin = np.float32(math.cos(turn)), np.float32(math.sin(turn))
    along, beside = dx * cos + dy * sin, dy * cos - dx * sin
    return np.hypot(along / np.float32(half[0]), beside / np.float32(half[1]))
