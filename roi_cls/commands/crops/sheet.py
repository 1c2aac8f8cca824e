"""A page of crops for a screen, so that a person sees in one look whether the recipe is right.

Which crops it shows, in which order, what its badges mean and what it says about the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image as PillowImage
from PIL import ImageDraw

from roi_cls.base.errors import CacheError, ImageReadError
from roi_cls.cache import CropRecord
from roi_cls.console.words import STEP_TEXT, count_text, score_text, size_text
from roi_cls.drawing.file import check_drawing_path, write_drawing
from roi_cls.drawing.ink import (
    BLUE,
    BROWN,
    INK,
    MUTED,
    PAPER,
    PURPLE,
    RED,
    RUST,
    SLATE,
    Colour,
    measure,
    shorten,
    write,
)
from roi_cls.drawing.page import (
    EDGE,
    GAP,
    PAGE_WIDTH,
    TEXT,
    TITLE,
    WIDTH,
    Cell,
    Grid,
    Line,
    draw_lines,
    wrapped,
)
from roi_cls.roi import REASON_TEXT
from roi_cls.roi.image import Image

Kind = Literal["low_score", "too_small", "no_face", "full_frame", "face"]
FALLBACKS: tuple[Kind, ...] = ("low_score", "too_small", "no_face")
"""Those that were nearly cut as faces first."""
WHOLE: tuple[Kind, ...] = (*FALLBACKS, "full_frame")


@dataclass(frozen=True, slots=True)
class Entry:
    """One crop of one row."""

    record: CropRecord
    kind: Kind
    index: int = 0
    """Which of the row's cuts."""

    @property
    def score(self) -> float | None:
        """Of the face that was cut, else of the best one that was refused; None: none was seen."""
        face = self.record.cuts[self.index].face
        return face.score if face else self.record.face_score


@dataclass(frozen=True, slots=True)
class Selection:
    """What of a crop run is shown."""

    whole: tuple[Entry, ...]
    """Full frames, those in place of a face first, the most doubtful of each reason first."""
    faces: tuple[Entry, ...]
    """The least certain first."""
    counts: Counter[Kind]
    """How many crops of each kind there are, shown or not."""
    failed: tuple[CropRecord, ...]
    """Rows without a crop: errors first, then what was skipped."""

    @property
    def total(self) -> int:
        """How many crops there are."""
        return sum(self.counts.values())

    @property
    def shown(self) -> int:
        """How many of them are shown."""
        return len(self.whole) + len(self.faces)


