"""Where on a crop something speaks for a class, and where that lies in the frame. Knows no model.

The frame is the upright picture at full size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from roi_cls.roi import Box, Cut
from roi_cls.roi.image import Image

Effect = NDArray[np.float32]
"""(S, S) by pixel of a crop: how much of the log-odds of a class comes from there; below 0: it
speaks against the class."""


@dataclass(frozen=True, slots=True, eq=False)
class Heat:
    """One crop with the heat of a class on it."""

    view: int
    """Index of the model's view."""
    crop: Image
    """(S, S, 3) RGB uint8."""
    cut: Cut
    """Where the crop lies in the frame."""
    heat: NDArray[np.float32]
    """(S, S), 0 to 1: what speaks for the class; at most 1 unless nothing does, then all 0."""
    effect: Effect
    """What ``heat`` was made of, signed and in its own unit."""

    @property
    def peak(self) -> tuple[float, float] | None:
        """Where the heat is greatest, (x, y) in pixels of the frame; None: there is no heat."""
        if not self.heat.any():
            return None
        top = (self.heat >= 1 - 1e-6).astype(np.uint8)
        first = np.unravel_index(int(self.heat.argmax()), self.heat.shape)
        # Where a map was enlarged, its outermost places are as warm up to the crop's border.
        islands = cv2.connectedComponents(top)[1]
        rows, columns = np.nonzero(islands == islands[first])
        x, y = self.to_frame @ (columns.mean() + 0.5, rows.mean() + 0.5, 1.0)
        return float(x), float(y)

    @property
    def to_frame(self) -> NDArray[np.float64]:
        """The (2, 3) matrix from a point (x, y, 1) of the crop to the frame, in pixels of each.

        Points lie on pixels' edges: the middle of the crop's first pixel is (0.5, 0.5).
        """
        region, side = self.cut.region, len(self.heat)
        turn = math.radians(self.cut.angle)
        cos, sin = math.cos(turn), math.sin(turn)
        scale_x, scale_y = region.width / side, region.height / side
        turned = np.array([[cos * scale_x, -sin * scale_y], [sin * scale_x, cos * scale_y]])
        start = np.array(region.center) - turned @ (side / 2, side / 2)
        return np.column_stack((turned, start))

    def share_within(self, box: Box) -> float | None:
        """Return which share of the heat lies in a box of the frame; None: there is no heat."""
        total = float(self.heat.sum())
        if not total:
            return None
        rows, columns = np.indices(self.heat.shape)
        points = np.stack((columns.ravel() + 0.5, rows.ravel() + 0.5, np.ones(self.heat.size)))
        x, y = self.to_frame @ points
        is_inside = (box.left <= x) & (x < box.right) & (box.top <= y) & (y < box.bottom)
        return float(self.heat.ravel()[is_inside].sum()) / total


def make_heat(view: int, crop: Image, cut: Cut, effect: Effect) -> Heat:
    """Return the heat of an effect: what speaks for the class, its greatest value being 1."""
    heat = np.clip(effect, 0, None)
    most = float(heat.max())
    return Heat(view, crop, cut, heat / most if most > 0 else np.zeros_like(heat), effect)


def enlarge(values: NDArray[np.float32], side: int) -> Effect:
    """Return (h, w) values of a coarse map as (side, side), smoothly."""
    large = cv2.resize(values, (side, side), interpolation=cv2.INTER_CUBIC)
    # Cubic curves overshoot: no pixel is to be warmer than the warmest place.
    return np.asarray(np.clip(large, values.min(), values.max()), np.float32)


def rank_correlation(first: Effect, second: Effect) -> float | None:
    """Return how alike two maps order the pixels, -1 to 1 (Spearman); None: one is flat."""
    from scipy.stats import spearmanr

    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(spearmanr(first.ravel(), second.ravel()).statistic)
