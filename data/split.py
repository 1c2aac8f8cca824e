"""Samples to train, validation and test, or to folds: stratified, seeded, whole units.

Twins and groups stay on one side. Opens no picture.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from roi_cls.base.errors import DataError
from roi_cls.data.sample import Sample, SplitName
from roi_cls.data.units import (
    Pair,
    Unit,
    compile_group_regex,
    equal_bytes,
    find_conflicts,
    find_leaks,
    find_shared_groups,
    join_units,
    path_order,
)

_ATTEMPTS = 50
"""Random orders that are tried: one is enough unless units mix three classes or more."""


@dataclass(frozen=True, slots=True)
class SplitParams:
    """How the parts that the data do not give are made."""

    split_seed: int = 0
    """Of the draw; the order of the samples does not matter."""
    validation_share: float = 0.15
    """Share of the training part drawn for validation; the test part is taken off before."""
    test_share: float = 0.2
    """Share of all pictures drawn for the test; 0 makes no test part."""
    group_regex: str | None = None
    """Keeps pictures of one person or video in one part: a pattern in the path, like
    ``person_([0-9]+)``, the first group of which, else the whole match, is what they share."""
    near_duplicates: bool = True
    """Keep pictures that look alike on one side of the split: saved again, resized, trimmed."""

    def __post_init__(self) -> None:
        if not 0 < self.validation_share < 1:
            raise ValueError(
                f"validation_share must be above 0 and below 1, got {self.validation_share}"
            )
        if not 0 <= self.test_share < 1:
            raise ValueError(f"test_share must be at least 0 and below 1, got {self.test_share}")
        if self.group_regex is not None:
            compile_group_regex(self.group_regex)


@dataclass(frozen=True, slots=True)
class Split:
    """Samples with their parts, and what the data's own parts get wrong."""

    samples: tuple[Sample, ...]
    """In the order given, with their parts; None: left out, as a later part holds one like it."""
    leaks: tuple[Pair, ...]
    """Equal bytes in two given parts: the picture in the earlier part, its twin in the later."""
    conflicts: tuple[Pair, ...]
    """Equal bytes with different labels: the first picture, and one that contradicts it."""
    shared_groups: tuple[str, ...] = ()
    """Groups that the data put into more than one part."""
    near_leaks: tuple[Pair, ...] = ()
    """Pictures that look alike in two given parts: as ``leaks``, of other bytes."""


def split_samples(
    samples: Sequence[Sample],
    params: SplitParams,
    digests: Sequence[str] | None = None,
    near: Sequence[Sequence[int]] = (),
) -> Split:
    """Return every sample with its part.

    Given parts are kept, with their faults listed. A sample with no part joins the one that
    holds its twin or group, else the training part. From that are taken the test part, if the
    data have none, and then the validation part, likewise: at random, stratified by label, equal
    bytes, groups and near-duplicates together, each class in each part.

    digests: one SHA-256 (hex) of each sample's bytes; empty where there are none to read.
    near: groups of places whose pictures look alike, see ``find_near_duplicates``.

    Raises:
        ValueError: Not one digest per sample.
        DataError: A sample without a label, or a class with too few pictures for the parts.
    """
    twins = [""] * len(samples) if digests is None else digests
    if len(twins) != len(samples):
        raise ValueError(f"need one digest per sample, got {len(twins)} for {len(samples)}")
    _check_labelled(samples)
    units = join_units(samples, twins, near)
    parts, free = _follow_given(samples, units)
    made = _parts_to_make(samples, params)
    _check_enough(samples, parts, free, made)
    _make_parts(made, params.split_seed, free, parts)
    done = tuple(replace(sample, split=part) for sample, part in zip(samples, parts, strict=True))
    equal = equal_bytes(twins, path_order(samples))
    leaks = find_leaks(done, equal)
    near_leaks = tuple(pair for pair in find_leaks(done, near) if pair not in set(leaks))
    return Split(done, leaks, find_conflicts(done, equal), find_shared_groups(done), near_leaks)


def _parts_to_make(samples: Iterable[Sample], params: SplitParams) -> list[tuple[SplitName, float]]:
    given = {sample.split for sample in samples}
    shares: dict[SplitName, float] = {
        "test": params.test_share,
        "validation": params.validation_share,
    }
    return [(name, share) for name, share in shares.items() if share and name not in given]


def _make_parts(
    made: Sequence[tuple[SplitName, float]], seed: int, free: list[Unit], parts: list[SplitName]
) -> None:
    """Write the parts that are made of free units into ``parts``."""
    for place, (name, share) in enumerate(made):
        kept = len(made) - place  # parts that still need a unit of each class afterwards
        held = _sample_units(free, share, kept, random.Random(f"{seed} {name}"))
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


