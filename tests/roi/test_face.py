"""A detection survives the way to the disk and back, to the last bit."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roi_cls.roi.face import Box, Detection, Face, Step

FINITE = st.floats(-1e6, 1e6)


@st.composite
def faces(draw: st.DrawFn) -> Face:
    left, top = draw(FINITE), draw(FINITE)
    width, height = draw(st.floats(0.1, 1e4)), draw(st.floats(0.1, 1e4))
    points = draw(st.lists(st.tuples(FINITE, FINITE), min_size=6, max_size=6))
    box = Box(left, top, left + width, top + height)
    return Face(box, draw(st.floats(0, 1)), tuple(points), draw(st.sampled_from(["short", "full"])))


@given(
    st.integers(1, 10**5),
    st.integers(1, 10**5),
    st.lists(faces(), max_size=4),
    st.sampled_from([None, "short", "full", "tiles"]),
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
