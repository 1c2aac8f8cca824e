"""Pictures that tests draw: their pixels, their files and what files carry besides."""

import io
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

LONG_AGO = 1_600_000_000
"""Seconds since 1970; a file as new as this second is not trusted to stay as it is."""

Pixels = NDArray[np.uint8]


def noise(*shape: int, low: int = 0, high: int = 256, seed: int = 0) -> Pixels:
    """Return random values from ``low`` to below ``high``."""
    return np.random.default_rng(seed).integers(low, high, shape, np.uint8)


def encode(
    image: Pixels | PillowImage.Image, kind: str = "PNG", mode: str | None = None, **options: Any
) -> bytes:
    """Return the file of pixels or of Pillow's picture, in a mode of Pillow's if one is given."""
    picture = image if isinstance(image, PillowImage.Image) else PillowImage.fromarray(image)
    picture = picture.convert(mode) if mode else picture
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def exif(orientation: int, maker: str = "") -> bytes:
    """Return EXIF tags; the maker's comes before the orientation."""
    tags = PillowImage.Exif()
    if maker:
        tags[0x010F] = maker
    tags[0x0112] = orientation
    return tags.tobytes()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """Return one chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def backdate(path: Path, seconds: float = LONG_AGO) -> Path:
    """Date a file back, so that it is trusted to stay as it is."""
    os.utime(path, (seconds, seconds))
    return path


def save(path: Path, image: Pixels) -> Path:
    """Write RGB pixels as a file long unchanged."""
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(image).save(path)
    return backdate(path)


def save_plain(path: Path, colour: tuple[int, int, int]) -> Path:
    """Write a picture of one RGB colour, 30 px high and 40 px wide, long unchanged."""
    return save(path, np.full((30, 40, 3), colour, np.uint8))


def save_clip(
    path: Path, frames: Sequence[Pixels] | Pixels, per_second: float = 10, codec: str = "MJPG"
) -> Path:
    """Write a video of RGB frames of one size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames[0].shape[:2]
    code = cv2.VideoWriter.fourcc(*codec)
    writer = cv2.VideoWriter(str(path), code, per_second, (width, height))
    for frame in frames:
        writer.write(frame[..., ::-1])
    writer.release()
    return path


def count_pixels(page: PillowImage.Image, colour: tuple[int, int, int]) -> int:
    """Return how many pixels of a page have a colour."""
    return int((np.asarray(page) == colour).all(axis=2).sum())