def _follow_given(
    samples: Sequence[Sample], units: Iterable[Unit]
) -> tuple[list[SplitName], list[Unit]]:
    """Return the part of each sample, training if undecided, and the units that are free."""
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
    free: Sequence[Unit],
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


def _sample_units(
    units: Sequence[Unit], share: float, kept: int, rng: random.Random
) -> list[Unit] | None:
    """Return units that hold about ``share`` of each class, or None if no attempt leaves enough.

    kept: units of each class that must stay behind.
    """
    for _ in range(_ATTEMPTS):
        shuffled = sorted(units, key=lambda _: rng.random())
        held = _UnitSampling(shuffled, share, kept).fill()
        if held is not None:
            return held
    return None


class _UnitSampling:
    """Whole units, taken greedily in a given order: nearest to the share of every class."""

    def __init__(self, units: Sequence[Unit], share: float, kept: int) -> None:
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
        self.held: list[Unit] = []
        self.taken: set[int] = set()

    def fill(self) -> list[Unit] | None:
        """Return the units taken, at least one of each class; None if this order has no way."""
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


def make_folds(
    samples: Sequence[Sample],
    folds: int,
    seed: int = 0,
    digests: Sequence[str] | None = None,
    near: Sequence[Sequence[int]] = (),
) -> tuple[int | None, ...]:
    """Return the fold of each training and validation sample, 0 to ``folds`` - 1; else None.

    Every fold gets its share of every class; equal bytes, groups and near-duplicates share a
    fold. The order of the samples does not matter.

    Args:
        samples: With their parts, as ``split_samples`` gives them.
        folds: At least 2.
        seed: Of the random choice.
        digests: SHA-256 (hex) of each one's bytes; empty where there are none to read.
        near: Groups of places whose pictures look alike.

    Raises:
        ValueError: Fewer than 2 folds.
        DataError: A class has fewer units than folds, or no attempt puts it into every fold.
    """
    if folds < 2:
        raise ValueError(f"folds must be at least 2, got {folds}")
    part = [i for i, sample in enumerate(samples) if sample.split in ("train", "validation")]
    inside = {place: i for i, place in enumerate(part)}
    units = join_units(
        [samples[i] for i in part],
        [digests[i] if digests else "" for i in part],
        [[inside[i] for i in group if i in inside] for group in near],
    )
    _check_folds(units, folds)
    for attempt in range(_ATTEMPTS):
        numbers = _deal(units, folds, random.Random(f"{seed} folds {attempt}"))
        if numbers is not None:
            chosen = {part[i]: n for u, n in zip(units, numbers, strict=True) for i in u.members}
            return tuple(chosen.get(i) for i in range(len(samples)))
    raise DataError(
        f"Cannot make {folds} folds: no choice of whole groups puts every class into every fold. "
        "Ask for fewer --folds, or make the groups smaller."
    )


def _deal(units: Sequence[Unit], folds: int, rng: random.Random) -> list[int] | None:
    """Return each unit's fold, the largest dealt first; None where a fold lacks a class."""
    totals: Counter[str] = Counter()
    for unit in units:
        totals.update(unit.counts)
    have: list[Counter[str]] = [Counter() for _ in range(folds)]
    numbers = [0] * len(units)

    def shares(unit: Unit) -> list[tuple[str, float]]:
        return [(name, count / totals[name]) for name, count in unit.counts.items()]

    def size(i: int) -> float:  # one picture of a rare class weighs as much as ten of a common
        return sum(share for _, share in shares(units[i]))

    for i in sorted(sorted(range(len(units)), key=lambda _: rng.random()), key=size, reverse=True):
        wanted = shares(units[i])
        fills = [
            (sum(share * fold[name] / totals[name] for name, share in wanted), fold.total(), n)
            for n, fold in enumerate(have)
        ]
        numbers[i] = min(fills)[2]
        have[numbers[i]].update(units[i].counts)
    return numbers if all(len(fold) == len(totals) for fold in have) else None


def _check_folds(units: Sequence[Unit], folds: int) -> None:
    found = Counter(name for unit in units for name in unit.counts)
    if not found:
        raise DataError(
            f"Cannot make {folds} folds: there is no picture for training. "
            "Give a training part, or leave the parts out."
        )
    name, count = min(found.items(), key=lambda item: (item[1], item[0]))
    if count < folds:
        raise DataError(
            f"Cannot make {folds} folds: class {name!r} has {count} pictures or groups that stay "
            f"together. Ask for at most --folds {count}, or add pictures of this class."
            if count > 1
            else f"Cannot make {folds} folds: class {name!r} has one picture, or one group that "
            "stays together. Add pictures of this class."
        )
