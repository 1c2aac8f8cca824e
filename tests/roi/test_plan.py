"""Which face is cut, what stands in for one, and where the square lies."""

import cmath
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roi_cls.base.errors import NoFaceError
from roi_cls.roi.face import Box, Detection, Face
from roi_cls.roi.params import Border, CropParams, FaceChoice, FullFrame
from roi_cls.roi.plan import CropPlan, Cut, Reason, choose_reduction, plan_crop

_UPRIGHT = (-0.2 - 0.1j, 0.2 - 0.1j, 0.1j, 0.3j, -0.4 + 0j, 0.4 + 0j)
"""The keypoints of a face, in sides of its box from the centre."""


def upright_face(box: Box, roll: float = 0.0, score: float = 0.9) -> Face:
    turn, side = cmath.rect(1, math.radians(roll)), max(box.width, box.height)
    points = [complex(*box.center) + side * turn * point for point in _UPRIGHT]
    return Face(box, score, tuple((point.real, point.imag) for point in points), "short")


def see(*faces: Face, height: int = 100, width: int = 200) -> Detection:
    return Detection(height, width, faces)


def only_cut(plan: CropPlan) -> Cut:
    (cut,) = plan.cuts
    return cut


def plan_one(detection: Detection, params: CropParams) -> Cut:
    return only_cut(plan_crop(detection, params))


BIG = upright_face(Box(0, 0, 60, 60), score=0.6)
SURE = upright_face(Box(140, 10, 170, 40), score=0.95)
CENTRAL = upright_face(Box(85, 35, 115, 65), score=0.7)
FAINT = upright_face(Box(85, 35, 115, 65), score=0.3)
SMALL = upright_face(Box(90, 40, 100, 50), score=0.8)


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
    detection = see(upright_face(box), height=height, width=width)
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
    face = upright_face(Box(103.0, 42.0, 166.9, 105.9))  # 63.9 wide: at 64 the next one begins
    params = CropParams(margin=0, size_px=8)
    region = plan_one(see(face, height=400, width=400), params).region
    assert (region.width, choose_reduction(region, 8)) == (64, 4)
    assert region.left % 4 == region.top % 4 == 0


@st.composite
def faces_in_pictures(draw: st.DrawFn) -> Detection:
    """Draw a face that the picture shows some of, whatever its size, place and roll."""
    height, width = draw(st.integers(8, 3000)), draw(st.integers(8, 3000))
    x, y = draw(st.floats(0, width)), draw(st.floats(0, height))
    half_width, half_height = draw(st.floats(1, 2000)), draw(st.floats(1, 2000))
    box = Box(x - half_width, y - half_height, x + half_width, y + half_height)
    return see(upright_face(box, draw(st.floats(-180, 180))), height=height, width=width)


def visible_part(detection: Detection) -> Box:
    box = detection.faces[0].box
    right, bottom = min(box.right, detection.width), min(box.bottom, detection.height)
    return Box(max(box.left, 0), max(box.top, 0), right, bottom)


def fit_unturned(detection: Detection, margin: float) -> tuple[Box, int]:
    """Return the region and its step: how far it may lie from where it would be in fractions."""
    params = CropParams(margin=margin, min_face_px=0, border="shift")
    region = plan_one(detection, params).region
    return region, choose_reduction(region, params.size_px)


@given(faces_in_pictures(), st.floats(0, 5))
def test_fitted_square_shows_all_of_the_face_that_the_picture_does(
    detection: Detection, margin: float
) -> None:
    region, step = fit_unturned(detection, margin)
    visible = visible_part(detection)
    for side, shown, sign in zip(region.xyxy, visible.xyxy, (1, 1, -1, -1), strict=True):
        assert sign * (side - shown) <= step


@given(faces_in_pictures(), st.floats(0, 5))
def test_margin_of_a_fitted_square_is_limited_by_the_picture(
    detection: Detection, margin: float
) -> None:
    region, step = fit_unturned(detection, margin)
    wanted = detection.faces[0].box.expand(margin).square().width
    visible = visible_part(detection)
    shorter = min(detection.height, detection.width)
    assert region.width == region.height
    assert abs(region.width - min(wanted, max(shorter, visible.width, visible.height))) <= step
    if min(wanted, max(visible.width, visible.height)) <= shorter:
        assert is_inside(region, detection)


@given(faces_in_pictures(), st.floats(0, 5))
def test_fitted_square_moves_no_further_than_it_must(detection: Detection, margin: float) -> None:
    region, step = fit_unturned(detection, margin)
    lengths = (detection.width, detection.height)
    centers = zip(region.center, detection.faces[0].box.center, lengths, strict=True)
    for center, wanted, length in centers:
        nearest, furthest = sorted((region.width / 2, length - region.width / 2))
        assert abs(center - min(max(wanted, nearest), furthest)) <= 1.5 * step


