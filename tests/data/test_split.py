"""Splits: given parts, stratification, twins and groups, and every refusal."""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roi_cls.base.errors import DataError
from roi_cls.data.sample import Sample, SplitName
from roi_cls.data.split import Split, SplitParams, split_samples

PARAMS = SplitParams()


def make(label: str, count: int, split: SplitName | None = None) -> list[Sample]:
    return [Sample(Path(f"{split}/{label}/{i:05}.png"), label, split) for i in range(count)]


def counts(split: Split) -> dict[str, dict[str, int]]:
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for sample in split.samples:
        found[str(sample.split)][str(sample.label)] += 1
    return {part: dict(found[part]) for part in found}


def refusal(samples: Sequence[Sample], params: SplitParams = PARAMS) -> str:
    with pytest.raises(DataError) as caught:
        split_samples(samples, params)
    return str(caught.value)


def test_shares_are_met_in_every_class() -> None:
    split = split_samples(make("a", 100) + make("b", 1000), PARAMS)
    assert counts(split) == {
        "train": {"a": 68, "b": 680},
        "validation": {"a": 12, "b": 120},
        "test": {"a": 20, "b": 200},
    }
    assert (split.leaks, split.conflicts, split.shared_groups) == ((), (), ())


def test_given_test_is_kept_and_validation_comes_off_the_training_part() -> None:
    samples = [
        *(make("a", 180, "train") + make("b", 1620, "train")),
        *(make("a", 20, "test") + make("b", 180, "test")),
    ]
    split = split_samples(samples, PARAMS)
    assert counts(split) == {
        "train": {"a": 153, "b": 1377},
        "validation": {"a": 27, "b": 243},
        "test": {"a": 20, "b": 180},
    }
    assert [s.path for s in split.samples] == [s.path for s in samples]


def test_given_validation_is_kept_and_a_test_part_is_made() -> None:
    samples = make("a", 50, "train") + make("b", 50, "train")
    samples += make("a", 5, "validation") + make("b", 5, "validation")
    assert counts(split_samples(samples, PARAMS)) == {
        "train": {"a": 40, "b": 40},
        "validation": {"a": 5, "b": 5},
        "test": {"a": 10, "b": 10},
    }


def test_complete_parts_are_returned_as_they_are() -> None:
    parts: tuple[SplitName, ...] = ("train", "validation", "test")
    samples = tuple(s for part in parts for label in "ab" for s in make(label, 1, part))
    assert split_samples(samples, PARAMS).samples == samples


def test_no_test_part_is_made_for_a_share_of_zero() -> None:
    split = split_samples(make("a", 20) + make("b", 20), SplitParams(test_share=0))
    assert counts(split) == {"train": {"a": 17, "b": 17}, "validation": {"a": 3, "b": 3}}


def test_fewest_possible_pictures_make_every_part() -> None:
    assert counts(split_samples(make("a", 3) + make("b", 3), PARAMS)) == {
        part: {"a": 1, "b": 1} for part in ("train", "validation", "test")
    }


def test_order_of_the_samples_does_not_matter_and_the_seed_does() -> None:
    samples = make("a", 40) + make("b", 60)
    shuffled = samples[:]
    random.Random(1).shuffle(shuffled)
    first = split_samples(samples, PARAMS)
    again = split_samples(shuffled, PARAMS)
    assert {s.path: s for s in first.samples} == {s.path: s for s in again.samples}
    assert [s.path for s in again.samples] == [s.path for s in shuffled]
    assert split_samples(samples, SplitParams(split_seed=1)).samples != first.samples


def test_draw_is_the_same_on_every_machine() -> None:
    split = split_samples(make("a", 10) + make("b", 10), PARAMS)
    held = [s.path.as_posix() for s in split.samples if s.split == "test"]
    assert held == ["None/a/00001.png", "None/a/00009.png", "None/b/00007.png", "None/b/00009.png"]


@st.composite
def grouped(draw: st.DrawFn) -> tuple[list[Sample], list[str]]:
    """Samples of two classes, in groups that may mix them, some with twins across groups."""
    sizes = draw(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=25))
    # Three groups of each class on their own: the fewest that three parts can be made of.
    sizes += [(1, 0), (1, 0), (1, 0), (0, 1), (0, 1), (0, 1)]
    samples = [
        Sample(Path(f"{group}/{label}/{i}.png"), label, None, f"g{group}" if a + b > 1 else None)
        for group, (a, b) in enumerate(sizes)
        for label, count in (("a", a), ("b", b))
        for i in range(count)
    ]
    digests = [f"{i}" for i in range(len(samples))]
    for _ in range(draw(st.integers(0, 3))):
        one, other = (draw(st.integers(0, max(0, len(samples) - 7))) for _ in range(2))
        digests[one] = digests[other]
    return samples, digests


