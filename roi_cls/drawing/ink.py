"""Words and lines on pictures made for people. Knows fonts and colours, no face and no crop.

Pillow's built-in font is small and clear, and the same everywhere, but it has little beyond ASCII.
A text with other letters is drawn in a font that has them, where there is one, and what no font
has is written as an escape: a name never vanishes and never becomes a row of boxes.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import math
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from roi_cls.roi.image import Image

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Colour = tuple[int, int, int]
Point = tuple[float, float]

INK: Colour = (31, 41, 51)
MUTED: Colour = (91, 102, 115)
PAPER: Colour = (255, 255, 255)
SHADE: Colour = (226, 231, 236)
BLUE: Colour = (27, 98, 165)
RUST: Colour = (176, 62, 10)
BROWN: Colour = (128, 86, 0)
PURPLE: Colour = (123, 63, 152)
SLATE: Colour = (74, 90, 106)
RED: Colour = (150, 26, 44)

_MATPLOTLIB = importlib.util.find_spec("matplotlib")
FONTS = (
    # MediaPipe requires matplotlib, which brings this font: European, Greek, Cyrillic, Arabic and
    # Hebrew names look the same on every machine.
    *(
        str(Path(folder, "mpl-data/fonts/ttf/DejaVuSans.ttf"))
        for folder in (_MATPLOTLIB and _MATPLOTLIB.submodule_search_locations) or ()
    ),
    # Common on macOS, Windows and Linux, with Chinese and Japanese.
    *("Arial Unicode.ttf", "PingFang.ttc", "msyh.ttc"),
    *("NotoSansCJK-Regular.ttc", "wqy-microhei.ttc", "DejaVuSans.ttf"),
)
"""Fonts asked in this order for what the built-in one lacks; those that are not here are left."""
_PROBE_SIZE_PX = 16
_NO_CHARACTER = "\uffff"  # Unicode promises that no font has it: what is drawn is the empty box
_BASELINE = 0.82  # of the size, from the top of a line
_KEEP_END = 0.6  # of a text that is cut


def blank(width: int, height: int) -> PillowImage.Image:
    """Return a new picture of paper."""
    return PillowImage.new("RGB", (width, height), PAPER)


def write(
    pen: ImageDraw.ImageDraw,
    corner: Point,
    text: str,
    size: int,
    colour: Colour = INK,
    align: Literal["left", "middle", "right"] = "left",
) -> None:
    """Draw one line of text, its top at ``corner``, which is its left end, middle or right end."""
    text, font = legible(text, size)
    x, y = corner
    baseline = y + round(_BASELINE * size)  # so that two fonts stand on one line
    pen.text((x, baseline), text, fill=colour, font=font, anchor=f"{align[0]}s")


def measure(text: str, size: int) -> float:
    """Return how wide ``write`` draws the text, in pixels."""
    text, font = legible(text, size)
    return font.getlength(text)


def legible(text: str, size: int, fonts: Sequence[str] = FONTS) -> tuple[str, Font]:
    """Return the text with nothing in it that cannot be drawn, and the font to draw it with.

    Args:
        text: Any file name, also with control characters or bytes that are no text.
        size: Of the font, in pixels.
        fonts: File names or paths of fonts to ask after the built-in one.
    """
    text = unicodedata.normalize("NFC", text)  # macOS names files with accents apart
    text = "".join(c if c.isprintable() else escape(c) for c in text)
    lacking = {name: _lacking(name, text) for name in _until_complete(text, fonts)}
    name = min(lacking, key=lambda name: len(lacking[name]))
    text = "".join(escape(c) if c in lacking[name] else c for c in text)
    return text, _font(name, size) or ImageFont.load_default(size)


def _until_complete(text: str, fonts: Sequence[str]) -> list[str]:
    """Return the fonts to compare: the built-in one, "", up to the first that has every letter."""
    asked: list[str] = []
    for name in ("", *fonts):
        if _font(name, _PROBE_SIZE_PX):
            asked.append(name)
            if not _lacking(name, text):
                break
    return asked


def _lacking(name: str, text: str) -> set[str]:
    return {character for character in set(text) if not _has(name, character)}


@functools.lru_cache(maxsize=4096)
def _has(name: str, character: str) -> bool:
    font = _font(name, _PROBE_SIZE_PX)
    return font is not None and _drawn(font, character) != _drawn(font, _NO_CHARACTER)


def _drawn(font: Font, character: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(character)
    return mask.size, bytes(mask)


@functools.lru_cache(maxsize=64)
def _font(name: str, size: int) -> Font | None:
    """Return a font by its file name or path, None where it is not; "": the built-in one."""
    if not name:
        return ImageFont.load_default(size)
    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None


def escape(character: str) -> str:
    r"""Return the character as Python writes it in ASCII: ``\u4e2d``."""
    return character.encode("unicode_escape").decode()


def shorten(text: str, size: int, width: float, keep_end: float = _KEEP_END) -> str:
    """Return the text, or what of its start and end fits into ``width`` with … between them.

    ``keep_end`` is the share of what remains that comes from the end: there file names differ.
    """
    return keep_ends(text, lambda cut: measure(cut, size) <= width, keep_end)


def keep_ends(text: str, fits: Callable[[str], bool], keep_end: float, dots: str = "…") -> str:
    """Return the text, or as much of its start and end as fits with ``dots`` between them."""
    if fits(text):
        return text
    few, many = 0, len(text)  # kept characters that fit, and that do not
    while many - few > 1:
        kept = (few + many) // 2
        if fits(_cut_middle(text, kept, keep_end, dots)):
            few = kept
        else:
            many = kept
    return _cut_middle(text, few, keep_end, dots)


def _cut_middle(text: str, kept: int, keep_end: float, dots: str) -> str:
    end = round(keep_end * kept)
    # An accent alone would stand on the dots.
    last = itertools.dropwhile(_is_mark, text[len(text) - end :])
    return f"{text[: kept - end]}{dots}{''.join(last)}"


def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] == "M"


def wrap(text: str, size: int, width: float) -> list[str]:
    """Return the text in lines that fit into ``width``, broken at spaces; long words are cut."""
    return break_lines(text, lambda line: measure(line, size) <= width)


def break_lines(text: str, fits: Callable[[str], bool]) -> list[str]:
    """Return the text in lines that fit, broken at spaces; of a long word both ends are kept."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and fits(longer):
            lines[-1] = longer
        else:
            lines.append(keep_ends(word, fits, _KEEP_END))
    return lines


