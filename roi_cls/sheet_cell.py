"""One place of a sheet: a crop with its badge and its words; and what a crop run's badges mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image as PillowImage
from PIL import ImageDraw

from roi_cls.ink import (
    BLUE,
    BROWN,
    INK,
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

_BADGE_HEIGHT, _RIM = 22, 3
_SMALL, _TEXT = 13, 16  # of letters
_LEGEND_LINE = _BADGE_HEIGHT + 8
_BADGES: dict[Kind, tuple[str, Colour, str]] = {
    "low_score": ("low score", BROWN, f"full frame: {REASON_TEXT['low_score']}"),
    "too_small": ("too small", PURPLE, f"full frame: {REASON_TEXT['too_small']}"),
    "no_face": ("no face", RUST, f"full frame: {REASON_TEXT['no_face']}"),
    "full_frame": ("full frame", SLATE, "full frame, as the recipe says"),
    "face": ("face", BLUE, "face, with the detector's score and the size of its box"),
}
"""Word, colour and meaning: the colour alone would not do for everyone."""


@dataclass(frozen=True, slots=True)
class Cell:
    """The words around a crop."""

    badge: str
    figure: str
    """At the right end of the badge; may be empty."""
    colour: Colour
    """Of badge and rim."""
    lines: tuple[tuple[str, Colour], ...]
    """Below the crop; shortened in the middle where they are too long."""


def entry_cell(entry: Entry, name: str) -> Cell:
    """Return the words of a crop run's crop: its kind, its picture's name, its size."""
    word, colour, _ = _BADGES[entry.kind]
    score = "" if entry.score is None else score_text(entry.score)
    return Cell(word, score, colour, ((name, INK), (entry_detail(entry), MUTED)))


def cell_height(width: int, lines: int) -> int:
    """Return how high ``draw_cell`` draws a cell of so many lines, in pixels."""
    return _words_top(width) + lines * (_letters(width) + 4)


def draw_cell(
    page: PillowImage.Image, corner: tuple[int, int], width: int, cell: Cell, crop: Image | None
) -> None:
    """Draw a crop with its words around it.

    Args:
        page: RGB, drawn on.
        corner: Left and top of the cell.
        width: Of the cell; the crop and its rim fill it, and the letters grow with it.
        cell: The words.
        crop: (side, side, 3) RGB uint8; None: it cannot be read, and the cell says so.
    """
    left, top = corner
    pen, size = ImageDraw.Draw(page), _letters(width)
    right, bottom = left + width - 1, top + _words_top(width) - 6
    pen.rectangle((left, top, right, bottom), fill=cell.colour)
    write(pen, (left + 6, top + 4), cell.badge, size, PAPER)
    write(pen, (right - 5, top + 4), cell.figure, size, PAPER, "right")
    _draw_crop(page, (left + _RIM, top + size + 9), width - 2 * _RIM, crop)
    for i, (text, colour) in enumerate(cell.lines):
        y = top + _words_top(width) + i * (size + 4)
        write(pen, (left, y), shorten(text, size, width), size, colour)


def _letters(width: int) -> int:
    return max(_SMALL, width // 15)


def _words_top(width: int) -> int:
    """Return where the words begin: below the badge, the crop, its rim and a gap of 5 px."""
    return _letters(width) + 9 + width - _RIM + 5


def _draw_crop(
    page: PillowImage.Image, corner: tuple[int, int], side: int, crop: Image | None
) -> None:
    if crop is not None:
        picture = PillowImage.fromarray(crop)
        page.paste(picture.resize((side, side), PillowImage.Resampling.LANCZOS), corner)
        return
    left, top = corner
    pen = ImageDraw.Draw(page)
    pen.rectangle((left, top, left + side - 1, top + side - 1), fill=SHADE)
    middle = (left + side / 2, top + (side - _SMALL) / 2)
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
