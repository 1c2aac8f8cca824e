"""Samples to train, validation and test: stratified, seeded, twins and groups on one side.

Sees labels, groups and digests; opens no picture.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from roi_cls.data.sample import Sample, SplitName
from roi_cls.errors import DataError


@dataclass(frozen=True, slots=True)
class SplitParams:
    """How the parts that the data do not give are made."""

    split_seed: int = 0
    """Of the draw; the order of the samples does not matter."""
    validation_share: float = 0.15
    """Share of the training part, test pictures taken off, that is drawn for validation."""
    test_share: float = 0.2
    """Share of all pictures drawn for the test; 0 makes no test part."""

    def __post_init__(self) -> None:
        if not 0 < self.validation_share < 1:
            raise ValueError(
                f"validation_share must be above 0 and below 1, got {self.validation_share}"
            )
        if not 0 <= self.test_share < 1:
            raise ValueError(f"test_share must be at least 0 and below 1, got {self.test_share}")


@dataclass(frozen=True, slots=True)
class Split:
    """Samples with their parts, and what the data's own parts get wrong."""

    samples: tuple[Sample, ...]
    """In the order given, each with ``split`` set."""
    leaks: tuple[tuple[Path, Path], ...]
    """Equal bytes in two given parts: the picture in the earlier part, its twin in the later."""
    conflicts: tuple[tuple[Path, Path], ...]
    """Equal bytes with different labels: the first picture, and one that contradicts it."""
    shared_groups: tuple[str, ...] = ()
    """Groups that the data put into more than one part."""


@dataclass(frozen=True, slots=True)
class _Unit:
    """Samples that must stay together: equal bytes, or one group."""

    members: tuple[int, ...]
    """Places in the samples."""
    counts: Mapping[str, int]
    """Class name to samples."""


def split_samples(
    samples: Sequence[Sample],
    params: SplitParams,
    digests: Sequence[str] | None = None,
) -> Split:
    """Return every sample with its part.

    Given parts are kept, with their faults listed. A sample with no part joins the one that
    holds its twin or group, else the training part. From that are drawn the test part, if the
    data have none, and then the validation part, likewise: stratified by label, equal bytes and
    groups together, each class in each part.

    digests: one SHA-256 (hex) of each sample's bytes; empty where there are none to read.

    Raises:
        ValueError: Not one digest per sample.
        DataError: A sample without a label, or a class with too few pictures for the parts.
    """
    twins = [""] * len(samples) if digests is None else digests
    if len(twins) != len(samples):
        raise ValueError(f"need one digest per sample, got {len(twins)} for {len(samples)}")
    _check_labelled(samples)
    # Everything below goes by the sorted order, so that the given one cannot matter.
    order = sorted(range(len(samples)), key=lambda i: samples[i].path.as_posix())
    units = _join(samples, twins, order)
    parts, free = _follow_given(samples, units)
    made = _parts_to_make(samples, params)
    _check_enough(samples, parts, free, made)
    _make_parts(made, params.split_seed, free, parts)
    done = tuple(replace(sample, split=part) for sample, part in zip(samples, parts, strict=True))
    leaks, conflicts = _find_faults([(done[i], twins[i]) for i in order])
    return Split(done, leaks, conflicts, _find_shared_groups(done))


def _parts_to_make(samples: Iterable[Sample], params: SplitParams) -> list[tuple[SplitName, float]]:
    given = {sample.split for sample in samples}
    shares: dict[SplitName, float] = {
        "test": params.test_share,
        "validation": params.validation_share,
    }
    return [(name, share) for name, share in shares.items() if share and name not in given]


def _make_parts(
    made: Sequence[tuple[SplitName, float]], seed: int, free: list[_Unit], parts: list[SplitName]
) -> None:
    """Write the parts drawn from the free units into ``parts``."""
    for place, (name, share) in enumerate(made):
        kept = len(made) - place  # parts that still need a unit of each class afterwards
        held = _draw(free, share, kept, random.Random(f"{seed} {name}"))
        if held is None:
            raise DataError(
                f"Cannot split: no choice of whole groups leaves every class in the {name} part "
                "and in the training part. Make the groups smaller, or give the parts in a CSV "
                "with path,label,split,group."
            )
        for i in (i for unit in held for i in unit.members):
            parts[i] = name
        taken = {unit.members for unit in held}
        free = [unit for unit in free if unit.members not in taken]


def _join(samples: Sequence[Sample], digests: Sequence[str], order: Sequence[int]) -> list[_Unit]:
    """Unite samples of equal bytes or group, also through each other (union-find)."""
    parent = list(range(len(samples)))

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[tuple[str, str], int] = {}
    for i in order:
        # Unreadable pictures have no digest, and that is nothing they share.
        for key in (("sha256", digests[i]), ("group", samples[i].group)):
            if key[1]:
                parent[find(i)] = find(first.setdefault((key[0], key[1]), i))
    members: defaultdict[int, list[int]] = defaultdict(list)
    for i in order:
        members[find(i)].append(i)
    return [
        _Unit(tuple(places), Counter(str(samples[i].label) for i in places))
        for places in members.values()
    ]


