"""Whatever is planned is cut: square, unstretched, of the recipe's size, within memory's bounds."""

import cmath
import math
import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roi_cls.roi import crop as crop_module
from roi_cls.roi.crop import GREY, cut_crops, detect_faces, make_crops
from roi_cls.roi.face import Box, Detection, Face
from roi_cls.roi.image import Image
from roi_cls.roi.params import Border, CropParams, FullFrame, Resampling
from roi_cls.roi.picture import Picture
from roi_cls.roi.plan import CropPlan, Cut, plan_crop
from tests.helpers.fakes import FakeDetector, see
from tests.helpers.pictures import noise

POINTS = ((40.0, 40.0), (60.0, 40.0))


def seeing(*boxes: Box, points: tuple[tuple[float, float], ...] = POINTS) -> FakeDetector:
    """Return a detector that sees faces in these boxes, wherever they lie."""
    return FakeDetector(see(*(Face(box, 0.9, points, "short") for box in boxes)))


def cut_of(region: Box, angle: float = 0.0) -> Cut:
    """Return the cut of a face: its border is the recipe's."""
    return Cut(region, angle, Face(region, 0.9, POINTS, "short"))


def cut_one(image: Image, cut: Cut, params: CropParams) -> Image:
    crops = cut_crops(Picture.of(image), (cut,), params)
    assert len(crops) == 1
    return np.asarray(crops[0])


def make_one(
    image: Image, params: CropParams, detector: FakeDetector | None = None
) -> tuple[Image, CropPlan]:
    crops = make_crops(Picture.of(image), params, detector)
    assert len(crops.pixels) == 1
    return np.asarray(crops.pixels[0]), crops.plan


def draw_disc(height: int, width: int, x: float, y: float, radius: float) -> Image:
    ys, xs = np.mgrid[:height, :width] + 0.5
    inside = np.hypot(xs - x, ys - y) < radius
    return np.repeat((inside * 255).astype(np.uint8)[..., None], 3, axis=2)


def extent(pixels: Image) -> tuple[float, float, float, float]:
    """Return centre x, centre y, width and height of what is bright."""
    mass = pixels[..., 0].astype(float) / 255
    columns, rows = mass.sum(axis=0), mass.sum(axis=1)
    x = float((columns * (np.arange(columns.size) + 0.5)).sum() / mass.sum())
    y = float((rows * (np.arange(rows.size) + 0.5)).sum() / mass.sum())
    return x, y, float(rows.max()), float(columns.max())


@st.composite
def cuts(draw: st.DrawFn) -> tuple[Image, Cut, CropParams]:
    height, width = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    side = draw(st.floats(0.01, 300))
    left, top = draw(st.floats(-400, 200)), draw(st.floats(-400, 200))
    params = CropParams(
        size_px=draw(st.sampled_from([8, 33])),
        border=draw(st.sampled_from(["replicate", "constant", "shift"])),
        resampling=draw(st.sampled_from(["area", "lanczos"])),
    )
    angle = draw(st.sampled_from([0.0, 30.0, -90.0, 180.0]))
    region = Box(left, top, left + side, top + side)
    return np.full((height, width, 3), 77, np.uint8), cut_of(region, angle), params


@given(cuts())
def test_any_region_gives_a_crop_of_the_recipes_size(
    given: tuple[Image, Cut, CropParams],
) -> None:
    image, cut, params = given
    pixels = cut_one(image, cut, params)
    assert pixels.shape == (params.size_px, params.size_px, 3)
    assert pixels.dtype == np.uint8
    assert pixels.base is not image
    if params.border != "constant":
        assert (pixels == 77).all()  # nothing but the picture's own colour


@pytest.mark.parametrize("full_frame", ["pad", "crop", "squash"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 50_000), (9000, 1), (3, 50_000), (2, 3), (300, 200)])
def test_full_frame_of_any_shape_stays_within_memory(
    shape: tuple[int, int], full_frame: FullFrame
) -> None:
    image = np.full((*shape, 3), 9, np.uint8)
    params = CropParams(crop="full", full_frame=full_frame)
    tracemalloc.start()
    pixels, _ = make_one(image, params)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert pixels.shape == (224, 224, 3)
    assert peak < 2.5 * crop_module.LARGEST_CANVAS_PX**2 * 3


@pytest.mark.parametrize("side", [1e4, 1e6, 1e9])
@pytest.mark.parametrize("angle", [0.0, 20.0])
def test_huge_region_stays_within_memory(side: float, angle: float) -> None:
    image = np.full((30, 40, 3), 200, np.uint8)
    tracemalloc.start()
    pixels = cut_one(image, cut_of(Box(0, 0, side, side), angle), CropParams(size_px=32))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (pixels == 200).all()
    assert peak < 2.5 * crop_module.LARGEST_CANVAS_PX**2 * 3


