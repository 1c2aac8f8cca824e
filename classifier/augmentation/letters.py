"""Lines of letters that mean nothing, as generators write them on and beside faces."""

from __future__ import annotations

import functools
import math
import string

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from roi_cls.classifier.augmentation.face_map import FaceMap
from roi_cls.classifier.augmentation.patch import Point, about

_ALPHABETS = (
    string.ascii_letters + string.digits + " .",
    string.ascii_uppercase,
    string.ascii_lowercase + " ",
)
_PLOTTED = (0, 1, 2, 3, 4, 5, 6, 7, 16)  # OpenCV's fonts, Hershey's or their likes; 16: italic
_CAPITALS = (0.018, 0.11)  # height of a capital, as a share of the crop's side
_LEAST_PX = 5.0  # of a capital: what is smaller can't be told from texture


def write_letters(face: FaceMap, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a line of letters in one of several typefaces, (S, S), 255 where there is ink.

    It is level more often than not, and may lie close to the crop's rim, as captions and marks do.
    """
    alphabet = _ALPHABETS[rng.integers(len(_ALPHABETS))]
    text = "".join(rng.choice(list(alphabet), rng.integers(2, 14))).strip() or "a"
    low, high = np.log(_CAPITALS)
    capital = max(_LEAST_PX, face.size_px * math.exp(rng.uniform(low, high)))
    line = _plot(text, capital, rng) if rng.random() < 0.4 else _print(text, capital, rng)
    height, width = line.shape
    x, y = _draw_place(face, width, height, rng)
    angle = float(rng.normal(0, 20)) if rng.random() < 0.4 else float(rng.normal(0, 2))
    moved = about((width / 2, height / 2), angle, 1.0, (x - width / 2, y - height / 2))
    canvas = cv2.warpAffine(line, moved, (face.size_px, face.size_px))
    return np.asarray(canvas, dtype=np.uint8)


def _draw_place(face: FaceMap, width: int, height: int, rng: np.random.Generator) -> Point:
    """Return the line's middle: by a part of the face, or wherever the whole line finds room."""
    if rng.random() >= face.beside:
        return face.draw_at(rng, eyes=0.15, mouth=0.15, nose=0.15)
    size_px = face.size_px
    half = (min(width, size_px) / 2, min(height, size_px) / 2)
    return (
        float(rng.uniform(half[0], size_px - half[0])),
        float(rng.uniform(half[1], size_px - half[1])),
    )


def _plot(text: str, capital: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Write in one of OpenCV's fonts."""
    font = int(rng.choice(_PLOTTED))
    scale = capital / 21  # at scale 1 a capital is about 21 px high
    thickness = max(1, round(scale * rng.uniform(0.8, 5)))
    (width, height), below = cv2.getTextSize(text, font, scale, thickness)
    rim = thickness + 2
    line = np.zeros((height + below + 2 * rim, width + 2 * rim), np.uint8)
    cv2.putText(line, text, (rim, rim + height), font, scale, 255, thickness, cv2.LINE_AA)
    return line


def _print(text: str, capital: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Write in Pillow's own typeface, from thin to heavy."""
    font = _typeface(round(capital / 0.7))  # a capital is 0.7 of a font's size
    stroke = round(capital * rng.uniform(0, 0.1))
    left, top, right, bottom = font.getbbox(text, stroke_width=stroke)
    rim = 2
    line = Image.new("L", (math.ceil(right - left) + 2 * rim, math.ceil(bottom - top) + 2 * rim))
    ImageDraw.Draw(line).text(
        (rim - left, rim - top), text, fill=255, font=font, stroke_width=stroke
    )
    return np.array(line)


@functools.lru_cache(maxsize=128)
def _typeface(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size_px)
