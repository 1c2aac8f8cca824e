"""Portraits to measure speed on, 1024 px, as PNG and JPEG: drawn with a camera's noise, or real."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from roi_cls.data.demo.picture import draw_picture, place_persons
from roi_cls.data.walk import find_pictures
from roi_cls.roi.image import Image, read_image

SIDE_PX = 1024
JPEG_QUALITY = 90
NOISE = 3.0  # standard deviation of 0-255: a PNG has 1.5 MB then, as photographs of that size do


def draw_portrait(index: int) -> Image:
    """Return a (1024, 1024, 3) RGB uint8 portrait: a face of 0.35 to 0.5 of the picture's side."""
    rng = np.random.default_rng(index)
    index = _with_face(index)
    drawn = draw_picture(0, index, None)
    face = place_persons(0, index)[0].face_box
    side = min(round(face.height / rng.uniform(0.35, 0.5)), min(drawn.shape[:2]))
    x, y = face.center
    left = min(max(0, round(x - side / 2)), drawn.shape[1] - side)
    top = min(max(0, round(y - side / 2)), drawn.shape[0] - side)
    square = drawn[top : top + side, left : left + side]
    large = cv2.resize(square, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)
    noisy = np.clip(large + rng.normal(0, NOISE, large.shape), 0, 255)
    return np.asarray(noisy, np.uint8)


def _with_face(index: int) -> int:
    """Return the drawn picture to take: its first person, if any, is its portrait's."""
    while not place_persons(0, index):
        index += 100_000
    return index


def write_portraits(folder: Path, count: int) -> dict[str, list[Path]]:
    """Write the portraits, unless they are there, and return their paths by format."""
    paths = _name_files(folder, count)
    for i, (png, jpg) in enumerate(zip(paths["png"], paths["jpg"], strict=True)):
        if not (png.exists() and jpg.exists()):
            _write_both(draw_portrait(i), png, jpg)
    return paths


def write_real(source: Path, folder: Path, count: int) -> dict[str, list[Path]]:
    """Write the first pictures below ``source``, and return their paths by format.

    They are written anew each time. Fewer where there are fewer.
    """
    names = find_pictures(source).names[:count]
    paths = _name_files(folder, len(names))
    for name, png, jpg in zip(names, paths["png"], paths["jpg"], strict=True):
        _write_both(cut_square(read_image(source / name)), png, jpg)
    return paths


def cut_square(picture: Image) -> Image:
    """Return the central square of an RGB picture as (1024, 1024, 3) uint8."""
    side = min(picture.shape[:2])
    top, left = ((length - side) // 2 for length in picture.shape[:2])
    square = picture[top : top + side, left : left + side]
    way = cv2.INTER_AREA if side > SIDE_PX else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(square, (SIDE_PX, SIDE_PX), interpolation=way), np.uint8)


def _name_files(folder: Path, count: int) -> dict[str, list[Path]]:
    for kind in ("png", "jpg"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    return {
        kind: [folder / kind / f"{i:05}.{kind}" for i in range(count)] for kind in ("png", "jpg")
    }


def _write_both(picture: Image, png: Path, jpg: Path) -> None:
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(png), bgr)
    cv2.imwrite(str(jpg), bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
