"""Boxes stay rectangles with area; a detection survives the way to the disk and back."""

import cmath
import json
import math
from collections.abc import Sequence
from typing import get_args

import pytest
from hypothesis import assume, given
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
    st.none() | st.text(),
    st.none() | st.text(),
)
def test_json_gives_back_the_same_detection(
    height: int,
    width: int,
    found: list[Face],
    step: Step | None,
    damaged: str | None,
    profile: str | None,
) -> None:
    detection = Detection(height, width, tuple(found), step, damaged, profile)
    assert Detection.from_dict(json.loads(json.dumps(detection.to_dict()))) == detection


SEEN = {"height": 1, "width": 1, "faces": [], "step": None, "damaged": None, "color_profile": None}


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"height": 1, "width": 1}, KeyError),
        ({"height": 1, "width": 1, "faces": []}, KeyError),
        ({"height": 1, "width": 1, "faces": [], "step": None}, KeyError),
        ({**SEEN, "height": None}, TypeError),
        ({**SEEN, "height": "a"}, ValueError),
        ({**SEEN, "damaged": 1}, TypeError),
        ({"height": 1, "width": 1, "faces": [], "step": "long"}, ValueError),
        ({"height": 1, "width": 1, "faces": [{"box": [1, 2, 3]}]}, TypeError),
    ],
)
def test_values_of_another_form_are_refused(
    values: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        Detection.from_dict(values)


FRONTAL = (-46 + 0j, 46 + 0j, 55j, 100j, -96 + 18j, 96 + 18j)
PROFILE = (-5 + 0j, 5 + 0j, 38 + 58j, 100j, -146 - 10j, -73 + 8j)
"""Keypoints as the detector gives them, in hundredths of the way from the eyes to the mouth."""


def face_at(points: Sequence[complex]) -> Face:
    return Face(Box(0, 0, 9, 9), 0.9, tuple((one.real, one.imag) for one in points), "short")


def difference(one: float | None, other: float) -> float:
    """Return the angle between two directions, 0 to 180 degrees."""
    assert one is not None
    return abs((one - other + 180) % 360 - 180)


@pytest.mark.parametrize("roll", range(-165, 181, 15))
@pytest.mark.parametrize("points", [FRONTAL, PROFILE], ids=["frontal", "profile"])
def test_roll_says_how_a_head_is_tilted(points: Sequence[complex], roll: int) -> None:
    turn = cmath.rect(0.7, math.radians(roll))
    face = face_at([300 + 200j + turn * point for point in points])
    assert face.roll == pytest.approx(roll, abs=1e-9)
    assert face.roll is not None
    assert -180 < face.roll <= 180


@pytest.mark.parametrize(
    ("moved", "most"),
    [
        ({0: -46 + 2j}, 1.3),  # an eye too low: the line through the eyes leans by 1.2 itself
        ({3: 20 + 100j}, 2),  # the head turned aside, and the mouth with it
        ({2: 40 + 20j, 4: -96 + 60j, 5: 96j}, 1e-9),  # nose and ears are not asked
        ({0: 0, 1: 0}, 1e-9),  # in profile: the eyes in one place
        ({0: 3 - 2j, 1: -3 + 2j}, 2),  # and even exchanged
    ],
)
def test_roll_bears_what_a_detector_sees_wrong(moved: dict[int, complex], most: float) -> None:
    points = [moved.get(i, point) for i, point in enumerate(FRONTAL)]
    assert difference(face_at(points).roll, 0) <= most


KEYPOINTS = st.lists(
    st.builds(complex, st.integers(-500, 500), st.integers(-500, 500)), min_size=6, max_size=6
)


@given(KEYPOINTS, st.floats(-180, 180), st.floats(0.1, 10))
def test_roll_turns_with_the_picture_and_knows_no_size_or_place(
    points: list[complex], turn: float, scale: float
) -> None:
    face = face_at(points)
    assume(face.roll is not None and _is_told(points))
    moved = face_at([cmath.rect(scale, math.radians(turn)) * one + 70 - 30j for one in points])
    assert difference(moved.roll, (face.roll or 0) + turn) < 1e-3


@given(KEYPOINTS)
def test_mirrored_face_has_the_opposite_roll(points: list[complex]) -> None:
    assume(_is_told(points))
    right, left, nose, mouth, right_ear, left_ear = (-one.conjugate() for one in points)
    mirrored = face_at([left, right, nose, mouth, left_ear, right_ear])
    assert difference(mirrored.roll, -(face_at(points).roll or 0)) < 1e-6


def _is_told(points: list[complex]) -> bool:
    """Whether eyes and mouth do not say the very opposite of each other."""
    across, down = points[1] - points[0], points[3] - (points[0] + points[1]) / 2
    return abs(across * abs(across) - 0.1j * down * abs(down)) > 1e-2


@pytest.mark.parametrize("points", [(), (1, 2), (3 + 4j,) * 6], ids=["none", "two", "one place"])
def test_keypoints_that_do_not_tell_give_no_roll(points: tuple[complex, ...]) -> None:
    assert face_at(points).roll is None
