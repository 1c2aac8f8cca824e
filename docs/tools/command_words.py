"""Whether the commands and options that a page names exist, as the command line has them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from typing import Any

import typer.main

from roi_cls.cli import app

_COMMAND = re.compile(
    r"(?:^|[\s`(;|&])(?:\.venv/bin/)?(?:roi-cls|-m (?:-- )?roi_cls)\s+([^`;|&\n)]*)"
)
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_OPTION = re.compile(r"^--[a-z][a-z0-9-]*")
_OTHERS = {"--nproc-per-node", "--array", "--jobs", "--requeue", "--cpus-per-task", "--mem"}
"""Options of torchrun, Slurm and parallel."""
_HELPS = {"--help", "--help-all"}
_GROUP_OPTIONS = {*_HELPS, "--version", "--install-completion", "--show-completion"}


@cache
def all_commands() -> dict[str, Any]:
    """Return click's command of each name, such as ``data demo``, in the order of ``--help``."""
    return dict(_walk(typer.main.get_command(app)))


def _walk(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, child in group.commands.items():
        if hasattr(child, "commands"):
            yield from _walk(child, (*words, name))
        else:
            yield " ".join((*words, name)), child


def options_of(command: Any) -> set[str]:
    """Return the options of a command, long and short."""
    found = set(_HELPS)
    for parameter in command.params:
        words = (*parameter.opts, *parameter.secondary_opts)
        found.update(word for word in words if word.startswith("-"))
    return found


def unknown_words(command: str) -> Iterator[str]:
    """Yield what is wrong with each ``roi-cls …`` in shell words: a command or option not there."""
    for match in _COMMAND.finditer(command.replace("\\\n", " ")):
        yield from _faults(match[1])


def _faults(text: str) -> Iterator[str]:
    try:
        words = shlex.split(text, comments=True)
    except ValueError:  # a quotation that ends behind what separates commands
        words = text.split()
    name = _name_of(words)
    if name is None:
        if words and words[0] not in _GROUP_OPTIONS and re.match(r"[a-z]", words[0]):
            yield f"there is no command roi-cls {words[0]}"
        return
    known = options_of(all_commands()[name])
    for word in words:
        option = word.partition("=")[0]
        if option.startswith("-") and len(option) > 1 and option not in known:
            yield f"roi-cls {name} has no option {option}"


def _name_of(words: list[str]) -> str | None:
    names = (" ".join(words[:2]), *words[:1])
    return next((name for name in names if name in all_commands()), None)


def unknown_inline(text: str) -> Iterator[tuple[int, str]]:
    """Yield line and fault of each command or option in a page's inline code that is not there."""
    known = set().union(*map(options_of, all_commands().values())) | _OTHERS | _GROUP_OPTIONS
    in_block = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith(("```", "~~~")):
            in_block = not in_block
        if in_block:
            continue
        for code in _INLINE.findall(line):
            yield from ((number, fault) for fault in unknown_words(code))
            option = _OPTION.match(code)
            if option and option[0] not in known:
                yield number, f"no command has an option {option[0]}"
