"""Clean training crops spoiled by a synthetic local defect: extra examples of the target.

Defects are general ones, made of the faces themselves or laid over them; none imitates a certain
generator's. Which there are and how often each is drawn stands in ``WAYS``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from roi_cls.classifier.augmentation import displaced, features, overlaid
from roi_cls.classifier.augmentation.face_map import FaceMap, crop_keypoints, locate_face
from roi_cls.classifier.augmentation.patch import Drawn, Window
from roi_cls.data.crops import CropArray
from roi_cls.roi.image import Image

VISIBLE = 5
"""Least change of a pixel within the mask: mean of the channels and near pixels, of 255."""
STRIKING = 10
"""The same, where a defect is certainly seen."""
STRIKING_SHARE = 0.0005
"""Of the crop's pixels that must change so much: 25 at 224 px."""
TRIES = 6
"""Draws until a defect is striking; on plain colours few are."""
LEAST_SHARE = 0.0012
"""Of the crop's pixels that must change visibly for the label to change: 60 at 224 px."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to spoil a crop."""

    name: str
    draw: Callable[[Image, Image, FaceMap, np.random.Generator], Drawn]
    """From the crop, another face's crop, where the face's parts are, and what is random."""
    share: float
    """How often it is drawn close up; all shares sum up to 1."""
    share_beside: float = 0.0
    """How often of the defects that may lie beside the face; these sum up to 1, too."""


WAYS = (
    # Parts of faces where they do not belong, after Shiohara and Yamasaki 2022.
    Way("blended face", displaced.blend_face, 0.04),
    Way("bent", displaced.bend_part, 0.09),
    Way("copied", displaced.copy_part, 0.08, 0.08),
    Way("turned", displaced.turn_part, 0.03),
    Way("mirrored", displaced.mirror_part, 0.03),
    Way("another's", displaced.take_part, 0.05, 0.05),
    Way("pushed", features.push, 0.17),
    Way("feature too many", features.copy_feature, 0.11, 0.24),
    Way("gaze", features.move_iris, 0.09),
    Way("unlike eye", features.alter_eye, 0.05),
    Way("covered", overlaid.cover, 0.11, 0.16),
    Way("marked", overlaid.mark, 0.07, 0.4),
    Way("smeared", overlaid.smear, 0.05, 0.04),
    Way("flat", overlaid.flatten, 0.03, 0.03),
)


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
    """Gives a share of the pictures that are not of the target a defect, see ``spoil``."""

    def __init__(
        self, crops: CropArray, target_index: int, share: float, beside: float | None = None
    ) -> None:
        self._pixels = crops.by_view[0]
        self._is_clean = crops.labels != target_index
        self._clean = np.flatnonzero(self._is_clean)
        self._keypoints = np.stack([crop_keypoints(record) for record in crops.records])
        self._share = share
        self._beside = beside

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
        crop, keypoints = self._pixels[row], self._keypoints[row]
        changed = spoil(crop, keypoints, self._pixels[other], random, beside=self._beside)
        return changed.pixels, changed.mask


@dataclass(frozen=True, slots=True, eq=False)
class SpoiledCrop:
    """A crop with one local defect."""

    pixels: Image
    """(S, S, 3)."""
    mask: NDArray[np.float32]
    """(S, S): 1 where it was visibly changed, else 0. All 0 where too little of it can be seen for
    the crop to be anything but a clean one."""
    way: str
    """The name of the way it was spoiled, of ``WAYS``."""


def spoil(
    crop: Image,
    keypoints: NDArray[np.floating],
    other: Image,
    rng: np.random.Generator,
    ways: tuple[Way, ...] = WAYS,
    beside: float | None = None,
) -> SpoiledCrop:
    """Return the crop with one local defect.

    Args:
        crop: (S, S, 3) uint8, a clean face; it is not written to. S is 32 or more.
        keypoints: (6, 2) of the face in pixels of the crop, see ``crop_keypoints``; where one is
            NaN, the face is taken to fill the middle.
        other: (S, S, 3) uint8, the crop of another clean face.
        rng: All that is random comes from it.
        ways: Those that are drawn from, by their shares.
        beside: Share of the defects that lie anywhere in the crop, see ``locate_face``.
    """
    size_px = len(crop)
    face = locate_face(keypoints, size_px, beside)
    best = _draw_change(crop, other, face, rng, ways)
    for _ in range(TRIES - 1):
        if best.striking_px >= STRIKING_SHARE * size_px**2:
            break
        again = _draw_change(crop, other, face, rng, ways)
        best = max(best, again, key=lambda change: change.striking_px)
    changed, mask = crop.copy(), np.zeros((size_px, size_px), np.float32)
    changed[best.window.slices] = best.pixels
    is_seen = best.strength >= VISIBLE
    if np.count_nonzero(is_seen) >= max(1.0, LEAST_SHARE * size_px**2):
        mask[best.window.slices] = is_seen
    return SpoiledCrop(changed, mask, best.way)


@dataclass(frozen=True, slots=True, eq=False)
class _Change:
    """A window of the crop with a defect in it."""

    way: str
    window: Window
    pixels: Image
    strength: NDArray[np.uint8]
    """(height, width) of the window: how much each pixel and its neighbours changed."""

    @property
    def striking_px(self) -> int:
        """How many pixels have clearly changed."""
        return int(np.count_nonzero(self.strength >= STRIKING))


def _draw_change(
    crop: Image, other: Image, face: FaceMap, rng: np.random.Generator, ways: tuple[Way, ...]
) -> _Change:
    beside = face.beside
    shares = np.array([(1 - beside) * way.share + beside * way.share_beside for way in ways])
    way = ways[rng.choice(len(ways), p=shares / shares.sum())]
    window, pixels = way.draw(crop, other, face, rng)
    strength = _measure_change(crop[window.slices], pixels, len(crop))
    return _Change(way.name, window, pixels, strength)


def _measure_change(before: Image, after: Image, size_px: int) -> NDArray[np.uint8]:
    mean = np.full((1, 3), 1 / 3, np.float32)
    difference = cv2.transform(cv2.absdiff(before, after), mean)
    # Where a change passes through zero between two pixels, it is one change.
    smooth = cv2.GaussianBlur(difference, (0, 0), max(1.0, 0.01 * size_px))
    return np.asarray(smooth, dtype=np.uint8)
