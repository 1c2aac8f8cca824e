"""What a picture looks like in 1 KB: perceptual hashes and a small grey picture. Knows no label.

Of the whole picture and not of its crop, so that a data set is split alike whatever the recipe.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from roi_cls.base.errors import ImageReadError
from roi_cls.roi.image import read_bytes
from roi_cls.roi.image_header import MAX_PIXELS
from roi_cls.roi.picture import FACTORS, Picture

VERSION = 1
"""Raised whenever the same picture gets another fingerprint; kept ones are then taken anew."""
SIDE_PX = 32
"""Of the grey picture."""
ZOOMS = (0.0, 0.04, 0.08)
"""Shares of the sides cut away before hashing: one hash each, so that trimmed copies are found."""
VIEWS = len(ZOOMS) + 1
"""Hashes of a picture: one per zoom, and that of its mirror image."""
_SOURCE_PX = 128
_BYTES = 8 * VIEWS + SIDE_PX * SIDE_PX


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprint:
    """Pictures that look alike have fingerprints that lie close."""

    hashes: NDArray[np.uint64]
    """(VIEWS,) perceptual hashes of 64 bits."""
    grey: NDArray[np.uint8]
    """(SIDE_PX, SIDE_PX), whatever the picture's shape."""

    def to_bytes(self) -> bytes:
        """Return what ``from_bytes`` reads, alike on every machine."""
        return self.hashes.astype("<u8").tobytes() + self.grey.tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Fingerprint:
        """Return the fingerprint that ``to_bytes`` wrote.

        Raises:
            ValueError: ``data`` has another length.
        """
        if len(data) != _BYTES:
            raise ValueError(f"a fingerprint has {_BYTES} bytes, got {len(data)}")
        hashes = np.frombuffer(data, "<u8", VIEWS).astype(np.uint64)
        grey = np.frombuffer(data, np.uint8, offset=8 * VIEWS).reshape(SIDE_PX, SIDE_PX)
        return cls(hashes, grey)


def read_fingerprint(path: Path, max_pixels: int = MAX_PIXELS) -> Fingerprint | None:
    """Return the fingerprint of a file; None: it cannot be read, which its crop's row tells."""
    try:
        return take_fingerprint(Picture(read_bytes(path), path, max_pixels=max_pixels))
    except ImageReadError:
        return None


def take_fingerprint(picture: Picture) -> Fingerprint:
    """Return the fingerprint of a picture, decoded no larger than needed.

    Raises:
        ImageReadError: Its pixels are damaged.
    """
    shorter = min(picture.height, picture.width)
    factor = max(f for f in FACTORS if f == 1 or shorter >= f * _SOURCE_PX)
    grey = cv2.cvtColor(picture.reduced(factor), cv2.COLOR_RGB2GRAY)
    square = _shrink(grey, _SOURCE_PX)
    hashes = [_hash(_zoom(square, zoom)) for zoom in ZOOMS]
    hashes.append(_hash(np.ascontiguousarray(square[:, ::-1])))
    return Fingerprint(np.array(hashes, np.uint64), _shrink(square, SIDE_PX))


def _shrink(grey: MatLike, side: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def _zoom(square: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    cut = round(len(square) * share / 2)
    return np.ascontiguousarray(square[cut : len(square) - cut, cut : len(square) - cut])


def _hash(grey: NDArray[np.uint8]) -> int:
    # The function, since threads must not share one hasher: it works in its own buffers.
    return int.from_bytes(np.asarray(cv2.img_hash.pHash(grey), np.uint8).tobytes(), "little")
