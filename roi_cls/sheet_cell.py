"""One place of a contact sheet: a crop with its badge and its words; and what the badges mean."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image as PillowImage
from PIL import ImageDraw

from roi_cls.ink import (
    BLUE,
    BROWN,
    MUTED,
    PAPER,
    PURPLE,
    RED,
    RUST,
    SHADE,
    SLATE,
    Colour,
    measure,
    shorten,
    write,
)
from roi_cls.recipe_text import score_text
from roi_cls.roi import REASON_TEXT
from roi_cls.roi.image import Image
from roi_cls.sheet_selection import Entry, Kind
from roi_cls.sheet_words import entry_detail

CELL_WIDTH = 143
_BADGE_HEIGHT, _RIM = 22, 3
_CROP = CELL_WIDTH - 2 * _RIM  # 137
_SMALL, _TEXT = 13, 16  # of letters
_NAME_TOP = _BADGE_HEIGHT + _CROP + _RIM + 5
CELL_HEIGHT = _NAME_TOP + 2 * (_SMALL + 4)  # 201
_LEGEND_LINE = _BADGE_HEIGHT + 8
_BADGES: dict[Kind, tuple[str, Colour, str]] = {
    "low_score": ("low score", BROWN, f"full frame: {REASON_TEXT['low_score']}"),
    "too_small": ("too small", PURPLE, f"full frame: {REASON_TEXT['too_small']}"),
    "no_face": ("no face", RUST, f"full frame: {REASON_TEXT['no_face']}"),
    "full_frame": ("full frame", SLATE, "full frame, as the recipe says"),
    "face": ("face", BLUE, "face, with the detector's score and the size of its box"),
}
"""Word, colour and meaning: the colour alone would not do for everyone."""


def draw_cell(
    page: PillowImage.Image, corner: tuple[int, int], entry: Entry, name: str, crop: Image | None
) -> None:
    """Draw a crop, its badge, its picture's name and its size, ``CELL_HEIGHT`` px in all.

    Args:
        page: RGB, drawn on.
        corner: Left and top of the cell.
        entry: Whose crop it is.
        name: Of the picture; shortened in its middle where it is too long.
        crop: (side, side, 3) RGB uint8; None: it cannot be read, and the cell says so.
    """
    left, top = corner
    pen = ImageDraw.Draw(page)
    word, colour, _ = _BADGES[entry.kind]
    right, bottom = left + CELL_WIDTH - 1, top + _BADGE_HEIGHT + _CROP + _RIM - 1
    pen.rectangle((left, top, right, bottom), fill=colour)
    write(pen, (left + 6, top + 4), word, _SMALL, PAPER)
    if entry.score is not None:
        write(pen, (right - 5, top + 4), score_text(entry.score), _SMALL, PAPER, "right")
    _draw_crop(page, (left + _RIM, top + _BADGE_HEIGHT), crop)
    y = top + _NAME_TOP
    write(pen, (left, y), shorten(name, _SMALL, CELL_WIDTH), _SMALL)
    detail = shorten(entry_detail(entry), _SMALL, CELL_WIDTH)
    write(pen, (left, y + _SMALL + 4), detail, _SMALL, MUTED)


def _draw_crop(page: PillowImage.Image, corner: tuple[int, int], crop: Image | None) -> None:
    if crop is not None:
        picture = PillowImage.fromarray(crop)
        page.paste(picture.resize((_CROP, _CROP), PillowImage.Resampling.LANCZOS), corner)
        return
    left, top = corner
    pen = ImageDraw.Draw(page)
    pen.rectangle((left, top, left + _CROP - 1, top + _CROP - 1), fill=SHADE)
    middle = (left + _CROP / 2, top + (_CROP - _SMALL) / 2)
    write(pen, middle, "cannot be read", _SMALL, RED, "middle")


def legend_height(kinds: Sequence[Kind], width: int) -> int:
    """Return how high ``draw_legend`` draws, in pixels."""
    return _LEGEND_LINE * len(_legend_rows(kinds, width))


def draw_legend(
    page: PillowImage.Image, corner: tuple[int, int], kinds: Sequence[Kind], width: int
) -> None:
    """Draw the badge and the meaning of each kind, in as many rows as ``width`` px need."""
    left, top = corner
    pen = ImageDraw.Draw(page)
    for i, row in enumerate(_legend_rows(kinds, width)):
        y = top + i * _LEGEND_LINE
        for kind, x in row:
            word, colour, meaning = _BADGES[kind]
            right = left + x + _badge_width(kind)
            pen.rectangle((left + x, y, right, y + _BADGE_HEIGHT - 1), fill=colour)
            write(pen, (left + x + 6, y + 4), word, _SMALL, PAPER)
            write(pen, (right + 8, y + 2), meaning, _TEXT)


def _legend_rows(kinds: Sequence[Kind], width: int) -> list[list[tuple[Kind, float]]]:
    """Return the rows of the legend: each kind with the left edge of its badge."""
    rows: list[list[tuple[Kind, float]]] = []
    x = float(width)
    for kind in kinds:
        needed = _badge_width(kind) + 8 + measure(_BADGES[kind][2], _TEXT)
        if x + needed > width:
            rows.append([])
            x = 0.0
        rows[-1].append((kind, x))
        x += needed + 28
    return rows


def _badge_width(kind: Kind) -> float:
    return measure(_BADGES[kind][0], _SMALL) + 12
