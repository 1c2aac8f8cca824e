"""Colours of files: whichever way a file says them, the picture is the same."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage

from roi_cls.roi.colour import make_profile
from roi_cls.roi.image import Image, decode_image
from roi_cls.roi.picture import FACTORS, Picture
from tests.helpers.colours import GAMUTS, PROFILES, SRGB, store
from tests.helpers.pictures import encode, noise, png_chunk

SRGB_PIXELS: Image = np.asarray(
    cv2.resize(noise(5, 7, 3, low=60, high=200, seed=1), (96, 64), interpolation=cv2.INTER_CUBIC),
    np.uint8,
)
P3 = store(SRGB_PIXELS, "Display P3")
PROFILE = PROFILES["Display P3"]


def png_with(*chunks: bytes, pixels: Image = P3) -> bytes:
    """Return a PNG with these chunks before its pixels."""
    data = encode(pixels, "PNG")
    return data[:33] + b"".join(chunks) + data[33:]


def iccp(profile: bytes) -> bytes:
    return png_chunk(b"iCCP", b"a profile\0\0" + zlib.compress(profile))


def with_colour_box(profile: bytes) -> bytes:
    """Return a JPEG 2000 whose colours are said by a profile."""
    data = encode(P3, "JPEG2000")
    old = data.index(b"colr") - 4
    length = int.from_bytes(data[old : old + 4], "big")
    body = b"\2\0\0" + profile
    box = struct.pack(">I4s", 8 + len(body), b"colr") + body
    header = data.index(b"jp2h") - 4
    size = int.from_bytes(data[header : header + 4], "big") + len(box) - length
    return (
        data[:header]
        + struct.pack(">I", size)
        + data[header + 4 : old]
        + box
        + data[old + length :]
    )


def avif_with_codes(primaries: int, transfer: int) -> bytes:
    data = bytearray(encode(P3, "AVIF", quality=95, subsampling="4:4:4"))
    struct.pack_into(">HH", data, data.index(b"colrnclx") + 8, primaries, transfer)
    return bytes(data)


FILES: dict[str, Callable[[], bytes]] = {
    "PNG": lambda: encode(P3, "PNG", icc_profile=PROFILE),
    "PNG of 16 bits": lambda: png_of_16_bits(),
    "PNG with alpha": lambda: encode(
        np.dstack([P3, np.full(P3.shape[:2], 255, np.uint8)]), "PNG", icc_profile=PROFILE
    ),
    "PNG, cICP": lambda: png_with(png_chunk(b"cICP", bytes((12, 13, 0, 1)))),
    "PNG, cICP before iCCP": lambda: png_with(
        png_chunk(b"cICP", bytes((12, 13, 0, 1))), iccp(PROFILES["ProPhoto RGB"])
    ),
    "JPEG": lambda: encode(P3, "JPEG", quality=98, subsampling=0, icc_profile=PROFILE),
    "WebP": lambda: encode(P3, "WEBP", lossless=True, icc_profile=PROFILE),
    "TIFF": lambda: encode(P3, "TIFF", icc_profile=PROFILE),
    "AVIF": lambda: encode(P3, "AVIF", quality=95, subsampling="4:4:4", icc_profile=PROFILE),
    "AVIF, nclx": lambda: avif_with_codes(12, 13),
    "JPEG 2000": lambda: with_colour_box(PROFILE),
}


def png_of_16_bits() -> bytes:
    done, data = cv2.imencode(".png", P3[..., ::-1].astype(np.uint16) * 257)
    assert done
    return data[:33].tobytes() + iccp(PROFILE) + data[33:].tobytes()


@pytest.mark.parametrize("name", FILES)
def test_picture_in_display_p3_is_the_one_in_srgb(name: str) -> None:
    data = FILES[name]()
    picture = Picture(data, name)
    assert np.abs(picture.pixels().astype(int) - SRGB_PIXELS).mean() < 1.5
    assert picture.colours.note == "Display P3"
    np.testing.assert_array_equal(picture.pixels(), decode_image(data, name))
    for factor in FACTORS[1:]:
        wanted = Picture.of(SRGB_PIXELS).reduced(factor)
        assert np.abs(picture.reduced(factor).astype(int) - wanted).mean() < 1.5
    stored = Picture(data, name, color="stored")
    assert np.abs(stored.pixels().astype(int) - P3).mean() < 1.5
    assert stored.colours.note == "ignored: Display P3"


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_wide_gamuts_come_back_at_every_scale(name: str, kind: str) -> None:
    options: dict[str, Any] = {"quality": 98, "subsampling": 0} if kind == "JPEG" else {}
    data = encode(store(SRGB_PIXELS, name), kind, icc_profile=PROFILES[name], **options)
    for factor in FACTORS:
        wanted = Picture.of(SRGB_PIXELS).reduced(factor)
        assert np.abs(Picture(data, "a").reduced(factor).astype(int) - wanted).mean() < 1.5


@pytest.mark.parametrize(
    ("data", "note"),
    [
        (encode(P3, "PNG", icc_profile=SRGB), None),
        (png_with(png_chunk(b"sRGB", b"\0"), png_chunk(b"gAMA", struct.pack(">I", 100000))), None),
        (png_with(png_chunk(b"gAMA", struct.pack(">I", 45455))), None),
        (png_with(png_chunk(b"iCCP", b"broken")), "ignored: broken"),
        (png_with(iccp(b"no profile")), "ignored: broken"),
        (png_with(iccp(PROFILE[:200])), "ignored: broken"),
        (png_with(iccp(bytes(2**22 + 1))), "ignored: broken"),
        (png_with(png_chunk(b"cICP", bytes((9, 16, 0, 1)))), "ignored: HDR (PQ)"),
        (encode(P3, "TIFF", icc_profile=b"broken"), "ignored: broken"),
        (encode(P3, "TIFF", icc_profile=PROFILE[:300]), "ignored: broken"),
    ],
)
def test_picture_keeps_its_numbers(
    data: bytes, note: str | None, capfd: pytest.CaptureFixture[str]
) -> None:
    picture = Picture(data, "a")
    np.testing.assert_array_equal(picture.pixels(), P3)
    assert picture.colours.note == note
    assert capfd.readouterr() == ("", "")


def test_broken_profile_of_a_jpeg_is_ignored() -> None:
    plain = encode(P3, "JPEG")
    picture = Picture(encode(P3, "JPEG", icc_profile=PROFILE[:300]), "a")
    np.testing.assert_array_equal(picture.pixels(), decode_image(plain, "a"))
    assert picture.colours.note == "ignored: broken"


def test_linear_png_is_brightened() -> None:
    grey = np.full((4, 4), 55, np.uint8)  # 0.2159 of the light: half of sRGB's scale
    for pixels in (grey, np.repeat(grey[..., None], 3, axis=2)):
        data = png_with(png_chunk(b"gAMA", struct.pack(">I", 100000)), pixels=pixels)
        picture = Picture(data, "a")
        assert (picture.pixels() == 128).all()
        assert picture.colours.note == "gamma 1.00"


def test_what_is_transparent_is_white_in_every_profile() -> None:
    clear = np.dstack([P3, np.zeros(P3.shape[:2], np.uint8)])
    clear[0, 0, 3] = 255
    image = decode_image(encode(clear, "PNG", icc_profile=PROFILE), "a")
    assert (image[1:] == 255).all()
    assert np.abs(image[0, 0].astype(int) - SRGB_PIXELS[0, 0]).max() <= 2


def grey_profile(exponent: float) -> bytes:
    """Return an ICC profile of grey: the one of three primaries with another head and curve."""
    data = bytearray(make_profile("grey", GAMUTS["Display P3"][0], (0.3127, 0.329), (exponent,)))
    data[16:20] = b"GRAY"
    place = data.index(b"rTRC")
    data[place : place + 4] = b"kTRC"
    return bytes(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_grey_picture_follows_a_grey_profile(kind: str) -> None:
    grey = np.full((16, 16), 55, np.uint8)
    picture = Picture(encode(grey, kind, icc_profile=grey_profile(1.0)), "a")
    assert (np.abs(picture.pixels().astype(int) - 128) <= 1).all()
    assert picture.colours.note == "grey"
    assert (picture.reduced(2) == picture.pixels()[0, 0]).all()
    colour = Picture(encode(P3, kind, icc_profile=grey_profile(1.0)), "a")
    assert colour.colours.note == "ignored: a profile of GRAY"


def ink_profile() -> bytes:
    """Return a small ICC profile of inks: black to L* 0, without ink 100, others ignored."""
    table = b"".join(
        bytes((0 if corner & 1 else 255, 128, 128))
        for corner in range(16)  # black counts last
    )
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    lut = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + matrix
    lut += b"".join(bytes(range(256)) for _ in range(4)) + table
    lut += b"".join(bytes(range(256)) for _ in range(3))
    text = "inks".encode("utf-16-be")
    name = b"mluc" + struct.pack(">4xII4sII", 1, 12, b"enUS", len(text), 28) + text
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    tags, body, table_of = [(b"desc", name), (b"wtpt", white), (b"A2B0", lut)], b"", b""
    start = 128 + 4 + 12 * len(tags)
    for tag, value in tags:
        table_of += tag + struct.pack(">II", start + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    head = struct.pack(">I4xI12s", start + len(body), 0x02000000, b"prtrCMYKLab ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table_of + body


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_inks_become_rgb_by_their_profile(kind: str) -> None:
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[..., 0] = 200  # cyan, of which this profile knows nothing
    inks[8:, :, 3] = 255
    buffer = io.BytesIO()
    options = {"quality": 95} if kind == "JPEG" else {}
    PillowImage.fromarray(inks, "CMYK").save(buffer, kind, icc_profile=ink_profile(), **options)
    picture = Picture(buffer.getvalue(), "a")
    pixels = picture.pixels()
    assert picture.colours.note == "inks"
    assert (pixels[:7] >= 250).all()
    assert (pixels[9:] <= 5).all()
    assert (picture.reduced(2)[0] >= 250).all()
    stored = Picture(buffer.getvalue(), "a", color="stored")
    assert np.abs(stored.pixels()[0, 0].astype(int) - (55, 255, 255)).max() <= 3
    assert stored.colours.note == "ignored: inks"
