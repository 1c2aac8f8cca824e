"""What people see while a command works: progress and notes, all on stderr."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

PLAIN_INTERVAL_S = 10.0
"""Between two progress lines where stderr is no terminal."""
Advance = Callable[[int, int, str], None]
"""Called with (done, total, note)."""


def note(text: str) -> None:
    """Print a line on stderr."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201  (the one place that may)


@contextlib.contextmanager
def progress(what: str, unit: str = "pictures") -> Iterator[Advance]:
    """Give a function that shows how far the work is, with its rate and the time left.

    Args:
        what: The work, e.g. ``Cropping``.
        unit: What is counted.
    """
    if sys.stderr.isatty():
        with _bar(what, unit) as advance:
            yield advance
    else:
        yield _plain(what, unit)


@contextlib.contextmanager
def _bar(what: str, unit: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None, rate="", note="")
        started = time.monotonic()

        def advance(done: int, total: int, note: str) -> None:
            rate = f"{done / max(time.monotonic() - started, 1e-3):.0f} {unit}/s"
            bar.update(task, completed=done, total=total, rate=rate, note=note)

        yield advance


def _plain(what: str, unit: str) -> Advance:
    started = shown = time.monotonic()

    def advance(done: int, total: int, note: str) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown < PLAIN_INTERVAL_S:
            return
        shown = now
        rate = done / (now - started)
        left = (total - done) / rate if rate else 0.0
        _line(f"{what}: {done}/{total}, {rate:.0f} {unit}/s, {left:.0f} s left {note}".rstrip())

    return advance


_line = note
