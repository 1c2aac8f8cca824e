"""From a person's own coordinates to canvas pixels: place, size, turn and tilt of the head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from roi_cls.data.demo.appearance import Appearance
from roi_cls.data.demo.canvas import Canvas, Colour, Mask, Points, rotate, shift

_NECK_Y = 1.45  # the head tilts about this point of the neck


@dataclass(frozen=True, slots=True)
class Pen:
    """Paints shapes given in half face widths from the face's centre, y downwards."""

    canvas: Canvas
    person: Appearance
    x: float
    """Column of the face's centre in the canvas, when the head is not tilted."""
    y: float
    """Row of the face's centre in the canvas, when the head is not tilted."""
    unit: float
    """Pixels in half a face width."""

    def turn(self, points: Points, depth: float = 0.0) -> Points:
        """Return points of the front of the face where the turned head shows them.

        Args:
            points: On a head that looks straight ahead; beyond the face they stay beyond it.
            depth: How far they stand out of the face (a nose's tip), in half face widths.
        """
        x, y = points[:, 0], points[:, 1]
        inside = np.clip(x, -1, 1)
        turned = np.sin(np.arcsin(inside) + self.person.yaw * np.cos(np.arcsin(inside)) ** 0.5)
        x = x - inside + turned + depth * np.sin(self.person.yaw)
        y = y + self.person.pitch * (1 - np.clip(np.abs(y) / 1.4, 0, 1) ** 2) * (1 + depth)
        return np.stack([x, y], axis=1)

    def head_pixels(self, points: Points) -> Points:
        """Return pixels of points that tilt with the head."""
        tilted = shift(rotate(shift(points, 0, -_NECK_Y), self.person.roll), 0, _NECK_Y)
        return tilted * self.unit + (self.x, self.y)

    def mask(self, points: Points, *, soft: float = 0.0) -> Mask | None:
        """Return what a polygon of the head covers; ``soft`` is in half face widths."""
        return self.canvas.mask(self.head_pixels(points), soft=soft * self.unit)

    def fill(
        self,
        points: Points,
        colour: Colour,
        opacity: float = 1.0,
        *,
        soft: float = 0.0,
        within: Mask | None = None,
    ) -> None:
        """Fill a polygon of the head."""
        self.canvas.paint(self.mask(points, soft=soft), colour, opacity, within)

    def stroke(
        self,
        points: Points,
        colour: Colour,
        width: float,
        opacity: float = 1.0,
        *,
        soft: float = 0.0,
        within: Mask | None = None,
    ) -> None:
        """Draw an open line of the head, ``width`` half face widths wide."""
        mask = self.canvas.mask(
            self.head_pixels(points), soft=soft * self.unit, line_px=width * self.unit
        )
        self.canvas.paint(mask, colour, opacity, within)

    def fill_body(
        self, points: Points, colour: Colour, opacity: float = 1.0, *, soft: float = 0.0
    ) -> None:
        """Fill a polygon that does not tilt with the head."""
        pixels = points * self.unit + (self.x, self.y)
        self.canvas.paint(self.canvas.mask(pixels, soft=soft * self.unit), colour, opacity)

    def stroke_body(
        self,
        points: Points,
        colour: Colour,
        width: float,
        opacity: float = 1.0,
        *,
        soft: float = 0.0,
    ) -> None:
        """Draw an open line that does not tilt with the head."""
        pixels = points * self.unit + (self.x, self.y)
        mask = self.canvas.mask(pixels, soft=soft * self.unit, line_px=width * self.unit)
        self.canvas.paint(mask, colour, opacity)
