"""Samples to folds for cross-validation: stratified, seeded, whole units. Opens no picture."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from roi_cls.base.errors import DataError
from roi_cls.data.sample import Sample
from roi_cls.data.units import Unit, join_units

_DRAWS = 50  # one is enough unless units mix classes


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
        seed: Of the draw.
        digests: SHA-256 (hex) of each one's bytes; empty where there are none to read.
        near: Groups of places whose pictures look alike.

    Raises:
        ValueError: Fewer than 2 folds.
        DataError: A class has fewer units than folds, or no draw puts it into every fold.
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
    _check_enough(units, folds)
    for draw in range(_DRAWS):
        numbers = _deal(units, folds, random.Random(f"{seed} folds {draw}"))
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


def _check_enough(units: Sequence[Unit], folds: int) -> None:
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
