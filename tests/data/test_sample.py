"""Classes: their order, the one looked for, and every refusal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roi_cls.base.errors import DataError
from roi_cls.data.sample import (
    DEFAULT_LABEL_NAMES,
    LabelSet,
    Sample,
    SplitName,
    check_same_labels,
    choose_labels,
    name_some,
    parse_label_names,
    tell_extremes,
)


def make(split: SplitName | None = None, **counts: int) -> list[Sample]:
    return [
        Sample(Path(f"{split}/{name}/{i}.png"), name, split)
        for name, count in counts.items()
        for i in range(count)
    ]


def test_index_is_the_place_among_the_names() -> None:
    labels = LabelSet(("artefact", "artefactless"), "artefactless")
    assert (labels.index("artefact"), labels.target_index) == (0, 1)
    assert labels.target_reason == "given"


@pytest.mark.parametrize(
    ("names", "target", "message"),
    [
        ((), "a", "names must be at least two distinct classes, got ()"),
        (("a",), "a", "names must be at least two distinct classes, got ('a',)"),
        (("a", "a"), "a", "names must be at least two distinct classes, got ('a', 'a')"),
        (("a", ""), "a", "names must not be empty, got ('a', '')"),
        (("a", "b"), "c", "target must be one of ('a', 'b'), got 'c'"),
    ],
)
def test_impossible_label_sets_are_refused(
    names: tuple[str, ...], target: str, message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        LabelSet(names, target)


def test_index_of_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"label must be one of \('a', 'b'\), got 'c'"):
        LabelSet(("a", "b"), "a").index("c")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("0=artefact,1=artefactless", dict(DEFAULT_LABEL_NAMES)),
        (" 0 = real , 1 = fake ", {"0": "real", "1": "fake"}),
        ("0=real,1=fake,2=fake", {"0": "real", "1": "fake", "2": "fake"}),
        ("a=b=c", {"a": "b=c"}),
        ("echt=écht", {"echt": "écht"}),
    ],
)
def test_label_names_are_read(text: str, names: dict[str, str]) -> None:
    assert parse_label_names(text) == names


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "'' is not TOKEN=NAME"),
        ("0", "'0' is not TOKEN=NAME"),
        ("0=a,", "'' is not TOKEN=NAME"),
        ("0=a,1=", "'1=' is not TOKEN=NAME"),
        ("=a", "'=a' is not TOKEN=NAME"),
        ("0=a,0=b", "'0' is named twice"),
    ],
)
def test_bad_label_names_are_explained(text: str, why: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_label_names(text)
    assert str(caught.value) == (
        f"Cannot use --labels {text!r}: {why}. Write it like --labels 0=artefact,1=artefactless."
    )


def test_target_is_the_rarer_class_and_the_reason_shows_the_counts() -> None:
    labels = choose_labels(make(artefactless=612, artefact=68))
    assert labels == LabelSet(
        ("artefact", "artefactless"), "artefact", "rarest of 2 classes: 68 of 680"
    )


def test_target_is_chosen_on_the_training_part_only() -> None:
    samples = make("train", a=2, b=3) + make("test", a=30, b=1) + make("validation", a=9, b=1)
    assert choose_labels(samples).target_reason == "rarest of 2 classes: 2 of 5"
    assert choose_labels(samples).target == "a"


def test_samples_not_split_yet_count_as_training() -> None:
    assert choose_labels(make(None, a=1, b=2) + make("test", a=9, b=1)).target == "a"


def test_without_a_training_part_all_pictures_decide() -> None:
    assert choose_labels(make("test", a=3, b=1)).target == "b"


def test_tie_is_broken_by_name_and_shown() -> None:
    labels = choose_labels(make(b=5, a=5))
    assert labels.target == "a"
    assert labels.target_reason == "first by name of 2 equally rare classes: 5 of 10 each"


def test_given_target_is_kept_and_unlabelled_samples_pass() -> None:
    samples = [*make(a=1, b=9), Sample(Path("x.png"))]
    assert choose_labels(samples, "b") == LabelSet(("a", "b"), "b", "given")
    assert choose_labels(samples, " b ").target == "b"


def test_classes_are_sorted_as_people_count() -> None:
    samples = make(None, **{"class10": 1, "class9": 1, "Class2": 1, "class09": 1})
    assert choose_labels(samples).names == ("Class2", "class09", "class9", "class10")


@given(st.lists(st.text(min_size=1), min_size=2, unique=True))
def test_order_of_the_classes_does_not_depend_on_the_samples(names: list[str]) -> None:
    samples = [Sample(Path("x.png"), name) for name in names]
    assert choose_labels(samples) == choose_labels(samples[::-1])


@pytest.mark.parametrize(
    ("samples", "found"),
    [
        (make(a=3), "only the class 'a' was found in 3 labelled pictures"),
        ([Sample(Path("x.png"))], "no label was found in 0 labelled pictures"),
        ([], "no label was found in 0 labelled pictures"),
    ],
)
def test_fewer_than_two_classes_are_explained(samples: list[Sample], found: str) -> None:
    with pytest.raises(DataError) as caught:
        choose_labels(samples)
    assert str(caught.value) == (
        f"Cannot choose classes: {found}, and a classifier needs at least two. Give the folder "
        "that holds one folder per class, train/ and test/ with image_<index>_<label>.png, or a "
        "CSV with path,label."
    )


def test_unknown_target_lists_the_classes() -> None:
    with pytest.raises(DataError) as caught:
        choose_labels(make(a=1, b=1), "c")
    assert str(caught.value) == (
        "Cannot look for 'c': the classes are 'a', 'b'. Name one of them with --target."
    )


@pytest.mark.parametrize("target", [None, "Real"])
def test_class_without_training_pictures_is_refused(target: str | None) -> None:
    samples = make("train", real=2, fake=2) + make("test", Real=1)
    with pytest.raises(DataError) as caught:
        choose_labels(samples, target)
    assert str(caught.value) == (
        "Cannot learn 'Real': no training picture has this label, the training part has 'fake', "
        "'real'. Spell the classes alike in every part, or add training pictures."
    )


def test_labels_of_the_run_pass_also_if_some_are_absent() -> None:
    check_same_labels(LabelSet(("a", "b"), "a"), [*make(a=2), Sample(Path("x.png"))])


def test_strange_labels_list_both_sides_and_propose_no_polarity() -> None:
    with pytest.raises(DataError) as caught:
        check_same_labels(LabelSet(("a", "b"), "a"), make(a=1, real=1, fake=1))
    assert str(caught.value) == (
        "Cannot compare labels: the pictures are labelled 'a', 'fake', 'real', the model knows "
        "'a', 'b'. Give the data that belong to this model, or say which class is which with "
        "--labels, like --labels fake=CLASS,real=CLASS."
    )


def test_of_many_names_the_first_are_told() -> None:
    names = [f"class {i}" for i in range(500)]
    assert name_some(names[:10]) == ", ".join(names[:10])
    assert name_some(names[:11]) == f"{', '.join(names[:10])} and 1 more"
    assert name_some(names, 2) == "class 0, class 1 and 498 more"
    assert name_some([]) == ""


def test_extremes_are_of_classes_that_are_there() -> None:
    assert tell_extremes({"a": 3, "b": 0, "c": 9}) == ("3 a", "9 c")
    assert tell_extremes({"a": 0}) == ("", "")
