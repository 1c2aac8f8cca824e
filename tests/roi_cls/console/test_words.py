"""Recipes, sizes, bytes and spans of time as people write and read them."""

from dataclasses import replace
from typing import get_args

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from roi_cls.console.words import (
    STEP_TEXT,
    count_text,
    describe_recipe,
    format_bytes,
    format_span,
    parse_bytes,
    parse_span,
    score_text,
    size_text,
)
from roi_cls.roi import CropParams
from roi_cls.roi.face import Step
from roi_cls.roi.params import FaceChoice, Fallback, FullFrame


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("123", 123),
        ("1B", 1),
        ("10GB", 10**10),
        ("500 mb", 5 * 10**8),
        (" 1.5KB ", 1500),
        ("2GiB", 2 * 2**30),
        ("3TB", 3 * 10**12),
    ],
)
def test_size_is_read(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "10XB", "1,5GB", "1e3", "10 GB more", "30d"])
def test_text_that_is_no_size_is_told(text: str) -> None:
    with pytest.raises(typer.BadParameter) as caught:
        parse_bytes(text)
    assert caught.value.message == f"{text!r} is no size; write it like 500MB, 10GB or 2GiB"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("5m", 300), ("12h", 43200), ("30d", 2592000), ("2w", 1209600), ("0.5d", 43200)],
)
def test_span_is_read(text: str, seconds: float) -> None:
    assert parse_span(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "30D", "1y", "1 month"])
def test_text_that_is_no_span_is_told(text: str) -> None:
    with pytest.raises(typer.BadParameter) as caught:
        parse_span(text)
    assert caught.value.message == f"{text!r} is no span of time; write it like 12h, 30d or 2w"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KB"),
        (48_200, "48.2 KB"),
        (993_000, "993 KB"),
        (999_999, "1.0 MB"),
        (12_100_000, "12.1 MB"),
        (99_960, "100 KB"),
        (10**9, "1.0 GB"),
        (25 * 10**14, "2500 TB"),
    ],
)
def test_size_is_written(size: int, text: str) -> None:
    assert format_bytes(size) == text


@given(st.integers(0, 10**15))
def test_size_is_read_back_about_as_it_was(size: int) -> None:
    assert parse_bytes(format_bytes(size)) == pytest.approx(size, rel=0.05)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 seconds"),
        (0.4, "0 seconds"),
        (1, "1 second"),
        (119, "119 seconds"),
        (120, "2 minutes"),
        (7199, "119 minutes"),
        (7200, "2 hours"),
        (172799, "47 hours"),
        (172800, "2 days"),
        (30 * 86400, "30 days"),
    ],
)
def test_span_is_written(seconds: float, text: str) -> None:
    assert format_span(seconds) == text


@pytest.mark.parametrize(
    ("params", "text"),
    [
        (
            CropParams(margin=0.3, min_score=0.5, min_face_px=24, size_px=224),
            "The largest face, margin 0.3, 224 px; detector auto, score from 0.5, "
            "face from 24 px; without a face the full frame (padded)",
        ),
        (
            CropParams(
                face="all",
                align=True,
                margin=1,
                fallback="skip",
                detector="short",
                min_score=0.5,
                min_face_px=24,
                size_px=224,
            ),
            "Every face, margin 1, turned until the eyes are level, 224 px; detector short, "
            "score from 0.5, face from 24 px; without a face no crop",
        ),
        (
            CropParams(crop="full", full_frame="squash", size_px=96),
            "The full frame (squashed), 96 px",
        ),
    ],
)
def test_recipe_in_words(params: CropParams, text: str) -> None:
    assert describe_recipe(params) == text


@pytest.mark.parametrize("face", get_args(FaceChoice))
@pytest.mark.parametrize("fallback", get_args(Fallback))
@pytest.mark.parametrize("full_frame", get_args(FullFrame))
def test_every_recipe_has_words(
    face: FaceChoice, fallback: Fallback, full_frame: FullFrame
) -> None:
    params = CropParams(face=face, fallback=fallback, full_frame=full_frame)
    assert "without a face" in describe_recipe(params)
    assert describe_recipe(replace(params, crop="full")).startswith("The full frame (")


def test_every_step_has_words() -> None:
    assert set(STEP_TEXT) == set(get_args(Step))


@pytest.mark.parametrize(
    ("score", "text"),
    [(0.4999, "0.49"), (0.5, "0.50"), (0.29, "0.29"), (0.57, "0.57"), (1.0, "1.00"), (0.0, "0.00")],
)
def test_score_is_never_rounded_up(score: float, text: str) -> None:
    assert score_text(score) == text


def test_score_has_as_many_decimals_as_are_asked_for() -> None:
    assert [score_text(0.98765, decimals) for decimals in (1, 3)] == ["0.9", "0.987"]


@pytest.mark.parametrize(("number", "text"), [(0, "0 faces"), (1, "1 face"), (2, "2 faces")])
def test_count(number: int, text: str) -> None:
    assert count_text(number, "face") == text


def test_size() -> None:
    assert size_text(84.4, 90.6) == "84 x 91 px"
