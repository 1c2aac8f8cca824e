"""Pictures that are not whole: which are refused, which are read, and what is left of the rest."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roi_cls.base.errors import ImageReadError
from roi_cls.roi import image as image_module
from roi_cls.roi.decoders import read_jpeg
from roi_cls.roi.image import Image, decode_image
from roi_cls.roi.picture import FACTORS, Picture
from tests.helpers.pictures import encode, noise, png_chunk

AGAIN = "Remove it, or copy or export it again."


def draw_portrait(height: int = 240, width: int = 200) -> Image:
    """Return a face of ellipses on a coloured ground, with the grain of a photograph."""
    ground = np.asarray(cv2.resize(noise(8, 7, 3, seed=3), (width, height)), np.uint8)
    for x, y, size, colour in ((0.5, 0.5, 0.3, 190), (0.4, 0.42, 0.03, 30), (0.6, 0.42, 0.03, 30)):
        middle = round(x * width), round(y * height)
        axes = round(size * width), round(1.2 * size * height)
        cv2.ellipse(ground, middle, axes, 0, 0, 360, (colour, colour * 3 // 4, colour // 2), -1)
    grain = np.random.default_rng(3).normal(0, 6, ground.shape)
    return np.clip(ground + grain, 0, 255).astype(np.uint8)


PORTRAIT = draw_portrait()
WHOLE = encode(PORTRAIT, "JPEG", quality=92)
Harm = Callable[[bytes], bytes]


def flip(data: bytes, share: float = 0.4, count: int = 40) -> bytes:
    place = round(share * len(data))
    return (
        data[:place] + bytes(b ^ 0x55 for b in data[place : place + count]) + data[place + count :]
    )


def blank(data: bytes) -> bytes:
    start, count = round(0.45 * len(data)), len(data) // 4
    return data[:start] + bytes(count) + data[start + count :]


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def pad(marker: bytes, padding: bytes) -> Harm:
    """Return what puts bytes before the first segment of a kind."""
    return lambda data: data.replace(marker, padding + marker, 1)


HALF_BROKEN: dict[str, Harm] = {
    "40 bytes changed": flip,
    "a quarter zeroed": blank,
    "40 % and an end": lambda data: data[: round(0.4 * len(data))] + b"\xff\xd9",
    "half, zeros and an end": lambda data: half(data) + bytes(len(data) // 2 - 2) + b"\xff\xd9",
    "half before a whole copy": lambda data: half(data) + data,
    "its last bytes lost before its end": lambda data: data[:-6] + b"\xff\xd9",
    "padding, and half": lambda data: half(pad(b"\xff\xdb", bytes(4))(data)) + b"\xff\xd9",
}
HARMLESS: dict[str, Harm] = {
    "zeros between segments": pad(b"\xff\xdb", bytes(4)),
    "zeros before the scan": pad(b"\xff\xda", bytes(2)),
    "fill bytes": pad(b"\xff\xdb", b"\xff\xff"),
    "a restart in the header": pad(b"\xff\xdb", b"\xff\xd0"),
    "bytes behind the end": lambda data: data + b"tail" * 9,
    "a copy behind the end": lambda data: data + data,
    "another version of JFIF": lambda data: data.replace(b"JFIF\0\1", b"JFIF\0\0"),
    "a damaged profile": lambda data: data[:2] + segment(0xE2, b"ICC_PROFILE\0\5\2a") + data[2:],
}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "full colour": ("RGB", {"subsampling": 0}),
    "subsampled": ("RGB", {"subsampling": 2}),
    "progressive": ("RGB", {"progressive": True}),
    "restarting": ("RGB", {"restart_marker_rows": 2}),
    "grey": ("L", {}),
    "cmyk": ("CMYK", {"subsampling": 0}),
}


PAIRS = [
    (kind, harm)
    for kind in KINDS
    for harm in HALF_BROKEN
    if (kind, harm) != ("cmyk", "40 bytes changed")  # which decode without a warning there
]


def jpeg(kind: str) -> bytes:
    mode, options = KINDS[kind]
    return encode(PORTRAIT, "JPEG", mode, quality=92, **options)


def refusal(data: bytes) -> str:
    with pytest.raises(ImageReadError) as caught:
        decode_image(data, "a.jpg")
    assert caught.value.is_damaged
    assert caught.value.damage == caught.value.reason
    return caught.value.reason


@pytest.mark.parametrize(("kind", "harm"), PAIRS)
def test_half_broken_jpeg_is_refused_quietly(
    kind: str, harm: str, capfd: pytest.CaptureFixture[str]
) -> None:
    damaged = HALF_BROKEN[harm](jpeg(kind))
    assert refusal(damaged).startswith(("it is damaged (", "it is cut off after "))
    for factor in FACTORS:
        with pytest.raises(ImageReadError):
            Picture(damaged, "a").reduced(factor)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("harm", HARMLESS)
def test_harmless_jpeg_is_read_whole_and_quietly(
    kind: str, harm: str, capfd: pytest.CaptureFixture[str]
) -> None:
    data = jpeg(kind)
    odd = HARMLESS[harm](data)
    assert odd != data or kind == "cmyk"  # which has no JFIF
    for factor in FACTORS:
        wanted = Picture(data, "a").reduced(factor)
        np.testing.assert_array_equal(Picture(odd, "b").reduced(factor), wanted)
    assert Picture(odd, "b").damaged is None
    assert capfd.readouterr() == ("", "")


def test_reason_is_libjpegs() -> None:
    cut = WHOLE[: len(WHOLE) // 2]
    assert refusal(cut) == f"it is cut off after {len(cut)} bytes"
    assert refusal(cut + b"\xff\xd9") == "it is damaged (premature end of data segment)"
    twice = "it is damaged (Invalid JPEG file structure: two SOI markers)"
    assert refusal(cut + WHOLE) == twice


@pytest.mark.parametrize("kind", KINDS)
def test_jpeg_without_its_end_is_read_where_no_scan_can_be_missing(kind: str) -> None:
    data = jpeg(kind)
    for lost in (1, 2):
        if kind == "progressive":
            assert refusal(data[:-lost]) == f"it is cut off after {len(data) - lost} bytes"
        else:
            whole = decode_image(data, "a")
            np.testing.assert_array_equal(decode_image(data[:-lost], "a"), whole)
    assert refusal(data[:-4]) == f"it is cut off after {len(data) - 4} bytes"


@pytest.mark.parametrize(("kind", "harm"), PAIRS)
def test_what_is_left_of_a_jpeg_is_read_and_marked(
    kind: str, harm: str, capfd: pytest.CaptureFixture[str]
) -> None:
    damaged = HALF_BROKEN[harm](jpeg(kind))
    picture = Picture(damaged, "a", partial=True)
    assert picture.damaged == refusal(damaged)
    left, whole = picture.pixels(), decode_image(jpeg(kind), "a")
    assert left.shape == whole.shape
    if kind != "progressive":  # of which the scans cover the picture several times
        np.testing.assert_array_equal(left[:64], whole[:64])
    np.testing.assert_array_equal(left, Picture(damaged, "b", partial=True).pixels())
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF"])
def test_upper_half_of_a_cut_file_is_read(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    options: dict[str, Any] = {"interlace": False} if kind == "GIF" else {}
    data = encode(PORTRAIT, kind, **options)
    whole, cut = decode_image(data, "a"), half(data)
    picture = Picture(cut, "a", partial=True)
    assert picture.damaged == refusal(cut)
    rows = slice(-64, None) if kind == "BMP" else slice(64)  # which begins with its last row
    np.testing.assert_array_equal(picture.pixels()[rows], whole[rows])
    assert not np.array_equal(picture.pixels(), whole)
    for factor in FACTORS:
        assert picture.reduced(factor).shape[0] == 240 // factor
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("GIF", {}),
        ("GIF", {"interlace": True}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
    ],
)
def test_cut_file_of_any_kind_is_refused(kind: str, options: dict[str, Any]) -> None:
    data = encode(PORTRAIT, kind, **options)
    for share in (0.1, 0.3, 0.5, 0.9, 0.99):
        refusal(data[: round(share * len(data))])


def test_webp_whose_length_was_mended_after_a_cut_is_refused() -> None:
    for is_lossless in (False, True):
        data = encode(PORTRAIT, "WEBP", lossless=is_lossless)
        cut = len(data) // 2 & ~1
        mended = data[:4] + struct.pack("<I", cut - 8) + data[8:16]
        mended += struct.pack("<I", cut - 20) + data[20:cut]
        assert refusal(mended).startswith("its WebP data cannot be decoded (")


def test_png_of_a_wrong_checksum_is_read_and_marked() -> None:
    data = bytearray(encode(PORTRAIT, "PNG", text="x"))
    data[data.index(b"IDAT") + len(data) // 2] ^= 1
    picture = Picture(bytes(data), "a", partial=True)
    assert picture.damaged == "it is damaged (wrong checksum in PNG chunk IDAT)"
    np.testing.assert_array_equal(picture.pixels()[:64], PORTRAIT[:64])


def test_png_without_its_last_chunk_is_read_whole_and_marked() -> None:
    data = encode(PORTRAIT, "PNG")[:-12]
    picture = Picture(data, "a", partial=True)
    assert picture.damaged == f"it is cut off after {len(data)} bytes"
    np.testing.assert_array_equal(picture.pixels(), PORTRAIT)


def test_jpeg_2000_that_was_cut_is_refused_or_read_and_marked() -> None:
    data = encode(PORTRAIT, "JPEG2000")
    cut = data[: len(data) * 3 // 4]
    assert refusal(cut) == f"it is cut off after {len(cut)} bytes"
    picture = Picture(cut, "a", partial=True)
    assert picture.pixels().shape == PORTRAIT.shape
    assert picture.damaged == f"it is cut off after {len(cut)} bytes"


@pytest.mark.parametrize("data", [WHOLE, encode(PORTRAIT, "PNG"), encode(PORTRAIT, "WEBP")])
def test_whole_picture_is_read_the_same_either_way(data: bytes) -> None:
    picture = Picture(data, "a", partial=True)
    np.testing.assert_array_equal(picture.pixels(), decode_image(data, "a"))
    assert picture.damaged is None


@pytest.mark.parametrize(
    "data",
    [
        b"hello",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        half(encode(PORTRAIT, "WEBP")),
        png_chunk(b"IHDR", b""),
    ],
)
def test_where_nothing_is_left_the_error_is_the_same(data: bytes) -> None:
    with pytest.raises(ImageReadError) as strict:
        decode_image(data, "a")
    with pytest.raises(ImageReadError) as partial:
        Picture(data, "a", partial=True).pixels()
    assert str(partial.value) == str(strict.value)


def test_oddly_sampled_jpeg_is_read_by_pillow() -> None:
    # All four at 2 x 2, which TurboJPEG has no name for.
    data = encode(PORTRAIT, "JPEG", "CMYK", subsampling=2)
    image = decode_image(data, "a")
    assert image.shape == PORTRAIT.shape
    assert not Picture(data, "a").reduces_cheaply
    with pytest.raises(ImageReadError, match="image file is truncated"):
        decode_image(half(data), "a")
    picture = Picture(half(data), "a", partial=True)
    np.testing.assert_array_equal(picture.pixels()[:64], image[:64])


def test_size_that_libjpeg_reads_otherwise_takes_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    header = read_jpeg(WHOLE)
    small = replace(header, height=8, width=8)
    monkeypatch.setattr(image_module, "read_jpeg", lambda data: small)
    assert "too small" in refusal(WHOLE)


@pytest.mark.parametrize("kind", ["full colour", "grey", "subsampled"])
@pytest.mark.parametrize("size", [(240, 200), (37, 51), (9, 65), (1000, 7), (8, 3)])
def test_scales_are_those_of_opencv(kind: str, size: tuple[int, int]) -> None:
    mode, options = KINDS[kind]
    data = encode(draw_portrait(*size), "JPEG", mode, **options)
    for factor in FACTORS[1:]:
        flags = getattr(cv2, f"IMREAD_REDUCED_COLOR_{factor}") | cv2.IMREAD_IGNORE_ORIENTATION
        wanted = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        assert wanted is not None
        np.testing.assert_array_equal(Picture(data, "a").reduced(factor), wanted[..., ::-1])


@settings(max_examples=300)
@given(
    st.sampled_from(sorted(KINDS)).map(jpeg),
    st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), max_size=4),
    st.floats(0.05, 2),
)
def test_any_damage_is_an_error_or_pixels(
    data: bytes, changes: list[tuple[float, bytes]], share: float
) -> None:
    for place, new in changes:
        start = round(place * len(data))
        data = data[:start] + new + data[start + len(new) :]
    data = data[: round(share * len(data))]
    reasons = {
        what_is_wrong(data, factor, partial) for factor in FACTORS for partial in (False, True)
    }
    assert len(reasons) == 1


def what_is_wrong(data: bytes, factor: int, partial: bool) -> str | None:
    try:
        picture = Picture(data, "a", max_pixels=1_000_000, partial=partial)
        assert picture.reduced(factor).shape[2] == 3
    except ImageReadError as error:
        return error.reason
    return picture.damaged


def test_damage_of_photographs_leaves_stderr_empty(capfd: pytest.CaptureFixture[str]) -> None:
    for kind in KINDS:
        data = jpeg(kind)
        for place in range(0, len(data), len(data) // 60):
            for partial in (False, True):
                for bad in (flip(data, place / len(data), 3), data[:place]):
                    try:
                        Picture(bad, "a", partial=partial).pixels()
                    except ImageReadError:
                        continue
    assert capfd.readouterr() == ("", "")
