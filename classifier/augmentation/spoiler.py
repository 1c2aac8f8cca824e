"""Clean training crops spoiled as they are drawn: extra examples of the target.

Also where a face's keypoints lie in its crop, which the spoiling goes by.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from roi_cls.cache import CropRecord
from roi_cls.classifier.augmentation.self_blend import blend
from roi_cls.data.crops import CropArray
from roi_cls.roi.face import KEYPOINT_NAMES, Box


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
