"""What a server writes to disk: corrected verdicts, and pictures where that was asked for."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

from roi_cls.base.atomic import write_atomically
from roi_cls.data.review import Correction, append_correction
from roi_cls.roi.image_header import sniff_kind
from roi_cls.server.answers import Mark


def append_mark(path: Path, mark: Mark, run: str) -> None:
    """Add a corrected verdict to the review.

    Raises:
        StorageError: The review cannot be written.
        ValueError: The verdict names no picture.
    """
    time = datetime.now(UTC).isoformat(timespec="seconds")
    correction = Correction(
        mark.name, mark.sha256, mark.answer, mark.label, mark.probability, run, time
    )
    append_correction(path, correction)


def keep_picture(folder: Path, data: bytes) -> Path:
    """Keep a picture that was read, under a name of its content: nobody else chooses one.

    Raises:
        StorageError: It cannot be written.
    """
    path = folder / f"{hashlib.sha256(data).hexdigest()}.{sniff_kind(data).lower()}"
    if not path.exists():
        write_atomically(path, data)
    return path