def test_shrunk_canvas_shows_the_same_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    image = draw_disc(400, 600, 300, 200, 100)
    cut, params = cut_of(Box(100, 0, 500, 400)), CropParams(size_px=64)
    whole = cut_one(image, cut, params).astype(int)
    monkeypatch.setattr(crop_module, "LARGEST_CANVAS_PX", 200)
    assert np.abs(cut_one(image, cut, params).astype(int) - whole).mean() < 2


@pytest.mark.parametrize("angle", [0.0, 17.0, -45.0, 90.0])
@pytest.mark.parametrize("resampling", ["area", "lanczos"])
@pytest.mark.parametrize("size_px", [100, 300])
def test_circle_stays_a_circle(angle: float, resampling: Resampling, size_px: int) -> None:
    image = draw_disc(300, 500, 210, 130, 60)
    params = CropParams(size_px=size_px, resampling=resampling)
    pixels = cut_one(image, cut_of(Box(110, 30, 310, 230), angle), params)
    x, y, width, height = extent(pixels)
    scale = size_px / 200
    assert width == pytest.approx(height, rel=0.01)
    assert width == pytest.approx(120 * scale, rel=0.01)
    assert (x, y) == pytest.approx((size_px / 2, size_px / 2), abs=0.5 * scale)


@pytest.mark.parametrize(
    ("border", "expected"),
    [("replicate", (10, 20, 30)), ("constant", GREY)],
)
@pytest.mark.parametrize("angle", [0.0, 90.0])
def test_border_fills_what_leaves_the_picture(
    border: Border, expected: tuple[int, int, int], angle: float
) -> None:
    image = np.full((50, 50, 3), (10, 20, 30), np.uint8)
    params = CropParams(size_px=100, border=border)
    pixels = cut_one(image, cut_of(Box(-25, -25, 75, 75), angle), params)
    assert tuple(pixels[2, 2]) == tuple(pixels[97, 97]) == expected
    assert tuple(pixels[50, 50]) == (10, 20, 30)


@pytest.mark.parametrize(("border", "expected"), [("replicate", (9, 9, 9)), ("constant", GREY)])
def test_region_beyond_the_picture_is_border_alone(
    border: Border, expected: tuple[int, int, int]
) -> None:
    image = np.full((50, 50, 3), 9, np.uint8)
    pixels = cut_one(image, cut_of(Box(70, 70, 90, 90)), CropParams(size_px=16, border=border))
    assert (pixels == expected).all()


def test_shifted_region_holds_the_picture_alone() -> None:
    image = np.full((50, 80, 3), 255, np.uint8)
    image[10:40, 10:70] = 0  # a frame, so that repeated edges would show
    params = CropParams(margin=0.3, size_px=48, border="shift")
    pixels, plan = make_one(image, params, seeing(Box(-10, -5, 20, 25)))
    assert plan.cuts[0].region == Box(0, 0, 48, 48)
    assert np.array_equal(pixels, image[:48, :48])


def test_padded_full_frame_has_plain_bars() -> None:
    image = np.full((50, 100, 3), 255, np.uint8)
    pixels, _ = make_one(image, CropParams(crop="full", size_px=100, border="replicate"))
    assert (pixels[:25] == GREY).all()
    assert (pixels[25:75] == 255).all()
    assert (pixels[75:] == GREY).all()


def test_region_of_the_recipes_size_is_copied_bit_for_bit() -> None:
    image = noise(60, 60, 3)
    pixels = cut_one(image, cut_of(Box(5, 6, 37, 38)), CropParams(size_px=32))
    assert np.array_equal(pixels, image[6:38, 5:37])
    pixels[:] = 0  # the crop is its own array
    assert image[6:38, 5:37].any()


def test_squashed_picture_is_averaged_where_it_shrinks() -> None:
    image = np.zeros((20, 900, 3), np.uint8)
    image[:, ::2] = 200  # stripes that sampling would turn into a pattern
    params = CropParams(crop="full", full_frame="squash", size_px=100)
    pixels, _ = make_one(image, params)
    assert np.ptp(pixels.astype(int)) <= 25


def draw_head(roll: float) -> tuple[Image, FakeDetector]:
    """Return a head turned clockwise, and a detector that sees it.

    Red is the person's right eye, green the left one, blue the mouth.
    """
    turn = cmath.rect(1, math.radians(roll))
    marks = [200 + 150j + turn * place for place in (-30 - 15j, 30 - 15j, 40j)]
    points = [(mark.real, mark.imag) for mark in marks]
    image = np.zeros((300, 400, 3), np.uint8)
    for i, point in enumerate(points):
        image[..., i] = draw_disc(300, 400, *point, 8)[..., 0]
    right, left, mouth = points
    keypoints = (right, left, (200.0, 150.0), mouth, right, left)
    return image, seeing(Box(135, 85, 265, 215), points=keypoints)


