"""The kinds of file that Pillow reads: each gives its pixels, upright, or is refused by name."""

from __future__ import annotations

import io
import struct
import sys
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngImageFile

from roi_cls.base.errors import ImageReadError
from roi_cls.roi.image import Image, decode_image
from tests.helpers.pictures import encode, exif, noise

RGB: Image = np.asarray(cv2.resize(noise(5, 4, 3, seed=3), (31, 22)), np.uint8)
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
RAW = "it is a camera's raw picture. Export it as JPEG or TIFF with a raw developer."
NO_RANGE = (
    "its pixels are float, signed or 32-bit numbers, which have no fixed range. "
    "Convert it to 8 or 16 bits, unsigned."
)


def refusal(data: bytes) -> str:
    with pytest.raises(ImageReadError) as caught:
        decode_image(data, "a")
    return str(caught.value).removeprefix("Cannot read 'a': ")


@pytest.mark.parametrize(
    ("kind", "modes", "options"),
    [
        ("JPEG2000", "L RGB RGBA", {}),
        ("JPEG2000", "L RGB RGBA", {"no_jp2": True}),
        ("PPM", "1 L RGB", {}),
        ("TGA", "L P RGB RGBA", {}),
        ("TGA", "L P RGB RGBA", {"compression": "tga_rle"}),
    ],
)
def test_lossless_kind_gives_back_its_pixels(
    kind: str, modes: str, options: dict[str, Any]
) -> None:
    for mode in modes.split():
        picture = PillowImage.fromarray(RGB).convert(mode)
        image = decode_image(encode(picture, kind, **options), "a")
        np.testing.assert_array_equal(image, np.array(picture.convert("RGB")), mode)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_is_turned_upright_once(orientation: int) -> None:
    best: dict[str, Any] = {"quality": 100, "subsampling": "4:4:4"}
    plain = PillowImage.fromarray(decode_image(encode(RGB, "AVIF", **best), "a"))
    np.testing.assert_allclose(np.asarray(plain), RGB, atol=9)
    turns = [None, 0, 3, 1, 5, 4, 6, 2]  # of Pillow's Transpose, by EXIF's orientation
    turn = turns[orientation - 1]
    wanted = plain if turn is None else plain.transpose(PillowImage.Transpose(turn))
    data = encode(RGB, "AVIF", exif=exif(orientation, "a maker"), **best)
    np.testing.assert_array_equal(decode_image(data, "a"), wanted)


@pytest.mark.parametrize(
    ("data", "pixels"),
    [
        (b"P1\n# drawn by hand\n3 1\n0 1 0\n", [255, 0, 255]),
        (b"P2 3 1 3 0 1 3 ", [0, 85, 255]),
        (b"P5\n3 1\n65535\n\0\0\x80\x80\xff\xff", [0, 128, 255]),
        (b"P5\n3 1 1023\n\0\0\x02\0\x03\xff", [0, 128, 255]),
    ],
)
def test_pnm_of_every_depth(data: bytes, pixels: list[int]) -> None:
    assert decode_image(data, "a")[0].tolist() == [[value] * 3 for value in pixels]


def bmp_of_32_bits(alpha: NDArray[np.uint8]) -> bytes:
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    height, width = RGB.shape[:2]
    info = struct.pack("<IiiHHIIiiII", 108, width, -height, 1, 32, 3, 0, 0, 0, 0, 0) + masks
    samples = np.dstack([RGB[..., ::-1], alpha]).tobytes()
    head = b"BM" + struct.pack("<IHHI", 122 + len(samples), 0, 0, 122)
    return head + info.ljust(108, b"\0") + samples


def test_alpha_that_hides_everything_is_no_alpha() -> None:
    hidden = np.zeros(RGB.shape[:2], np.uint8)
    clear = np.dstack([RGB, hidden])
    for data in (bmp_of_32_bits(hidden), encode(clear, "PNG"), encode(clear, "TGA")):
        np.testing.assert_array_equal(decode_image(data, "a"), RGB)
    hidden[0, 0] = 255
    shown = decode_image(bmp_of_32_bits(hidden), "a")
    assert (shown[0, 0] == RGB[0, 0]).all()
    assert (shown[1:] == 255).all()