@given(grouped(), st.integers(0, 3))
def test_groups_and_twins_stay_together_and_every_class_is_in_every_part(
    data: tuple[list[Sample], list[str]], seed: int
) -> None:
    samples, digests = data
    split = split_samples(samples, SplitParams(seed), digests)
    assert [replace(s, split=None) for s in split.samples] == samples
    parts: defaultdict[str, set[str | None]] = defaultdict(set)
    for sample, digest in zip(split.samples, digests, strict=True):
        parts[f"sha256 {digest}"].add(sample.split)
        parts[f"group {sample.group or sample.path}"].add(sample.split)
    assert all(len(found) == 1 for found in parts.values())
    assert (split.leaks, split.shared_groups) == ((), ())
    assert all(found.keys() == {"a", "b"} for found in counts(split).values())
    assert counts(split).keys() == {"train", "validation", "test"}


@given(st.lists(st.integers(1, 6), min_size=20, max_size=60), st.sampled_from([0.1, 0.2, 0.5]))
def test_groups_meet_the_share_within_the_largest_group(sizes: list[int], share: float) -> None:
    samples = [
        Sample(Path(f"{group}/{i}.png"), "ab"[group % 2], None, f"{group}")
        for group, size in enumerate(sizes)
        for i in range(size)
    ]
    found = counts(split_samples(samples, SplitParams(test_share=share)))
    for label in "ab":
        total = sum(s.label == label for s in samples)
        assert abs(found["test"][label] - share * total) <= max(sizes)


def test_one_large_group_is_not_always_the_whole_test_part() -> None:
    samples = [replace(s, group="crowd" if i < 20 else None) for i, s in enumerate(make("a", 100))]
    samples += make("b", 100)
    held = [
        sum(s.group == "crowd" for s in split_samples(samples, SplitParams(seed)).samples[:100]
            if s.split == "test")
        for seed in range(20)
    ]  # fmt: skip
    assert 0 < sum(map(bool, held)) < 20


def test_twins_chain_groups_together() -> None:
    samples = make("a", 20) + make("b", 20)
    samples[0] = replace(samples[0], group="x")
    samples[1] = replace(samples[1], group="x")
    digests = [f"{i}" for i in range(40)]
    digests[1] = digests[2] = "twin"
    for seed in range(10):
        split = split_samples(samples, SplitParams(seed), digests)
        assert len({s.split for s in split.samples[:3]}) == 1


def test_pictures_without_a_digest_are_no_twins() -> None:
    samples = make("a", 20) + make("b", 20)
    assert split_samples(samples, PARAMS, [""] * 40) == split_samples(samples, PARAMS)


def test_leaks_and_conflicts_of_given_parts_are_listed_and_nothing_is_moved() -> None:
    train = make("a", 5, "train") + make("b", 5, "train")
    test = make("a", 5, "test") + make("b", 5, "test")
    digests = [f"{i}" for i in range(20)]
    digests[10] = digests[0]  # the same picture in both parts
    digests[15] = digests[1]  # and one whose label differs
    digests[3] = digests[2]  # a twin on one side is no leak
    split = split_samples(train + test, PARAMS, digests)
    assert set(split.leaks) == {(train[0].path, test[0].path), (train[1].path, test[5].path)}
    assert split.conflicts == ((test[5].path, train[1].path),)
    assert all(s.split == "test" for s in split.samples[10:])
    assert all(s.split != "test" for s in split.samples[:10])


def test_groups_that_the_data_put_on_two_sides_are_named() -> None:
    samples = make("a", 5, "train") + make("b", 5, "train") + make("a", 2, "test")
    samples = [replace(s, group="anna" if i in (0, 10) else None) for i, s in enumerate(samples)]
    assert split_samples(samples, PARAMS).shared_groups == ("anna",)


@pytest.mark.parametrize("part", ["test", "validation"])
def test_undecided_twin_of_a_held_out_picture_joins_it(part: SplitName) -> None:
    samples = make("a", 20) + make("b", 20) + make("a", 2, part) + make("b", 2, part)
    digests = [f"{i}" for i in range(44)]
    digests[0] = digests[40]
    split = split_samples(samples, PARAMS, digests)
    assert split.samples[0].split == part
    assert split.leaks == ()


