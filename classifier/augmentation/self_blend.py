"""Clean training crops spoiled by a defect made from faces alone: extra examples of the target.

Where a face's keypoints lie in its crop says where a defect may be.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from roi_cls.cache import CropRecord
from roi_cls.classifier.augmentation.patch import (
    Blob,
    Matrix,
    Point,
    Window,
    about,
    bend,
    draw_blob,
    move_picture,
    recolour,
    reflect,
    retexture,
)
from roi_cls.data.crops import CropArray
from roi_cls.roi.face import KEYPOINT_NAMES, Box
from roi_cls.roi.image import Image

VISIBLE = 5
"""Least change of a pixel within the mask: mean of the channels and near pixels, of 255."""
STRIKING = 10
"""The same, where a defect is certainly seen."""
STRIKING_SHARE = 0.0005
"""Of the crop's pixels that must change so much: 25 at 224 px."""
TRIES = 6
"""Draws until a defect is striking; on plain colours few are."""


@dataclass(frozen=True, slots=True, eq=False)
class Spoiled:
    """The spoiled pictures of a batch."""

    places: NDArray[np.int64]
    """(n,) which pictures of the batch they are."""
    crops: NDArray[np.uint8]
    """(n, S, S, 3), of the first view."""
    masks: NDArray[np.float32]
    """(n, S, S), 1 where they were changed."""


