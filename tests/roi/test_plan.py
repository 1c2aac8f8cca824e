"""Which face is cut, what stands in for one, and where the square lies."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roi_cls.base.errors import NoFaceError
from roi_cls.roi.face import Box, Detection, Face
from roi_cls.roi.params import Border, CropParams, FaceChoice, FullFrame
from roi_cls.roi.plan import CropPlan, Cut, Reason, choose_reduction, plan_crop

EYES_LEVEL = ((0.0, 0.0), (10.0, 0.0))


def make_face(
    box: Box, score: float = 0.9, eyes: tuple[tuple[float, float], ...] = EYES_LEVEL
) -> Face:
    return Face(box, score, eyes, "short")


def see(*faces: Face, height: int = 100, width: int = 200) -> Detection:
    return Detection(height, width, faces)


def only_cut(plan: CropPlan) -> Cut:
    (cut,) = plan.cuts
    return cut


def plan_one(detection: Detection, params: CropParams) -> Cut:
    return only_cut(plan_crop(detection, params))


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
    assert only_cut(plan).face is expected
    assert (plan.source, plan.reason, plan.faces) == ("face", None, 3)
    assert plan.best_score == expected.score


def test_all_faces_that_count_are_cut_the_largest_first() -> None:
    plan = plan_crop(see(SURE, CENTRAL, BIG, FAINT, SMALL), CropParams(face="all"))
    assert [cut.face for cut in plan.cuts] == [BIG, SURE, CENTRAL]  # of equal ones, the surer
    assert (plan.source, plan.reason, plan.faces, plan.best_score) == ("face", None, 3, 0.6)
    alone = [plan_one(see(face), CropParams()) for face in (BIG, SURE, CENTRAL)]
    assert list(plan.cuts) == alone


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
    assert (plan.source, plan.reason, plan.faces) == ("full_frame", reason, 0)
    assert plan.best_score == best
    assert plan.cuts == (Cut(Box(0, -50, 200, 150)),)
    skipped = plan_crop(see(*faces), CropParams(fallback="skip", face="all"))
    assert skipped == CropPlan(None, reason, (), 0, best)


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
        plan_crop(see(*faces), CropParams(fallback="error", min_face_px=24))
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
    assert plan_one(see(), CropParams(full_frame=full_frame)) == Cut(expected)
    plan = plan_crop(see(BIG), CropParams(crop="full", full_frame=full_frame))
    assert plan == CropPlan("full_frame", None, (Cut(expected),), 0, None)


def test_center_fallback_cuts_the_middle_whatever_full_frames_do() -> None:
    assert plan_one(see(), CropParams(fallback="center")) == Cut(Box(50, 0, 150, 100))
    full = CropParams(crop="full", fallback="center")  # nothing falls back here
    assert plan_one(see(), full) == Cut(Box(0, -50, 200, 150))


@st.composite
def detections(draw: st.DrawFn) -> Detection:
    height, width = draw(st.integers(1, 4000)), draw(st.integers(1, 4000))
    x, y = draw(st.floats(-50, width + 50)), draw(st.floats(-50, height + 50))
    box = Box(x, y, x + draw(st.floats(0.5, 5000)), y + draw(st.floats(0.5, 5000)))
    points = draw(st.lists(st.tuples(st.floats(-9e3, 9e3), st.floats(-9e3, 9e3)),
                           min_size=6, max_size=6))  # fmt: skip
    return Detection(height, width, (Face(box, 0.9, tuple(points), "full"),))


SIZES = st.sampled_from([8, 33, 224, 600])


def is_inside(region: Box, detection: Detection) -> bool:
    within_width = region.left >= 0 and region.right <= detection.width
    return within_width and region.top >= 0 and region.bottom <= detection.height


@given(detections(), st.floats(0, 5), st.sampled_from(["replicate", "constant"]), SIZES)
def test_square_holds_the_face_with_its_margin_to_a_pixel(
    detection: Detection, margin: float, border: Border, size_px: int
) -> None:
    params = CropParams(margin=margin, min_face_px=0, border=border, size_px=size_px)
    free = detection.faces[0].box.expand(margin).square()
    region = plan_one(detection, params).region
    step = choose_reduction(region, size_px)
    assert all(map(math.isfinite, region.xyxy))
    assert region.width == region.height
    assert abs(region.width - free.width) <= step  # less where the picture is no multiple of it
    ranges = ((free.left, free.right, detection.width), (free.top, free.bottom, detection.height))
    for center, (low, high, length) in zip(region.center, ranges, strict=True):
        slack = 1.0 if low >= 0 and high <= length else 0.5  # what lies inside is held there
        assert abs(center - (low + high) / 2) <= slack * step + 1e-6
    for side, wanted, sign in zip(region.xyxy, free.xyxy, (1, 1, -1, -1), strict=True):
        assert sign * (side - wanted) <= 1.5 * step + 1e-6


@given(detections(), st.floats(0, 5), SIZES)
def test_region_lies_on_whole_pixels_of_the_picture_as_it_is_reduced(
    detection: Detection, margin: float, size_px: int
) -> None:
    params = CropParams(margin=margin, min_face_px=0, size_px=size_px)
    region = plan_one(detection, params).region
    factor = choose_reduction(region, size_px)
    assert all(side == round(side) and side % factor == 0 for side in region.xyxy)
    assert factor == 1 or region.width >= factor * size_px


@given(
    st.tuples(st.integers(1, 4000), st.integers(1, 4000)),
    st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 1)),
    SIZES,
)
def test_region_inside_the_picture_stays_inside(
    size: tuple[int, int], place: tuple[float, float, float], size_px: int
) -> None:
    height, width = size
    x, y, share = place
    side = share * min(size)
    left, top = x * (width - side), y * (height - side)
    box = Box(left, top, min(left + side, width), min(top + side, height))
    detection = see(make_face(box), height=height, width=width)
    params = CropParams(margin=0, min_face_px=0, size_px=size_px)
    assert is_inside(plan_one(detection, params).region, detection)


@given(st.integers(1, 9000), st.integers(1, 9000), SIZES, st.sampled_from(["pad", "crop"]))
def test_full_frame_is_square_and_on_whole_pixels_too(
    height: int, width: int, size_px: int, full_frame: FullFrame
) -> None:
    params = CropParams(crop="full", full_frame=full_frame, size_px=size_px)
    detection = Detection(height, width, ())
    region = plan_one(detection, params).region
    factor = choose_reduction(region, size_px)
    assert region.width == region.height
    assert all(side % factor == 0 for side in region.xyxy)
    if full_frame == "crop":
        assert is_inside(region, detection)
    wanted = max(height, width) if full_frame == "pad" else min(height, width)
    assert abs(region.width - wanted) < factor
    for center, length in zip(region.center, (width, height), strict=True):
        assert abs(center - length / 2) < factor


@pytest.mark.parametrize(
    ("region", "size_px", "factor"),
    [
        (Box(0, 0, 15.9, 99), 8, 1),
        (Box(0, 0, 16, 99), 8, 2),
        (Box(0, 0, 99, 31.9), 8, 2),
        (Box(0, 0, 63.9, 99), 8, 2),
        (Box(-50, -50, 14, 14), 8, 4),
        (Box(0, 0, 200, 127.9), 8, 4),
        (Box(0, 0, 128, 128), 8, 8),
        (Box(0, 0, 5000, 5000), 8, 8),
        (Box(0, 0, 0.1, 0.1), 4096, 1),
    ],
)
def test_reduction_leaves_the_crop_its_pixels(region: Box, size_px: int, factor: int) -> None:
    assert choose_reduction(region, size_px) == factor


def test_region_that_is_rounded_up_to_the_next_reduction_lies_on_its_pixels() -> None:
    face = make_face(Box(103.0, 42.0, 166.9, 105.9))  # 63.9 wide: at 64 the next one begins
    params = CropParams(margin=0, size_px=8)
    region = plan_one(see(face, height=400, width=400), params).region
    assert (region.width, choose_reduction(region, 8)) == (64, 4)
    assert region.left % 4 == region.top % 4 == 0


@given(detections(), st.floats(0, 5), st.booleans())
def test_shifted_square_keeps_its_size_and_lies_inside_where_it_fits(
    detection: Detection, margin: float, align: bool
) -> None:
    params = CropParams(margin=margin, min_face_px=0, align=align)
    free = detection.faces[0].box.expand(margin).square()
    cut = plan_one(detection, replace(params, border="shift"))
    step = 1e-6 if cut.angle else choose_reduction(cut.region, params.size_px)
    assert abs(cut.region.width - free.width) <= step
    turn = math.radians(cut.angle)
    reach = free.width / 2 * (abs(math.cos(turn)) + abs(math.sin(turn)))
    lengths = (detection.width, detection.height)
    for center, length in zip(cut.region.center, lengths, strict=True):
        if 2 * reach <= length:
            assert reach - step <= center <= length - reach + step
        else:
            assert abs(center - length / 2) <= step
    if free.width <= min(lengths) and not cut.angle:
        assert is_inside(cut.region, detection)


@given(detections())
def test_aligned_eyes_lie_level(detection: Detection) -> None:
    cut = plan_one(detection, CropParams(align=True, min_face_px=0))
    (right_x, right_y), (left_x, left_y) = detection.faces[0].keypoints[:2]
    turn = math.radians(cut.angle)
    dx, dy = left_x - right_x, left_y - right_y
    assert abs(dy * math.cos(turn) - dx * math.sin(turn)) < 1e-6 * max(1, math.hypot(dx, dy))
    assert dx * math.cos(turn) + dy * math.sin(turn) >= 0  # the left eye stays on the right


def test_unaligned_face_is_not_turned() -> None:
    tilted = replace(BIG, keypoints=((0.0, 0.0), (10.0, 10.0)))
    assert plan_one(see(tilted), CropParams()).angle == 0
    assert plan_one(see(tilted), CropParams(align=True)).angle == pytest.approx(45)
