"""Boxes stay rectangles with area; a detection survives the way to the disk and back."""

import json
import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roi_cls.roi.face import Box, Detection, Face, Step

NUMBERS = st.floats(-1e5, 1e5)
SIDES = st.floats(0.01, 1e5)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    left, top = draw(NUMBERS), draw(NUMBERS)
    return Box(left, top, left + draw(SIDES), top + draw(SIDES))


def test_measures_are_in_pixels() -> None:
    box = Box(10, 20, 40, 100)
    assert (box.width, box.height, box.area, box.center) == (30, 80, 2400, (25, 60))
    assert box.xyxy == (10, 20, 40, 100)


@pytest.mark.parametrize(
    ("xyxy", "message"),
    [
        ((0, 0, 0, 1), r"Box must have positive area, got \(0, 0, 0, 1\)"),
        ((0, 5, 1, 4), r"Box must have positive area, got \(0, 5, 1, 4\)"),
        ((0, 0, math.inf, 1), r"Box must be finite, got \(0, 0, inf, 1\)"),
        ((math.nan, 0, 1, 1), r"Box must be finite, got \(nan, 0, 1, 1\)"),
    ],
)
def test_box_without_area_is_refused(xyxy: tuple[float, float, float, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Box(*xyxy)


def test_margin_is_a_share_of_each_side() -> None:
    assert Box(10, 20, 30, 60).expand(0.5) == Box(0, 0, 40, 80)


@given(boxes(), st.floats(0, 5))
def test_expanded_square_holds_the_box(box: Box, margin: float) -> None:
    square = box.expand(margin).square()
    slack = 1e-6 * max(map(abs, square.xyxy))
    assert square.width == pytest.approx(square.height, rel=1e-6, abs=slack)
    assert square.center == pytest.approx(box.center, rel=1e-6, abs=slack)
    assert square.left <= box.left - margin * box.width + slack
    assert square.top <= box.top - margin * box.height + slack
    assert square.right >= box.right + margin * box.width - slack
    assert square.bottom >= box.bottom + margin * box.height - slack


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (Box(0, 0, 10, 10), 1.0),
        (Box(0, 0, 10, 5), 0.5),
        (Box(5, 0, 15, 10), 1 / 3),
        (Box(10, 0, 20, 10), 0.0),
        (Box(0, 11, 10, 20), 0.0),
    ],
)
def test_iou_compares_areas(other: Box, expected: float) -> None:
    assert Box(0, 0, 10, 10).iou(other) == pytest.approx(expected)


@given(boxes(), boxes())
def test_iou_is_symmetric_and_at_most_one(one: Box, other: Box) -> None:
    assert one.iou(other) == pytest.approx(other.iou(one))
    assert 0 <= one.iou(other) <= 1 + 1e-9


FINITE = st.floats(-1e6, 1e6)


@st.composite
def faces(draw: st.DrawFn) -> Face:
    left, top = draw(FINITE), draw(FINITE)
    width, height = draw(st.floats(0.1, 1e4)), draw(st.floats(0.1, 1e4))
    points = draw(st.lists(st.tuples(FINITE, FINITE), min_size=6, max_size=6))
    box = Box(left, top, left + width, top + height)
    return Face(
        box, draw(st.floats(0, 1)), tuple(points), draw(st.sampled_from(["short", "full", "yunet"]))
    )


@given(
    st.integers(1, 10**5),
    st.integers(1, 10**5),
    st.lists(faces(), max_size=4),
    st.sampled_from([None, *get_args(Step)]),
)
def test_json_gives_back_the_same_detection(
    height: int, width: int, found: list[Face], step: Step | None
) -> None:
    detection = Detection(height, width, tuple(found), step)
    assert Detection.from_dict(json.loads(json.dumps(detection.to_dict()))) == detection


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"height": 1, "width": 1}, KeyError),
        ({"height": 1, "width": 1, "faces": []}, KeyError),
        ({"height": None, "width": 1, "faces": [], "step": None}, TypeError),
        ({"height": "a", "width": 1, "faces": [], "step": None}, ValueError),
        ({"height": 1, "width": 1, "faces": [], "step": "long"}, ValueError),
        ({"height": 1, "width": 1, "faces": [{"box": [1, 2, 3]}]}, TypeError),
    ],
)
def test_values_of_another_form_are_refused(
    values: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        Detection.from_dict(values)
