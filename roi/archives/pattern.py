"""Patterns of names, as shells expand them: ``shards/*.tar``, ``shard-{00000..00099}.tar``."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path

from roi_cls.base.errors import DataError
from roi_cls.base.location import as_path, is_remote, match_files, reaching
from roi_cls.roi.archives.opening import Place, find_place, list_members

MOST_NAMES = 10**6
"""That one pattern may stand for."""
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d{1,18})\.\.(\d{1,18})")


def has_braces(text: str) -> bool:
    """Whether ``text`` has braces that stand for several names."""
    return any(_options(match[1]) is not None for match in _BRACES.finditer(text))


def expand_braces(text: str) -> list[str]:
    """Return the names that the braces stand for, in order; ``text`` itself where it has none.

    Raises:
        DataError: They are more than ``MOST_NAMES``.
    """
    names = [text]
    while True:
        following: dict[str, None] = {}
        for name in names:
            for one in _expand_first(name):
                following[one] = None
            if len(following) > MOST_NAMES:
                raise DataError(
                    f"Cannot use the pattern {text!r}: it stands for more than {MOST_NAMES} "
                    "names. Give fewer at once."
                )
        if list(following) == names:
            return names
        names = list(following)


def _expand_first(text: str) -> Sequence[str]:
    for match in _BRACES.finditer(text):
        options = _options(match[1])
        if options is not None:
            before, after = text[: match.start()], text[match.end() :]
            return [f"{before}{option}{after}" for option in options]
    return (text,)


def _options(body: str) -> Sequence[str] | None:
    """Return what stands between braces, None where it is no choice: ``{x}`` is a name."""
    if between := _RANGE.fullmatch(body):
        first, last = int(between[1]), int(between[2])
        # Zeros in front keep all numbers as wide as the wider end.
        is_padded = any(len(end) > 1 and end.startswith("0") for end in between.groups())
        width = max(map(len, between.groups())) if is_padded else 0
        numbers = range(first, last + 1) if first <= last else range(first, last - 1, -1)
        return [f"{number:0{width}d}" for number in numbers[: MOST_NAMES + 1]]
    return body.split(",") if "," in body else None


def is_pattern(text: str) -> bool:
    """Whether ``text`` stands for other names: ``*.png``, ``{a,b}``, but no file that is called so.

    Nor what is called so in an archive.

    Raises:
        OSError: A remote place cannot be looked at.
        LocationError: As ``as_path``.
    """
    if not (glob.has_magic(text) or has_braces(text)):
        return False
    path = as_path(text)
    if is_remote(path):
        with reaching(path):
            return not (path.exists() or _lies_in_archive(path))
    return not (os.path.lexists(path) or _lies_in_archive(path))


def _lies_in_archive(path: Path) -> bool:
    place = find_place(path)
    if place is None:
        return False
    return place.name in list_members(Place(place.archive, "")).names or bool(
        list_members(place).names
    )


def match_pattern(pattern: str) -> list[Path]:
    """Return what a pattern stands for, in order: what is in braces, whether it is there or not.

    Raises:
        OSError, LocationError, DataError: As ``match_files`` and ``expand_braces``.
    """
    found: dict[str, Path] = {}
    for name in expand_braces(pattern):
        path = as_path(name)
        if not glob.has_magic(name):
            matched = [path]
        elif is_remote(path):
            matched = match_files(name)
        else:
            local = str(path) if "://" in name else name  # a slash at its end has a meaning
            matched = [Path(one) for one in sorted(glob.glob(local, recursive=True))]
        found.update((str(one), one) for one in matched)
    return list(found.values())


def fixed_folder(pattern: Path) -> Path:
    """Return the folder that all names of a pattern lie in, as far as they have it in common."""
    folder = pattern.parent
    while glob.has_magic(str(folder)) or has_braces(str(folder)) or _is_within_braces(str(folder)):
        folder = folder.parent
    return folder


def _is_within_braces(text: str) -> bool:
    return text.count("{") > text.count("}")
