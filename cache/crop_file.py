"""The form of a stored crop: a BMP picture, which every viewer opens and no time goes into.

Knows pixels and bytes, neither recipes nor folders. benchmarks/formats.py compares it with others.
"""

from __future__ import annotations

import cv2
import numpy as np

from roi_cls.roi.image import Image

SUFFIX = ".bmp"


def encode_crops(pixels: Image) -> bytes:
    """Return the crops as one picture, one below the other.

    Args:
        pixels: (N, size_px, size_px, 3) RGB uint8, N >= 1.
    """
    column = pixels.reshape(-1, pixels.shape[2], 3)  # (N * size_px, size_px, 3)
    return cv2.imencode(SUFFIX, cv2.cvtColor(column, cv2.COLOR_RGB2BGR))[1].tobytes()


def decode_crops(data: bytes) -> Image:
    """Return the (N, size_px, size_px, 3) RGB uint8 array that was encoded, bit for bit.

    Raises:
        ValueError: ``data`` holds no column of square crops.
    """
    column = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if column is None or column.shape[0] % column.shape[1]:
        raise ValueError("no column of square crops")
    size_px = column.shape[1]
    return np.asarray(column, np.uint8).reshape(-1, size_px, size_px, 3)
