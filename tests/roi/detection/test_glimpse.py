"""A glimpse tells where its pixels lie in the frame, at every scale and in every orientation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roi_cls.roi.detection.glimpse import (
    WHOLE_PX,
    Glimpse,
    glimpse_region,
    glimpse_whole,
    is_brighter_left,
)
from roi_cls.roi.face import Box, Face
from roi_cls.roi.image import Image
from roi_cls.roi.picture import Picture
from tests.helpers.pictures import encode, exif, noise


def draw_spot(height: int, width: int, box: tuple[int, int, int, int]) -> Image:
    """Return black with one white rectangle (left, top, right, bottom)."""
    image = np.zeros((height, width, 3), np.uint8)
    left, top, right, bottom = box
    image[top:bottom, left:right] = 255
    return image


def locate_spot(glimpse: Glimpse) -> Box:
    """Return where the white rectangle lies in the frame, as the glimpse tells it."""
    ys, xs = np.nonzero(glimpse.image.min(axis=2) > 200)
    seen = Box(int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)
    return glimpse.place(Face(seen, 1.0, (), "short")).box


@pytest.mark.parametrize(
    ("side", "seen"), [(100, 100), (767, 767), (768, 384), (1535, 768), (1536, 384), (3072, 384)]
)
def test_whole_picture_is_reduced_while_enough_is_left(side: int, seen: int) -> None:
    glimpse = glimpse_whole(Picture.of(np.zeros((side // 2, side, 3), np.uint8)))
    assert glimpse.image.shape[1] == seen
    assert seen >= min(side, WHOLE_PX)


@settings(max_examples=60)
@given(
    height=st.integers(40, 1700),
    width=st.integers(40, 1700),
    x=st.floats(0, 1),
    y=st.floats(0, 1),
    around=st.floats(0.2, 3),
    is_mirrored=st.booleans(),
)
def test_spot_is_told_where_it_lies(
    height: int, width: int, x: float, y: float, around: float, is_mirrored: bool
) -> None:
    left, top = round(x * (width - 32)), round(y * (height - 32))
    box = Box(left, top, left + 32, top + 32)
    picture = Picture.of(draw_spot(height, width, (left, top, left + 32, top + 32)))
    for glimpse in (glimpse_whole(picture), glimpse_region(picture, box.expand(around))):
        if is_mirrored:
            glimpse = glimpse.mirror()
        assert locate_spot(glimpse).xyxy == pytest.approx(box.xyxy, abs=glimpse.scale)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(1203, 1601), (800, 1202)])
def test_spot_in_a_turned_jpeg_is_told_where_it_lies(
    orientation: int, size: tuple[int, int]
) -> None:
    stored = draw_spot(*size, (304, 208, 400, 336))
    picture = Picture(encode(stored, "JPEG", exif=exif(orientation)), "spot.jpg")
    expected = locate_spot(Glimpse(picture.pixels(), 0, 0, 1))
    assert min(expected.width, expected.height) == pytest.approx(96, abs=1)
    for glimpse in (glimpse_whole(picture), glimpse_region(picture, expected.expand(2))):
        assert glimpse.scale in (2, 4)
        assert locate_spot(glimpse).xyxy == pytest.approx(expected.xyxy, abs=glimpse.scale)


def test_region_beyond_the_frame_is_grey_there() -> None:
    picture = Picture.of(draw_spot(100, 100, (0, 0, 100, 100)))
    glimpse = glimpse_region(picture, Box(-50, -20, 150, 180))
    assert glimpse.image.shape == (200, 200, 3)
    assert (glimpse.image[:, :50] == 128).all()
    assert (glimpse.image[:20] == 128).all()
    assert (glimpse.image[20:120, 50:150] == 255).all()
    assert locate_spot(glimpse) == Box(0, 0, 100, 100)


def test_region_of_any_size_is_a_small_picture() -> None:
    picture = Picture.of(draw_spot(5_000, 6_000, (1_000, 2_000, 3_000, 4_000)))
    glimpse = glimpse_region(picture, Box(-10_000, -10_000, 20_000, 20_000))
    assert max(glimpse.image.shape) < 600
    spot = locate_spot(glimpse)
    assert spot.xyxy == pytest.approx((1_000, 2_000, 3_000, 4_000), abs=2 * glimpse.scale)


def test_mirrored_twice_is_the_same() -> None:
    glimpse = Glimpse(draw_spot(8, 9, (1, 2, 3, 4)), 5.0, 6.0, 2.0)
    twice = glimpse.mirror().mirror()
    assert (twice.left, twice.top, twice.scale, twice.is_mirrored) == (5, 6, 2, False)
    assert np.array_equal(twice.image, glimpse.image)


def test_mirrored_face_has_its_own_right_and_left_again() -> None:
    glimpse = Glimpse(np.zeros((10, 20, 3), np.uint8), 100.0, 50.0, 2.0).mirror()
    # In the mirror, what BlazeFace takes for the right eye is the left one.
    points = ((4.0, 3.0), (8.0, 3.0), (6.0, 4.0), (6.0, 6.0), (2.0, 4.0), (10.0, 4.0))
    face = glimpse.place(Face(Box(2, 1, 10, 9), 0.5, points, "full"))
    assert face.box == Box(120, 52, 136, 68)
    assert face.keypoints == (((124, 56), (132, 56), (128, 58), (128, 62), (120, 58), (136, 58)))
    assert (face.score, face.model) == (0.5, "full")


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    seed=st.integers(0, 1_000),
)
def test_of_a_picture_and_its_mirror_image_one_is_brighter_left(
    height: int, width: int, seed: int
) -> None:
    image = noise(height, width, 3, seed=seed)
    mirrored = np.ascontiguousarray(image[:, ::-1])
    is_balanced = not is_brighter_left(image) and not is_brighter_left(mirrored)
    assert is_brighter_left(image) != is_brighter_left(mirrored) or is_balanced
