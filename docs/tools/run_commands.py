"""Run every command in README.md and docs, and compare what they print in shape.

.venv/bin/python -m docs.tools.run_commands [PAGE…] [--keep FOLDER] [--jobs N]

Each page has a sandbox of its own, see sandbox.py; what a page says to the runner, see
page_steps.py. Exit code 1 when a command fails, or prints something of another shape.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from docs.tools.command_words import unknown_inline, unknown_words
from docs.tools.drawn_world import LABELS, copy_world, draw_world
from docs.tools.page_steps import Page, PageError, Step, read_page
from docs.tools.sandbox import Done, Sandbox
from docs.tools.shape import json_mismatch, text_mismatch

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "docs/**/*.md")
GENERATED = {"docs/results.md": "written by `make results`, which runs its commands"}
"""Pages whose commands are run by what writes them."""
NOT_HERE = {
    "apt-get": "installs system packages",
    "make": "builds .venv, or trains for minutes",
    "parallel": "needs GNU parallel and a large set",
    "pip": "installs packages",
    "python3 -m venv": "builds another .venv",
    "source": "activates the environment, which the sandbox has already",
    "torchrun": "needs several GPUs",
}
"""First words of commands that are not run, and why."""
_TAIL_LINES = 12


@dataclass(slots=True)
class Report:
    """What came of a page's commands."""

    page: str
    ran: int = 0
    skipped: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def fail(self, line: int, reason: str) -> None:
        """Note a failure at a line of the page."""
        self.failures.append(f"{self.page}:{line}: {reason}")


def find_pages(root: Path) -> list[Path]:
    """Return the pages whose commands are run: the README, and docs but what is generated."""
    found = [page for pattern in PAGES for page in sorted(root.glob(pattern))]
    return [page for page in found if page.relative_to(root).as_posix() not in GENERATED]


def check_page(page: Path, name: str) -> tuple[Page | None, Report]:
    """Read a page and look up its commands and options, without running anything."""
    report = Report(name)
    text = page.read_text(encoding="utf-8")
    for line, fault in unknown_inline(text):
        report.fail(line, fault)
    try:
        read = read_page(text)
    except PageError as error:
        report.fail(error.line, error.reason)
        return None, report
    for step in read.steps:
        if step.language == "shell":
            for fault in unknown_words(step.command):
                report.fail(step.line, fault)
    return read, report


def run_page(page: Path, name: str, world: Path, folder: Path) -> Report:
    """Run a page's steps in a new sandbox at ``folder`` and return what came of them."""
    start = time.monotonic()
    read, report = check_page(page, name)
    if read is not None and not report.failures and read.steps:
        copy_world(world, folder, read.classes)
        sandbox = Sandbox(folder)
        try:
            for step in read.steps:
                _run_step(step, sandbox, report, (*LABELS, *read.classes))
        finally:
            stopped = sandbox.close()
        if stopped is not None and stopped.exit_code != 0:
            report.fail(1, f"the server ended with {stopped.exit_code}:\n{_tail(stopped.terminal)}")
    report.seconds = time.monotonic() - start
    return report


def _run_step(step: Step, sandbox: Sandbox, report: Report, names: Sequence[str]) -> None:
    if reason := step.skip or _not_here(step):
        report.skipped.append(f"{report.page}:{step.line}: {_first_line(step)} ({reason})")
        return
    if step.language == "python":
        done = sandbox.run_python(step.command, f"{Path(report.page).stem}.py")
    else:
        has_text = step.expected is not None and not step.is_json
        done = sandbox.run(step.command, as_terminal=has_text)
    report.ran += 1
    if fault := _fault(step, done, names):
        report.fail(step.line, f"{_first_line(step)}\n  {fault}\n{_tail(done.terminal)}")


def _not_here(step: Step) -> str | None:
    if step.language == "python":
        return None
    words = step.command.removeprefix(".venv/bin/")
    return next(
        (why for first, why in NOT_HERE.items() if f"{words} ".startswith(f"{first} ")), None
    )


def _fault(step: Step, done: Done, names: Sequence[str]) -> str | None:
    if done.exit_code is None:
        return "it ran too long and was ended"
    if done.exit_code != step.exit_code:
        return f"exit code {done.exit_code}, not {step.exit_code}"
    if step.expected is None:
        return None
    if step.is_json:
        return json_mismatch(step.expected, done.stdout, names)
    return text_mismatch(step.expected, done.terminal, names)


def _first_line(step: Step) -> str:
    return "the page's Python" if step.language == "python" else step.command.splitlines()[0]


def _tail(text: str) -> str:
    return "\n".join(f"  | {line}" for line in text.splitlines()[-_TAIL_LINES:])


def prepare(folder: Path) -> Path:
    """Draw the pictures, and train and evaluate the run ``demo``; return the folder to copy.

    Raises:
        RuntimeError: The training failed, so no page could be run.
    """
    drawn, world = folder / "drawn", folder / "world"
    draw_world(drawn)
    copy_world(drawn, world, ("0", "1"))
    sandbox = Sandbox(world)
    for words in ("train artifacts/demo --run demo", "evaluate artifacts/demo --run demo"):
        done = sandbox.run(f"roi-cls {words}")
        if done.exit_code != 0:
            raise RuntimeError(f"roi-cls {words}: exit code {done.exit_code}\n{done.terminal}")
    (world / ".venv").rename(folder / "used")  # each sandbox has its own
    return world


def run_pages(pages: Sequence[Path], folder: Path, jobs: int) -> Iterator[Report]:
    """Yield the report of each page, in order; ``jobs`` pages run at once."""
    world = prepare(folder)
    with ThreadPoolExecutor(jobs) as pool:
        waiting = []
        for number, page in enumerate(pages):
            name = page.relative_to(ROOT).as_posix()
            place = folder / f"{number:02}-{page.stem}"
            waiting.append(pool.submit(run_page, page, name, world, place))
        for report in waiting:
            yield report.result()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the pages, print what came of them; return the exit code."""
    parser = argparse.ArgumentParser(description="Run every command in README.md and docs.")
    parser.add_argument("pages", nargs="*", type=Path, help="Unset: README.md and all of docs.")
    parser.add_argument("--keep", type=Path, help="Leave the sandboxes in this new folder.")
    parser.add_argument("--jobs", type=int, default=2, help="Pages run at once.")
    given = parser.parse_args(arguments)
    pages = [page.resolve() for page in given.pages] or find_pages(ROOT)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="roi-cls-docs-") as temporary:
        folder = (given.keep or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=given.keep is None)
        reports = []
        for report in run_pages(pages, folder, given.jobs):
            state = "FAILED" if report.failures else "ok"
            _tell(f"{report.page}: {state}, {report.ran} commands, {report.seconds:.0f} s")
            reports.append(report)
    return _conclude(reports, time.monotonic() - start)


def _conclude(reports: Sequence[Report], seconds: float) -> int:
    skipped = [line for report in reports for line in report.skipped]
    failures = [line for report in reports for line in report.failures]
    lines = [f"\nNot run here ({len(skipped)}):", *skipped] if skipped else []
    lines += [f"\nFailed ({len(failures)}):", *failures] if failures else []
    ran = sum(report.ran for report in reports)
    lines.append(f"\n{ran} commands of {len(reports)} pages in {seconds:.0f} s: ")
    lines[-1] += f"{len(failures)} failed" if failures else "all as the pages say"
    _tell("\n".join(lines))
    return 1 if failures else 0


def _tell(text: str) -> None:
    print(text, flush=True)  # noqa: T201  (a script's result)


if __name__ == "__main__":
    sys.exit(main())