def select_crops(records: Sequence[CropRecord], limit: int) -> Selection:
    """Return at most ``limit`` crops that stand for all of them, the most doubtful first.

    Where there are more, full frames may take half of the page, each reason an equal share of it,
    and faces the rest. Of each kind one half are the most doubtful, the others evenly spread.
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    groups: dict[Kind, list[Entry]] = {kind: [] for kind in (*WHOLE, "face")}
    for record in records:
        if record.status == "ok":
            for entry in _entries(record):
                groups[entry.kind].append(entry)
    counts = Counter({kind: len(group) for kind, group in groups.items() if group})
    shares = _share_page(counts, limit)
    chosen = {kind: _pick(kind, group, shares[kind]) for kind, group in groups.items()}
    failed = [record for record in records if record.status != "ok"]
    return Selection(
        tuple(entry for kind in WHOLE for entry in chosen[kind]),
        tuple(chosen["face"]),
        counts,
        tuple(sorted(failed, key=lambda record: record.status != "error")),
    )


def _entries(record: CropRecord) -> list[Entry]:
    if record.source == "face":
        return [Entry(record, "face", i) for i in range(len(record.cuts))]
    kind: Kind = next((reason for reason in FALLBACKS if reason == record.reason), "full_frame")
    return [Entry(record, kind)]


def _share_page(counts: Counter[Kind], limit: int) -> dict[Kind, int]:
    """Return how many of each kind are shown."""
    whole = sum(counts[kind] for kind in WHOLE)
    faces = min(counts["face"], max(limit - whole, limit // 2))
    shares: dict[Kind, int] = {"face": faces}
    room = min(whole, limit - faces)
    # The rare kinds first: what they leave of their share is for the others.
    rare_first = sorted(WHOLE, key=lambda kind: counts[kind])
    for position, kind in enumerate(rare_first):
        fair = -(-room // (len(rare_first) - position))  # rounded up
        shares[kind] = min(counts[kind], fair)
        room -= shares[kind]
    return shares


def _pick(kind: Kind, group: list[Entry], count: int) -> list[Entry]:
    """Return ``count`` of the group in order of doubt."""
    if kind == "face":
        group = sorted(group, key=lambda entry: entry.score or 0.0)
    elif kind in ("low_score", "too_small"):  # the surer the detector, the nearer to a face
        group = sorted(group, key=lambda entry: -(entry.score or 0.0))
    if count >= len(group):
        return group
    doubtful = (count + 1) // 2 if kind not in ("no_face", "full_frame") else 0
    others = group[doubtful:]
    spread = count - doubtful
    return group[:doubtful] + [others[i * len(others) // spread] for i in range(spread)]


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


def entry_cell(entry: Entry, name: str) -> Cell:
    """Return the words of a crop run's crop: its kind, its picture's name, its size."""
    word, colour, _ = _BADGES[entry.kind]
    score = "" if entry.score is None else score_text(entry.score)
    return Cell(word, score, colour, ((name, INK), (entry_detail(entry), MUTED)))


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


def header_texts(records: Sequence[CropRecord], selection: Selection) -> list[str]:
    """Return sentences: what was cut, what the detector needed, how much of it is shown."""
    texts = [_counts_text(records, selection)]
    steps = Counter(record.step for record in records if record.step)
    found = ", ".join(f"{text} {steps[step]}" for step, text in STEP_TEXT.items() if steps[step])
    if found:
        texts.append(f"The last step the detector needed: {found}.")
    if selection.shown < selection.total:
        texts.append(
            f"{selection.shown} of {selection.total} crops are shown: of each kind the most "
            "doubtful, and as many spread evenly over the rest."
        )
    return texts


def failure_text(record: CropRecord) -> str:
    """Return why a row has no crop, with the picture's name in place of its path."""
    if record.error:  # the folder would push the cause out of the line
        return record.error.replace(repr(str(record.path)), repr(record.path.name))
    reason = next((REASON_TEXT[kind] for kind in REASON_TEXT if kind == record.reason), "")
    return f"Skipped {record.path.name!r}{f': {reason}.' if reason else '.'}"


def heading_texts(selection: Selection) -> tuple[str, str]:
    """Return the headings of the full frames and of the faces."""
    faces = selection.counts["face"]
    whole, shown = selection.total - faces, len(selection.whole)
    near = any(selection.counts[kind] for kind in FALLBACKS if kind != "no_face")
    return (
        f"Full frames ({_share(shown, whole)}){', those nearest to a face first' if near else ''}",
        f"Faces ({_share(len(selection.faces), faces)}), the least certain first",
    )


def entry_names(selection: Selection) -> dict[Path, str]:
    """Return what each shown picture is called: its folder is named where two are alike."""
    paths = {entry.record.path for entry in (*selection.whole, *selection.faces)}
    alike = Counter(path.name for path in paths)
    return {p: p.name if alike[p.name] == 1 else f"{p.parent.name}/{p.name}" for p in paths}


def entry_detail(entry: Entry) -> str:
    """Return the face's size and which of several it is, or the picture's size."""
    record = entry.record
    face = record.cuts[entry.index].face
    if face is None:
        return f"of {record.width} x {record.height} px"
    size = size_text(face.box.width, face.box.height)
    if record.more:
        return f"{size}, {entry.index + 1} of {len(record.cuts)}"
    return f"{size}, {record.faces} faces" if record.faces > 1 else size


def _counts_text(records: Sequence[CropRecord], selection: Selection) -> str:
    counts = selection.counts
    reasons = ", ".join(
        f"{counts[kind]} because {text}" for kind, text in REASON_TEXT.items() if counts[kind]
    )
    errors = sum(record.status == "error" for record in selection.failed)
    skipped = len(selection.failed) - errors
    return (
        f"{count_text(len(records), 'picture')}: {count_text(counts['face'], 'face crop')}, "
        f"{count_text(sum(counts[kind] for kind in WHOLE), 'full frame')}"
        f"{f' ({reasons})' if reasons else ''}, "
        f"{f'{skipped} skipped, ' if skipped else ''}{count_text(errors, 'error')}."
    )


def _share(shown: int, total: int) -> str:
    return str(total) if shown == total else f"{shown} of {total}"


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
