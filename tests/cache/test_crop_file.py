"""A stored crop comes back bit for bit, and any viewer opens it."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PillowImage

from roi_cls.cache.store import CROP_SUFFIX, decode_crops, encode_crops, write_entry
from roi_cls.roi.image import Image


def draw_noise(count: int, size_px: int, seed: int = 0) -> Image:
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (count, size_px, size_px, 3), np.uint8)


@given(st.integers(1, 6), st.integers(8, 70), st.integers(0, 2**32))
def test_crops_of_any_number_and_size_come_back_bit_for_bit(
    count: int, size_px: int, seed: int
) -> None:
    pixels = draw_noise(count, size_px, seed)
    again = decode_crops(encode_crops(pixels))
    assert again.dtype == np.uint8
    assert again.flags.c_contiguous
    assert np.array_equal(again, pixels)


@pytest.mark.parametrize("size_px", [223, 224, 225, 1001])
def test_usual_sizes_come_back_also_where_rows_are_padded(size_px: int) -> None:
    pixels = draw_noise(2, size_px)
    assert np.array_equal(decode_crops(encode_crops(pixels)), pixels)


def test_same_crops_are_the_same_bytes() -> None:
    assert encode_crops(draw_noise(2, 9)) == encode_crops(draw_noise(2, 9))


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("size_px", [16, 33, 34, 35])
def test_other_programs_open_the_entry_as_it_lies_on_the_disk(
    tmp_path: Path, count: int, size_px: int
) -> None:
    path, pixels = tmp_path / f"crop{CROP_SUFFIX}", draw_noise(count, size_px)
    write_entry(path, encode_crops(pixels))  # its checksum follows the picture
    with PillowImage.open(path) as picture:
        assert picture.format == "BMP"
        shown = np.array(picture.convert("RGB"))
    assert np.array_equal(shown, pixels.reshape(-1, size_px, 3))


def _encode_oblong() -> bytes:
    buffer = io.BytesIO()
    PillowImage.new("RGB", (4, 6)).save(buffer, "BMP")
    return buffer.getvalue()


@pytest.mark.parametrize("data", [b"no picture", encode_crops(draw_noise(1, 8))[:60],
                                  _encode_oblong()])  # fmt: skip
def test_what_is_no_column_of_squares_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^no column of square crops$"):
        decode_crops(data)
