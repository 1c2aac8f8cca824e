"""What is refused, and what the message says: other files, cut ones, damaged ones, huge ones."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roi_cls.base.errors import ImageReadError
from roi_cls.roi.decoders import read_jpeg
from roi_cls.roi.image import Image, decode_image
from tests.helpers.colours import PROFILES
from tests.helpers.pictures import encode, noise

AGAIN = "Remove it, or copy or export it again."
DEVELOP = "Export it as JPEG or TIFF with a raw developer."
CONVERT = "Convert it to PNG or JPEG."
GIVE = "Give PNG, JPEG, WebP, AVIF, HEIC, BMP, TIFF or GIF files."
SHRINK = "Shrink it, or raise the limit with --max-pixels or ROI_CLS_MAX_PIXELS."
NOISE = noise(5, 4, 3, seed=4)
SMALL: Image = np.asarray(cv2.resize(NOISE, (23, 18)), np.uint8)


FILES = {
    "png": encode(SMALL, "PNG", "RGB"),
    "png grey": encode(SMALL, "PNG", "L", transparency=3),
    "png palette": encode(SMALL, "PNG", "P"),
    "jpeg": encode(SMALL, "JPEG", "RGB"),
    "jpeg progressive": encode(SMALL, "JPEG", "L", progressive=True),
    "jpeg cmyk": encode(SMALL, "JPEG", "CMYK"),
    "webp": encode(SMALL, "WEBP", "RGB"),
    "webp lossless": encode(SMALL, "WEBP", "RGBA", lossless=True),
    "bmp": encode(SMALL, "BMP", "RGB"),
    "bmp palette": encode(SMALL, "BMP", "P"),
    "tiff": encode(SMALL, "TIFF", "RGB"),
    "tiff lzw": encode(SMALL, "TIFF", "RGB", compression="tiff_lzw"),
    "tiff deep": cv2.imencode(".tif", SMALL.astype(np.uint16) * 257)[1].tobytes(),
    "gif": encode(SMALL, "GIF", "P"),
    "png profile": encode(SMALL, "PNG", "RGB", icc_profile=PROFILES["Display P3"]),
    "jpeg profile": encode(SMALL, "JPEG", "RGB", icc_profile=PROFILES["Display P3"]),
    "avif": encode(SMALL, "AVIF", "RGB"),
    "jpeg 2000": encode(SMALL, "JPEG2000", "RGB"),
    "jpeg 2000 stream": encode(SMALL, "JPEG2000", "L", no_jp2=True),
    "ppm": encode(SMALL, "PPM", "RGB"),
    "pgm deep": b"P5 23 18 1023\n" + (SMALL[..., 0].astype(">u2") * 4).tobytes(),
    "pbm": encode(SMALL, "PPM", "1"),
    "tga": encode(SMALL, "TGA", "RGBA"),
    "tga palette": encode(SMALL, "TGA", "P", compression="tga_rle"),
}
WHOLE = {name: decode_image(data, name) for name, data in FILES.items()}


def refusal(data: bytes, **options: int) -> str:
    with pytest.raises(ImageReadError) as caught:
        decode_image(data, "a.png", **options)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith("Cannot read 'a.png': ")
    return text.removeprefix("Cannot read 'a.png': ")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", f"it is empty (0 bytes). {AGAIN}"),
        (b"hello\nworld", f"it is not a picture (it begins with b'hello\\nworld'). {GIVE}"),
        (
            b"BMW is a car maker",
            f"it is not a picture (it begins with b'BMW is a car mak'). {GIVE}",
        ),
        (b"\0\0\0\x18ftypcrx \0\0", f"it is a camera's raw picture. {DEVELOP}"),
        (b"II*\0\x10\0\0\0CR\2\0", f"it is a camera's raw picture. {DEVELOP}"),
        (b"IIRO\x08\0\0\0", f"it is a camera's raw picture. {DEVELOP}"),
        (b"FUJIFILMCCD-RAW 0201", f"it is a camera's raw picture. {DEVELOP}"),
        (b"\0\0\0\x18ftypisom\0\0", f"it is a video. {GIVE}"),
        (b"\xff\x0a\xfa", f"it is a JPEG XL picture. {CONVERT}"),
        (b"PF\n2 2\n-1\n", f"it is a picture of float numbers (PFM, EXR or HDR). {CONVERT}"),
        (b"P7\nWIDTH 2\n", f"it is a PAM picture. {CONVERT}"),
        (b"qoif\0\0\0\1", f"it is a QOI picture. {CONVERT}"),
        (b"\0\0\1\0\1\0\x10\x10", f"it is an icon. {CONVERT}"),
        (b"8BPS\0\1", f"it is a Photoshop file. {CONVERT}"),
        (b"%PDF-1.7\n", f"it is a PDF document. {CONVERT}"),
        (b"<svg xmlns=''/>", f"it is an SVG drawing. {CONVERT}"),
        (b"<?xml version='1.0'?>\n<!-- x -->\n<svg>", f"it is an SVG drawing. {CONVERT}"),
        (b"<!-- x -->" * 300 + b"<svg>", f"it is an SVG drawing. {CONVERT}"),
        (b"<!---->" * 580, f"it is not a picture (it begins with {b'<!----><!----><!'!r}). {GIVE}"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html>", "it is an HTML page. Download the picture itself."),
        (b"<html><body>404", "it is an HTML page. Download the picture itself."),
        (b"PK\x03\x04", "it is an archive. Unpack it, or give it as .zip or .tar."),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "it is a Git LFS pointer. Run `git lfs pull` to fetch the picture.",
        ),
        (b"\x89PNG\r\n", f"it is cut off after 6 bytes. {AGAIN}"),
        (b"\xff\xd8", f"its JPEG header cannot be read (not a JPEG file). {AGAIN}"),
        (
            b"\xff\xd8\xff\xda\0\2\xff\xd9",
            f"its JPEG header cannot be read (not identified by this driver). {AGAIN}",
        ),
        (
            b"\x89PNG\n\x1a\n" + bytes(9),
            f"its PNG signature is damaged, as by a transfer in text mode. {AGAIN}",
        ),
    ],
)
def test_refusal_names_what_it_is(data: bytes, message: str) -> None:
    assert refusal(data) == message


@pytest.mark.parametrize("name", FILES)
def test_cut_file_is_an_error_or_whole(name: str) -> None:
    data = FILES[name]
    refused = 0
    for end in range(len(data)):
        try:
            image = decode_image(data[:end], name)
        except ImageReadError:
            refused += 1
        else:  # what was cut held no pixels: GIF's last byte, TGA's footer, JPEG's end
            np.testing.assert_array_equal(image, WHOLE[name], err_msg=f"{name} cut at {end}")
    assert refused >= len(data) - 26
    is_padded = ("gif", "bmp", "tiff", "tga", "jpeg")
    assert refused == len(data) or name.startswith(is_padded)


@pytest.mark.parametrize("name", ["png", "jpeg", "webp", "jpeg cmyk"])
def test_cut_file_says_so(name: str) -> None:
    end = len(FILES[name]) - (4 if name.startswith("jpeg") else 1)
    assert refusal(FILES[name][:end]) == f"it is cut off after {end} bytes. {AGAIN}"


def test_cut_jpeg_with_a_whole_preview_is_refused() -> None:
    jpeg = FILES["jpeg"]
    preview = b"\xff\xe2" + struct.pack(">H", len(jpeg) + 2) + jpeg
    data = jpeg[:2] + preview + jpeg[2:]
    np.testing.assert_array_equal(decode_image(data, "a"), WHOLE["jpeg"])
    assert refusal(data[:-9]) == f"it is cut off after {len(data) - 9} bytes. {AGAIN}"


def test_every_flipped_bit_in_png_pixels_is_found() -> None:
    data = FILES["png"]
    start = data.index(b"IDAT") + 4
    for place in range(start, len(data) - 16):
        damaged = bytearray(data)
        damaged[place] ^= 1
        assert (
            refusal(bytes(damaged)) == f"it is damaged (wrong checksum in PNG chunk IDAT). {AGAIN}"
        )


def rewrite_png(header: tuple[int, ...]) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", *header)
    return FILES["png"][:12] + body + struct.pack(">I", zlib.crc32(body)) + FILES["png"][33:]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ((0, 18, 8, 2, 0, 0, 0), f"its header claims 0 x 18 pixels. {AGAIN}"),
        (
            (20000, 20000, 8, 2, 0, 0, 0),
            f"it has 20000 x 20000 pixels, over the limit of 100000000. {SHRINK}",
        ),
        (
            (2_000_000, 1, 8, 2, 0, 0, 0),
            "it has 2000000 x 1 pixels, a side over 1000000. Cut it into smaller pictures.",
        ),
        ((23, 18, 3, 2, 0, 0, 0), f"it is damaged (its PNG header has unknown values). {AGAIN}"),
        ((23, 18, 8, 2, 0, 0, 2), f"it is damaged (its PNG header has unknown values). {AGAIN}"),
    ],
)
def test_png_header_is_checked_before_pixels(header: tuple[int, ...], message: str) -> None:
    assert refusal(rewrite_png(header)) == message


def test_png_chunks_must_make_sense() -> None:
    png = FILES["png"]
    unknown = png.replace(b"IDAT", b"JDAT")
    assert refusal(unknown) == f"it is damaged (unknown PNG chunk b'JDAT'). {AGAIN}"
    assert refusal(png[:33] + png[-12:]) == f"it is damaged (a PNG without pixels). {AGAIN}"
    short = b"IHDR" + bytes(5)
    header = struct.pack(">I", 5) + short + struct.pack(">I", zlib.crc32(short))
    wrong = f"it is damaged (its PNG header has a wrong length). {AGAIN}"
    assert refusal(png[:8] + header + png[33:]) == wrong


@pytest.mark.parametrize("name", FILES)
def test_limit_counts_pixels_and_is_inclusive(name: str) -> None:
    np.testing.assert_array_equal(decode_image(FILES[name], name, max_pixels=23 * 18), WHOLE[name])
    wanted = f"it has 23 x 18 pixels, over the limit of 413. {SHRINK}"
    assert refusal(FILES[name], max_pixels=23 * 18 - 1) == wanted


def test_limit_below_one_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="max_pixels must be at least 1, got 0"):
        decode_image(FILES["png"], "a", max_pixels=0)


@pytest.mark.parametrize("name", ["bmp", "gif", "jpeg", "tiff", "webp lossless"])
def test_bombs_are_refused_by_their_header(name: str) -> None:
    data = bytearray(FILES[name])
    if name == "bmp":
        struct.pack_into("<ii", data, 18, 20000, 20000)
    elif name == "gif":
        struct.pack_into("<HH", data, 6, 20000, 20000)
    elif name == "jpeg":
        struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, 20000, 20000)
    elif name == "tiff":
        for tag in (256, 257):
            struct.pack_into("<I", data, data.index(struct.pack("<HH", tag, 4)) + 8, 20000)
    else:
        struct.pack_into("<I", data, 21, 0x3FFF | 0x3FFF << 14)
    side = 16384 if name.startswith("webp") else 20000
    wanted = f"it has {side} x {side} pixels, over the limit of 100000000. {SHRINK}"
    assert refusal(bytes(data)) == wanted


def test_gif_frame_beyond_its_screen_is_refused_quietly() -> None:
    data = bytearray(FILES["gif"])
    place = data.index(b"\x2c\0\0\0\0")
    struct.pack_into("<HH", data, place + 5, 60000, 60000)
    assert refusal(bytes(data)) == f"its frame is far over the limit of pixels. {AGAIN}"


def test_pixels_without_a_fixed_range_are_refused() -> None:
    wanted = (
        "its pixels are float, signed or 32-bit numbers, which have no fixed range. "
        "Convert it to 8 or 16 bits, unsigned."
    )
    for mode in ("F", "I"):
        assert refusal(encode(SMALL, "TIFF", mode)) == wanted


def test_deep_jpeg_is_named() -> None:
    data = bytearray(FILES["jpeg"])
    data[data.index(b"\xff\xc0") + 4] = 12
    assert refusal(bytes(data)) == (
        f"it is a JPEG of a rare kind (Unsupported JPEG data precision 12). {CONVERT}"
    )


def test_decoder_errors_are_told_on_one_line() -> None:
    assert refusal(FILES["tiff"][:8]).startswith("its TIFF data cannot be decoded (")


def test_out_of_memory_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(cv2, "imdecode", fail)
    monkeypatch.setattr(np, "empty", fail)
    for name in ("png", "png palette"):
        assert refusal(FILES[name]) == (
            "its pixels do not fit into memory. "
            "Free memory, or lower the limit with --max-pixels or ROI_CLS_MAX_PIXELS."
        )


def test_damage_found_here_leaves_stderr_empty(capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("png", "jpeg", "webp", "gif", "bmp", "jpeg cmyk", "png palette"):
        data = FILES[name]
        for end in range(0, len(data), 5):
            try:
                decode_image(data[:end], name)
            except ImageReadError:
                continue
    assert capfd.readouterr() == ("", "")


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    data = bytearray(FILES[draw(st.sampled_from(sorted(FILES)))])
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(["overwrite", "insert", "delete", "cut"]))
        new = draw(st.binary(min_size=1, max_size=6))
        if kind == "cut":
            del data[place:]
        elif kind == "delete":
            del data[place : place + len(new)]
        else:
            data[place : place + (len(new) if kind == "overwrite" else 0)] = new
    return bytes(data)


@settings(max_examples=600)
@given(damaged_files() | st.binary(max_size=64))
def test_any_bytes_give_a_picture_or_an_image_error(data: bytes) -> None:
    try:
        image = decode_image(data, "a", max_pixels=1_000_000)
    except ImageReadError as error:
        lines = str(error).splitlines()
    else:
        lines = ["decoded"]
        assert image.dtype == np.uint8
        assert image.shape[2:] == (3,)
        assert 0 < image.size <= 3_000_000
        assert image.flags.c_contiguous
        assert image.flags.writeable
    assert len(lines) == 1


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_jpeg_header_gives_exif_and_the_joined_profile(order: tuple[int, int]) -> None:
    def segment(marker: int, body: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body

    parts = {1: b"colour ", 2: b"profile"}
    told = [segment(0xE2, b"ICC_PROFILE\0" + bytes([i, 2]) + parts[i]) for i in order]
    camera = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0") + segment(0xE1, b"Exif\0\0tags")
    plain = FILES["jpeg"]
    found = read_jpeg(plain[:20] + told[0] + camera + told[1] + plain[20:])
    assert (found.height, found.width, found.components) == (18, 23, 3)
    assert (found.exif, found.profile) == (b"Exif\0\0tags", b"colour profile")
    assert read_jpeg(plain[:20] + told[0] + plain[20:]).profile == b""  # a part is missing
    assert (read_jpeg(plain).exif, read_jpeg(plain).profile) == (b"", b"")
