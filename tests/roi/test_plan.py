"""Which face is cut, what stands in for one, and where the square lies."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roi_cls.errors import NoFaceError
from roi_cls.roi.box import Box
from roi_cls.roi.face import Detection, Face
from roi_cls.roi.params import Border, CropParams, FaceChoice, FullFrame
from roi_cls.roi.plan import Reason, plan_crop

EYES_LEVEL = ((0.0, 0.0), (10.0, 0.0))


def make_face(
    box: Box, score: float = 0.9, eyes: tuple[tuple[float, float], ...] = EYES_LEVEL
) -> Face:
    return Face(box, score, eyes, "short")


def see(*faces: Face, height: int = 100, width: int = 200) -> Detection:
    return Detection(height, width, faces)


BIG = make_face(Box(0, 0, 60, 60), score=0.6)
SURE = make_face(Box(140, 10, 170, 40), score=0.95)
CENTRAL = make_face(Box(85, 35, 115, 65), score=0.7)
FAINT = make_face(Box(85, 35, 115, 65), score=0.3)
SMALL = make_face(Box(90, 40, 100, 50), score=0.8)


@pytest.mark.parametrize(
    ("choice", "expected"), [("largest", BIG), ("confident", SURE), ("central", CENTRAL)]
)
def test_face_choice_decides_between_faces_that_count(choice: FaceChoice, expected: Face) -> None:
    plan = plan_crop(see(SURE, CENTRAL, BIG, FAINT, SMALL), CropParams(face=choice))
    assert plan.face is expected
    assert (plan.source, plan.reason, plan.faces) == ("face", None, 3)
    assert plan.best_score == expected.score


@pytest.mark.parametrize(
    ("faces", "reason", "best"),
    [
        ((), "no_face", None),
        ((FAINT,), "low_score", 0.3),
        ((SMALL, FAINT), "too_small", 0.8),
        ((replace(FAINT, score=0.4), FAINT), "low_score", 0.4),
    ],
)
def test_full_frame_stands_in_with_a_reason(
    faces: tuple[Face, ...], reason: Reason, best: float | None
) -> None:
    plan = plan_crop(see(*faces), CropParams())
    assert (plan.source, plan.reason, plan.face, plan.faces) == ("full_frame", reason, None, 0)
    assert plan.best_score == best
    assert plan.region == Box(0, -50, 200, 150)


@pytest.mark.parametrize(
    ("faces", "what"),
    [
        ((), "No face was found"),
        ((FAINT,), "The detector was not sure enough of any face"),
        ((SMALL,), "Every face is too small"),
    ],
)
def test_forbidden_fallback_raises_with_the_reason(faces: tuple[Face, ...], what: str) -> None:
    with pytest.raises(NoFaceError) as caught:
        plan_crop(see(*faces), CropParams(fallback="error"))
    assert str(caught.value) == (
        f"{what} (min_score 0.5, min_face 24 px). Lower the threshold or use --fallback full."
    )


@pytest.mark.parametrize(
    ("full_frame", "expected"),
    [
        ("pad", Box(0, -50, 200, 150)),
        ("crop", Box(50, 0, 150, 100)),
        ("squash", Box(0, 0, 200, 100)),
    ],
)
def test_full_frame_is_made_square(full_frame: FullFrame, expected: Box) -> None:
    assert plan_crop(see(), CropParams(full_frame=full_frame)).region == expected
    plan = plan_crop(see(BIG), CropParams(crop="full", full_frame=full_frame))
    assert (plan.region, plan.source, plan.reason, plan.best_score) == (
        expected, "full_frame", None, None,
    )  # fmt: skip


def test_center_fallback_cuts_the_middle_whatever_full_frames_do() -> None:
    assert plan_crop(see(), CropParams(fallback="center")).region == Box(50, 0, 150, 100)
    full = CropParams(crop="full", fallback="center")  # nothing falls back here
    assert plan_crop(see(), full).region == Box(0, -50, 200, 150)


@st.composite
def detections(draw: st.DrawFn) -> Detection:
    height, width = draw(st.integers(1, 4000)), draw(st.integers(1, 4000))
    x, y = draw(st.floats(-50, width + 50)), draw(st.floats(-50, height + 50))
    box = Box(x, y, x + draw(st.floats(0.5, 5000)), y + draw(st.floats(0.5, 5000)))
    points = draw(st.lists(st.tuples(st.floats(-9e3, 9e3), st.floats(-9e3, 9e3)),
                           min_size=6, max_size=6))  # fmt: skip
    return Detection(height, width, (Face(box, 0.9, tuple(points), "full"),))


@given(detections(), st.floats(0, 5), st.sampled_from(["replicate", "constant"]))
def test_square_holds_the_face_with_its_margin(
    detection: Detection, margin: float, border: Border
) -> None:
    plan = plan_crop(detection, CropParams(margin=margin, min_face_px=0, border=border))
    wanted, region = detection.faces[0].box.expand(margin), plan.region
    assert region.width == pytest.approx(region.height)
    assert region.left <= wanted.left + 1e-6
    assert region.right >= wanted.right - 1e-6
    assert region.top <= wanted.top + 1e-6
    assert region.bottom >= wanted.bottom - 1e-6


@given(detections(), st.floats(0, 5), st.booleans())
def test_shifted_square_keeps_its_size_and_lies_inside_where_it_fits(
    detection: Detection, margin: float, align: bool
) -> None:
    params = CropParams(margin=margin, min_face_px=0, align=align)
    free = plan_crop(detection, params)
    plan = plan_crop(detection, replace(params, border="shift"))
    assert plan.region.width == pytest.approx(free.region.width)
    turn = math.radians(plan.angle)
    reach = plan.region.width / 2 * (abs(math.cos(turn)) + abs(math.sin(turn)))
    lengths = (detection.width, detection.height)
    for center, length in zip(plan.region.center, lengths, strict=True):
        if 2 * reach <= length:
            assert reach - 1e-6 <= center <= length - reach + 1e-6
        else:
            assert center == pytest.approx(length / 2)


@given(detections())
def test_aligned_eyes_lie_level(detection: Detection) -> None:
    plan = plan_crop(detection, CropParams(align=True, min_face_px=0))
    (right_x, right_y), (left_x, left_y) = detection.faces[0].keypoints[:2]
    turn = math.radians(plan.angle)
    dx, dy = left_x - right_x, left_y - right_y
    assert abs(dy * math.cos(turn) - dx * math.sin(turn)) < 1e-6 * max(1, math.hypot(dx, dy))
    assert dx * math.cos(turn) + dy * math.sin(turn) >= 0  # the left eye stays on the right


def test_unaligned_face_is_not_turned() -> None:
    tilted = replace(BIG, keypoints=((0.0, 0.0), (10.0, 10.0)))
    assert plan_crop(see(tilted), CropParams()).angle == 0
    assert plan_crop(see(tilted), CropParams(align=True)).angle == pytest.approx(45)
