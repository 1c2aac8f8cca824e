"""Recipes and quantities in words."""

from dataclasses import replace
from typing import get_args

import pytest

from roi_cls.console.words import STEP_TEXT, count_text, describe_recipe, score_text, size_text
from roi_cls.roi import CropParams
from roi_cls.roi.face import Step
from roi_cls.roi.params import FaceChoice, Fallback, FullFrame


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
