"""What people see of a command: results on stdout, progress and notes on stderr, an exit code."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from roi_cls.base.errors import StorageError

if TYPE_CHECKING:
    from rich.progress import Progress


PLAIN_INTERVAL_S = 10.0
"""Between two progress lines where stderr is no terminal."""
BAR_INTERVAL_S = 0.1
"""Between two updates of the bar: each costs as much as looking up five known pictures."""
Advance = Callable[[int, int | None, str], None]
"""Called with (done, total, note); the total is None while it is not known."""


def is_speaker() -> bool:
    """Whether this process speaks: of several that torchrun started, the first alone."""
    return "WORLD_SIZE" not in os.environ or os.environ.get("RANK", "0") == "0"


def note(text: str, *, always: bool = False) -> None:
    """Print a line on stderr; where several processes work together, the first one's alone.

    always: also another's, which may be the only one that failed.
    """
    if always or is_speaker():
        print(text, file=sys.stderr, flush=True)  # noqa: T201  (the one place that may)


def show(text: str) -> None:
    """Print a result on stdout.

    Raises:
        StorageError: It leads to a file, and the disk is full.
    """
    if not is_speaker():
        return
    try:
        print(text, flush=True)  # noqa: T201  (and this one, for results)
    except BrokenPipeError:
        raise  # the reader has seen enough, like head; typer ends without a word
    except OSError as error:
        with contextlib.suppress(OSError):  # what is buffered would fail again at the exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise StorageError("standard output", error.strerror or str(error)) from error


def note_next(*arguments: str) -> None:
    """Name the command that comes next."""
    note(f"Next: {command_text(*arguments)}")


def command_text(*arguments: str) -> str:
    """Return a command of this program as it can be typed here."""
    return shlex.join([*_program(), *arguments])


def _program() -> list[str]:
    if shutil.which("roi-cls"):
        return ["roi-cls"]
    if Path(sys.argv[0]).name == "__main__.py":
        return ["python", "-m", "roi_cls"]
    near = os.path.relpath(sys.argv[0])
    return [sys.argv[0] if near.startswith(os.pardir) else near]


def exit_with(errors: int) -> None:
    """End the command with exit code 3 where it is done, but some inputs were in error."""
    if errors:
        raise typer.Exit(3)


@contextlib.contextmanager
def progress(what: str, unit: str = "pictures") -> Iterator[Advance]:
    """Give a function that shows how far the work is, with its rate and the time left.

    Shown from the first call to the one with ``done == total``: of two that are open at once, the
    one at work is seen. Notes meanwhile appear above the bar.

    Args:
        what: The work, e.g. ``Cropping``.
        unit: What is counted.
    """
    if sys.stderr.isatty() and is_speaker():
        with _bar(what, unit) as advance:
            yield advance
    else:
        yield _plain(what, unit)


@contextlib.contextmanager
def _bar(what: str, unit: str) -> Iterator[Advance]:
    bar = _make_bar()
    task = bar.add_task(what, total=None, rate="", note="", start=False)
    rate = _Rate(unit)
    drawn = 0.0

    def advance(done: int, total: int | None, note: str) -> None:
        nonlocal drawn
        shown = rate.text(done)
        if time.monotonic() - drawn < BAR_INTERVAL_S and done != total:
            return
        drawn = time.monotonic()
        bar.start_task(task)
        bar.update(task, completed=done, total=total, rate=shown, note=note)
        if not bar.live.is_started:
            bar.start()
        if done == total:
            bar.stop()

    try:
        yield advance
    finally:
        bar.stop()


def _make_bar() -> Progress:
    from rich import progress as parts
    from rich.console import Console

    columns = (
        parts.TextColumn("{task.description}", markup=False),
        parts.BarColumn(),
        parts.MofNCompleteColumn(),
        parts.TextColumn("{task.fields[rate]}"),
        parts.TimeRemainingColumn(),
        parts.TextColumn("{task.fields[note]}", markup=False),
    )
    # Notes to stderr are led through the bar's console; stdout, perhaps a pipe, must not be.
    console = Console(stderr=True)
    return parts.Progress(*columns, console=console, transient=True, redirect_stdout=False)


def _plain(what: str, unit: str) -> Advance:
    rate = _Rate(unit)
    shown = time.monotonic()

    def advance(done: int, total: int | None, text: str) -> None:
        nonlocal shown
        speed = rate.text(done)
        now = time.monotonic()
        if now - shown < PLAIN_INTERVAL_S:
            return
        shown = now
        left = rate.seconds_left(done, total)
        count = str(done) if total is None else f"{done}/{total}"
        facts = [count, speed, "" if left is None else f"{left:.0f} s left", text]
        note(f"{what}: {', '.join(fact for fact in facts if fact)}")

    return advance


class _Rate:
    """How fast the work goes, counted from the first call: what came before is other work."""

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._first: tuple[int, float] | None = None
        self._per_second: float | None = None

    def text(self, done: int) -> str:
        """Note that so much is done; return the rate in words, empty while it is not known."""
        now = time.monotonic()
        if self._first is None:
            self._first = (done, now)
        count, seconds = done - self._first[0], now - self._first[1]
        self._per_second = count / seconds if count and seconds else None
        if self._per_second is None:
            return ""
        return rate_text(self._per_second, self._unit)

    def seconds_left(self, done: int, total: int | None) -> float | None:
        """Return how long the rest takes at this rate; None while it is not known."""
        return (total - done) / self._per_second if self._per_second and total else None


def rate_text(per_second: float, unit: str) -> str:
    """Return a rate in words, never rounded to nothing."""
    return f"{per_second:.{0 if per_second >= 10 else 1}f} {unit}/s"
