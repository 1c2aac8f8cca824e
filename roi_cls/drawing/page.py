"""A page for a screen, as parts below each other: lines of text, and sections of crops in columns.

Knows colours and sizes; which crops are shown, and what is said of them, it is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from PIL import Image as PillowImage
from PIL import ImageDraw

from roi_cls.drawing.ink import INK, PAPER, RED, SHADE, Colour, blank, shorten, wrap, write
from roi_cls.roi.image import Image

PAGE_WIDTH = 1600
EDGE, GAP = 28, 12
WIDTH = PAGE_WIDTH - 2 * EDGE
"""Of what lies between the edges."""
TITLE_PX, TEXT_PX = 26, 16
"""Sizes of letters."""
_HEADING_PX, _SMALL_PX = 19, 13
_RIM = 3  # px round a crop


class PagePart(Protocol):
    """What stands on a page: it knows its height, and draws itself between the edges."""

    @property
    def height(self) -> int:
        """In pixels, with the space below it."""
        ...

    def draw(self, page: PillowImage.Image, top: int) -> None:
        """Draw it on the page, ``top`` px below its upper end."""
        ...


def draw_page(parts: Sequence[PagePart]) -> PillowImage.Image:
    """Return the parts below each other, with an edge round all."""
    height = 2 * EDGE + sum(part.height for part in parts)
    page = blank(PAGE_WIDTH, height)
    top = EDGE
    for part in parts:
        part.draw(page, top)
        top += part.height
    return page


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


def wrap_lines(text: str, size: int, colour: Colour = INK) -> list[Line]:
    """Return the text in as many lines as the page needs for it."""
    return [Line(line, size, colour) for line in wrap(text, size, WIDTH)]


@dataclass(frozen=True, slots=True)
class Text:
    """Lines below each other: a part of a page."""

    lines: Sequence[Line]
    below: int = 0
    """Space below them, px."""
    indent: int = 0
    """Px from the edge."""

    @property
    def height(self) -> int:
        """Of the lines, with the space below them."""
        return sum(line.height for line in self.lines) + self.below

    def draw(self, page: PillowImage.Image, top: int) -> None:
        """Draw the lines, the first at ``top``."""
        pen = ImageDraw.Draw(page)
        for line in self.lines:
            write(pen, (EDGE + self.indent, top), line.text, line.size, line.colour)
            top += line.height


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A crop with the words around it."""

    badge: str
    figure: str
    """At the right end of the badge; may be empty."""
    colour: Colour
    """Of badge and rim."""
    lines: tuple[tuple[str, Colour], ...]
    """Below the crop; shortened in the middle where they are too long."""
    crop: Image | None
    """(side, side, 3) RGB uint8; None: it cannot be read, and the tile says so."""


@dataclass(frozen=True, slots=True)
class Section:
    """Tiles in columns, under a heading: a part of a page."""

    heading: str
    columns: int
    lines: int
    """Of words below each crop."""
    count: int
    """How many tiles there are."""
    tiles: Iterable[Tile]
    """Taken one after the other, so that one crop at a time need be in memory."""

    @property
    def height(self) -> int:
        """With its heading."""
        return 2 * _HEADING_PX + self._row_height * -(-self.count // self.columns)

    def draw(self, page: PillowImage.Image, top: int) -> None:
        """Draw the heading, and the tiles below it row by row."""
        write(ImageDraw.Draw(page), (EDGE, top), self.heading, _HEADING_PX)
        top += 2 * _HEADING_PX - 6
        for i, tile in enumerate(self.tiles):
            row, column = divmod(i, self.columns)
            corner = EDGE + column * (self._tile_width + GAP), top + row * self._row_height
            _draw_tile(page, corner, self._tile_width, tile)

    @property
    def _tile_width(self) -> int:
        return (WIDTH - (self.columns - 1) * GAP) // self.columns

    @property
    def _row_height(self) -> int:
        width = self._tile_width
        return _words_top(width) + self.lines * (_letters(width) + 4) + GAP + 4


def _draw_tile(page: PillowImage.Image, corner: tuple[int, int], width: int, tile: Tile) -> None:
    """Draw a crop with its words; crop and rim fill the width, and the letters grow with it."""
    left, top = corner
    pen, size = ImageDraw.Draw(page), _letters(width)
    right, bottom = left + width - 1, top + _words_top(width) - 6
    pen.rectangle((left, top, right, bottom), fill=tile.colour)
    write(pen, (left + 6, top + 4), tile.badge, size, PAPER)
    write(pen, (right - 5, top + 4), tile.figure, size, PAPER, "right")
    _draw_crop(page, (left + _RIM, top + size + 9), width - 2 * _RIM, tile.crop)
    for i, (text, colour) in enumerate(tile.lines):
        y = top + _words_top(width) + i * (size + 4)
        write(pen, (left, y), shorten(text, size, width), size, colour)


def _letters(width: int) -> int:
    return max(_SMALL_PX, width // 15)


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
    middle = (left + side / 2, top + (side - _SMALL_PX) / 2)
    write(pen, middle, "cannot be read", _SMALL_PX, RED, "middle")
