"""Where the parts of a face lie in its crop, and places drawn by them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roi_cls.cache import CropRecord
from roi_cls.classifier.augmentation.patch import Point
from roi_cls.roi.face import KEYPOINT_NAMES, Box

_INNER = 4  # of the keypoints: the eyes, nose and mouth; then the ears
_RIM = 0.08  # share of the side within which no defect's middle lies
_FACE_SPANS = 2.35  # side of the detector's box of a face, in distances of the eyes
_CLOSE = 0.35  # share of a crop beyond the face, below which all defects are meant for the face
_MOST_BESIDE = 0.5  # of the defects of a wide crop


def crop_keypoints(record: CropRecord) -> NDArray[np.float32]:
    """Return the face's keypoints as (6, 2) x and y in pixels of the crop, in the detector's order.

    The first pixel reaches from 0 to 1, as in boxes. Points may lie outside the crop. All are NaN
    where no face was cut, or by a detector that gives other keypoints.

    Args:
        record: An ok row; of several faces, its own is meant.
    """
    count = len(KEYPOINT_NAMES)
    points = record.keypoints or ()
    if len(points) != count or record.region is None or record.size_px is None:
        return np.full((count, 2), np.nan, np.float32)
    region = Box(*record.region)
    turn = math.radians(record.angle)
    cos, sin = math.cos(turn), math.sin(turn)
    from_center = np.asarray(points, np.float64) - region.center
    levelled = from_center @ np.array([[cos, -sin], [sin, cos]])  # turned back, anticlockwise
    side = np.array([region.width, region.height])
    in_crop: NDArray[np.float64] = (levelled / side + 0.5) * record.size_px
    return in_crop.astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class FaceMap:
    """What a defect's place and size are drawn from, in pixels of the crop."""

    points: NDArray[np.float64]
    """(4, 2): the eyes, nose and mouth; (1, 2), the middle of the crop, where they are unknown."""
    ears: NDArray[np.float64]
    """(2, 2); (0, 2) where they are unknown."""
    span: float
    """About the distance of the eyes."""
    across: Point
    """Direction from one eye to the other."""
    size_px: int
    """Side of the crop."""
    beside: float = 0.0
    """Share of the defects that lie anywhere in the crop, not at the face."""

    @property
    def center(self) -> NDArray[np.float64]:
        """Mean of the points, (2,)."""
        return np.asarray(self.points.mean(axis=0), dtype=np.float64)

    @property
    def is_known(self) -> bool:
        """Whether there are keypoints."""
        return len(self.points) == _INNER

    @property
    def down(self) -> NDArray[np.float64]:
        """Direction from the forehead to the chin, (2,), of length 1."""
        x, y = self.across
        length = math.hypot(x, y)
        return np.array([-y, x]) / length if length else np.array([0.0, 1.0])

    def anywhere(self, rng: np.random.Generator) -> Point:
        """Return a point drawn evenly from the crop without its rim."""
        x, y = rng.uniform(_RIM * self.size_px, (1 - _RIM) * self.size_px, 2).tolist()
        return (x, y)

    def near(self, point: NDArray[np.float64], by: float, rng: np.random.Generator) -> Point:
        """Return a point about another, within the crop.

        Args:
            point: (2,) x and y.
            by: Standard deviation, in spans.
            rng: Source of the way off.
        """
        limits = (_RIM * self.size_px, (1 - _RIM) * self.size_px)
        x, y = np.clip(rng.normal(point, by * self.span), *limits).tolist()
        return (x, y)

    def draw(self, rng: np.random.Generator) -> Point:
        """Return a point near an eye, the nose or the mouth, else on the face, seldom anywhere."""
        draw = rng.random()
        if draw < 0.1 or self._is_beside(rng):
            return self.anywhere(rng)
        point = self.points[rng.integers(len(self.points))] if draw < 0.65 else self.center
        return self.near(point, 0.35, rng)

    def draw_at(self, rng: np.random.Generator, *, eyes: float, mouth: float, nose: float) -> Point:
        """Return a point close to a part of the face, by these shares; else anywhere about it."""
        if self._is_beside(rng):
            return self.anywhere(rng)
        draw = rng.random()
        if self.is_known and draw < eyes:
            return self.near(self.points[rng.integers(2)], 0.08, rng)
        if self.is_known and draw < eyes + mouth:
            return self.near(self.points[3], 0.12, rng)
        if self.is_known and draw < eyes + mouth + nose:
            return self.near(self.points[2], 0.2, rng)
        return self.near(self.center, 0.6, rng)

    def _is_beside(self, rng: np.random.Generator) -> bool:
        return self.beside > 0 and rng.random() < self.beside


def locate_face(
    keypoints: NDArray[np.floating], size_px: int, beside: float | None = None
) -> FaceMap:
    """Return where the face's parts are.

    Args:
        keypoints: (6, 2), see ``crop_keypoints``; where one is NaN, the face is taken to fill the
            middle.
        size_px: Side of the crop.
        beside: Share of the defects that lie anywhere in the crop, not at the face; None: 0 close
            up, about a quarter at a margin of 0.3, half where the crop is much wider than the face.
    """
    if not np.isfinite(keypoints).all():
        points, ears = np.full((1, 2), size_px / 2), np.empty((0, 2))
        span, across = 0.35 * size_px, (1.0, 0.0)
    else:
        points, ears = np.split(keypoints.astype(np.float64), [_INNER])
        (right_x, right_y), (left_x, left_y) = points[:2].tolist()
        across = (left_x - right_x, left_y - right_y)
        # Seen from the side the eyes come together; the way down to the mouth stays.
        span = max(math.hypot(*across), math.dist(points[:2].mean(axis=0), points[3]))
        span = float(np.clip(span, 0.08 * size_px, size_px))
    if beside is None:
        beyond = 1 - min(1.0, (_FACE_SPANS * span / size_px) ** 2)
        beside = min(_MOST_BESIDE, max(0.0, beyond - _CLOSE))
    return FaceMap(points, ears, span, across, size_px, beside)
