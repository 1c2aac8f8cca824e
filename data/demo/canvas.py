"""A sheet to paint soft shapes on, and the curves to paint. Knows no face and no label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""(n, 2) coordinates, x before y."""
Planes = NDArray[np.float32]
"""(channels, height, width) colour values, 0 to 255. Channels first: painting is thrice as fast."""
Colour = tuple[float, float, float]
"""Red, green, blue, 0 to 255."""

_SHIFT = 4  # cv2's fixed-point coordinates: 1/16 px
_STEPS = 8  # straight pieces a curve is drawn with, between two of its points


def tint(colour: Colour, *factors: float) -> Colour:
    """Return ``colour`` scaled by one factor, or by one for each channel; clipped to 0..255."""
    red, green, blue = np.clip(np.multiply(colour, factors), 0, 255).tolist()
    return (red, green, blue)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Return the colour between two: ``share`` 0 gives the first, 1 the second."""
    red, green, blue = (np.multiply(first, 1 - share) + np.multiply(second, share)).tolist()
    return (red, green, blue)


def ellipse(x: float, y: float, half_width: float, half_height: float, turn: float = 0.0) -> Points:
    """Return the outline of an ellipse about (x, y), rotated by ``turn`` radians."""
    angles = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    local = np.stack([half_width * np.cos(angles), half_height * np.sin(angles)], axis=1)
    return shift(rotate(local, turn), x, y)


def rotate(points: Points, turn: float) -> Points:
    """Return the points rotated about (0, 0) by ``turn`` radians, clockwise on screen."""
    cos, sin = np.cos(turn), np.sin(turn)
    turned: Points = points @ np.array([[cos, sin], [-sin, cos]])
    return turned


def shift(points: Points, x: float, y: float) -> Points:
    """Return the points moved by (x, y)."""
    moved: Points = points + np.array([x, y])
    return moved


def curve(points: Sequence[tuple[float, float]] | Points, *, closed: bool = True) -> Points:
    """Return a smooth line through the points (Catmull-Rom).

    A closed line does not repeat its first point.
    """
    knots = np.asarray(points, np.float64)
    ends = (knots[-1:], knots[:2]) if closed else (knots[:1], knots[-1:])
    knots = np.concatenate([ends[0], knots, ends[1]])
    t = np.linspace(0, 1, _STEPS, endpoint=False)[None, :, None]  # (1, steps, 1)
    a, b, c, d = (knots[i : len(knots) - 3 + i, None, :] for i in range(4))  # (n, 1, 2) each
    cubic = (3 * b - a - 3 * c + d) * t**3 + (2 * a - 5 * b + 4 * c - d) * t**2
    line: Points = (b + 0.5 * (cubic + (c - a) * t)).reshape(-1, 2)
    return line if closed else np.concatenate([line, knots[-1:]])


@dataclass(frozen=True, slots=True)
class Mask:
    """How much of each pixel a shape covers, in the rectangle that holds the shape."""

    left: int
    """Column of the rectangle's first pixel in the canvas."""
    top: int
    """Row of the rectangle's first pixel in the canvas."""
    cover: NDArray[np.float32]
    """(height, width), 0 to 1."""

    def times(self, other: Mask) -> Mask | None:
        """Return the part that both cover, or None where their rectangles do not meet."""
        left, top = max(self.left, other.left), max(self.top, other.top)
        right = min(self.left + self.cover.shape[1], other.left + other.cover.shape[1])
        bottom = min(self.top + self.cover.shape[0], other.top + other.cover.shape[0])
        if right <= left or bottom <= top:
            return None
        mine, theirs = (
            mask.cover[top - mask.top : bottom - mask.top, left - mask.left : right - mask.left]
            for mask in (self, other)
        )
        return Mask(left, top, mine * theirs)


class Canvas:
    """A sheet that starts transparent, or as a picture, and takes one shape after another."""

    def __init__(self, planes: Planes) -> None:
        """Paint on ``planes`` in place: RGB, or RGBA with the colour multiplied by the alpha."""
        self.planes = planes

    @classmethod
    def transparent(cls, height: int, width: int) -> Canvas:
        """Return an empty RGBA sheet."""
        return cls(np.zeros((4, height, width), np.float32))

    def mask(
        self, points: Points, *, soft: float = 0.0, line_px: float | None = None
    ) -> Mask | None:
        """Return what a polygon covers, or None where it lies beside the canvas.

        Args:
            points: In pixels, may leave the canvas.
            soft: Standard deviation of the blur of its edge, in pixels.
            line_px: Draw the open line through the points, this wide, in place of the polygon.
        """
        pad = 2 + int(np.ceil(2.5 * soft + (line_px or 0) / 2))
        height, width = self.planes.shape[1:]
        left, top = np.maximum(np.floor(points.min(axis=0)).astype(int) - pad, 0).tolist()
        right, bottom = np.minimum(
            np.ceil(points.max(axis=0)).astype(int) + pad, (width, height)
        ).tolist()
        if right <= left or bottom <= top:
            return None
        # A wide blur needs no fine drawing, and is many times faster on a coarse one.
        coarse = max(1, int(soft / 3))
        size = (-(-(right - left) // coarse), -(-(bottom - top) // coarse))
        cover = np.zeros((size[1], size[0]), np.uint8)
        fixed = np.round(((points - (left, top) + 0.5) / coarse - 0.5) * 2**_SHIFT)
        strength = 255
        if line_px is None:
            cv2.fillPoly(cover, [fixed.astype(np.int32)], strength, cv2.LINE_AA, _SHIFT)
        else:
            wide = line_px / coarse
            strength = round(255 * min(1, wide))  # nothing is drawn thinner than a pixel: fainter
            shape, thick = [fixed.astype(np.int32)], max(1, round(wide))
            cv2.polylines(cover, shape, False, strength, thick, cv2.LINE_AA, _SHIFT)
        if soft > 0.3:
            cover = cv2.GaussianBlur(cover, (0, 0), soft / coarse).astype(np.uint8, copy=False)
        share = cover.astype(np.float32)
        if coarse > 1:
            whole = (size[0] * coarse, size[1] * coarse)
            share = cv2.resize(share, whole).astype(np.float32, copy=False)
        return Mask(left, top, share[: bottom - top, : right - left] * np.float32(1 / 255))

    def paint(
        self, mask: Mask | None, colour: Colour, opacity: float = 1.0, within: Mask | None = None
    ) -> None:
        """Lay ``colour`` over what ``mask`` (and ``within``, if given) covers."""
        if mask is not None and within is not None:
            mask = mask.times(within)
        if mask is None:
            return
        height, width = mask.cover.shape
        part = self.planes[:, mask.top : mask.top + height, mask.left : mask.left + width]
        share = mask.cover * np.float32(opacity)
        rest = 1 - share
        for plane, full in zip(part, (*colour, 255), strict=False):  # 255: the alpha, if any
            plane *= rest
            plane += share * np.float32(full)
