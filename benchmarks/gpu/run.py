"""All that only a GPU can prove, in at most eight minutes: tests, speed, answers, failures.

    make bench-gpu      or      .venv/bin/python -m benchmarks.gpu.run [--folder DIR] [--only PART]

Needs neither a network nor mediapipe: crops are drawn, weights are random, no face is sought.
Each part is a process of its own with a time of its own, and tells its rows one by one: a part that
fails, hangs or takes the GPU down with it costs its own rows. The exit code is 1 where any failed.
Without a GPU the same code runs in a tiny form on the CPU, in seconds, and proves that it runs.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.gpu.rows import Book, Row, Tell, from_file, render, to_file
from benchmarks.machine import describe_machine

if TYPE_CHECKING:
    from benchmarks.gpu.setting import Setting

ROOT = Path(__file__).parents[2]
SECONDS = 480.0
"""Of all parts together; the parts' own times are within it."""
_PATIENCE = 10
"""So many times as long for the tiny form: no lent GPU waits, and CI's machines may be busy."""
_TESTED = ("tests/gpu", "tests/classifier/training/test_batches.py")
"""Where tests are that need a GPU: collecting all takes a minute."""


@dataclass(frozen=True, slots=True)
class Part:
    """What is asked together, and for how long at most."""

    name: str
    seconds: float
    place: str
    """Module beside this one, and its function of a ``Setting`` and a ``Book``. By name: the
    processes that predict would import all of it again."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """More for it."""

    def work(self, setting: Setting, book: Book) -> None:
        """Ask."""
        module, _, function = self.place.partition(":")
        found = getattr(importlib.import_module(f"benchmarks.gpu.{module}"), function)
        found(setting, book, **self.arguments)


def run_tests(setting: Setting, book: Book) -> None:
    """Tell how many of the tests marked ``gpu`` passed."""
    what = "tests marked gpu: passed, failed, skipped"
    if not setting.has_gpu:
        book.skip(what)
        return
    report = setting.folder / "tests.xml"
    words = ["-q", "-m", "gpu", "-p", "no:cacheprovider", f"--junitxml={report}", *_TESTED]
    subprocess.run([sys.executable, "-m", "pytest", *words], cwd=ROOT, check=False)
    tell_tests(report, what, book)


def tell_tests(report: Path, what: str, book: Book) -> None:
    """Tell what a report of pytest, as JUnit's XML, counts."""
    suite = next(ElementTree.parse(report).getroot().iter("testsuite"))
    counts = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
    failed = counts["failures"] + counts["errors"]
    passed = counts["tests"] - failed - counts["skipped"]
    is_right = passed > 0 and not failed and not counts["skipped"]
    found = f"{passed}, {failed}, {counts['skipped']}"
    book.expect(what, found, "all pass", is_right=is_right)
    for case in suite.iter("testcase"):
        for trouble in (*case.iter("failure"), *case.iter("error")):
            name, reason = case.get("name", ""), trouble.get("message", "")
            book.expect(name, reason.partition("\n")[0], "passes", is_right=False)


def choose_parts(setting: Setting) -> list[Part]:
    """Return the parts in the order in which they matter."""
    return [
        Part("tests", 65, "run:run_tests"),
        *(Part(f"train {m}", 50, "speed:measure_speed", {"model": m}) for m in setting.models),
        Part("learning", 45, "learning:check_learning"),
        Part("resume", 35, "learning:check_resume"),
        Part("memory", 25, "learning:check_memory"),
        Part("processes", 30, "processes:check_processes"),
        Part("scores", 30, "answers:compare_scores"),
        Part("answers", 30, "answers:measure_answers"),
        Part("compile", 50, "speed:measure_compiled"),
        Part("knobs", 20, "speed:measure_knobs"),
    ]


def run_here(part: Part, setting: Setting, tell: Tell) -> None:
    """Run a part in this process; what it cannot do is a row."""
    book = Book(part.name, tell)
    with book.trying(part.name):
        part.work(setting, book)