def _follow_given(
    samples: Sequence[Sample], units: Iterable[_Unit]
) -> tuple[list[SplitName], list[_Unit]]:
    """Return the part of each sample, training if undecided, and the units free to be drawn."""
    parts: list[SplitName] = [sample.split or "train" for sample in samples]
    free = []
    for unit in units:
        given = {samples[i].split for i in unit.members}
        # Beside a test twin, an undecided picture would be a leak of our making anywhere else.
        for part in ("test", "validation"):
            if part in given:
                for i in unit.members:
                    parts[i] = samples[i].split or part
                break
        else:
            free.append(unit)
    return parts, free


def _draw(
    units: Sequence[_Unit], share: float, kept: int, rng: random.Random
) -> list[_Unit] | None:
    """Return units that hold about ``share`` of each class, or None if no draw leaves enough.

    kept: units of each class that must stay behind.
    """
    for _ in range(50):  # one is enough unless units mix three classes or more
        shuffled = sorted(units, key=lambda _: rng.random())
        held = _Draw(shuffled, share, kept).fill()
        if held is not None:
            return held
    return None


class _Draw:
    """A greedy draw of whole units, nearest to the share of every class."""

    def __init__(self, units: Sequence[_Unit], share: float, kept: int) -> None:
        self.units = units
        self.kept = kept
        self.places: defaultdict[str, list[int]] = defaultdict(list)
        totals: Counter[str] = Counter()
        for i, unit in enumerate(units):
            totals.update(unit.counts)
            for name in unit.counts:
                self.places[name].append(i)
        self.behind = Counter({name: len(places) for name, places in self.places.items()})
        self.totals = dict(totals)
        self.wanted = {name: max(1, int(total * share + 0.5)) for name, total in totals.items()}
        self.counts: Counter[str] = Counter()
        self.held: list[_Unit] = []
        self.taken: set[int] = set()

    def fill(self) -> list[_Unit] | None:
        """Return the units drawn, at least one of each class; None if this order has no way."""
        for name in sorted(self.behind, key=lambda name: (self.behind[name], name)):
            if self.counts[name]:
                continue
            able = [i for i in self.places[name] if self._can(i)]
            if not able:
                return None
            # The first that fits, not the best fitting: that would always be the largest group.
            fitting = (i for i in able if self._gain(i) > 0)
            self._take(next(fitting, max(able, key=self._gain)))
        for i in range(len(self.units)):
            if self._gain(i) > 0 and self._can(i):
                self._take(i)
        return self.held

    def _can(self, i: int) -> bool:
        return i not in self.taken and all(
            self.behind[name] > self.kept for name in self.units[i].counts
        )

    def _gain(self, i: int) -> float:
        # Relative to the class: one picture of a rare class weighs as much as ten of a common.
        return sum(
            (
                abs(self.wanted[name] - self.counts[name])
                - abs(self.wanted[name] - self.counts[name] - count)
            )
            / self.totals[name]
            for name, count in self.units[i].counts.items()
        )

    def _take(self, i: int) -> None:
        self.taken.add(i)
        self.held.append(self.units[i])
        self.counts.update(self.units[i].counts)
        self.behind.subtract(self.units[i].counts.keys())


def _check_labelled(samples: Sequence[Sample]) -> None:
    bare = [str(sample.path) for sample in samples if sample.label is None]
    if bare:
        raise DataError(
            f"Cannot split: {len(bare)} of {len(samples)} pictures, like {bare[0]!r}, have no "
            "label. Label every picture, by its name, its folder or a CSV."
        )


def _check_enough(
    samples: Sequence[Sample],
    parts: Sequence[SplitName],
    free: Sequence[_Unit],
    made: Sequence[tuple[SplitName, float]],
) -> None:
    training = Counter(s.label for s, part in zip(samples, parts, strict=True) if part == "train")
    units = Counter(name for unit in free for name in unit.counts)
    for name in sorted({str(sample.label) for sample in samples}):
        pictures = training[name]
        if (units[name] if made else pictures) > len(made):
            continue
        needed = ", ".join(["train", *(part for part, _ in made)])
        grouped = made and units[name] != pictures
        together = f", in {units[name]} group(s) that stay together," if grouped else ""
        counts = ", ".join(f"{label} {training[label]}" for label in sorted(map(str, training)))
        raise DataError(
            f"Cannot split: fewer pictures of {name!r} than parts: {pictures}{together} for "
            f"{needed} (training pictures: {counts or 'none'}). Add pictures of this class, or "
            "give the parts yourself in a CSV with path,label,split."
        )


def _find_faults(
    pairs: Iterable[tuple[Sample, str]],
) -> tuple[tuple[tuple[Path, Path], ...], tuple[tuple[Path, Path], ...]]:
    """Return leaks and conflicts among (sample, digest) of equal bytes."""
    twins: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample, digest in pairs:
        if digest:
            twins[digest].append(sample)
    leaks: list[tuple[Path, Path]] = []
    conflicts: list[tuple[Path, Path]] = []
    rank = {"train": 0, "validation": 1, "test": 2}
    for equal in twins.values():
        conflicts += [(equal[0].path, s.path) for s in equal if s.label != equal[0].label]
        early = min(equal, key=lambda sample: rank[str(sample.split)])
        leaks += [(early.path, s.path) for s in equal if s.split != early.split]
    return tuple(leaks), tuple(conflicts)


def _find_shared_groups(samples: Iterable[Sample]) -> tuple[str, ...]:
    parts: defaultdict[str, set[str]] = defaultdict(set)
    for sample in samples:
        if sample.group:
            parts[sample.group].add(str(sample.split))
    return tuple(sorted(group for group, found in parts.items() if len(found) > 1))
