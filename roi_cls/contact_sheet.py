"""A page of crops for a screen, so that a person sees in one look whether the recipe is right.

Lays out and writes. What is shown is chosen in ``sheet_selection``, said in ``sheet_words`` and
drawn in ``sheet_cell``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image as PillowImage
from PIL import ImageDraw

from roi_cls.cache import CropRecord
from roi_cls.drawn_file import check_drawing_path, write_drawing
from roi_cls.errors import CacheError, ImageReadError
from roi_cls.ink import INK, MUTED, PAPER, RED, Colour, shorten, wrap, write
from roi_cls.roi.image import Image
from roi_cls.sheet_cell import CELL_HEIGHT, CELL_WIDTH, draw_cell, draw_legend, legend_height
from roi_cls.sheet_selection import WHOLE, Entry, Kind, Selection, select_crops
from roi_cls.sheet_words import entry_names, failure_text, header_texts, heading_texts

LARGEST_LIMIT = 1200
"""Crops on a page: 120 rows are 26,000 px or 125 MB, and JPEG ends at 65,535 px."""
PAGE_WIDTH = 1600
_EDGE, _GAP, _COLUMNS = 28, 12, 10
_WIDTH = PAGE_WIDTH - 2 * _EDGE
_TITLE, _HEADING, _TEXT = 26, 19, 16  # of letters
_ROW = CELL_HEIGHT + _GAP + 4
_NAMED_FAILURES = 8

LoadCrops = Callable[[CropRecord], Image]
"""From an ok row to its crops, (cuts, size_px, size_px, 3) RGB uint8."""


@dataclass(frozen=True, slots=True)
class SheetSummary:
    """What a contact sheet shows."""

    shown: int
    """Crops on the page."""
    crops: int
    """Crops there are."""
    unread: int
    """Of those on the page, the ones that could not be read; their places say so."""


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    size: int
    colour: Colour = INK

    @property
    def height(self) -> int:
        return round(1.5 * self.size)


@dataclass(frozen=True, slots=True)
class _Plan:
    """The parts of a page, from top to bottom."""

    header: list[_Line]
    legend: list[Kind]
    failures: list[_Line]
    sections: list[tuple[str, tuple[Entry, ...]]]
    names: dict[Path, str]

    @property
    def height(self) -> int:
        lines = sum(line.height for line in (*self.header, *self.failures))
        cells = sum(_section_height(len(entries)) for _, entries in self.sections)
        gaps = 2 * _EDGE + (_EDGE if self.legend else 0) + (_GAP if self.failures else 0)
        return gaps + lines + legend_height(self.legend, _WIDTH) + cells


def write_contact_sheet(
    path: Path, records: Sequence[CropRecord], load: LoadCrops, title: str, *, limit: int = 120
) -> SheetSummary:
    """Draw a page of crops and write it, all or nothing.

    Args:
        path: Its suffix says the format: .jpg, .jpeg or .png.
        records: Rows of a crop run.
        load: Called once for each crop that is shown, so that one at a time is in memory.
        title: The recipe in words.
        limit: Most crops on the page, 1 to ``LARGEST_LIMIT``.

    Raises:
        CacheError: Another suffix.
        StorageError: The file cannot be written.
    """
    check_drawing_path(path, "contact sheet")
    page, summary = draw_page(records, load, title, limit=limit)
    write_drawing(path, page)
    return summary


def draw_page(
    records: Sequence[CropRecord], load: LoadCrops, title: str, *, limit: int = 120
) -> tuple[PillowImage.Image, SheetSummary]:
    """Return the page that ``write_contact_sheet`` writes, and what it shows."""
    if not 1 <= limit <= LARGEST_LIMIT:
        raise ValueError(f"limit must be between 1 and {LARGEST_LIMIT}, got {limit}")
    selection = select_crops(records, limit)
    plan = _plan_page(records, selection, title)
    page = PillowImage.new("RGB", (PAGE_WIDTH, plan.height), PAPER)
    pen = ImageDraw.Draw(page)
    y = _draw_lines(pen, plan.header, (_EDGE, _EDGE))
    if plan.legend:
        draw_legend(page, (_EDGE, y + _EDGE // 4), plan.legend, _WIDTH)
        y += legend_height(plan.legend, _WIDTH) + _EDGE
    if plan.failures:
        start = y
        y = _draw_lines(pen, plan.failures, (_EDGE + 2 * _GAP, y))
        pen.rectangle((_EDGE, start, _EDGE + 5, y - 8), fill=plan.failures[0].colour)
        y += _GAP
    unread = 0
    for heading, entries in plan.sections:
        write(pen, (_EDGE, y), heading, _HEADING)
        for i, entry in enumerate(entries):
            row, column = divmod(i, _COLUMNS)
            corner = _EDGE + column * (CELL_WIDTH + _GAP), y + 2 * _HEADING - 6 + row * _ROW
            crop = _load_crop(entry, load)
            unread += crop is None
            draw_cell(page, corner, entry, plan.names[entry.record.path], crop)
        y += _section_height(len(entries))
    return page, SheetSummary(selection.shown, selection.total, unread)


def _plan_page(records: Sequence[CropRecord], selection: Selection, title: str) -> _Plan:
    header = [_Line(text, _TITLE) for text in wrap(title, _TITLE, _WIDTH)]
    for text in header_texts(records, selection):
        header += [_Line(line, _TEXT, MUTED) for line in wrap(text, _TEXT, _WIDTH)]
    failures = []
    for record in selection.failed[:_NAMED_FAILURES]:
        text = shorten(failure_text(record), _TEXT, _WIDTH - 2 * _GAP)
        failures.append(_Line(text, _TEXT, RED if record.status == "error" else INK))
    if rest := len(selection.failed) - len(failures):
        failures.append(_Line(f"… and {rest} more without a crop.", _TEXT))
    sections = zip(heading_texts(selection), (selection.whole, selection.faces), strict=True)
    return _Plan(
        header,
        [kind for kind in (*WHOLE, "face") if selection.counts[kind]],
        failures,
        [(heading, entries) for heading, entries in sections if entries],
        entry_names(selection),
    )


def _section_height(count: int) -> int:
    return 2 * _HEADING + _ROW * -(-count // _COLUMNS)


def _draw_lines(pen: ImageDraw.ImageDraw, lines: Sequence[_Line], corner: tuple[int, int]) -> int:
    """Draw the lines below each other and return where they end."""
    x, y = corner
    for line in lines:
        write(pen, (x, y), line.text, line.size, line.colour)
        y += line.height
    return y


def _load_crop(entry: Entry, load: LoadCrops) -> Image | None:
    """Return the crop, None where it cannot be read: one bad crop must not cost the page."""
    try:
        crop: Image = load(entry.record)[entry.index]
    except (CacheError, ImageReadError):
        return None
    return crop
