"""Portraits to measure speed on: drawn, 1024 px, with the noise of a camera, as PNG and JPEG."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from roi_cls.data.demo.picture import draw_picture, place_persons
from roi_cls.roi.image import Image

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
    paths: dict[str, list[Path]] = {"png": [], "jpg": []}
    for kind, files in paths.items():
        (folder / kind).mkdir(parents=True, exist_ok=True)
        files += [folder / kind / f"{i:05}.{kind}" for i in range(count)]
    for i in range(count):
        png, jpg = paths["png"][i], paths["jpg"][i]
        if png.exists() and jpg.exists():
            continue
        picture = cv2.cvtColor(draw_portrait(i), cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(png), picture)
        cv2.imwrite(str(jpg), picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return paths
