"""Whether what a command prints has the shape that a page shows, whatever the numbers.

A line ``…`` stands for any lines, and ``…`` in a line for any text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

ELLIPSIS = "…"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_HASH = re.compile(r"\b(?=[0-9a-f]*[0-9])(?=[0-9a-f]*[a-f])[0-9a-f]{12,64}\b")
_NUMBER = re.compile(r"[-+\u2212]?\d+(?:[,_]\d+)*(?:\.\d+)?(?:e[-+]?\d+)?|\bundefined\b")
_INTERVAL = re.compile(r"N \[N, ?N\]")
_TIME = re.compile(r"\bN (?:ms|s|min|h|days?)\b(?: N (?:ms|s|min|h)\b)*")
_SIZE = re.compile(r"\bN (?:B|[kKMGT]i?B)\b")
_COUNTED = re.compile(r"\bN(/N)? (\w+?)s?\b")
# Told where it alone decided an answer, which depends on the numbers.
_THRESHOLD = re.compile(r", threshold(?: for NAME)? N(?=[ ,])")
_RULE = re.compile(r"[─━═=]{2,}|-{3,}")


def line_shape(line: str, names: Collection[str] = ()) -> str:
    """Return a line with its numbers, times, sizes, hashes and ``names`` replaced by their kind."""
    shape = _COLOUR.sub("", line)
    shape = shape.replace(".venv/bin/roi-cls", "roi-cls")
    for name in sorted(names, key=len, reverse=True):
        shape = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", "NAME", shape)
    shape = _NUMBER.sub("N", _HASH.sub("HASH", shape))
    shape = _THRESHOLD.sub("", _INTERVAL.sub("N", shape))
    shape = _COUNTED.sub(r"N\1 \2", _SIZE.sub("SIZE", _TIME.sub("TIME", shape)))
    return re.sub(r"\s+", " ", _RULE.sub("─", shape)).strip()


def text_mismatch(expected: str, got: str, names: Collection[str] = ()) -> str | None:
    """Return what of the expected text does not come, or None if all of it does."""
    wanted = [line_shape(line, names) for line in expected.splitlines() if line.strip()]
    shapes = [line_shape(line, names) for line in got.splitlines() if line.strip()]
    text = "".join(f"{shape}\n" for shape in shapes)
    if re.fullmatch(_pattern(wanted), text):
        return None
    reach = max(n for n in range(len(wanted) + 1) if re.match(_pattern(wanted[:n]), text))
    if reach == len(wanted):
        extra = next(line for line in shapes if not any(_matches(w, line) for w in wanted))
        return f"it prints more than is shown, such as: {extra}"
    return f"nothing printed is like: {wanted[reach]}"


def _pattern(wanted: list[str]) -> str:
    return "".join("(?:.*\n)*?" if line == ELLIPSIS else f"{_line(line)}\n" for line in wanted)


def _line(shape: str) -> str:
    return ".*".join(map(re.escape, shape.split(ELLIPSIS)))


def _matches(wanted: str, shape: str) -> bool:
    return wanted != ELLIPSIS and re.fullmatch(_line(wanted), shape) is not None


def json_mismatch(expected: str, got: str, names: Collection[str] = ()) -> str | None:
    """Return where two JSON texts differ in keys or types, or None; null goes with anything.

    Lists are alike where each of their values is like one of the values shown.
    """
    try:
        shown = json.loads(expected)
    except ValueError as error:
        return f"what the page shows is not JSON: {error}"
    try:
        printed = json.loads(got)
    except ValueError as error:
        return f"what is printed is not JSON: {error}"
    return _difference(shown, printed, names, "the answer")


def _difference(shown: Any, got: Any, names: Collection[str], where: str) -> str | None:
    if shown is None or got is None:
        return None
    kinds = [_kind(value) for value in (shown, got)]
    if kinds[0] != kinds[1]:
        return f"{where} is {kinds[1]}, the page shows {kinds[0]}"
    if isinstance(shown, dict):
        return _keys_differ(shown, got, names, where)
    if isinstance(shown, list) and shown:
        for i, value in enumerate(got):
            tries = [_difference(one, value, names, f"{where}[{i}]") for one in shown]
            if all(tries):
                return tries[0]
    return None


def _keys_differ(
    shown: dict[str, Any], got: dict[str, Any], names: Collection[str], where: str
) -> str | None:
    left, right = ({line_shape(key, names): key for key in one} for one in (shown, got))
    if lacking := sorted(left.keys() - right.keys()):
        return f"{where} lacks {', '.join(left[key] for key in lacking)}"
    if extra := sorted(right.keys() - left.keys()):
        return f"{where} also has {', '.join(right[key] for key in extra)}"
    for key in left:
        if found := _difference(shown[left[key]], got[right[key]], names, f"{where}.{left[key]}"):
            return found
    return None


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), "a list")


_KINDS = {
    bool: "a truth value",
    int: "a number",
    float: "a number",
    str: "text",
    dict: "an object",
}
