"""What people see of a command: results on stdout, progress and notes on stderr, an exit code.

Progress in a notebook is seen below the cell that is at work.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from roi_cls.base.atomic import storage_reason
from roi_cls.base.errors import StorageError
from roi_cls.base.machine import is_first_process

if TYPE_CHECKING:
    from rich.progress import Progress


PLAIN_INTERVAL_S = 10.0
"""Between two progress lines where stderr is no terminal."""
BAR_INTERVAL_S = 0.1
"""Between two updates of the bar: each costs as much as looking up five known pictures."""
NOTEBOOK_INTERVAL_S = 0.3
"""The same in a notebook, where each goes to the browser."""
Advance = Callable[[int, int | None, str], None]
"""Called with (done, total, note); the total is None while it is not known."""


def note(text: str, *, always: bool = False) -> None:
    """Print a line on stderr; where several processes work together, the first one's alone.

    always: also another's, which may be the only one that failed.
    """
    if always or is_first_process():
        print(text, file=sys.stderr, flush=True)  # noqa: T201  (the one place that may)


def show(text: str) -> None:
    """Print a result on stdout.

    Raises:
        StorageError: It leads to a file, and the disk is full.
    """
    if not is_first_process():
        return
    try:
        print(text, flush=True)  # noqa: T201  (and this one, for results)
    except BrokenPipeError:
        raise  # the reader has seen enough, like head; typer ends without a word
    except OSError as error:
        with contextlib.suppress(OSError):  # what is buffered would fail again at the exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise StorageError("standard output", storage_reason(error)) from error


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
    one at work is seen. Notes meanwhile appear above the bar. In a notebook a line about the work
    stays where the bar was.

    Args:
        what: The work, e.g. ``Cropping``.
        unit: What is counted.
    """
    if sys.stderr.isatty() and is_first_process():
        with _bar(what, unit) as advance:
            yield advance
    elif _in_notebook():
        with contextlib.closing(_NotebookBar(what, unit)) as bar:
            yield bar.advance
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


def _in_notebook() -> bool:
    """Whether this is the kernel of a notebook, which shows HTML."""
    ipython: Any = sys.modules.get("IPython")  # a kernel has imported it
    return hasattr(ipython and ipython.get_ipython(), "kernel")


class _NotebookBar:
    """A bar of HTML, shown anew under one name: it needs no widget, and every notebook knows it."""

    def __init__(self, what: str, unit: str) -> None:
        self._what, self._unit = what, unit
        self._begin()

    def _begin(self) -> None:
        self._rate, self._start = _Rate(self._unit), time.monotonic()
        self._drawn = float("-inf")
        self._done = 0
        self._place: Any = None

    def advance(self, done: int, total: int | None, note: str) -> None:
        """Show how far the work is."""
        self._done = done
        speed = self._rate.text(done)
        if done == total:
            self.close()
        elif time.monotonic() - self._drawn >= NOTEBOOK_INTERVAL_S:
            self._drawn = time.monotonic()
            left = self._rate.seconds_left(done, total)
            count = str(done) if total is None else f"{done}/{total}"
            facts = [count, speed, "" if left is None else f"{left:.0f} s left", note]
            size = "" if total is None else f' max="{total}" value="{done}"'
            words = escape(", ".join(fact for fact in facts if fact))
            self._show(f"{escape(self._what)} <progress{size}></progress> {words}")

    def close(self) -> None:
        """Say what was done, in place of the bar; nothing where nothing was."""
        if self._place is not None:
            seconds = time.monotonic() - self._start
            unit = self._unit.removesuffix("s") if self._done == 1 else self._unit
            self._show(escape(f"{self._what}: {self._done} {unit} in {seconds:.1f} s"))
        self._begin()

    def _show(self, words: str) -> None:
        shown: Any = importlib.import_module("IPython.display")  # which not everyone has
        html = shown.HTML(f'<div style="opacity:.8">{words}</div>')
        if self._place is None:
            self._place = shown.display(html, display_id=True)
        else:
            self._place.update(html)


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
