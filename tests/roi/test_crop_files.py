"""Crops of encoded pictures: the same whichever way round and at what scale they are decoded."""

from functools import cache
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roi_cls.data.demo.picture import draw_picture
from roi_cls.roi.crop import Crops, make_crops
from roi_cls.roi.image import Image
from roi_cls.roi.params import CropParams, Resampling
from roi_cls.roi.picture import Picture
from roi_cls.roi.plan import choose_reduction
from tests.helpers.fakes import FakeDetector, see_at
from tests.helpers.pictures import encode, exif


def encode_turned(image: Image, kind: str, orientation: int = 1, **options: Any) -> bytes:
    """Return the file that shows ``image`` once its EXIF orientation is applied."""
    stored = image
    if orientation in (3, 4, 7, 8):
        stored = stored[::-1]
    if orientation in (2, 3, 6, 7):
        stored = stored[:, ::-1]
    if orientation >= 5:
        stored = stored.transpose(1, 0, 2)
    return encode(np.ascontiguousarray(stored), kind, exif=exif(orientation), **options)


@cache
def draw(height: int, width: int) -> Image:
    """Return a drawn person in front of a scene."""
    drawn = draw_picture(seed=1, index=4, kind=None)
    return np.asarray(cv2.resize(drawn, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def difference(one: Crops, other: Crops) -> float:
    """Return the mean absolute difference of two crops, 0 to 255."""
    assert one.pixels.shape == other.pixels.shape
    return float(np.abs(one.pixels.astype(int) - other.pixels.astype(int)).mean())


PLACES = st.builds(
    see_at, st.floats(0.1, 0.9), st.floats(0.1, 0.9), st.floats(0.2, 1.2), st.floats(-0.5, 0.5)
).map(FakeDetector)
RECIPES = st.builds(
    CropParams,
    crop=st.sampled_from(["face", "face", "full"]),
    align=st.booleans(),
    margin=st.floats(0, 1),
    size_px=st.sampled_from([8, 16, 33, 64]),
    full_frame=st.sampled_from(["pad", "crop", "squash"]),
    border=st.sampled_from(["replicate", "constant", "shift"]),
    resampling=st.sampled_from(["area", "lanczos"]),
)


@given(st.integers(20, 160), st.integers(20, 160), st.integers(2, 8), PLACES, RECIPES)
def test_png_turned_by_exif_gives_the_crop_of_the_upright_one(
    height: int, width: int, orientation: int, detector: FakeDetector, params: CropParams
) -> None:
    image = draw(160, 160)[:height, :width]
    turned = Picture(encode_turned(image, "PNG", orientation), "turned")
    upright = Picture(encode(image, "PNG"), "upright")
    crops, expected = (make_crops(p, params, detector) for p in (turned, upright))
    assert crops.plan == expected.plan
    assert np.array_equal(crops.pixels, expected.pixels)


@settings(max_examples=40)
@given(st.integers(4, 20), st.integers(4, 20), st.integers(2, 8), PLACES, RECIPES)
def test_jpeg_turned_by_exif_gives_the_crop_of_the_upright_one(
    rows: int, columns: int, orientation: int, detector: FakeDetector, params: CropParams
) -> None:
    image = draw(rows * 16, columns * 16)
    # At quality 100 every step is 1: a turned picture is stored as well as the upright one.
    turned = Picture(
        encode_turned(image, "JPEG", orientation, quality=100, subsampling=0), "turned"
    )
    upright = Picture(encode(image, "JPEG", quality=100, subsampling=0), "upright")
    crops, expected = (make_crops(p, params, detector) for p in (turned, upright))
    assert crops.plan == expected.plan
    assert difference(crops, expected) <= 1


@settings(max_examples=40)
@given(
    st.integers(100, 900),
    st.integers(100, 900),
    st.sampled_from([{"quality": 75, "subsampling": 2}, {"quality": 95, "subsampling": 0}]),
    st.integers(1, 8),
    PLACES,
    RECIPES,
)
def test_jpeg_decoded_at_a_reduced_scale_gives_nearly_the_crop_of_the_full_one(
    height: int,
    width: int,
    options: dict[str, int],
    orientation: int,
    detector: FakeDetector,
    params: CropParams,
) -> None:
    data = encode_turned(draw(height, width), "JPEG", orientation, **options)
    reduced = make_crops(Picture(data, "reduced"), params, detector)
    full = make_crops(Picture.of(Picture(data, "full").pixels()), params, detector)
    assert reduced.plan == full.plan
    assert difference(reduced, full) <= 2


@pytest.mark.parametrize(("size_px", "factor"), [(224, 1), (100, 2), (28, 4), (14, 8)])
@pytest.mark.parametrize("resampling", ["area", "lanczos"])
def test_circle_stays_a_circle_at_every_scale(
    size_px: int, factor: int, resampling: Resampling
) -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    cv2.circle(image, (320, 240), 80, (255, 255, 255), -1, cv2.LINE_AA)
    params = CropParams(margin=0.2, size_px=size_px, resampling=resampling)
    crops = make_crops(
        Picture(encode(image, "JPEG"), "disc"), params, FakeDetector(see_at(0.5, 0.5, 1 / 3))
    )
    region = crops.plan.cuts[0].region
    assert choose_reduction(region, size_px) == factor
    mass = crops.pixels[0, ..., 0] / 255
    scale = size_px / region.width
    width, height = mass.sum(axis=1).max(), mass.sum(axis=0).max()
    assert width == pytest.approx(height, abs=0.4)
    assert width == pytest.approx(161 * scale, abs=0.6)
    assert mass.sum() == pytest.approx(np.pi * 80.5**2 * scale**2, rel=0.03)


def test_reduced_jpeg_is_really_cut_from_the_reduced_picture() -> None:
    picture = Picture(encode(draw(800, 800), "JPEG"), "a")
    make_crops(picture, CropParams(margin=0.3, size_px=32), FakeDetector(see_at(0.5, 0.5, 0.5)))
    assert list(picture._kept) == [8]  # the full one was never decoded
