"""Soft shapes without a name: where a synthetic defect lies in a picture. Knows no pixel value."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]
"""x before y, pixels of the picture."""

_CORNERS = 40  # of the polygon a blob is drawn as
_SHIFT = 4  # cv2's fixed-point coordinates: 1/16 px


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a picture, in whole pixels, that a defect is confined to."""

    left: int
    top: int
    right: int
    """Exclusive."""
    bottom: int
    """Exclusive."""

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self.bottom - self.top

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns: ``picture[window.slices]``."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


@dataclass(frozen=True, slots=True, eq=False)
class Blob:
    """A shape and how much of each pixel it covers."""

    window: Window
    alpha: NDArray[np.float32]
    """(height, width) of the window, 0 to 1."""


def enclose(low: Point, high: Point, size_px: int) -> Window:
    """Return the pixels between two corners that a square picture of ``size_px`` has.

    One pixel at least, if both corners lie outside.
    """
    left, top = (int(np.clip(np.floor(v), 0, size_px - 1)) for v in low)
    right, bottom = (int(np.clip(np.ceil(v), 1, size_px)) for v in high)
    return Window(left, top, max(right, left + 1), max(bottom, top + 1))


def draw_blob(
    center: Point, radius: float, blur: float, size_px: int, rng: np.random.Generator
) -> Blob:
    """Return a random rounded shape of about the area of a circle.

    Args:
        center: In the shape, roughly its middle.
        radius: Of the circle, pixels.
        blur: Softness of the edge: standard deviation, pixels.
        size_px: Side of the picture it is for.
        rng: Source of its form.
    """
    outline = _draw_outline(radius, rng) + center
    reach = 3 * blur + 1
    low, high = outline.min(axis=0) - reach, outline.max(axis=0) + reach
    window = enclose((low[0], low[1]), (high[0], high[1]), size_px)
    alpha = np.zeros((window.height, window.width), np.float32)
    corners = np.round((outline - (window.left, window.top)) * 2**_SHIFT).astype(np.int32)
    cv2.fillPoly(alpha, [corners], 1.0, cv2.LINE_8, _SHIFT)
    soft = cv2.GaussianBlur(alpha, (0, 0), blur) if blur > 0 else alpha
    return Blob(window, np.asarray(soft, dtype=np.float32))


def _draw_outline(radius: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return (corners, 2) points about (0, 0): a stretched, turned circle with a few waves."""
    angles = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    wave = np.arange(2, 6)[:, None]
    heights = rng.normal(0, 0.35 / wave)
    phases = rng.uniform(0, 2 * np.pi, wave.shape)
    ripple = 1 + (heights * np.cos(wave * angles + phases)).sum(axis=0)
    reach = radius * np.clip(ripple, 0.3, 2)
    stretch = np.exp(rng.uniform(-0.45, 0.45))
    x, y = reach * stretch * np.cos(angles), reach / stretch * np.sin(angles)
    turn = rng.uniform(0, np.pi)
    cos, sin = np.cos(turn), np.sin(turn)
    return np.stack([x * cos - y * sin, x * sin + y * cos], axis=1)
