"""Samples that must stay together: equal bytes, one group, near-duplicates. Decides no part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from roi_cls.data.sample import Sample
from roi_cls.data.union import Union


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
    together = Union(len(order))
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
