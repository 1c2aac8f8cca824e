"""Whatever is planned is cut: square, unstretched, of the recipe's size, within memory's bounds."""

import io
import math
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PillowImage

from roi_cls.roi import crop as crop_module
from roi_cls.roi.box import Box
from roi_cls.roi.crop import GREY, cut_crop, detect_faces, make_crop
from roi_cls.roi.face import Detection, Face
from roi_cls.roi.image import Image, decode_image
from roi_cls.roi.params import Border, CropParams, FullFrame, Resampling
from roi_cls.roi.plan import CropPlan, plan_crop

POINTS = ((40.0, 40.0), (60.0, 40.0))


class OneFace:
    """A detector that sees the same face in every picture."""

    def __init__(self, box: Box, eyes: tuple[tuple[float, float], ...] = POINTS) -> None:
        self.face = Face(box, 0.9, eyes, "short")

    def detect(self, image: Image) -> Detection:
        """Return the face, wherever it lies."""
        return Detection(image.shape[0], image.shape[1], (self.face,))

    def close(self) -> None:
        """Do nothing."""

    def __enter__(self) -> "OneFace":
        return self

    def __exit__(self, *_: object) -> None: ...


def plan_of(region: Box, angle: float = 0.0) -> CropPlan:
    return CropPlan("face", None, None, 1, 0.9, region, angle)


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
def cuts(draw: st.DrawFn) -> tuple[Image, CropPlan, CropParams]:
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
    return np.full((height, width, 3), 77, np.uint8), plan_of(region, angle), params


