"""Groups read off the names of pictures, by a regular expression. Opens no picture."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from roi_cls.base.errors import DataError
from roi_cls.data.sample import Sample


def compile_group_regex(text: str) -> re.Pattern[str]:
    """Return the regular expression.

    Raises:
        ValueError: It is none, or matches the empty text, which every name contains.
    """
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise ValueError(
            f"group_regex must be a regular expression, got {text!r}: {error}"
        ) from error
    if pattern.search(""):
        raise ValueError(f"group_regex must not match the empty text, which {text!r} does")
    return pattern


def group_samples(
    samples: Sequence[Sample], group_regex: str | None, root: Path
) -> tuple[Sample, ...]:
    """Return the samples with the group that the regular expression finds in each path.

    The group is the expression's first group, else the whole match, in the path relative to
    ``root`` with / between its parts. A sample that has a group keeps it; one whose path does
    not match is on its own.

    Raises:
        DataError: No path matches.
        ValueError: It is no regular expression.
    """
    if group_regex is None:
        return tuple(samples)
    pattern = compile_group_regex(group_regex)
    names = [_relative(sample.path, root) for sample in samples]
    found = [_find_group(pattern, name) for name in names]
    if samples and not any(found):
        raise DataError(
            f"Cannot group by --group-regex {group_regex!r}: it matches none of the "
            f"{len(samples)} paths, like {names[0]!r}. It is looked for anywhere in the path; "
            "try '([^/_]+)_[0-9]+' for the name before its number."
        )
    return tuple(
        replace(sample, group=sample.group or group)
        for sample, group in zip(samples, found, strict=True)
    )


def _find_group(pattern: re.Pattern[str], name: str) -> str | None:
    match = pattern.search(name)
    if match is None:
        return None
    found: str | None = match[1] if pattern.groups else match[0]
    return found or None


def _relative(path: Path, root: Path) -> str:
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()
