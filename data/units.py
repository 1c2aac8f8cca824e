"""Samples that must stay together: equal bytes, one group, near-duplicates. Decides no part.

First groups, read off the names of pictures; then units of all that is together; then what the
parts and labels that the data give get wrong about it.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from roi_cls.base.errors import DataError
from roi_cls.data.sample import SPLIT_NAMES, Sample

Pair = tuple[Path, Path]
"""Two pictures that contradict each other."""


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
    found = match_groups([_relative(sample.path, root) for sample in samples], group_regex)
    return tuple(
        replace(sample, group=sample.group or group)
        for sample, group in zip(samples, found, strict=True)
    )


def match_groups(paths: Sequence[str], group_regex: str) -> tuple[str | None, ...]:
    """Return the group that the regular expression finds in each path: ``group_samples`` says how.

    Raises:
        DataError: No path matches.
        ValueError: It is no regular expression.
    """
    pattern = compile_group_regex(group_regex)
    found = tuple(_find_group(pattern, path) for path in paths)
    if paths and not any(found):
        raise DataError(
            f"Cannot group by --group-regex {group_regex!r}: it matches none of the "
            f"{len(paths)} paths, like {paths[0]!r}. It is looked for anywhere in the path; "
            "try '([^/_]+)_[0-9]+' for the name before its number."
        )
    return found


def _find_group(pattern: re.Pattern[str], name: str) -> str | None:
    match = pattern.search(name)
    if match is None:
        return None
    found: str | None = match[1] if pattern.groups else match[0]
    return found or None


def _relative(path: Path, root: Path) -> str:
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


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


@dataclass(frozen=True, slots=True)
class Unit:
    """Samples that stand on one side of every split."""

    members: tuple[int, ...]
    """Places in the samples."""
    counts: Mapping[str, int]
    """Class name to samples."""


def join_units(
    samples: Sequence[Sample],
    digests: Sequence[str],
    near: Iterable[Sequence[int]] = (),
) -> list[Unit]:
    """Return the units of the samples, which do not depend on their order.

    Args:
        samples: Labelled pictures.
        digests: SHA-256 (hex) of each one's bytes; empty where there are none to read.
        near: Groups of places whose pictures look alike.
    """
    order = path_order(samples)
    rank = {place: i for i, place in enumerate(order)}
    together = JoinedPlaces(len(order))
    first: dict[tuple[str, str], int] = {}
    for i, place in enumerate(order):
        # Unreadable pictures have no digest, and that is nothing they share.
        for kind, value in (("sha256", digests[place]), ("group", samples[place].group)):
            if value:
                together.join(i, first.setdefault((kind, value), i))
    for places in near:
        for place in places[1:]:
            together.join(rank[place], rank[places[0]])
    units = [tuple(order[i] for i in group) for group in together.groups()]
    return [Unit(unit, Counter(str(samples[i].label) for i in unit)) for unit in units]


def path_order(samples: Sequence[Sample]) -> list[int]:
    """Return the places sorted by path: what goes by it does not depend on the order given."""
    return sorted(range(len(samples)), key=lambda i: samples[i].path.as_posix())


class JoinedPlaces:
    """Places 0 to N - 1 that are joined into groups."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def find(self, i: int) -> int:
        """Return the place that stands for the group of ``i``."""
        parent = self._parent
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    def join(self, i: int, j: int) -> None:
        """Make one group of those of ``i`` and ``j``."""
        self._parent[self.find(i)] = self.find(j)

    def groups(self) -> list[tuple[int, ...]]:
        """Return all groups, also of one place: places rise in each, groups by their first."""
        members: defaultdict[int, list[int]] = defaultdict(list)
        for i in range(len(self._parent)):
            members[self.find(i)].append(i)
        return [tuple(places) for places in members.values()]


def equal_bytes(digests: Sequence[str], order: Iterable[int] | None = None) -> list[list[int]]:
    """Return the groups of places with one digest, two or more; the empty digest is none."""
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for i in range(len(digests)) if order is None else order:
        if digests[i]:
            groups[digests[i]].append(i)
    return [group for group in groups.values() if len(group) > 1]


def find_leaks(samples: Sequence[Sample], alike: Iterable[Sequence[int]]) -> tuple[Pair, ...]:
    """Return the pictures that stand in two parts: the one in the earlier, and one in a later.

    alike: groups of places whose pictures are equal, or nearly. Samples in no part are passed over.
    """
    leaks: list[Pair] = []
    for group in alike:
        parted = [samples[i] for i in group if samples[i].split]
        early = min(parted, key=lambda sample: SPLIT_NAMES.index(sample.split), default=None)
        if early:
            leaks += [(early.path, s.path) for s in parted if s.split != early.split]
    return tuple(leaks)


def find_conflicts(samples: Sequence[Sample], alike: Iterable[Sequence[int]]) -> tuple[Pair, ...]:
    """Return the pictures with two labels: the first of a group, and one that contradicts it."""
    return tuple(
        (samples[group[0]].path, samples[i].path)
        for group in alike
        for i in group
        if samples[i].label != samples[group[0]].label
    )


def find_shared_groups(samples: Iterable[Sample]) -> tuple[str, ...]:
    """Return the groups that stand in more than one part, sorted."""
    parts: defaultdict[str, set[str]] = defaultdict(set)
    for sample in samples:
        if sample.group and sample.split:
            parts[sample.group].add(sample.split)
    return tuple(sorted(group for group, found in parts.items() if len(found) > 1))
