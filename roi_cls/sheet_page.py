"""A page for a screen: lines of text, then sections of cells in columns. Knows no crop run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from PIL import Image as PillowImage
from PIL import ImageDraw

from roi_cls.ink import INK, Colour, wrap, write
from roi_cls.roi.image import Image
from roi_cls.sheet_cell import Cell, cell_height, draw_cell

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
