"""Groups read off names: what matches, what is kept, and every refusal."""

from __future__ import annotations

from pathlib import Path

import pytest

from roi_cls.base.errors import DataError
from roi_cls.data.sample import Sample
from roi_cls.data.split import SplitParams, split_samples
from roi_cls.data.units import group_samples

ROOT = Path("set")


def make(*names: str) -> list[Sample]:
    return [Sample(ROOT / name, "x") for name in names]


@pytest.mark.parametrize(
    ("regex", "groups"),
    [
        (r"person_([0-9]+)", ("7", "7", None)),
        (r"person_[0-9]+", ("person_7", "person_7", None)),
        (r"^([^/]+)/", ("train", "test", "test")),
        (r"(front)|person", (None, None, "front")),
    ],
)
def test_first_group_or_whole_match_is_the_group(
    regex: str, groups: tuple[str | None, ...]
) -> None:
    samples = make("train/person_7_a.png", "test/person_7_b.png", "test/front.png")
    assert tuple(s.group for s in group_samples(samples, regex, ROOT)) == groups


def test_without_an_expression_nothing_changes() -> None:
    samples = make("a_1.png")
    assert group_samples(samples, None, ROOT) == tuple(samples)


def test_group_of_the_data_is_kept() -> None:
    samples = [Sample(ROOT / "anna_1.png", "x", None, "film"), *make("anna_2.png")]
    found = group_samples(samples, "([a-z]+)_", ROOT)
    assert [s.group for s in found] == ["film", "anna"]


def test_pictures_elsewhere_are_matched_by_their_whole_path() -> None:
    sample = Sample(Path("/far/anna_1.png"), "x")
    assert group_samples([sample], "far/([a-z]+)", ROOT)[0].group == "anna"


def test_expression_that_matches_nothing_is_explained() -> None:
    with pytest.raises(DataError) as caught:
        group_samples(make("a/1.png", "a/2.png"), "person_([0-9]+)", ROOT)
    assert str(caught.value) == (
        "Cannot group by --group-regex 'person_([0-9]+)': it matches none of the 2 paths, like "
        "'a/1.png'. It is looked for anywhere in the path; try '([^/_]+)_[0-9]+' for the name "
        "before its number."
    )


@pytest.mark.parametrize(
    ("regex", "message"),
    [
        ("(", "group_regex must be a regular expression, got '(': missing ), unterminated"),
        ("a*", "group_regex must not match the empty text, which 'a*' does"),
    ],
)
def test_impossible_expression_is_refused(regex: str, message: str) -> None:
    with pytest.raises(ValueError, match="group_regex") as caught:
        SplitParams(group_regex=regex)
    assert str(caught.value).startswith(message)


def test_groups_of_names_stay_on_one_side() -> None:
    samples = [
        Sample(ROOT / f"{label}{person}_{i}.png", label)
        for label in "ab"
        for person in range(12)
        for i in range(3)
    ]
    grouped = group_samples(samples, "([ab][0-9]+)_", ROOT)
    parts: dict[str, set[str]] = {}
    for sample in split_samples(grouped, SplitParams()).samples:
        parts.setdefault(str(sample.group), set()).add(str(sample.split))
    assert len(parts) == 24
    assert all(len(found) == 1 for found in parts.values())