@pytest.mark.parametrize(
    ("samples", "params", "message"),
    [
        (
            make("a", 2) + make("b", 9),
            PARAMS,
            "'a' than parts: 2 for train, test, validation (training pictures: a 2, b 9)",
        ),
        (
            make("a", 1) + make("b", 9),
            SplitParams(test_share=0),
            "'a' than parts: 1 for train, validation (training pictures: a 1, b 9)",
        ),
        (
            [replace(s, group="g") for s in make("a", 8)] + make("b", 9),
            PARAMS,
            "'a' than parts: 8, in 1 group(s) that stay together, for train, test, validation "
            "(training pictures: a 8, b 9)",
        ),
        (
            make("a", 9, "train") + make("b", 9, "test"),
            PARAMS,
            "'b' than parts: 0 for train, validation (training pictures: a 9)",
        ),
        (
            make("a", 9, "test") + make("a", 9, "validation"),
            PARAMS,
            "'a' than parts: 0 for train (training pictures: none)",
        ),
    ],
)
def test_too_few_pictures_are_explained(
    samples: list[Sample], params: SplitParams, message: str
) -> None:
    assert refusal(samples, params) == (
        f"Cannot split: fewer pictures of {message}. Add pictures of this class, or give the "
        "parts yourself in a CSV with path,label,split."
    )


def test_groups_that_no_draw_can_part_are_explained() -> None:
    # Each class has two groups, and each group two of the three classes: an odd circle.
    pairs = [("a", "b"), ("b", "c"), ("a", "c")]
    samples = [
        Sample(Path(f"{i}/{label}.png"), label, None, f"{i}")
        for i, pair in enumerate(pairs)
        for label in pair
    ]
    assert refusal(samples, SplitParams(test_share=0)) == (
        "Cannot split: no choice of whole groups leaves every class in the validation part and "
        "in the training part. Make the groups smaller, or give the parts in a CSV with "
        "path,label,split,group."
    )


def test_unlabelled_pictures_are_explained() -> None:
    assert refusal([*make("a", 3), Sample(Path("x.png"))]) == (
        "Cannot split: 1 of 4 pictures, like 'x.png', have no label. "
        "Label every picture, by its name, its folder or a CSV."
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"validation_share": 0.0}, "validation_share must be above 0 and below 1, got 0.0"),
        ({"validation_share": 1.0}, "validation_share must be above 0 and below 1, got 1.0"),
        ({"test_share": -0.1}, "test_share must be at least 0 and below 1, got -0.1"),
        ({"test_share": 1.0}, "test_share must be at least 0 and below 1, got 1.0"),
        ({"test_share": float("nan")}, "test_share must be at least 0 and below 1, got nan"),
    ],
)
def test_impossible_shares_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        replace(PARAMS, **values)  # type: ignore[arg-type]  # floats alone


def test_digests_must_fit_the_samples() -> None:
    with pytest.raises(ValueError, match="need one digest per sample, got 1 for 3"):
        split_samples(make("a", 3), PARAMS, ["x"])


@given(
    grouped(), st.integers(0, 2), st.lists(st.lists(st.integers(0, 400), max_size=4), max_size=3)
)
def test_near_duplicates_stay_on_one_side(
    data: tuple[list[Sample], list[str]], seed: int, drawn: list[list[int]]
) -> None:
    samples, digests = data
    able = max(1, len(samples) - 6)  # the last six keep every part possible
    near = [sorted({i % able for i in group}) for group in drawn]
    split = split_samples(samples, SplitParams(seed), digests, near)
    assert all(len({split.samples[i].split for i in group}) <= 1 for group in near)
    assert split.near_leaks == ()


def test_undecided_near_duplicate_of_a_test_picture_joins_it() -> None:
    samples = make("a", 20) + make("b", 20) + make("a", 2, "test") + make("b", 2, "test")
    split = split_samples(samples, PARAMS, None, [(3, 41)])
    assert split.samples[3].split == "test"
    assert split.near_leaks == ()


def test_near_duplicates_in_given_parts_are_listed_and_equal_bytes_are_not_listed_twice() -> None:
    train = make("a", 5, "train") + make("b", 5, "train")
    test = make("a", 5, "test") + make("b", 5, "test")
    digests = [f"{i}" for i in range(20)]
    digests[10] = digests[0]
    split = split_samples(train + test, PARAMS, digests, [(0, 10, 11), (2, 3)])
    assert split.leaks == ((train[0].path, test[0].path),)
    assert split.near_leaks == ((train[0].path, test[1].path),)
