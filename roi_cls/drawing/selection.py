"""Which crops of a run a page shows, so that a few stand for all: the doubtful ones first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from roi_cls.cache import CropRecord

ShownKind = Literal["low_score", "too_small", "no_face", "full_frame", "face"]
FALLBACKS: tuple[ShownKind, ...] = ("low_score", "too_small", "no_face")
"""Those that were nearly cut as faces first."""
WHOLE: tuple[ShownKind, ...] = (*FALLBACKS, "full_frame")


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
        (reason for reason in FALLBACKS if reason == record.reason), "full_frame"
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
