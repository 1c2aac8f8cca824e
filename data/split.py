"""Samples to train, validation and test: stratified, seeded, twins and groups on one side.

Sees labels, groups and digests; opens no picture.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from roi_cls.base.errors import DataError
from roi_cls.data.draw import draw_units
from roi_cls.data.faults import equal_bytes, find_conflicts, find_leaks, find_shared_groups
from roi_cls.data.group import compile_group_regex
from roi_cls.data.sample import Sample, SplitName
from roi_cls.data.units import Unit, join_units, path_order


@dataclass(frozen=True, slots=True)
class SplitParams:
    """How the parts that the data do not give are made."""

    split_seed: int = 0
    """Of the draw; the order of the samples does not matter."""
    validation_share: float = 0.15
    """Share of the training part, test pictures taken off, that is drawn for validation."""
    test_share: float = 0.2
    """Share of all pictures drawn for the test; 0 makes no test part."""
    group_regex: str | None = None
    """Finds in a path what pictures of one group share, like ``person_([0-9]+)``: its first group,
    else the whole match. They stay on one side of the split."""
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
    """In the order given, each with ``split`` set."""
    leaks: tuple[tuple[Path, Path], ...]
    """Equal bytes in two given parts: the picture in the earlier part, its twin in the later."""
    conflicts: tuple[tuple[Path, Path], ...]
    """Equal bytes with different labels: the first picture, and one that contradicts it."""
    shared_groups: tuple[str, ...] = ()
    """Groups that the data put into more than one part."""
    near_leaks: tuple[tuple[Path, Path], ...] = ()
    """Pictures that look alike in two given parts: as ``leaks``, of other bytes."""


def split_samples(
    samples: Sequence[Sample],
    params: SplitParams,
    digests: Sequence[str] | None = None,
    near: Sequence[Sequence[int]] = (),
) -> Split:
    """Return every sample with its part.

    Given parts are kept, with their faults listed. A sample with no part joins the one that
    holds its twin or group, else the training part. From that are drawn the test part, if the
    data have none, and then the validation part, likewise: stratified by label, equal bytes,
    groups and near-duplicates together, each class in each part.

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
    """Write the parts drawn from the free units into ``parts``."""
    for place, (name, share) in enumerate(made):
        kept = len(made) - place  # parts that still need a unit of each class afterwards
        held = draw_units(free, share, kept, random.Random(f"{seed} {name}"))
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