def run_apart(
    part: Part, setting: Setting, seconds: float, command: Sequence[str] = ()
) -> list[Row]:
    """Run a part in a process of its own, and end it when its time is over.

    Args:
        part: Its name is what the process is told.
        setting: Its folder holds what the parts share.
        seconds: At most.
        command: What to run in place of this file; for tests.
    """
    told = setting.folder / f"{part.name}.jsonl"
    options = ["--part", part.name, "--shared", str(setting.folder)]
    words = command or [sys.executable, "-m", "benchmarks.gpu.run", *options, *_tiny(setting)]
    # A session of its own, so that what it has started ends with it.
    process = subprocess.Popen(words, cwd=ROOT, start_new_session=True)
    reason = ""
    try:
        if code := process.wait(max(1.0, seconds)):
            reason = f"the process ended with exit code {code}"
    except subprocess.TimeoutExpired:
        reason = f"its {seconds:.0f} s were over"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    rows = from_file(told)
    if reason or not rows:
        rows.append(Row(part.name, part.name, status="failed", reason=reason or "no row came"))
    return rows


def _tiny(setting: Setting) -> list[str]:
    return ["--tiny"] if setting.is_tiny else []


def run_all(
    parts: Sequence[Part], setting: Setting, end: float, *, apart: bool
) -> Iterator[list[Row]]:
    """Yield the rows of each part; one for which no time is left is not begun.

    end: by ``time.monotonic``.
    """
    for part in parts:
        print(f"{part.name} …", file=sys.stderr, flush=True)
        left = end - time.monotonic()
        if left < 5:
            yield [Row(part.name, part.name, status="failed", reason="no time was left for it")]
        elif apart:
            seconds = part.seconds * (_PATIENCE if setting.is_tiny else 1)
            yield run_apart(part, setting, min(seconds, left))
        else:
            rows: list[Row] = []
            run_here(part, setting, rows.append)
            yield rows


def write_results(folder: Path, facts: dict[str, Any], rows: Sequence[Row]) -> None:
    """Write what there is so far, as ``results.json`` and ``results.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    results = {**facts, "rows": [asdict(row) for row in rows]}
    (folder / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    (folder / "results.md").write_text(render(facts, rows))


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description="Prove on a GPU what only a GPU can prove.")
    parser.add_argument(
        "--folder", type=Path, default=Path("artifacts/bench/gpu"), help="of the results"
    )
    parser.add_argument("--only", action="append", metavar="PART", help="may come again")
    parser.add_argument(
        "--tiny", action="store_true", help="tiny sizes, as without a GPU: proves that it runs"
    )
    parser.add_argument("--here", action="store_true", help="all parts in this process")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--shared", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all parts, print and write the rows; return the exit code."""
    from benchmarks.gpu.setting import choose_setting, describe_device  # here: they need torch

    options = parse_options(arguments)
    if options.part:
        setting = choose_setting(options.shared, is_tiny=options.tiny)
        (part,) = (p for p in choose_parts(setting) if p.name == options.part)
        run_here(part, setting, to_file(options.shared / f"{part.name}.jsonl"))
        return 0
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="roi-cls-gpu-") as space:
        setting = choose_setting(Path(space), is_tiny=options.tiny)
        facts: dict[str, Any] = {**describe_device(setting.device), "machine": describe_machine()}
        parts = [p for p in choose_parts(setting) if not options.only or p.name in options.only]
        rows = list(_drawn(setting))
        end = begin + SECONDS * (_PATIENCE if setting.is_tiny else 1)
        for found in run_all(parts, setting, end, apart=not options.here):
            rows += found
            facts["seconds"] = round(time.monotonic() - begin)
            write_results(options.folder, facts, rows)
    print(render(facts, rows), end="")
    return int(any(row.status == "failed" for row in rows))


def _drawn(setting: Setting) -> Iterator[Row]:
    """Draw what the parts share; yield a row where that cannot be done."""
    rows: list[Row] = []
    with Book("crops", rows.append).trying("drawing crops"):
        setting.draw()
    yield from rows


if __name__ == "__main__":
    sys.exit(main())