class Spoiler:
    """Gives a share of the pictures that are not of the target a defect by ``self_blend``."""

    def __init__(self, crops: CropArray, target_index: int, share: float) -> None:
        self._pixels = crops.by_view[0]
        self._is_clean = crops.labels != target_index
        self._clean = np.flatnonzero(self._is_clean)
        self._keypoints = np.stack([crop_keypoints(record) for record in crops.records])
        self._share = share

    def draw(self, rows: NDArray[np.int64]) -> Spoiled:
        """Return the spoiled ones of the pictures at ``rows``, drawn anew each time.

        Seeded from torch's global generator. One takes 2.7 ms at 256 px; threads do not help, the
        parts are small and Python's lock is held between them.
        """
        chosen = (torch.rand(len(rows)) < self._share).numpy() & self._is_clean[rows]
        places = np.flatnonzero(chosen)
        others = self._clean[torch.randint(len(self._clean), (len(places),)).numpy()]
        seeds = torch.randint(2**62, (len(places),)).tolist()
        changed = [
            self._spoil(row, other, seed)
            for row, other, seed in zip(rows[places], others, seeds, strict=True)
        ]
        # What nobody can see to be changed is still clean.
        is_seen = np.array([mask.any() for _, mask in changed], np.bool_)
        places, changed = places[is_seen], list(itertools.compress(changed, is_seen))
        size_px = self._pixels.shape[1]
        return Spoiled(
            places,
            np.array([crop for crop, _ in changed], np.uint8).reshape(-1, size_px, size_px, 3),
            np.array([mask for _, mask in changed], np.float32).reshape(-1, size_px, size_px),
        )

    def _spoil(
        self, row: int, other: int, seed: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        random = np.random.default_rng(seed)
        return blend(self._pixels[row], self._keypoints[row], self._pixels[other], random)


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


def blend(
    crop: Image, keypoints: NDArray[np.floating], other: Image, rng: np.random.Generator
) -> tuple[Image, NDArray[np.float32]]:
    """Return the crop with one local defect, and where it was visibly changed.

    Args:
        crop: (S, S, 3) uint8, a clean face; it is not written to. S is 32 or more.
        keypoints: (6, 2) of the face in pixels of the crop, see ``crop_keypoints``; where one is
            NaN, the face is taken to fill the middle.
        other: (S, S, 3) uint8, the crop of another clean face.
        rng: All that is random comes from it.

    Returns:
        The changed crop and an (S, S) mask: 1 where it was changed, else 0. All 0 only where
        nothing can be seen to change: take such a crop for a clean one.
    """
    size_px = len(crop)
    face = _locate_face(keypoints, size_px)
    best = _spoil(crop, other, face, rng)
    for _ in range(TRIES - 1):
        if best.striking_px >= STRIKING_SHARE * size_px**2:
            break
        best = max(best, _spoil(crop, other, face, rng), key=lambda change: change.striking_px)
    changed, mask = crop.copy(), np.zeros((size_px, size_px), np.float32)
    changed[best.window.slices] = best.pixels
    mask[best.window.slices] = best.strength >= VISIBLE
    return changed, mask


@dataclass(frozen=True, slots=True, eq=False)
class _Face:
    """What a defect's place and size are drawn from, in pixels of the crop."""

    points: NDArray[np.float64]
    """(n, 2): the eyes, nose and mouth, or the middle of the crop alone."""
    span: float
    """About the distance of the eyes."""
    across: Point
    """Direction from one eye to the other."""

    @property
    def center(self) -> NDArray[np.float64]:
        """Mean of the points, (2,)."""
        return np.asarray(self.points.mean(axis=0), dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class _Change:
    """A window of the crop with a defect in it."""

    window: Window
    pixels: Image
    strength: NDArray[np.uint8]
    """(height, width) of the window: how much each pixel and its neighbours changed."""

    @property
    def striking_px(self) -> int:
        """How many pixels have clearly changed."""
        return int(np.count_nonzero(self.strength >= STRIKING))


def _locate_face(keypoints: NDArray[np.floating], size_px: int) -> _Face:
    if not np.isfinite(keypoints).all():
        return _Face(np.full((1, 2), size_px / 2), 0.35 * size_px, (1.0, 0.0))
    points = keypoints[:4].astype(np.float64)
    (right_x, right_y), (left_x, left_y) = points[:2].tolist()
    across = (left_x - right_x, left_y - right_y)
    # Seen from the side the eyes come together; the way down to the mouth stays.
    span = max(math.hypot(*across), math.dist(points[:2].mean(axis=0), points[3]))
    return _Face(points, float(np.clip(span, 0.08 * size_px, size_px)), across)


def _spoil(crop: Image, other: Image, face: _Face, rng: np.random.Generator) -> _Change:
    """Return one defect, drawn by ``_WAYS`` and their shares."""
    shares = [share for _, share in _WAYS]
    way = _WAYS[rng.choice(len(_WAYS), p=shares)][0]
    window, pixels = way(crop, other, face, rng)
    return _Change(window, pixels, _measure_change(crop[window.slices], pixels, len(crop)))


def _measure_change(before: Image, after: Image, size_px: int) -> NDArray[np.uint8]:
    mean = np.full((1, 3), 1 / 3, np.float32)
    difference = cv2.transform(cv2.absdiff(before, after), mean)
    # Where a change passes through zero between two pixels, it is one change.
    smooth = cv2.GaussianBlur(difference, (0, 0), max(1.0, 0.01 * size_px))
    return np.asarray(smooth, dtype=np.uint8)


_Drawn = tuple[Window, Image]


def _blend_face(crop: Image, other: Image, face: _Face, rng: np.random.Generator) -> _Drawn:
    """Lay the face over itself, in other colours or texture and slightly moved."""
    size_px, center = len(crop), _jitter(face.center, 0.1 * face.span, len(crop), rng)
    radius = face.span * rng.uniform(0.7, 1.3)
    blob = draw_blob(center, radius, _draw_blur(face, rng), size_px, rng)
    shift = rng.uniform(-0.03, 0.03, 2) * size_px
    matrix = about(center, rng.uniform(-4, 4), _factor(0.05, rng), (shift[0], shift[1]))
    patch = recolour(move_picture(crop, matrix, blob.window), _draw_strength(rng), rng)
    if rng.random() < 0.7:
        patch = retexture(patch, size_px, rng)
    return blob.window, _lay(crop, patch, blob, _draw_opacity(rng))


def _bend_part(crop: Image, other: Image, face: _Face, rng: np.random.Generator) -> _Drawn:
    """Warp a disc, now and then with other texture where it is warped most."""
    center = _draw_place(face, len(crop), rng)
    bent = bend(crop, center, max(3.0, face.span * rng.uniform(0.35, 0.9)), rng)
    window, pixels = bent.reach.window, bent.pixels
    if rng.random() < 0.3:
        touched, weight = retexture(pixels, len(crop), rng), np.sqrt(bent.reach.alpha)
        pixels = np.asarray(cv2.blendLinear(touched, pixels, weight, 1 - weight), dtype=np.uint8)
    return window, pixels


def _copy_part(crop: Image, other: Image, face: _Face, rng: np.random.Generator) -> _Drawn:
    """Put a part of the crop where another belongs."""
    center, blob = _draw_part(crop, face, rng)
    angle, way = rng.uniform(0, 2 * math.pi), face.span * rng.uniform(0.25, 1.2)
    shift = (way * math.cos(angle), way * math.sin(angle))
    matrix = about(center, rng.uniform(-25, 25), _factor(0.2, rng), shift)
    return _paste(crop, crop, matrix, blob, rng)


def _turn_part(crop: Image, other: Image, face: _Face, rng: np.random.Generator) -> _Drawn:
    """Turn a part about itself."""
    center, blob = _draw_part(crop, face, rng)
    shift = rng.normal(0, 0.05 * face.span, 2)
    angle = rng.uniform(8, 45) * rng.choice((-1, 1))
    matrix = about(center, angle, _factor(0.25, rng), (shift[0], shift[1]))
    return _paste(crop, crop, matrix, blob, rng)


def _mirror_part(crop: Image, other: Image, face: _Face, rng: np.random.Generator) -> _Drawn:
    """Put a part of one half of the face, mirrored, on the other."""
    _, blob = _draw_part(crop, face, rng)
    # Not quite in its place: a level, even face would show nothing.
    x, y = rng.normal(face.points[:2].mean(axis=0), 0.05 * face.span).tolist()
    matrix = reflect((x, y), face.across)
    return _paste(crop, crop, matrix, blob, rng)


def _take_part(crop: Image, other: Image, face: _Face, rng: np.random.Generator) -> _Drawn:
    """Put a part of another face in, from anywhere and turned in any way."""
    _, blob = _draw_part(crop, face, rng)
    size_px = len(crop)
    shift = rng.uniform(-0.3, 0.3, 2) * size_px
    middle = (size_px / 2, size_px / 2)
    matrix = about(middle, rng.uniform(-180, 180), _factor(0.4, rng), (shift[0], shift[1]))
    return _paste(crop, other, matrix, blob, rng)


_WAYS: tuple[tuple[Callable[[Image, Image, _Face, np.random.Generator], _Drawn], float], ...] = (
    (_blend_face, 0.15),
    (_bend_part, 0.3),
    (_copy_part, 0.2),
    (_turn_part, 0.13),
    (_mirror_part, 0.1),
    (_take_part, 0.12),
)
"""Each way to spoil a crop and its share."""


def _draw_part(crop: Image, face: _Face, rng: np.random.Generator) -> tuple[Point, Blob]:
    """Return a place and a shape of an eye's or a mouth's size there."""
    center = _draw_place(face, len(crop), rng)
    radius = max(2.0, face.span * math.exp(rng.uniform(math.log(0.18), math.log(0.6))))
    return center, draw_blob(center, radius, _draw_blur(face, rng), len(crop), rng)


def _draw_place(face: _Face, size_px: int, rng: np.random.Generator) -> Point:
    """Return a point near an eye, the nose or the mouth, else on the face, seldom anywhere."""
    draw = rng.random()
    if draw < 0.1:
        x, y = rng.uniform(0.08 * size_px, 0.92 * size_px, 2).tolist()
        return (x, y)
    point = face.points[rng.integers(len(face.points))] if draw < 0.65 else face.center
    return _jitter(point, 0.35 * face.span, size_px, rng)


def _jitter(point: NDArray[np.float64], by: float, size_px: int, rng: np.random.Generator) -> Point:
    x, y = np.clip(rng.normal(point, by), 0.08 * size_px, 0.92 * size_px).tolist()
    return (x, y)


def _draw_blur(face: _Face, rng: np.random.Generator) -> float:
    return max(0.6, face.span * math.exp(rng.uniform(math.log(0.01), math.log(0.15))))


def _draw_strength(rng: np.random.Generator) -> float:
    return math.exp(rng.uniform(math.log(0.3), 0))


def _draw_opacity(rng: np.random.Generator) -> float:
    return float(rng.choice((0.5, 0.75, 1, 1, 1)))


def _factor(largest: float, rng: np.random.Generator) -> float:
    return math.exp(rng.uniform(-largest, largest))


def _paste(
    crop: Image, source: Image, matrix: Matrix, blob: Blob, rng: np.random.Generator
) -> _Drawn:
    """Lay the moved source over the crop within the blob, maybe in other texture and colours."""
    patch = move_picture(source, matrix, blob.window)
    if rng.random() < 0.5:
        patch = retexture(patch, len(crop), rng)
    if rng.random() < 0.5:
        patch = recolour(patch, _draw_strength(rng), rng)
    if rng.random() < 0.2:
        return blob.window, _merge(crop, patch, blob)
    return blob.window, _lay(crop, patch, blob, _draw_opacity(rng))


def _lay(crop: Image, patch: Image, blob: Blob, opacity: float) -> Image:
    weight = blob.alpha * np.float32(opacity)
    below = crop[blob.window.slices]
    return np.asarray(cv2.blendLinear(patch, below, weight, 1 - weight), dtype=np.uint8)


def _merge(crop: Image, patch: Image, blob: Blob) -> Image:
    """Return the patch's gradients in the crop's tones (Pérez et al. 2003): no seam is left."""
    below = np.ascontiguousarray(crop[blob.window.slices])
    inside = np.zeros(blob.alpha.shape, np.uint8)
    inside[1:-1, 1:-1] = 255 * (blob.alpha[1:-1, 1:-1] > 0.5)  # off the rim: it is held fixed
    left, top, width, height = cv2.boundingRect(inside)
    if min(width, height) < 8:  # too small for the solver's own rim
        return _lay(crop, patch, blob, 1)
    middle = (left + width // 2, top + height // 2)
    merged = cv2.seamlessClone(patch, below, inside, middle, cv2.NORMAL_CLONE)
    return np.asarray(merged, dtype=np.uint8)
