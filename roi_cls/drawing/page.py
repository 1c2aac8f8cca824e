"""A page for a screen: lines of text, then sections of crops in columns, each with its words.

Knows no crop run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from PIL import Image as PillowImage
from PIL import ImageDraw

from roi_cls.drawing.ink import INK, PAPER, RED, SHADE, Colour, shorten, wrap, write
from roi_cls.roi.image import Image

_BADGE_HEIGHT, _RIM = 22, 3
_SMALL, _TEXT = 13, 16  # of letters


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


PAGE_WIDTH = 1600
EDGE, GAP = 28, 12
WIDTH = PAGE_WIDTH - 2 * EDGE
"""Of what lies between the edges."""
TITLE, TEXT = 26, 16
"""Sizes of letters."""
_HEADING = 19


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text."""

    text: str
    size: int
    colour: Colour = INK

    @property
    def height(self) -> int:
        """With the space below it."""
        return round(1.5 * self.size)


@dataclass(frozen=True, slots=True)
class Grid:
    """How the cells of a section lie."""

    columns: int
    lines: int
    """Of words below each crop."""

    @property
    def cell_width(self) -> int:
        """In pixels."""
        return (WIDTH - (self.columns - 1) * GAP) // self.columns

    @property
    def _row_height(self) -> int:
        return cell_height(self.cell_width, self.lines) + GAP + 4

    def height(self, count: int) -> int:
        """Return how high a section of so many cells is, with its heading."""
        return 2 * _HEADING + self._row_height * -(-count // self.columns)

    def draw_section(
        self,
        page: PillowImage.Image,
        top: int,
        heading: str,
        cells: Iterable[tuple[Cell, Image | None]],
    ) -> int:
        """Draw a heading and the cells below it, each with its crop; None: it cannot be read.

        Returns how many cannot be read.
        """
        unread = 0
        write(ImageDraw.Draw(page), (EDGE, top), heading, _HEADING)
        top += 2 * _HEADING - 6
        for i, (cell, crop) in enumerate(cells):
            row, column = divmod(i, self.columns)
            corner = EDGE + column * (self.cell_width + GAP), top + row * self._row_height
            draw_cell(page, corner, self.cell_width, cell, crop)
            unread += crop is None
        return unread


def wrapped(text: str, size: int, colour: Colour = INK) -> list[Line]:
    """Return the text in as many lines as the page needs for it."""
    return [Line(line, size, colour) for line in wrap(text, size, WIDTH)]


def draw_lines(pen: ImageDraw.ImageDraw, lines: Sequence[Line], corner: tuple[int, int]) -> int:
    """Draw the lines below each other and return where they end."""
    x, y = corner
    for line in lines:
        write(pen, (x, y), line.text, line.size, line.colour)
        y += line.height
    return y