@given(faces_in_pictures(), st.floats(0, 5))
def test_what_is_fitted_fits(detection: Detection, margin: float) -> None:
    region, step = fit_unturned(detection, margin)
    again, _ = fit_unturned(replace(detection, faces=(upright_face(region),)), 0)
    assert again.xyxy == pytest.approx(region.xyxy, abs=step)


@given(faces_in_pictures(), st.floats(0, 5))
def test_mirrored_face_is_fitted_as_its_mirror_image(detection: Detection, margin: float) -> None:
    width, box = detection.width, detection.faces[0].box
    region, step = fit_unturned(detection, margin)
    mirrored = Box(width - box.right, box.top, width - box.left, box.bottom)
    other, _ = fit_unturned(replace(detection, faces=(upright_face(mirrored),)), margin)
    expected = (width - region.right, region.top, width - region.left, region.bottom)
    assert other.xyxy == pytest.approx(expected, abs=2 * step)


@given(faces_in_pictures(), st.floats(0, 5))
def test_turned_square_lies_inside_with_all_its_corners_unless_the_face_is_too_large(
    detection: Detection, margin: float
) -> None:
    params = CropParams(margin=margin, min_face_px=0, border="shift", align=True)
    cut = plan_one(detection, params)
    turn = math.radians(cut.angle)
    reach = cut.region.width / 2 * (abs(math.cos(turn)) + abs(math.sin(turn)))
    visible = visible_part(detection)
    if 2 * reach > min(detection.width, detection.height) + 1e-6 and cut.angle:
        assert cut.region.width == pytest.approx(max(visible.width, visible.height))
    for center, length in zip(cut.region.center, (detection.width, detection.height), strict=True):
        if 2 * reach <= length and cut.angle:
            assert reach - 1e-6 <= center <= length - reach + 1e-6


def turned_quarter(detection: Detection) -> Detection:
    """Return what is seen in the picture turned clockwise by 90 degrees."""
    (face,), height = detection.faces, detection.height
    box = face.box
    turned = Box(height - box.bottom, box.left, height - box.top, box.right)
    points = tuple((height - y, x) for x, y in face.keypoints)
    return Detection(detection.width, height, (replace(face, box=turned, keypoints=points),))


@given(faces_in_pictures(), st.floats(0, 5), st.sampled_from(["replicate", "constant", "shift"]))
def test_aligned_region_turns_with_its_picture(
    detection: Detection, margin: float, border: Border
) -> None:
    params = CropParams(margin=margin, min_face_px=0, border=border, align=True)
    cut, turned = plan_one(detection, params), plan_one(turned_quarter(detection), params)
    difference = (turned.angle - cut.angle) % 360
    assert difference == pytest.approx(90, abs=1e-6)
    if cut.angle and turned.angle:  # else one of the two lies on whole pixels
        x, y = cut.region.center
        assert turned.region.center == pytest.approx((detection.height - y, x), abs=1e-6)
        assert turned.region.width == pytest.approx(cut.region.width)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        (Box(-119, -119, 887, 887), Box(0, 0, 768, 768)),  # larger than the frame
        (Box(100, 150, 740, 790), Box(0, 0, 768, 768)),  # no room for the margin
        (Box(10, 20, 210, 220), Box(0, 0, 320, 320)),  # room, once moved
        (Box(300, 300, 400, 400), Box(270, 270, 430, 430)),  # nothing in the way
    ],
)
def test_portrait_is_cut_without_a_border(box: Box, expected: Box) -> None:
    detection = see(upright_face(box), height=768, width=768)
    assert plan_one(detection, CropParams(margin=0.3, border="shift")).region == expected


def test_face_wider_than_its_picture_is_high_is_padded_above_and_below_alike() -> None:
    detection = see(upright_face(Box(100, -40, 500, 360)), height=200, width=1000)
    params = CropParams(border="shift")
    assert plan_one(detection, params).region == Box(100, -40, 500, 360)
    low = see(upright_face(Box(100, 0, 500, 400)), height=200, width=1000)
    assert plan_one(low, params).region == Box(100, 0, 500, 400)


def test_unaligned_face_is_not_turned() -> None:
    tilted = see(upright_face(BIG.box, roll=45))
    assert plan_one(tilted, CropParams()).angle == 0
    assert plan_one(tilted, CropParams(align=True)).angle == pytest.approx(45)


def test_face_whose_keypoints_do_not_tell_its_roll_is_not_turned() -> None:
    assert plan_one(see(replace(BIG, keypoints=())), CropParams(align=True)).angle == 0
