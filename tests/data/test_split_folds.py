"""Folds: balance, whole units, and every refusal."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from roi_cls.base.errors import DataError
from roi_cls.data.sample import Sample, SplitName
from roi_cls.data.split import make_folds


def make(label: str, count: int, split: SplitName | None = "train") -> list[Sample]:
    return [Sample(Path(f"{split}/{label}/{i:05}.png"), label, split) for i in range(count)]


def counts(samples: list[Sample], folds: tuple[int | None, ...]) -> dict[int, Counter[str]]:
    found: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for sample, fold in zip(samples, folds, strict=True):
        if fold is not None:
            found[fold][str(sample.label)] += 1
    return dict(found)


def test_every_fold_has_its_share_of_a_rare_class() -> None:
    samples = make("rare", 23) + make("common", 201)
    found = counts(samples, make_folds(samples, 5))
    assert sorted(fold["rare"] for fold in found.values()) == [4, 4, 5, 5, 5]
    assert sorted(fold["common"] for fold in found.values()) == [40, 40, 40, 40, 41]


def grouped(seed: int) -> list[Sample]:
    """One in ten of the pictures is rare; groups have 1 to 12 pictures of either class."""
    rng = random.Random(seed)
    samples: list[Sample] = []
    for group in range(150):
        rare = group % 10 == 0
        samples += [
            Sample(Path(f"{group}/{i}.png"), "rare" if rare else "common", "train", f"{group}")
            for i in range(rng.randint(1, 12))
        ]
    return samples


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_dealt_at_least_as_evenly_as_by_scikit_learn(seed: int) -> None:
    samples = grouped(seed)
    labels = np.array([s.label for s in samples])
    theirs = np.zeros(len(samples), int)
    other = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    groups = np.array([s.group for s in samples])
    for number, (_, held) in enumerate(other.split(labels, labels, groups)):
        theirs[held] = number

    def worst(folds: tuple[int | None, ...], label: str) -> int:
        found = [fold[label] for fold in counts(samples, folds).values()]
        return max(found) - min(found)

    ours = make_folds(samples, 5, seed)
    for label in ("rare", "common"):
        assert worst(ours, label) <= worst(tuple(theirs.tolist()), label)


def test_groups_twins_and_near_duplicates_share_a_fold() -> None:
    samples = make("a", 30) + make("b", 30)
    samples[0] = replace(samples[0], group="g")
    samples[1] = replace(samples[1], group="g")
    digests = [f"{i}" for i in range(60)]
    digests[2] = digests[1]
    for seed in range(10):
        folds = make_folds(samples, 5, seed, digests, [(2, 3, 31)])
        assert len({folds[i] for i in (0, 1, 2, 3, 31)}) == 1


def test_test_pictures_and_those_in_no_part_are_in_no_fold() -> None:
    samples = make("a", 4) + make("b", 4, "validation") + make("b", 2, "test") + make("a", 1, None)
    folds = make_folds(samples, 2, near=[(0, 8), (10, 1)])
    assert folds[8:] == (None, None, None)
    assert counts(samples, folds) == {0: {"a": 2, "b": 2}, 1: {"a": 2, "b": 2}}


def test_order_does_not_matter_and_the_seed_does() -> None:
    samples = make("a", 20) + make("b", 40)
    first = dict(zip(samples, make_folds(samples, 4), strict=True))
    shuffled = random.Random(3).sample(samples, len(samples))
    assert dict(zip(shuffled, make_folds(shuffled, 4), strict=True)) == first
    assert dict(zip(samples, make_folds(samples, 4, seed=1), strict=True)) != first


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (
            make("a", 4) + make("b", 9),
            "Cannot make 5 folds: class 'a' has 4 pictures or groups that stay together. Ask for "
            "at most --folds 4, or add pictures of this class.",
        ),
        (
            [replace(s, group="g") for s in make("a", 4)] + make("b", 9),
            "Cannot make 5 folds: class 'a' has one picture, or one group that stays together. "
            "Add pictures of this class.",
        ),
        (
            make("a", 4, "test"),
            "Cannot make 5 folds: there is no picture for training. Give a training part, or "
            "leave the parts out.",
        ),
    ],
)
def test_too_few_pictures_are_explained(samples: list[Sample], message: str) -> None:
    with pytest.raises(DataError) as caught:
        make_folds(samples, 5)
    assert str(caught.value) == message


def test_groups_that_cannot_be_dealt_are_explained() -> None:
    pairs = [("a", "b"), ("b", "c"), ("a", "c")]  # an odd circle: one fold lacks a class
    samples = [
        Sample(Path(f"{i}/{label}.png"), label, "train", f"{i}")
        for i, pair in enumerate(pairs)
        for label in pair
    ]
    with pytest.raises(DataError) as caught:
        make_folds(samples, 2)
    assert str(caught.value) == (
        "Cannot make 2 folds: no choice of whole groups puts every class into every fold. Ask "
        "for fewer --folds, or make the groups smaller."
    )


def test_one_fold_is_refused() -> None:
    with pytest.raises(ValueError, match="folds must be at least 2, got 1"):
        make_folds(make("a", 4), 1)
