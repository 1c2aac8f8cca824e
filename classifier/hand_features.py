"""Features made by hand: the outlines and the fine texture of a grey picture, as one vector.

Histograms of oriented gradients (Dalal and Triggs 2005, "Histograms of Oriented Gradients for Human
Detection") and of local binary patterns (Ojala et al. 2002, "Multiresolution Gray-Scale and
Rotation Invariant Texture Classification with Local Binary Patterns").
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from roi_cls.base.errors import TrainingError

SIDE = 128
"""Pixels to which each crop is brought: descriptors of equal length, whatever the crop's size."""
_CELL = 16  # px of a cell of gradients: 8 x 8 cells
_ORIENTATIONS = 9
_PATTERNS = ((8, 1), (16, 2))  # (points, radius in px)
_PARTS = 4  # the texture of each of 4 x 4 parts of the picture has its own histogram


def describe_pictures(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the (N, D) descriptors of (N, S, S, 3) RGB crops. Raises ``TrainingError``."""
    check_installed()
    return np.stack([_describe(picture) for picture in pixels])


def _describe(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    from skimage.feature import hog

    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    grey = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    outlines = hog(grey, _ORIENTATIONS, (_CELL, _CELL), (2, 2), block_norm="L2-Hys")
    return np.concatenate([outlines, *(_texture(grey, *pattern) for pattern in _PATTERNS)])


def _texture(grey: NDArray[np.generic], points: int, radius: int) -> NDArray[np.float64]:
    """Return the shares of each uniform pattern in each part of the picture."""
    from skimage.feature import local_binary_pattern

    find = local_binary_pattern
    codes = find(grey, points, radius, "uniform").astype(np.int64)  # type: ignore[no-untyped-call]  # its signature alone is typed
    side, count = SIDE // _PARTS, points + 2
    parts = codes.reshape(_PARTS, side, _PARTS, side).swapaxes(1, 2).reshape(_PARTS**2, -1)
    counts = [np.bincount(part, minlength=count) for part in parts]
    return np.concatenate(counts) / side**2


def check_installed() -> None:
    """Raise ``TrainingError`` where scikit-image is missing."""
    try:
        import skimage.feature  # noqa: F401  (only whether it is there)
    except ImportError as error:
        raise TrainingError(
            "Cannot compute hand-made features: scikit-image is not installed. "
            "Install it: pip install 'roi-cls[classical]'."
        ) from error
