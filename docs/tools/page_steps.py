"""Markdown page to the commands in its code blocks, and what it says they print. Runs nothing.

What the reader does not see stands in comments above a block, ``<!-- docs-test: KEY: VALUE -->``:

- ``skip: REASON``: the block's commands cannot run here; their options are still checked.
- ``exit: CODE``: they end with this exit code, not with 0.
- ``output of: COMMAND``: the block (text, JSON, CSV) is what this command prints.
- ``free: 1-2 7``: these lines of that block depend on the numbers: any lines will do.
- ``run: COMMAND``, anywhere: a command that the page takes for granted: an earlier training.
- ``classes: NAME NAME``, anywhere: the class folders of the page's ``photos``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Language = Literal["shell", "python"]
SHELL = ("sh", "bash")
SESSION = "console"
_FENCE = re.compile(r"^(?P<indent> *)(?P<mark>`{3,}|~{3,})(?P<language>\S*)\s*$")
_DIRECTIVE = re.compile(r"^\s*<!-- docs-test: (?P<key>[a-z ]+?)(?:: (?P<value>.*?))? -->\s*$")
_RANGES = re.compile(r"\d+(-\d+)?( \d+(-\d+)?)*")
_DIRECTIVES = ("skip", "exit", "output of", "free", "run", "classes")
_LOOKS_LIKE_COMMAND = re.compile(r"^(\$ |(\.venv/bin/)?roi-cls |make \w|pip install )")
CLASSES: tuple[str, ...] = ("mask", "bare")


class PageError(ValueError):
    """A page that the runner cannot read, with the line."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"{line}: {reason}")
        self.line = line
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a page, or its Python blocks together."""

    line: int
    """Of the page, counted from 1."""
    command: str
    """Shell words, or a Python script whose lines are numbered as the page's."""
    language: Language = "shell"
    expected: str | None = None
    """What the page shows of its output; None: nothing."""
    is_json: bool = False
    """Whether ``expected`` is JSON: compared by keys and types."""
    exit_code: int = 0
    skip: str | None = None
    """Why it cannot run in the sandbox."""


@dataclass(frozen=True, slots=True)
class Page:
    """What a page tells its reader to run."""

    steps: tuple[Step, ...]
    classes: tuple[str, ...] = CLASSES
    """Names of the class folders in the sandbox's ``photos``."""


@dataclass(slots=True)
class _Block:
    line: int  # of the opening fence
    language: str
    lines: list[str] = field(default_factory=list)
    directives: dict[str, str] = field(default_factory=dict)


def read_page(text: str) -> Page:
    """Return the steps of a Markdown text, in order; the Python blocks are one script, the last.

    Raises:
        PageError: A directive that is unknown, incomplete or above no block; a block of commands
            that does not say its language; a block that does not end.
    """
    steps: list[Step] = []
    script: list[_Block] = []
    classes = CLASSES
    for block in _blocks(text):
        if isinstance(block, Step):
            steps.append(block)
            continue
        classes = tuple(block.directives.get("classes", " ".join(classes)).split())
        if block.language == "python" and "skip" not in block.directives:
            script.append(block)
        steps += _steps_of(block)
    if script:
        steps.append(Step(script[0].line + 1, _one_script(script), "python"))
    return Page(tuple(steps), classes)


def _blocks(text: str) -> Iterator[_Block | Step]:
    """Yield the fenced blocks, each with the directives above it, and the commands in comments."""
    waiting: dict[str, str] = {}
    asked_at = 0
    for item in _cut(text):
        if isinstance(item, _Block):
            item.directives, waiting = waiting, {}
            yield item
            continue
        number, line = item
        directive = _DIRECTIVE.match(line)
        if directive is None:
            if line.strip() and waiting:
                break
            continue
        key, value = _read_directive(number, directive["key"], directive["value"])
        if key == "run":
            yield Step(number, value)
        elif key == "classes":
            yield _Block(number, "text", directives={key: value})
        else:
            waiting[key] = value
            asked_at = number
    if waiting:
        raise PageError(asked_at, "this docs-test comment stands above no code block")


