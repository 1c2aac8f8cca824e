"""A seeded draw of whole units that holds about a share of every class. Knows no picture."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence

from roi_cls.data.units import Unit


def draw_units(
    units: Sequence[Unit], share: float, kept: int, rng: random.Random
) -> list[Unit] | None:
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
