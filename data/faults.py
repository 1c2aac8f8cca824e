"""What the data themselves get wrong: pictures that stand in two parts, or have two labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from roi_cls.data.sample import Sample

Pair = tuple[Path, Path]
_RANK = {"train": 0, "validation": 1, "test": 2}


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
        early = min(parted, key=lambda sample: _RANK[str(sample.split)], default=None)
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
