"""A page of crops for a screen, so that a person sees in one look whether the recipe is right.

Plans and writes. What is shown is chosen in ``sheet_selection``, said in ``sheet_words``, laid out
by ``sheet_page`` and drawn in ``sheet_cell``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image as PillowImage
from PIL import ImageDraw

from roi_cls.base.errors import CacheError, ImageReadError
from roi_cls.cache import CropRecord
from roi_cls.drawn_file import check_drawing_path, write_drawing
from roi_cls.ink import INK, MUTED, PAPER, RED, shorten
from roi_cls.roi.image import Image
from roi_cls.sheet_cell import Cell, draw_legend, entry_cell, legend_height
from roi_cls.sheet_page import (
    EDGE,
    GAP,
    PAGE_WIDTH,
    TEXT,
    TITLE,
    WIDTH,
    Grid,
    Line,
    draw_lines,
    wrapped,
)
from roi_cls.sheet_selection import WHOLE, Entry, Kind, Selection, select_crops
from roi_cls.sheet_words import entry_names, failure_text, header_texts, heading_texts

LARGEST_LIMIT = 1200
"""Crops on a page: 120 rows are 26,000 px or 125 MB, and JPEG ends at 65,535 px."""
_GRID = Grid(columns=10, lines=2)
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
class _Plan:
    """The parts of a page, from top to bottom."""

    header: list[Line]
    legend: list[Kind]
    failures: list[Line]
    sections: list[tuple[str, tuple[Entry, ...]]]
    names: dict[Path, str]

    @property
    def height(self) -> int:
        lines = sum(line.height for line in (*self.header, *self.failures))
        cells = sum(_GRID.height(len(entries)) for _, entries in self.sections)
        gaps = 2 * EDGE + (EDGE if self.legend else 0) + (GAP if self.failures else 0)
        return gaps + lines + legend_height(self.legend, WIDTH) + cells


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
    y = draw_lines(pen, plan.header, (EDGE, EDGE))
    if plan.legend:
        draw_legend(page, (EDGE, y + EDGE // 4), plan.legend, WIDTH)
        y += legend_height(plan.legend, WIDTH) + EDGE
    if plan.failures:
        start = y
        y = draw_lines(pen, plan.failures, (EDGE + 2 * GAP, y))
        pen.rectangle((EDGE, start, EDGE + 5, y - 8), fill=plan.failures[0].colour)
        y += GAP
    unread = 0
    for heading, entries in plan.sections:
        cells = _load_cells(entries, plan.names, load)
        unread += _GRID.draw_section(page, y, heading, cells)
        y += _GRID.height(len(entries))
    return page, SheetSummary(selection.shown, selection.total, unread)


def _plan_page(records: Sequence[CropRecord], selection: Selection, title: str) -> _Plan:
    header = wrapped(title, TITLE)
    for text in header_texts(records, selection):
        header += wrapped(text, TEXT, MUTED)
    failures = []
    for record in selection.failed[:_NAMED_FAILURES]:
        text = shorten(failure_text(record), TEXT, WIDTH - 2 * GAP)
        failures.append(Line(text, TEXT, RED if record.status == "error" else INK))
    if rest := len(selection.failed) - len(failures):
        failures.append(Line(f"… and {rest} more without a crop.", TEXT))
    sections = zip(heading_texts(selection), (selection.whole, selection.faces), strict=True)
    return _Plan(
        header,
        [kind for kind in (*WHOLE, "face") if selection.counts[kind]],
        failures,
        [(heading, entries) for heading, entries in sections if entries],
        entry_names(selection),
    )


def _load_cells(
    entries: Sequence[Entry], names: dict[Path, str], load: LoadCrops
) -> Iterator[tuple[Cell, Image | None]]:
    for entry in entries:
        yield entry_cell(entry, names[entry.record.path]), _load_crop(entry, load)


def _load_crop(entry: Entry, load: LoadCrops) -> Image | None:
    """Return the crop, None where it cannot be read: one bad crop must not cost the page."""
    try:
        crop: Image = load(entry.record)[entry.index]
    except (CacheError, ImageReadError):
        return None
    return crop
