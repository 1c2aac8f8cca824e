"""What was found: a row for each question, also where there is no answer; as JSON and Markdown."""

from __future__ import annotations

import contextlib
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

Status = Literal["ok", "missed", "failed", "no GPU"]
NO_GPU: Status = "no GPU"


@dataclass(frozen=True, slots=True)
class Row:
    """One question and its answer."""

    part: str
    what: str
    value: float | str | None = None
    """None: there is no answer, and ``reason`` says why."""
    wanted: str = ""
    """In words, like ``<= 1.1``."""
    status: Status = "ok"
    """``missed``: slower than wanted; ``failed``: wrong, or no answer."""
    reason: str = ""


Tell = Callable[[Row], None]
"""Takes a row when it is there: what a part finds after it must not be able to lose it."""


class Book:
    """Rows of one part, told to whoever keeps them."""

    def __init__(self, part: str, tell: Tell) -> None:
        self._part, self._tell = part, tell

    def note(self, what: str, value: float | str) -> None:
        """Tell a figure that nothing is wanted of."""
        self._tell(Row(self._part, what, value))

    def at_most(self, what: str, value: float, limit: float, *, must: bool = True) -> None:
        """Tell a figure and whether it is at most the limit; a NaN is not.

        Args:
            what: The question.
            value: The answer.
            limit: The most that is right, or wanted.
            must: More is wrong; else it is only slow.
        """
        status: Status = "ok" if value <= limit else "failed" if must else "missed"
        reason = "" if status == "ok" else "more than wanted"
        self._tell(Row(self._part, what, value, f"<= {limit:g}", status, reason))

    def expect(self, what: str, value: float | str, wanted: str, *, is_right: bool) -> None:
        """Tell an answer that is right or wrong."""
        reason = "" if is_right else "not what is wanted"
        status: Status = "ok" if is_right else "failed"
        self._tell(Row(self._part, what, value, wanted, status, reason))

    def skip(self, what: str) -> None:
        """Tell of a question that only a GPU can answer."""
        self._tell(Row(self._part, what, status=NO_GPU))

    def pass_on(self, row: Row) -> None:
        """Tell a row of another process of the part."""
        self._tell(row)

    @contextlib.contextmanager
    def trying(self, what: str) -> Iterator[None]:
        """Make what goes wrong inside a row, and go on."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  # reason: a failure is an answer, too, and must not take others away
            traceback.print_exc(file=sys.stderr)
            self._tell(Row(self._part, what, status="failed", reason=describe_error(error)))


def describe_error(error: BaseException) -> str:
    """Return an error's kind and its first line."""
    line = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


def to_file(path: Path) -> Tell:
    """Return what adds rows to a file of JSON lines, each at once."""

    def tell(row: Row) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(row)) + "\n")

    return tell


def from_file(path: Path) -> list[Row]:
    """Return the rows of such a file; a last line that was cut off is none."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [Row(**json.loads(line)) for line in lines]


def render(facts: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """Return facts of the machine and the rows as Markdown."""
    told = "; ".join(f"{name} {value}" for name, value in facts.items())
    lines = [told, "", "| part | what | found | wanted | |", "|---|---|---:|---|---|"]
    for row in rows:
        verdict = row.status if row.status != "ok" else ""
        reason = f"{verdict}: {row.reason}" if row.reason else verdict
        cells = (row.part, row.what, _show(row.value), row.wanted, reason)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _show(value: float | str | None) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
    return "" if value is None else str(value)


def timed(work: Callable[[], object], wait: Callable[[], None]) -> float:
    """Return the seconds that the work takes, until the device is done with it."""
    wait()
    begin = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - begin