def draw_path(
    image: Image,
    points: Sequence[Point],
    colour: Colour,
    thickness: int = 2,
    dash_px: float | None = None,
) -> None:
    """Draw a closed path in place, with a dark rim, so that it is seen on anything.

    Args:
        image: (height, width, 3) RGB uint8.
        points: (x, y) of the corners; they may lie outside.
        colour: Of the line.
        thickness: Of the line without its rim, in pixels.
        dash_px: Length of dashes and of the gaps between them; None: a solid line.
    """
    pieces = [
        piece
        for start, end in zip(points, [*points[1:], points[0]], strict=True)
        for piece in _dashes(start, end, dash_px)
    ]
    for tone, width in ((INK, thickness + 2), (colour, thickness)):
        for start, end in pieces:
            cv2.line(image, _whole(start), _whole(end), tone, width, cv2.LINE_AA)


def _dashes(start: Point, end: Point, dash_px: float | None) -> list[tuple[Point, Point]]:
    length = math.dist(start, end)
    if dash_px is None or length <= 2 * dash_px:
        return [(start, end)]
    count = 2 * math.ceil(length / dash_px / 2) - 1  # odd: a dash at either end, corners are solid
    marks = np.linspace(start, end, count + 1).tolist()
    return [
        ((x, y), (to_x, to_y))
        for (x, y), (to_x, to_y) in zip(marks[:-1:2], marks[1::2], strict=True)
    ]


def draw_dot(image: Image, center: Point, radius: int, colour: Colour) -> None:
    """Draw a filled dot with a light rim in place."""
    cv2.circle(image, _whole(center), radius + 1, PAPER, cv2.FILLED, cv2.LINE_AA)
    cv2.circle(image, _whole(center), radius, colour, cv2.FILLED, cv2.LINE_AA)


def _whole(point: Point) -> tuple[int, int]:
    return round(point[0]), round(point[1])