def with_subfile_types(*types: int) -> bytes:
    """Return a TIFF of grey pictures, the nth of n by n pixels, with NewSubfileType each."""
    pictures = [PillowImage.new("L", (n, n), n) for n in range(1, len(types) + 1)]
    data = bytearray(encode(pictures[0], "TIFF", save_all=True, append_images=pictures[1:],
                            tiffinfo={254: 0}))  # fmt: skip
    (place,) = struct.unpack_from("<I", data, 4)
    for kind in types:
        (count,) = struct.unpack_from("<H", data, place)
        entries = range(place + 2, place + 2 + 12 * count, 12)
        (entry,) = (at for at in entries if data[at : at + 2] == struct.pack("<H", 254))
        struct.pack_into("<I", data, entry + 8, kind)
        (place,) = struct.unpack_from("<I", data, place + 2 + 12 * count)
    return bytes(data)


@pytest.mark.parametrize(
    ("types", "chosen"),
    [
        ((0, 0, 0), 1),
        ((2, 2, 2), 1),  # pages of a document: the first
        ((0, 1, 1), 1),
        ((1, 0, 0), 3),
        ((1, 0, 1), 2),
        ((1, 0, 4), 2),  # 4: a mask
        ((1, 1), 1),  # nothing else is there
    ],
)
def test_full_picture_of_a_tiff_is_taken(types: tuple[int, ...], chosen: int) -> None:
    image = decode_image(with_subfile_types(*types), "a")
    assert image.shape == (chosen, chosen, 3)
    assert (image == chosen).all()


def test_full_picture_below_the_thumbnail_is_taken() -> None:
    data = bytearray(encode(RGB, "TIFF", tiffinfo={254: 0, 330: 0}))
    (place,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, place)
    thumbnail = bytearray(data[place : place + 6 + 12 * count])
    for at in range(2, 2 + 12 * count, 12):
        tag = struct.unpack_from("<H", thumbnail, at)[0]
        if tag == 254:
            struct.pack_into("<I", thumbnail, at + 8, 1)
        elif tag == 330:  # where the directories below stand
            struct.pack_into("<HHII", thumbnail, at, 330, 4, 1, place)
        elif tag in (256, 257):
            struct.pack_into("<HHII", thumbnail, at, tag, 4, 1, 1)
    struct.pack_into("<I", data, 4, len(data))
    np.testing.assert_array_equal(decode_image(bytes(data + thumbnail), "a"), RGB)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({50706: b"\1\4\0\0"}, RAW),  # DNGVersion
        ({262: 32803}, RAW),
        ({262: 34892}, RAW),
        ({339: 3}, NO_RANGE),
        ({339: 2}, NO_RANGE),
    ],
)
def test_tiff_that_is_no_picture_to_look_at_is_named(tags: dict[int, Any], message: str) -> None:
    assert refusal(encode(RGB, "TIFF", tiffinfo=tags)) == message


def test_heic_names_the_extra_that_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    wanted = (
        "it is a HEIC picture, and the package that decodes them is not installed. "
        "Install it with `pip install 'roi-cls[heif]'`, or: Convert it to PNG or JPEG."
    )
    for brand in (b"heic", b"hevc", b"mif1"):
        assert refusal(HEIC.replace(b"heic", brand, 1)) == wanted


def test_heic_is_read_by_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(_: io.BytesIO) -> ImageFile:
        picture = PngImageFile(io.BytesIO(encode(RGB, "PNG")))
        picture.info["exif"] = None  # as pi-heif says that there is none
        return picture

    monkeypatch.setitem(sys.modules, "pi_heif", SimpleNamespace(HeifImageFile=opened))
    np.testing.assert_array_equal(decode_image(HEIC, "a"), RGB)


def test_avif_under_a_general_brand_is_no_heic() -> None:
    data = encode(RGB, "AVIF")
    assert data[8:12] == b"avif"
    general = data[:8] + b"mif1" + data[12:]
    np.testing.assert_array_equal(decode_image(general, "a"), decode_image(data, "a"))
