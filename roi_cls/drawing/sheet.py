"""A page of crops for a screen, so that a person sees in one look whether the recipe is right.

Which crops stand for all, the doubtful ones first; what it says about the run, what its badges
mean, and the crops themselves.
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
from roi_cls.console.words import STEP_TEXT, count_text, score_text, share_text, size_text
from roi_cls.drawing.file import write_drawing
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
    TEXT_PX,
    TITLE_PX,
    WIDTH,
    Line,
    PagePart,
    Section,
    Text,
    Tile,
    draw_page,
    wrap_lines,
)
from roi_cls.roi import REASON_TEXT
from roi_cls.roi.image import Image

ShownKind = Literal["low_score", "too_small", "no_face", "full_frame", "face"]
_FALLBACKS: tuple[ShownKind, ...] = ("low_score", "too_small", "no_face")
"""Those that were nearly cut as faces first."""
WHOLE: tuple[ShownKind, ...] = (*_FALLBACKS, "full_frame")
LARGEST_LIMIT = 1200
"""Crops on a page: 120 rows are 26,000 px or 125 MB, and JPEG ends at 65,535 px."""
_COLUMNS = 10
_NAMED_FAILURES = 8
_BADGES: dict[ShownKind, tuple[str, Colour, str]] = {
    "low_score": ("low score", BROWN, f"full frame: {REASON_TEXT['low_score']}"),
    "too_small": ("too small", PURPLE, f"full frame: {REASON_TEXT['too_small']}"),
    "no_face": ("no face", RUST, f"full frame: {REASON_TEXT['no_face']}"),
    "full_frame": ("full frame", SLATE, "full frame, as the recipe says"),
    "face": ("face", BLUE, "face, with the detector's score and the size of its box"),
}
"""Word, colour and meaning: the colour alone would not do for everyone."""
_BADGE_HEIGHT, _BADGE_LETTERS = 22, 13

LoadCrops = Callable[[CropRecord], Image]
"""From an ok row to its crops, (cuts, size_px, size_px, 3) RGB uint8."""


@dataclass(frozen=True, slots=True)
class ShownCrop:
    """One crop of one row."""

    record: CropRecord
    kind: ShownKind
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

    whole: tuple[ShownCrop, ...]
    """Full frames, those in place of a face first, the most doubtful of each reason first."""
    faces: tuple[ShownCrop, ...]
    """The least certain first."""
    counts: Counter[ShownKind]
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
    groups: dict[ShownKind, list[ShownCrop]] = {kind: [] for kind in (*WHOLE, "face")}
    for record in records:
        if record.status == "ok":
            for crop in _crops_of(record):
                groups[crop.kind].append(crop)
    counts = Counter({kind: len(group) for kind, group in groups.items() if group})
    shares = _share_page(counts, limit)
    chosen = {kind: _pick(kind, group, shares[kind]) for kind, group in groups.items()}
    failed = [record for record in records if record.status != "ok"]
    return Selection(
        tuple(crop for kind in WHOLE for crop in chosen[kind]),
        tuple(chosen["face"]),
        counts,
        tuple(sorted(failed, key=lambda record: record.status != "error")),
    )


def _crops_of(record: CropRecord) -> list[ShownCrop]:
    if record.source == "face":
        return [ShownCrop(record, "face", i) for i in range(len(record.cuts))]
    kind: ShownKind = next(
        (reason for reason in _FALLBACKS if reason == record.reason), "full_frame"
    )
    return [ShownCrop(record, kind)]


def _share_page(counts: Counter[ShownKind], limit: int) -> dict[ShownKind, int]:
    """Return how many of each kind are shown."""
    whole = sum(counts[kind] for kind in WHOLE)
    faces = min(counts["face"], max(limit - whole, limit // 2))
    shares: dict[ShownKind, int] = {"face": faces}
    room = min(whole, limit - faces)
    # The rare kinds first: what they leave of their share is for the others.
    rare_first = sorted(WHOLE, key=lambda kind: counts[kind])
    for position, kind in enumerate(rare_first):
        fair = -(-room // (len(rare_first) - position))  # rounded up
        shares[kind] = min(counts[kind], fair)
        room -= shares[kind]
    return shares


def _pick(kind: ShownKind, group: list[ShownCrop], count: int) -> list[ShownCrop]:
    """Return ``count`` of the group in order of doubt."""
    if kind == "face":
        group = sorted(group, key=lambda crop: crop.score or 0.0)
    elif kind in ("low_score", "too_small"):  # the surer the detector, the nearer to a face
        group = sorted(group, key=lambda crop: -(crop.score or 0.0))
    if count >= len(group):
        return group
    doubtful = (count + 1) // 2 if kind not in ("no_face", "full_frame") else 0
    others = group[doubtful:]
    spread = count - doubtful
    return group[:doubtful] + [others[i * len(others) // spread] for i in range(spread)]


@dataclass(frozen=True, slots=True)
class SheetSummary:
    """What a contact sheet shows."""

    shown: int
    """Crops on the page."""
    crops: int
    """Crops there are."""
    unread: int
    """Of those on the page, the ones that could not be read; their places say so."""


def write_contact_sheet(
    path: Path, records: Sequence[CropRecord], load: LoadCrops, title: str, *, limit: int = 120
) -> SheetSummary:
    """Draw a page of crops and write it, all or nothing.

    Args:
        path: Its suffix says the format: see ``check_drawing_path``.
        records: Rows of a crop run.
        load: Called once for each crop that is shown, so that one at a time is in memory.
        title: The recipe in words.
        limit: Most crops on the page, 1 to ``LARGEST_LIMIT``.

    Raises:
        StorageError: The file cannot be written.
    """
    page, summary = draw_contact_sheet(records, load, title, limit=limit)
    write_drawing(path, page)
    return summary


def draw_contact_sheet(
    records: Sequence[CropRecord], load: LoadCrops, title: str, *, limit: int = 120
) -> tuple[PillowImage.Image, SheetSummary]:
    """Return the page that ``write_contact_sheet`` writes, and what it shows."""
    if not 1 <= limit <= LARGEST_LIMIT:
        raise ValueError(f"limit must be between 1 and {LARGEST_LIMIT}, got {limit}")
    selection = select_crops(records, limit)
    names = picture_names(selection)
    unread = 0

    def tiles(crops: Sequence[ShownCrop]) -> Iterator[Tile]:
        nonlocal unread
        for crop in crops:
            pixels = _load_crop(crop, load)
            unread += pixels is None
            yield _tile(crop, names[crop.record.path], pixels)

    header = wrap_lines(title, TITLE_PX)
    for text in header_texts(records, selection):
        header += wrap_lines(text, TEXT_PX, MUTED)
    parts: list[PagePart] = [Text(header)]
    if kinds := [kind for kind in (*WHOLE, "face") if selection.counts[kind]]:
        parts.append(_Legend(kinds))
    if selection.failed:
        parts.append(_Failures(_failure_lines(selection)))
    for heading, crops in zip(
        heading_texts(selection), (selection.whole, selection.faces), strict=True
    ):
        if crops:
            parts.append(Section(heading, _COLUMNS, 2, len(crops), tiles(crops)))
    page = draw_page(parts)
    return page, SheetSummary(selection.shown, selection.total, unread)


def _load_crop(crop: ShownCrop, load: LoadCrops) -> Image | None:
    """Return the crop, None where it cannot be read: one bad crop must not cost the page."""
    try:
        pixels: Image = load(crop.record)[crop.index]
    except (CacheError, ImageReadError):
        return None
    return pixels


def _tile(crop: ShownCrop, name: str, pixels: Image | None) -> Tile:
    word, colour, _ = _BADGES[crop.kind]
    score = "" if crop.score is None else score_text(crop.score)
    return Tile(word, score, colour, ((name, INK), (crop_detail(crop), MUTED)), pixels)


def _failure_lines(selection: Selection) -> list[Line]:
    lines = []
    for record in selection.failed[:_NAMED_FAILURES]:
        text = shorten(failure_text(record), TEXT_PX, WIDTH - 2 * GAP)
        lines.append(Line(text, TEXT_PX, RED if record.status == "error" else INK))
    if rest := len(selection.failed) - len(lines):
        lines.append(Line(f"… and {rest} more without a crop.", TEXT_PX))
    return lines


class _Legend:
    """The badge and the meaning of each kind, in as many rows as the page needs."""

    def __init__(self, kinds: Sequence[ShownKind]) -> None:
        self._rows: list[list[tuple[ShownKind, float]]] = []
        """Each kind with the left edge of its badge."""
        x = float(WIDTH)
        for kind in kinds:
            needed = _badge_width(kind) + 8 + measure(_BADGES[kind][2], TEXT_PX)
            if x + needed > WIDTH:
                self._rows.append([])
                x = 0.0
            self._rows[-1].append((kind, x))
            x += needed + 28

    @property
    def height(self) -> int:
        return (_BADGE_HEIGHT + 8) * len(self._rows) + EDGE

    def draw(self, page: PillowImage.Image, top: int) -> None:
        pen = ImageDraw.Draw(page)
        for i, row in enumerate(self._rows):
            y = top + EDGE // 4 + i * (_BADGE_HEIGHT + 8)
            for kind, x in row:
                word, colour, meaning = _BADGES[kind]
                right = EDGE + x + _badge_width(kind)
                pen.rectangle((EDGE + x, y, right, y + _BADGE_HEIGHT - 1), fill=colour)
                write(pen, (EDGE + x + 6, y + 4), word, _BADGE_LETTERS, PAPER)
                write(pen, (right + 8, y + 2), meaning, TEXT_PX)


def _badge_width(kind: ShownKind) -> float:
    return measure(_BADGES[kind][0], _BADGE_LETTERS) + 12


class _Failures(Text):
    """Rows without a crop, with a bar beside them."""

    def __init__(self, lines: Sequence[Line]) -> None:
        super().__init__(lines, below=GAP, indent=2 * GAP)

    def draw(self, page: PillowImage.Image, top: int) -> None:
        super().draw(page, top)
        bottom = top + self.height - GAP - 8
        ImageDraw.Draw(page).rectangle((EDGE, top, EDGE + 5, bottom), fill=self.lines[0].colour)


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
    near = any(selection.counts[kind] for kind in _FALLBACKS if kind != "no_face")
    nearest = ", those nearest to a face first" if near else ""
    return (
        f"Full frames ({share_text(shown, whole)}){nearest}",
        f"Faces ({share_text(len(selection.faces), faces)}), the least certain first",
    )


def picture_names(selection: Selection) -> dict[Path, str]:
    """Return what each shown picture is called: its folder is named where two are alike."""
    paths = {crop.record.path for crop in (*selection.whole, *selection.faces)}
    alike = Counter(path.name for path in paths)
    return {p: p.name if alike[p.name] == 1 else f"{p.parent.name}/{p.name}" for p in paths}


def crop_detail(crop: ShownCrop) -> str:
    """Return the face's size and which of several it is, or the picture's size."""
    record = crop.record
    face = record.cuts[crop.index].face
    if face is None:
        return f"of {record.width} x {record.height} px"
    size = size_text(face.box.width, face.box.height)
    if record.more:
        return f"{size}, {crop.index + 1} of {len(record.cuts)}"
    return f"{size}, {record.faces} faces" if record.faces > 1 else size
