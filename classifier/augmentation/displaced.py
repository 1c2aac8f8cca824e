"""Defects made by moving what is there: parts bent, copied, turned, mirrored, or another face's.

Shiohara and Yamasaki 2022, "Detecting Deepfakes with Self-Blended Images", applied to parts.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from roi_cls.classifier.augmentation.face_map import FaceMap
from roi_cls.classifier.augmentation.patch import (
    Blob,
    Drawn,
    Matrix,
    Point,
    about,
    bend,
    draw_blob,
    lay,
    move_picture,
    recolour,
    reflect,
    retexture,
)
from roi_cls.roi.image import Image


def blend_face(crop: Image, other: Image, face: FaceMap, rng: np.random.Generator) -> Drawn:
    """Lay the face over itself, in other colours or texture and slightly moved."""
    size_px, center = len(crop), face.near(face.center, 0.1, rng)
    radius = face.span * rng.uniform(0.7, 1.3)
    blob = draw_blob(center, radius, _draw_blur(face, rng), size_px, rng)
    shift = rng.uniform(-0.03, 0.03, 2) * size_px
    matrix = about(center, rng.uniform(-4, 4), factor(0.05, rng), (shift[0], shift[1]))
    patch = recolour(move_picture(crop, matrix, blob.window), _draw_strength(rng), rng)
    if rng.random() < 0.7:
        patch = retexture(patch, size_px, rng)
    return blob.window, lay(crop, patch, blob, _draw_opacity(rng))


def bend_part(crop: Image, other: Image, face: FaceMap, rng: np.random.Generator) -> Drawn:
    """Warp a disc, now and then with other texture where it is warped most."""
    center = face.draw(rng)
    bent = bend(crop, center, max(3.0, face.span * rng.uniform(0.35, 0.9)), rng)
    window, pixels = bent.reach.window, bent.pixels
    if rng.random() < 0.3:
        touched, weight = retexture(pixels, len(crop), rng), np.sqrt(bent.reach.alpha)
        pixels = np.asarray(cv2.blendLinear(touched, pixels, weight, 1 - weight), dtype=np.uint8)
    return window, pixels


def copy_part(crop: Image, other: Image, face: FaceMap, rng: np.random.Generator) -> Drawn:
    """Put a part of the crop where another belongs."""
    center, blob = _draw_part(crop, face, rng)
    angle, way = rng.uniform(0, 2 * math.pi), face.span * rng.uniform(0.25, 1.2)
    shift = (way * math.cos(angle), way * math.sin(angle))
    matrix = about(center, rng.uniform(-25, 25), factor(0.2, rng), shift)
    return paste(crop, crop, matrix, blob, rng)


def turn_part(crop: Image, other: Image, face: FaceMap, rng: np.random.Generator) -> Drawn:
    """Turn a part about itself."""
    center, blob = _draw_part(crop, face, rng)
    shift = rng.normal(0, 0.05 * face.span, 2)
    angle = rng.uniform(8, 45) * rng.choice((-1, 1))
    matrix = about(center, angle, factor(0.25, rng), (shift[0], shift[1]))
    return paste(crop, crop, matrix, blob, rng)


def mirror_part(crop: Image, other: Image, face: FaceMap, rng: np.random.Generator) -> Drawn:
    """Put a part of one half of the face, mirrored, on the other."""
    _, blob = _draw_part(crop, face, rng)
    # Not quite in its place: a level, even face would show nothing.
    x, y = rng.normal(face.points[:2].mean(axis=0), 0.05 * face.span).tolist()
    matrix = reflect((x, y), face.across)
    return paste(crop, crop, matrix, blob, rng)


def take_part(crop: Image, other: Image, face: FaceMap, rng: np.random.Generator) -> Drawn:
    """Put a part of another face in, from anywhere and turned in any way."""
    _, blob = _draw_part(crop, face, rng)
    size_px = len(crop)
    shift = rng.uniform(-0.3, 0.3, 2) * size_px
    middle = (size_px / 2, size_px / 2)
    matrix = about(middle, rng.uniform(-180, 180), factor(0.4, rng), (shift[0], shift[1]))
    return paste(crop, other, matrix, blob, rng)


def _draw_part(crop: Image, face: FaceMap, rng: np.random.Generator) -> tuple[Point, Blob]:
    """Return a place and a shape of an eye's or a mouth's size there."""
    center = face.draw(rng)
    radius = max(2.0, face.span * math.exp(rng.uniform(math.log(0.18), math.log(0.6))))
    return center, draw_blob(center, radius, _draw_blur(face, rng), len(crop), rng)


def _draw_blur(face: FaceMap, rng: np.random.Generator) -> float:
    return max(0.6, face.span * math.exp(rng.uniform(math.log(0.01), math.log(0.15))))


def _draw_strength(rng: np.random.Generator) -> float:
    return math.exp(rng.uniform(math.log(0.3), 0))


def _draw_opacity(rng: np.random.Generator) -> float:
    return float(rng.choice((0.5, 0.75, 1, 1, 1)))


def factor(largest: float, rng: np.random.Generator) -> float:
    """Return a scale from exp(-largest) to exp(largest)."""
    return math.exp(rng.uniform(-largest, largest))


def paste(
    crop: Image, source: Image, matrix: Matrix, blob: Blob, rng: np.random.Generator
) -> Drawn:
    """Lay the moved source over the crop within the blob, maybe in other texture and colours."""
    patch = move_picture(source, matrix, blob.window)
    if rng.random() < 0.5:
        patch = retexture(patch, len(crop), rng)
    if rng.random() < 0.5:
        patch = recolour(patch, _draw_strength(rng), rng)
    if rng.random() < 0.2:
        return blob.window, merge(crop, patch, blob)
    return blob.window, lay(crop, patch, blob, _draw_opacity(rng))


def merge(crop: Image, patch: Image, blob: Blob) -> Image:
    """Return the patch's gradients in the crop's tones (Pérez et al. 2003): no seam is left."""
    below = np.ascontiguousarray(crop[blob.window.slices])
    inside = np.zeros(blob.alpha.shape, np.uint8)
    inside[1:-1, 1:-1] = 255 * (blob.alpha[1:-1, 1:-1] > 0.5)  # off the rim: it is held fixed
    left, top, width, height = cv2.boundingRect(inside)
    if min(width, height) < 8:  # too small for the solver's own rim
        return lay(crop, patch, blob, 1)
    middle = (left + width // 2, top + height // 2)
    merged = cv2.seamlessClone(patch, below, inside, middle, cv2.NORMAL_CLONE)
    return np.asarray(merged, dtype=np.uint8)
