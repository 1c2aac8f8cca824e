"""What a contact sheet says about a crop run. Knows rows, draws nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from roi_cls.cache import CropRecord
from roi_cls.recipe_text import STEP_TEXT, count_text, size_text
from roi_cls.roi import REASON_TEXT
from roi_cls.sheet_selection import FALLBACKS, WHOLE, Entry, Selection


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
