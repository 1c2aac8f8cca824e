"""How the reference writes values, defaults and tables in Markdown."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from roi_cls.classifier.metrics.interval import Estimate
from roi_cls.console.fields import field_docs

_WORDS: Mapping[object, str] = {
    bool: "on or off",
    int: "whole number",
    float: "number",
    str: "text",
    Path: "path",
    dict: "object",
    tuple: "list",
    type(None): "null",
}
_QUOTED = re.compile(r"``([^`]+)``|(?<!\w)'([^'\n]{1,40})'(?!\w)")


def type_words(hint: Any) -> str:
    """Return the values that a type allows, in words."""
    if get_origin(hint) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(hint))
    if get_origin(hint) in (types.UnionType, typing.Union):
        return ", ".join(type_words(part) for part in get_args(hint) if part is not type(None))
    if get_origin(hint) is typing.Annotated:
        return type_words(get_args(hint)[0])
    if get_origin(hint) is list:
        return f"{type_words(get_args(hint)[0])}, several"
    if get_origin(hint) is tuple:
        parts = [part for part in get_args(hint) if part is not ...]
        return f"list of {'lists' if get_origin(parts[0]) is tuple else _plural(parts[0])}"
    if get_origin(hint) in (dict, Mapping) or _is(hint, Mapping):
        return "object"
    if is_dataclass(hint):
        return "{value, low, high}" if hint is Estimate else "object"
    return _WORDS.get(hint, getattr(hint, "__name__", str(hint)))


def _is(hint: Any, kind: type) -> bool:
    return inspect.isclass(hint) and issubclass(hint, kind)


def _plural(hint: Any) -> str:
    return {float: "numbers", int: "whole numbers", str: "texts"}.get(hint, "objects")


def default_words(value: Any) -> str:
    """Return a default as a table shows it."""
    if value is None or value is MISSING or value == ():
        return "unset"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int) and abs(value) >= 10_000:
        return f"{value:,}"
    return f"`{value}`"


def field_default(entry: Field[Any]) -> str:
    """Return the default of a settings field as a table shows it."""
    if entry.default_factory is not MISSING:
        return "empty"
    return default_words(entry.default)


def doc(owner: type, name: str) -> str:
    """Return the string under a field of a class; empty where there is none."""
    return escape(field_docs(owner).get(name, ""))


def escape(text: str) -> str:
    """Return a help text as it may stand in a table, quoted words as code."""
    marked = _QUOTED.sub(lambda match: f"`{match[1] or match[2]}`", text)
    return marked.replace("|", r"\|").replace("None", "null")


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Yield a table and the empty line after it; nothing where there are no rows."""
    body = [f"| {' | '.join(row)} |".replace("|  |", "| |") for row in rows]
    if body:
        yield "\n".join([f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *body]) + "\n"