@pytest.mark.parametrize("roll", range(-165, 181, 15))
@pytest.mark.parametrize("border", ["replicate", "shift"])
def test_aligned_crop_has_the_eyes_level_and_the_forehead_up(roll: int, border: Border) -> None:
    image, detector = draw_head(roll)
    pixels, _ = make_one(image, CropParams(align=True, size_px=156, border=border), detector)
    right, left, mouth = (extent(pixels[..., i : i + 1]) for i in range(3))
    assert right[1] == pytest.approx(left[1], abs=0.5)
    assert left[0] - right[0] == pytest.approx(60, abs=1)
    assert mouth[1] - left[1] == pytest.approx(55, abs=1)


@pytest.mark.parametrize("border", ["replicate", "constant", "shift"])
@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_picture_turned_by_quarters_gives_the_same_aligned_crop(
    quarters: int, border: Border
) -> None:
    image = np.asarray(cv2.GaussianBlur(noise(90, 120, 3, seed=1), (0, 0), 4), dtype=np.uint8)
    box, params = Box(10.3, 40.6, 58.1, 85.4), CropParams(align=True, size_px=64, border=border)
    points: tuple[tuple[float, float], ...]
    points = ((20.0, 55.0), (44.0, 61.0), (30.0, 68.0), (27.0, 75.0), (11.0, 56.0), (56.0, 66.0))
    upright, _ = make_one(image, params, seeing(box, points=points))
    for _ in range(quarters):
        image, height = np.rot90(image, -1), image.shape[0]
        box = Box(height - box.bottom, box.left, height - box.top, box.right)
        points = tuple((height - y, x) for x, y in points)
    turned, _ = make_one(np.ascontiguousarray(image), params, seeing(box, points=points))
    assert np.abs(turned.astype(int) - upright.astype(int)).max() <= 2


@pytest.mark.parametrize("margin", [0.0, 0.3, 1.7])
def test_mirrored_picture_gives_the_mirrored_crop(margin: float) -> None:
    image = np.asarray(cv2.GaussianBlur(noise(90, 120, 3, seed=1), (0, 0), 4), dtype=np.uint8)
    box, params = Box(31.3, 22.6, 70.1, 65.4), CropParams(margin=margin, size_px=64)
    mirrored_box = Box(120 - box.right, box.top, 120 - box.left, box.bottom)
    pixels, plan = make_one(image, params, seeing(box))
    other, mirrored = make_one(np.ascontiguousarray(image[:, ::-1]), params, seeing(mirrored_box))
    distance = mirrored.cuts[0].region.center[0] - (120 - plan.cuts[0].region.center[0])
    assert abs(distance) <= 1  # each lies on whole pixels
    difference = pixels[:, ::-1].astype(int) - other.astype(int)
    assert np.abs(difference).mean() < 8  # one pixel apart at most; unmirrored it is 20 and more


def test_all_faces_are_cut_as_each_alone() -> None:
    image = noise(90, 120, 3, seed=3)
    boxes = (Box(10, 10, 60, 60), Box(70, 20, 110, 70))
    params = CropParams(face="all", size_px=32)
    crops = make_crops(Picture.of(image), params, seeing(*boxes))
    assert crops.pixels.shape == (2, 32, 32, 3)
    assert (crops.plan.source, crops.plan.faces) == ("face", 2)
    for pixels, box in zip(crops.pixels, boxes, strict=True):  # they came the largest first
        assert np.array_equal(pixels, make_one(image, params, seeing(box))[0])


def test_skipped_picture_gives_no_crop() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    crops = make_crops(Picture.of(image), CropParams(fallback="skip", size_px=32), seeing())
    assert crops.pixels.shape == (0, 32, 32, 3)
    assert (crops.plan.cuts, crops.plan.reason) == ((), "no_face")


def test_full_recipe_looks_for_no_face() -> None:
    picture = Picture.of(np.zeros((4, 6, 3), np.uint8))
    assert detect_faces(picture, CropParams(crop="full"), None) == Detection(4, 6, ())


def test_face_recipe_without_a_detector_is_misuse() -> None:
    picture = Picture.of(np.zeros((4, 6, 3), np.uint8))
    with pytest.raises(ValueError, match="a recipe that crops faces needs a detector"):
        detect_faces(picture, CropParams(), None)


def test_crops_say_what_was_planned_and_seen() -> None:
    picture, detector = Picture.of(np.zeros((100, 100, 3), np.uint8)), seeing(Box(30, 30, 70, 70))
    crops = make_crops(picture, CropParams(), detector)
    assert crops.detection == detector.detect(picture)
    assert crops.plan == plan_crop(crops.detection, CropParams())
