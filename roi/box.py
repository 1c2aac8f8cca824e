"""Boxes in pixels of a picture. Knows geometry only."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the upright picture; right and bottom are exclusive.

    A box may reach beyond the picture.
    """

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, self.xyxy)):
            raise ValueError(f"Box must be finite, got {self.xyxy}")
        if self.right <= self.left or self.bottom <= self.top:
            raise ValueError(f"Box must have positive area, got {self.xyxy}")

    @property
    def xyxy(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom in pixels."""
        return (self.left, self.top, self.right, self.bottom)

    @property
    def width(self) -> float:
        """Width in pixels."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Height in pixels."""
        return self.bottom - self.top

    @property
    def area(self) -> float:
        """Area in square pixels."""
        return self.width * self.height

    @property
    def center(self) -> tuple[float, float]:
        """Centre as (x, y) in pixels."""
        return ((self.left + self.right) / 2, (self.top + self.bottom) / 2)

    def expand(self, margin: float) -> Box:
        """Return the box grown on every side by ``margin`` times its own width and height."""
        dx, dy = margin * self.width, margin * self.height
        return Box(self.left - dx, self.top - dy, self.right + dx, self.bottom + dy)

    def square(self) -> Box:
        """Return the smallest square that holds the box and has the same centre."""
        x, y = self.center
        half = max(self.width, self.height) / 2
        return Box(x - half, y - half, x + half, y + half)

    def iou(self, other: Box) -> float:
        """Return intersection over union with ``other``, 0 to 1."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        if width <= 0 or height <= 0:
            return 0.0
        both = width * height
        return both / (self.area + other.area - both)
