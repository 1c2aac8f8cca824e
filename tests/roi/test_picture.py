"""Pictures decoded at the scale that is needed, and where their pixels lie."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from roi_cls.base.errors import ImageReadError
from roi_cls.roi.face import Box
from roi_cls.roi.image import Image, decode_image
from roi_cls.roi.picture import FACTORS, Picture
from tests.helpers.pictures import encode, exif, noise, png_chunk

RGB: Image = noise(37, 51, 3, seed=7)
KINDS: list[tuple[str, str, dict[str, Any]]] = [
    ("PNG", "RGB", {}),
    ("PNG", "RGBA", {}),
    ("PNG", "L", {}),
    ("JPEG", "RGB", {}),
    ("JPEG", "RGB", {"subsampling": 2, "progressive": True}),
    ("JPEG", "L", {}),
    ("JPEG", "CMYK", {}),
    ("TIFF", "RGB", {}),
    ("WEBP", "RGB", {"lossless": True}),
]
SIDES = st.integers(2, 70)


def ceil_shape(picture: Picture, factor: int) -> tuple[int, int, int]:
    return math.ceil(picture.height / factor), math.ceil(picture.width / factor), 3


@pytest.mark.parametrize(("kind", "mode", "options"), KINDS)
@pytest.mark.parametrize("orientation", [1, 6])
def test_pixels_are_those_of_decode_image(
    kind: str, mode: str, options: dict[str, Any], orientation: int
) -> None:
    data = encode(RGB, kind, mode, exif=exif(orientation), **options)
    wanted = decode_image(data, "a")
    picture = Picture(data, "a")
    assert (picture.height, picture.width, 3) == wanted.shape
    np.testing.assert_array_equal(picture.pixels(), wanted)
    assert picture.pixels() is picture.reduced(1)
    assert picture.reduces_cheaply == (kind == "JPEG" and mode != "CMYK")


@pytest.mark.parametrize(("kind", "mode", "options"), KINDS)
def test_reduced_does_not_depend_on_the_order_of_calls(
    kind: str, mode: str, options: dict[str, Any]
) -> None:
    data = encode(RGB, kind, mode, **options)
    up, down = Picture(data, "a"), Picture(data, "a")
    first = {factor: up.reduced(factor) for factor in FACTORS}
    second = {factor: down.reduced(factor) for factor in reversed(FACTORS)}
    for factor in FACTORS:
        np.testing.assert_array_equal(first[factor], second[factor])
        assert first[factor].shape == ceil_shape(up, factor)
        assert first[factor].flags.c_contiguous
        assert up.reduced(factor) is first[factor]


def test_pixels_are_shared_and_so_read_only() -> None:
    own = RGB.copy()
    for picture in (Picture(encode(RGB, "PNG"), "a"), Picture.of(own)):
        for factor in FACTORS:
            with pytest.raises(ValueError, match="read-only"):
                picture.reduced(factor)[0, 0, 0] = 1
    own[0, 0, 0] = 1  # the caller's own stays writable


def test_png_is_reduced_to_the_means_of_its_blocks() -> None:
    picture = Picture(encode(RGB, "PNG"), "a")
    for factor in FACTORS[1:]:
        rows, columns, _ = ceil_shape(picture, factor)
        padded = np.pad(
            RGB, ((0, rows * factor - 37), (0, columns * factor - 51), (0, 0)), mode="edge"
        )
        means = padded.reshape(rows, factor, columns, factor, 3).mean(axis=(1, 3))
        # Each halving rounds.
        np.testing.assert_allclose(picture.reduced(factor), means, atol=1.5)
    np.testing.assert_array_equal(Picture.of(RGB).reduced(4), picture.reduced(4))


@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_is_reduced_to_nearly_the_means_of_its_blocks(mode: str, subsampling: int) -> None:
    smooth = PillowImage.fromarray(RGB[:5, :6]).resize((96, 80), PillowImage.Resampling.BICUBIC)
    data = encode(np.array(smooth), "JPEG", mode, quality=92, subsampling=subsampling)
    picture = Picture(data, "a")
    means = Picture.of(picture.pixels())
    for factor in FACTORS[1:]:
        apart = np.abs(picture.reduced(factor).astype(int) - means.reduced(factor))
        assert apart.mean() < 2


@settings(max_examples=100)
@given(SIDES, SIDES, st.floats(0, 1), st.integers(1, 8), st.sampled_from(FACTORS))
@example(2, 2, 0.5, 6, 8)
@example(17, 33, 0.0, 3, 8)
@example(9, 65, 1.0, 7, 4)
def test_an_edge_lands_where_the_map_says(
    height: int, width: int, share: float, orientation: int, factor: int
) -> None:
    for axis in (0, 1):
        side = (height, width)[axis]
        edge = 1 + round(share * (side - 2))  # a pixel at least on either side
        line = np.repeat(np.array([255, 0], np.uint8), (edge, side - edge))
        plane = np.broadcast_to(line[:, None] if axis == 0 else line, (height, width))
        stored = as_stored(np.repeat(plane[:, :, None], 3, axis=2), orientation)
        data = encode(stored, "JPEG", quality=100, subsampling=0, exif=exif(orientation))
        picture = Picture(data, "a")
        small = picture.reduced(factor)
        assert (picture.height, picture.width) == (height, width)
        assert small.shape == ceil_shape(picture, factor)
        box = picture.to_reduced(Box(0, 0, edge, edge), factor)
        bright = small[:, -1, 0].sum() if axis == 0 else small[-1, :, 0].sum()
        assert abs(bright / 255 - box.xyxy[3 - axis]) <= 0.5


def test_map_to_the_reduced_picture_has_an_inverse() -> None:
    picture, box = Picture.of(RGB), Box(-8, 16, 24, 33)
    assert picture.to_reduced(box, 8) == Box(-1, 2, 3, 4.125)
    for factor in FACTORS:
        assert picture.from_reduced(picture.to_reduced(box, factor), factor) == box


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(64, 80), (37, 51)])
def test_turned_file_reduces_as_the_upright_one(size: tuple[int, int], orientation: int) -> None:
    smooth = PillowImage.fromarray(RGB[:6, :7]).resize(size[::-1], PillowImage.Resampling.BICUBIC)
    upright = np.array(smooth)
    stored = as_stored(upright, orientation)
    data = encode(stored, "JPEG", quality=95, subsampling=0, exif=exif(orientation))
    turned = Picture(data, "a")
    for factor in FACTORS:
        apart = np.abs(turned.reduced(factor).astype(int) - Picture.of(upright).reduced(factor))
        assert apart.mean() < 2, factor


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("damage", ["limit", "cut", "empty", "text", "middle"])
def test_errors_are_those_of_decode_image(kind: str, damage: str) -> None:
    data = encode(RGB, kind)
    middle = len(data) // 2
    data = {
        "limit": data,
        "cut": data[:middle],
        "empty": b"",
        "text": b"hello" + data,
        "middle": data[:middle] + bytes(9) + data[middle + 9 :],
    }[damage]
    limit = 99 if damage == "limit" else 10_000
    reads: tuple[Callable[[], Image], ...] = (
        lambda: decode_image(data, "b.x", max_pixels=limit),
        lambda: Picture(data, "b.x", max_pixels=limit).pixels(),
        lambda: Picture(data, "b.x", max_pixels=limit).reduced(2),
    )
    messages = [message_of(read) for read in reads]
    assert messages[0] == messages[1] == messages[2]
    assert messages[0] or damage in ("middle", "cut")


def test_size_over_the_limit_is_refused_before_decoding() -> None:
    with pytest.raises(ImageReadError) as caught:
        Picture(encode(RGB, "JPEG"), "b.jpg", max_pixels=99)
    assert str(caught.value) == (
        "Cannot read 'b.jpg': it has 51 x 37 pixels, over the limit of 99. "
        "Shrink it, or raise the limit with --max-pixels or ROI_CLS_MAX_PIXELS."
    )
    with pytest.raises(ValueError, match="max_pixels must be at least 1, got 0"):
        Picture(encode(RGB, "JPEG"), "b.jpg", max_pixels=0)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("JPEG", "it is damaged (premature end of data segment)"),
        ("PNG", "its pixel data are damaged (Corrupt deflate stream. BadZlibHeader)"),
    ],
)
def test_damaged_pixels_are_reported_when_they_are_asked_for(kind: str, reason: str) -> None:
    data = encode(RGB, kind)
    if kind == "JPEG":
        data = data[:-90] + b"\xff\xd9"
    else:
        start = data.index(b"IDAT")
        body = bytes(20)
        data = data[: start - 4] + png_chunk(b"IDAT", body) + png_chunk(b"IEND", b"")
    picture = Picture(data, "b")
    assert (picture.height, picture.width) == (37, 51)
    for factor in FACTORS:
        with pytest.raises(ImageReadError) as caught:
            picture.reduced(factor)
        wanted = f"Cannot read 'b': {reason}. Remove it, or copy or export it again."
        assert str(caught.value) == wanted


def message_of(read: Callable[[], Image]) -> str:
    try:
        read()
    except ImageReadError as error:
        return str(error)
    return ""


def test_unknown_factors_and_arrays_are_refused() -> None:
    with pytest.raises(ValueError, match=r"factor must be one of \(1, 2, 4, 8\), got 3"):
        Picture.of(RGB).reduced(3)
    for image in (RGB[..., 0], RGB[:, :0], RGB[..., :2], RGB.astype(np.float32)):
        with pytest.raises(ValueError, match=r"image must be \(height, width, 3\) uint8, got"):
            Picture.of(image)  # type: ignore[arg-type]  # that is the test


def as_stored(upright: Image, orientation: int) -> Image:
    """Return what a camera stores for ``orientation``, by the inverse of EXIF's definition."""
    image = PillowImage.fromarray(upright)
    turn = PillowImage.Transpose
    undo = {
        2: turn.FLIP_LEFT_RIGHT,
        3: turn.ROTATE_180,
        4: turn.FLIP_TOP_BOTTOM,
        5: turn.TRANSPOSE,
        6: turn.ROTATE_90,
        7: turn.TRANSVERSE,
        8: turn.ROTATE_270,
    }
    return np.array(image.transpose(undo[orientation]) if orientation > 1 else image)
