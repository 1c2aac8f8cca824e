"""Move pixels of a picture: as a whole, or bent about a point. Knows no face and no label."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from roi_cls.classifier.augmentation.blob import Blob, Point, Window, enclose
from roi_cls.roi.image import Image

Matrix = NDArray[np.float64]
"""(2, 3) affine map of points: where a pixel goes."""


@dataclass(frozen=True, slots=True, eq=False)
class Bend:
    """The result of a local warp."""

    pixels: Image
    """Of the window alone."""
    reach: Blob
    """How strongly it acts: 1 in the middle, 0 from the rim on."""


def about(center: Point, turn: float, scale: float, shift: Point) -> Matrix:
    """Return the map that turns by ``turn`` degrees and scales about a point, then shifts."""
    matrix = np.asarray(cv2.getRotationMatrix2D(center, turn, scale), dtype=np.float64)
    matrix[:, 2] += shift
    return matrix


def reflect(point: Point, across: Point) -> Matrix:
    """Return the map that mirrors at the line through a point, perpendicular to a direction."""
    length = math.hypot(*across)
    normal = np.divide(across, length) if length else np.array([1.0, 0.0])
    linear = np.eye(2) - 2 * np.outer(normal, normal)
    return np.column_stack([linear, np.subtract(point, linear @ point)])


def move_picture(picture: Image, matrix: Matrix, window: Window) -> Image:
    """Return what lies in the window once the picture is moved; beyond its edge it is mirrored."""
    local = matrix.copy()
    local[:, 2] -= (window.left, window.top)
    moved = cv2.warpAffine(
        picture,
        local,
        (window.width, window.height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    return np.asarray(moved, dtype=np.uint8)


def bend(picture: Image, center: Point, radius: float, rng: np.random.Generator) -> Bend:
    """Return a disc of the picture swirled, pinched, bulged or rippled at random.

    Args:
        picture: (S, S, 3) uint8.
        center: Of the disc, pixels.
        radius: Of the disc, pixels.
        rng: Source of the kind and its strength.
    """
    low, high = np.subtract(center, radius), np.add(center, radius)
    window = enclose((low[0], low[1]), (high[0], high[1]), len(picture))
    dx = np.arange(window.left, window.right, dtype=np.float32)[None] - np.float32(center[0])
    dy = np.arange(window.top, window.bottom, dtype=np.float32)[:, None] - np.float32(center[1])
    inside = np.clip(1 - np.sqrt(dx * dx + dy * dy) / np.float32(radius), 0, 1)
    reach = inside * inside * (3 - 2 * inside)
    kind = (_swirl, _squeeze, _ripple)[rng.integers(3)]
    from_x, from_y = kind(dx, dy, reach, radius, rng)
    bent = cv2.remap(
        picture,
        from_x + np.float32(center[0]),
        from_y + np.float32(center[1]),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    return Bend(np.asarray(bent, dtype=np.uint8), Blob(window, reach))


_Plane = NDArray[np.float32]


def _swirl(
    dx: _Plane, dy: _Plane, reach: _Plane, radius: float, rng: np.random.Generator
) -> tuple[_Plane, _Plane]:
    """Return where each pixel comes from: its place turned about the centre."""
    angle = reach * np.float32(_signed(rng, 0.6, 2.5))
    cos, sin = np.cos(angle), np.sin(angle)
    return dx * cos - dy * sin, dx * sin + dy * cos


def _squeeze(
    dx: _Plane, dy: _Plane, reach: _Plane, radius: float, rng: np.random.Generator
) -> tuple[_Plane, _Plane]:
    """Return where each pixel comes from: further out (pinched) or further in (bulged)."""
    factor = np.exp(reach * np.float32(_signed(rng, 0.4, 1.0)))
    return dx * factor, dy * factor


def _ripple(
    dx: _Plane, dy: _Plane, reach: _Plane, radius: float, rng: np.random.Generator
) -> tuple[_Plane, _Plane]:
    """Return where each pixel comes from: a random smooth way off (Simard et al. 2003)."""
    cells = rng.normal(0, rng.uniform(0.15, 0.4) * radius, (*rng.integers(4, 9, 2), 2))
    height, width = reach.shape
    smooth = cv2.resize(cells.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    way = np.asarray(smooth, dtype=np.float32) * reach[..., None]
    return dx + way[..., 0], dy + way[..., 1]


def _signed(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high) * rng.choice((-1, 1)))