def _cut(text: str) -> Iterator[_Block | tuple[int, str]]:
    """Yield the fenced blocks, and each line outside of them with its number."""
    block: _Block | None = None
    mark, indent = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if block is None:
            if fence := _FENCE.match(line):
                block = _Block(number, fence["language"])
                mark, indent = fence["mark"], len(fence["indent"])
            else:
                yield number, line
        elif line.strip() == mark:
            yield block
            block = None
        else:
            block.lines.append(line[min(indent, len(line) - len(line.lstrip())) :])
    if block is not None:
        raise PageError(block.line, "this code block does not end")


def _read_directive(line: int, key: str, value: str | None) -> tuple[str, str]:
    if key not in _DIRECTIVES:
        raise PageError(line, f"docs-test knows no {key!r}; it knows {', '.join(_DIRECTIVES)}")
    if not value:
        raise PageError(line, f"docs-test: {key} says nothing; write <!-- docs-test: {key}: … -->")
    if key == "free" and not _RANGES.fullmatch(value):
        raise PageError(line, f"docs-test: free must be lines like 1-2 7, got {value!r}")
    if key == "exit" and not value.isdigit():
        raise PageError(line, f"docs-test: exit must be a number, got {value!r}")
    return key, value


def _steps_of(block: _Block) -> Iterator[Step]:
    skip = block.directives.get("skip")
    code = int(block.directives.get("exit", 0))
    if shown := block.directives.get("output of"):
        text = "\n".join(_without(block.directives.get("free", ""), block.lines))
        yield Step(block.line, shown, "shell", text, block.language == "json", code, skip)
    elif block.language in SHELL:
        for line, command in _join_lines(enumerate(block.lines, block.line + 1)):
            yield Step(line, command, exit_code=code, skip=skip)
    elif block.language == SESSION:
        yield from _session(block, code, skip)
    elif block.language == "python" and skip:
        yield Step(block.line + 1, "\n".join(block.lines), "python", skip=skip)
    elif not block.language and any(map(_LOOKS_LIKE_COMMAND.match, block.lines)):
        raise PageError(block.line, "a block of commands without a language; write ```sh")


def _without(ranges: str, lines: list[str]) -> list[str]:
    """Return lines with those that may be any (counted from 1) as ``…``."""
    free: set[int] = set()
    for part in ranges.split():
        first, _, last = part.partition("-")
        free.update(range(int(first), int(last or first) + 1))
    return ["…" if number in free else line for number, line in enumerate(lines, 1)]


def _session(block: _Block, code: int, skip: str | None) -> Iterator[Step]:
    """Yield the commands behind ``$``, each with the lines up to the next one."""
    found: list[tuple[int, list[str], list[str]]] = []
    for number, line in enumerate(block.lines, block.line + 1):
        if line.startswith("$ "):
            found.append((number, [line[2:]], []))
        elif not found:
            raise PageError(number, "a console block begins with a command behind '$ '")
        elif found[-1][1][-1].endswith("\\"):
            found[-1][1].append(line)
        else:
            found[-1][2].append(line)
    for number, words, shown in found:
        text = "\n".join(shown)
        is_json = text.lstrip().startswith(("{", "[{"))
        shown_text = text if text.strip() else None
        yield Step(number, "\n".join(words), "shell", shown_text, is_json, code, skip)


def _join_lines(lines: Iterator[tuple[int, str]] | enumerate[str]) -> Iterator[tuple[int, str]]:
    """Yield commands with the line of their first word; a backslash at the end joins two lines."""
    parts: list[str] = []
    first = 0
    for number, line in lines:
        if not parts:
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            first = number
        parts.append(line)
        if not line.endswith("\\"):
            yield first, "\n".join(parts)
            parts = []
    if parts:
        yield first, "\n".join(parts)


def _one_script(blocks: list[_Block]) -> str:
    """Return the blocks as one script, each on the lines it has in the page."""
    script: list[str] = []
    for block in blocks:
        script += [""] * (block.line - len(script))
        script += block.lines
    return "\n".join(script) + "\n"
