"""What is told while pictures are cropped: how far it is, and which cannot be used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from roi_cls.cache import CropRecord, CropResult
from roi_cls.console.terminal import Advance, note, progress

SHOWN_ERRORS = 5


def show_errors(errors: Sequence[CropRecord], rest: str, total: int | None = None) -> None:
    """Name the first pictures that could not be cropped, on stderr, and count the rest.

    Args:
        errors: Rows in error; the first ``SHOWN_ERRORS`` at least.
        rest: Where the others can be seen, as a sentence without its full stop.
        total: How many there are; None: no more than ``errors``.
    """
    for record in errors[:SHOWN_ERRORS]:
        note(f"error: {record.error}")
    more = (len(errors) if total is None else total) - SHOWN_ERRORS
    if more > 0:
        note(f"… and {more} more; {rest}.")


@contextmanager
def cropping_progress() -> Iterator[_CropProgress]:
    """Give an observer of crops that shows progress."""
    with ExitStack() as bars:
        yield _CropProgress(bars)


class _CropProgress:
    """Counts the crops that come; each pass over the pictures has a progress bar of its own."""

    def __init__(self, bars: ExitStack) -> None:
        self._bars = bars
        self._advance: Advance = lambda done, total, note: None
        self._done = 0

    def __call__(self, result: CropResult, total: int) -> None:
        """Count one more of so many."""
        if self._done == 0:
            self._advance = self._bars.enter_context(progress("Cropping"))
        self._done += 1
        self._advance(self._done, total, "")
        if self._done == total:
            self._bars.close()
            self._done = 0
