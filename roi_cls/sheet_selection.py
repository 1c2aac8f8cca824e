"""Which crops a contact sheet shows, and in which order. Knows rows, no pixel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from roi_cls.cache import CropRecord

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