@given(cuts())
def test_any_region_gives_a_crop_of_the_recipes_size(
    cut: tuple[Image, CropPlan, CropParams],
) -> None:
    image, plan, params = cut
    pixels = cut_crop(image, plan, params)
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
    crop = make_crop(image, params, None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert crop.pixels.shape == (224, 224, 3)
    assert peak < 2.5 * crop_module.LARGEST_CANVAS_PX**2 * 3


@pytest.mark.parametrize("side", [1e4, 1e6, 1e9])
@pytest.mark.parametrize("angle", [0.0, 20.0])
def test_huge_region_stays_within_memory(side: float, angle: float) -> None:
    image = np.full((30, 40, 3), 200, np.uint8)
    tracemalloc.start()
    pixels = cut_crop(image, plan_of(Box(0, 0, side, side), angle), CropParams(size_px=32))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (pixels == 200).all()
    assert peak < 2.5 * crop_module.LARGEST_CANVAS_PX**2 * 3


def test_shrunk_canvas_shows_the_same_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    image = draw_disc(400, 600, 300, 200, 100)
    plan, params = plan_of(Box(100, 0, 500, 400)), CropParams(size_px=64)
    whole = cut_crop(image, plan, params).astype(int)
    monkeypatch.setattr(crop_module, "LARGEST_CANVAS_PX", 200)
    assert np.abs(cut_crop(image, plan, params).astype(int) - whole).mean() < 2


@pytest.mark.parametrize("angle", [0.0, 17.0, -45.0, 90.0])
@pytest.mark.parametrize("resampling", ["area", "lanczos"])
@pytest.mark.parametrize("size_px", [100, 300])
def test_circle_stays_a_circle(angle: float, resampling: Resampling, size_px: int) -> None:
    image = draw_disc(300, 500, 210, 130, 60)
    params = CropParams(size_px=size_px, resampling=resampling)
    pixels = cut_crop(image, plan_of(Box(110, 30, 310, 230), angle), params)
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
    pixels = cut_crop(image, plan_of(Box(-25, -25, 75, 75), angle), params)
    assert tuple(pixels[2, 2]) == tuple(pixels[97, 97]) == expected
    assert tuple(pixels[50, 50]) == (10, 20, 30)


@pytest.mark.parametrize(("border", "expected"), [("replicate", (9, 9, 9)), ("constant", GREY)])
def test_region_beyond_the_picture_is_border_alone(
    border: Border, expected: tuple[int, int, int]
) -> None:
    image = np.full((50, 50, 3), 9, np.uint8)
    pixels = cut_crop(image, plan_of(Box(70, 70, 90, 90)), CropParams(size_px=16, border=border))
    assert (pixels == expected).all()


def test_shifted_region_holds_the_picture_alone() -> None:
    image = np.full((50, 80, 3), 255, np.uint8)
    image[10:40, 10:70] = 0  # a frame, so that repeated edges would show
    detector = OneFace(Box(-10, -5, 20, 25))
    params = CropParams(size_px=48, border="shift")
    assert make_crop(image, params, detector).plan.region == Box(0, 0, 48, 48)
    assert np.array_equal(make_crop(image, params, detector).pixels, image[:48, :48])


def test_padded_full_frame_has_plain_bars() -> None:
    image = np.full((50, 100, 3), 255, np.uint8)
    pixels = make_crop(image, CropParams(crop="full", size_px=100, border="replicate"), None).pixels
    assert (pixels[:25] == GREY).all()
    assert (pixels[25:75] == 255).all()
    assert (pixels[75:] == GREY).all()


def test_region_of_the_recipes_size_is_copied_bit_for_bit() -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    pixels = cut_crop(image, plan_of(Box(5, 6, 37, 38)), CropParams(size_px=32))
    assert np.array_equal(pixels, image[6:38, 5:37])
    pixels[:] = 0  # the crop is its own array
    assert image[6:38, 5:37].any()


def test_squashed_picture_is_averaged_where_it_shrinks() -> None:
    image = np.zeros((20, 900, 3), np.uint8)
    image[:, ::2] = 200  # stripes that sampling would turn into a pattern
    params = CropParams(crop="full", full_frame="squash", size_px=100)
    pixels = make_crop(image, params, None).pixels.astype(int)
    assert np.ptp(pixels) <= 25


@pytest.mark.parametrize("tilt", [-120, -30, 0, 10, 45, 179])
def test_aligned_crop_shows_the_eyes_level(tilt: int) -> None:
    turn = math.radians(tilt)
    eyes = tuple(
        (200 + side * 30 * math.cos(turn), 150 + side * 30 * math.sin(turn)) for side in (-1, 1)
    )
    image = np.zeros((300, 400, 3), np.uint8)
    for i, (x, y) in enumerate(eyes):  # red: the person's right eye, green: the left
        image[..., i] = draw_disc(300, 400, x, y, 6)[..., 0]
    params = CropParams(align=True, size_px=208)
    pixels = make_crop(image, params, OneFace(Box(135, 85, 265, 215), eyes)).pixels
    right, left = extent(pixels[..., :1]), extent(pixels[..., 1:2])
    assert right[1] == pytest.approx(left[1], abs=1)
    assert left[0] - right[0] == pytest.approx(60, abs=1)


@pytest.mark.parametrize("margin", [0.0, 0.3, 1.7])
def test_mirrored_picture_gives_the_mirrored_crop(margin: float) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (90, 120, 3), np.uint8)
    image = np.asarray(cv2.GaussianBlur(noise, (0, 0), 4), dtype=np.uint8)
    box, params = Box(31.3, 22.6, 70.1, 65.4), CropParams(margin=margin, size_px=64)
    mirrored_box = Box(120 - box.right, box.top, 120 - box.left, box.bottom)
    crop = make_crop(image, params, OneFace(box))
    other = make_crop(np.ascontiguousarray(image[:, ::-1]), params, OneFace(mirrored_box))
    assert other.plan.region.center[0] == pytest.approx(120 - crop.plan.region.center[0])
    difference = crop.pixels[:, ::-1].astype(int) - other.pixels.astype(int)
    assert np.abs(difference).mean() < 8  # one pixel apart at most; unmirrored it is 20 and more


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_picture_turned_by_exif_gives_the_crop_of_the_upright_one(orientation: int) -> None:
    upright = np.random.default_rng(2).integers(0, 256, (40, 60, 3), np.uint8)
    quarter_turns = {3: 2, 6: 1, 8: 3}[orientation]
    stored = PillowImage.fromarray(np.ascontiguousarray(np.rot90(upright, quarter_turns)))
    exif = PillowImage.Exif()
    exif[274] = orientation
    buffer = io.BytesIO()
    stored.save(buffer, "PNG", exif=exif)
    image = decode_image(buffer.getvalue(), Path("turned.png"))
    params, detector = CropParams(size_px=32), OneFace(Box(10, 5, 40, 35))
    crop, expected = make_crop(image, params, detector), make_crop(upright, params, detector)
    assert np.array_equal(crop.pixels, expected.pixels)
    assert crop.plan == expected.plan


def test_full_recipe_looks_for_no_face() -> None:
    image = np.zeros((4, 6, 3), np.uint8)
    assert detect_faces(image, CropParams(crop="full"), None) == Detection(4, 6, ())


def test_face_recipe_without_a_detector_is_misuse() -> None:
    with pytest.raises(ValueError, match="a recipe that crops faces needs a detector"):
        detect_faces(np.zeros((4, 6, 3), np.uint8), CropParams(), None)


def test_crop_says_what_was_planned_and_seen() -> None:
    image, detector = np.zeros((100, 100, 3), np.uint8), OneFace(Box(30, 30, 70, 70))
    crop = make_crop(image, CropParams(), detector)
    assert crop.detection == detector.detect(image)
    assert crop.plan == plan_crop(crop.detection, CropParams())
