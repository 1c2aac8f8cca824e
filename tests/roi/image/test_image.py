"""Pixels of every supported kind of file, here and on a remote file system."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from numpy.typing import NDArray
from PIL import Image as PillowImage

from roi_cls.base.errors import ImageReadError
from roi_cls.base.location import as_path
from roi_cls.roi import image as image_module
from roi_cls.roi.image import decode_image, read_bytes, read_image
from tests.helpers.pictures import encode, exif, png_chunk

RNG = np.random.default_rng(20)
RGB = np.asarray(cv2.resize(RNG.integers(0, 256, (5, 4, 3), np.uint8), (29, 37)), np.uint8)
ALPHA = np.asarray(cv2.resize(RNG.integers(0, 256, (3, 3), np.uint8), (29, 37)), np.uint8)
PICTURE = PillowImage.fromarray(RGB)
CLEAR = PillowImage.fromarray(np.dstack([RGB, ALPHA]))
LOSSLESS: list[tuple[str, dict[str, Any]]] = [
    ("PNG", {}),
    ("BMP", {}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ("WEBP", {"lossless": True}),
]
UPRIGHT = {
    1: RGB,
    2: RGB[:, ::-1],
    3: np.rot90(RGB, 2),
    4: RGB[::-1],
    5: RGB.transpose(1, 0, 2),
    6: np.rot90(RGB, -1),
    7: np.rot90(RGB, 2).transpose(1, 0, 2),
    8: np.rot90(RGB, 1),
}


def png(color: int, depth: int, samples: bytes, *extra: bytes, size: tuple[int, int]) -> bytes:
    height, width = size
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    row = len(samples) // height
    rows = b"".join(b"\0" + samples[i * row : (i + 1) * row] for i in range(height))
    body = [header, *extra, png_chunk(b"IDAT", zlib.compress(rows)), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def on_white(rgb: NDArray[Any], alpha: NDArray[Any]) -> NDArray[np.float64]:
    share = alpha[..., None] / 255
    return np.floor(rgb * share + 255 * (1 - share) + 0.5)


@pytest.mark.parametrize(("kind", "options"), LOSSLESS)
def test_lossless_file_gives_back_its_pixels(kind: str, options: dict[str, Any]) -> None:
    image = decode_image(encode(PICTURE, kind, **options), "a")
    np.testing.assert_array_equal(image, RGB)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.flags.writeable


@pytest.mark.parametrize(("kind", "options"), LOSSLESS)
@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_grey_and_palette_become_rgb(kind: str, options: dict[str, Any], mode: str) -> None:
    picture = PICTURE.convert(mode)
    if kind == "WEBP":
        picture = picture.convert("RGB")
    np.testing.assert_array_equal(
        decode_image(encode(picture, kind, **options), "a"), np.array(picture.convert("RGB"))
    )


@pytest.mark.parametrize(
    "data",
    [
        encode(CLEAR, "PNG"),
        encode(CLEAR, "TIFF"),
        encode(CLEAR, "TIFF", compression="tiff_lzw"),
        encode(CLEAR, "WEBP", lossless=True, exact=True),
    ],
)
def test_transparency_is_composited_on_white(data: bytes) -> None:
    np.testing.assert_array_equal(decode_image(data, "a"), on_white(RGB, ALPHA))


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_transparent_palette_entry_is_white(kind: str) -> None:
    picture = PICTURE.quantize(7)
    is_clear = np.array(picture) == 3
    image = decode_image(encode(picture, kind, transparency=3), "a")
    assert is_clear.any()
    assert (image[is_clear] == 255).all()
    np.testing.assert_array_equal(image[~is_clear], np.array(picture.convert("RGB"))[~is_clear])


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("is_transparent", [False, True])
def test_grey_png_of_every_depth(depth: int, is_transparent: bool) -> None:
    top = 2**depth - 1
    values = [0, top, 1, top // 2, top, 0, 1, 0]
    bits = "".join(f"{value:0{depth}b}" for value in values)
    samples = int(bits, 2).to_bytes(depth, "big")
    extra = [png_chunk(b"tRNS", struct.pack(">H", 1))] if is_transparent else []
    wanted = [255 if is_transparent and v == 1 else round(v * 255 / top) for v in values]
    image = decode_image(png(0, depth, samples, *extra, size=(1, 8)), "a")
    assert image[0].tolist() == [[value] * 3 for value in wanted]


def test_transparent_colour_of_deep_png_is_white() -> None:
    samples = struct.pack(">6H", 1, 2, 3, 257, 65535, 128)
    data = png(2, 16, samples, png_chunk(b"tRNS", struct.pack(">3H", 1, 2, 3)), size=(1, 2))
    assert decode_image(data, "a").tolist() == [[[255, 255, 255], [1, 255, 0]]]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_are_scaled_and_rounded(suffix: str, channels: int) -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    layers = [values, values[::-1], values.T, np.full_like(values, 65535)][:channels]
    done, data = cv2.imencode(suffix, np.dstack(layers) if channels > 1 else values)
    assert done
    wanted = [np.floor(layer / 257 + 0.5) for layer in layers[:3]]
    wanted = wanted[::-1] if channels > 1 else wanted * 3  # OpenCV writes blue first
    np.testing.assert_array_equal(decode_image(data.tobytes(), "a"), np.dstack(wanted))


def test_sixteen_bit_alpha_is_composited() -> None:
    done, data = cv2.imencode(".png", np.array([[[0, 0, 65535, 32896]]], np.uint16))
    assert done
    assert decode_image(data.tobytes(), "a").tolist() == [[[255, 127, 127]]]


def test_inverted_and_turned_sixteen_bit_tiff() -> None:
    grey = PillowImage.fromarray(np.array([[0, 65535, 257]], np.uint16))
    image = decode_image(encode(grey, "TIFF", tiffinfo={262: 0}), "a")
    assert image[0, :, 0].tolist() == [255, 0, 254]
    turned = encode(grey, "TIFF", tiffinfo={274: 6})
    assert decode_image(turned, "a")[:, 0, 0].tolist() == [0, 255, 1]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("kind", "options"), [row for row in LOSSLESS if row[0] != "BMP"])
def test_exif_orientation_is_applied_once(
    kind: str, options: dict[str, Any], orientation: int
) -> None:
    data = encode(PICTURE, kind, exif=exif(orientation, "a maker"), **options)
    np.testing.assert_array_equal(decode_image(data, "a"), UPRIGHT[orientation])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_exif_orientation_of_jpeg(orientation: int, mode: str) -> None:
    plain = decode_image(encode(PICTURE.convert(mode), "JPEG"), "a")
    data = encode(PICTURE.convert(mode), "JPEG", exif=exif(orientation, "a maker"))
    turned = decode_image(data, "a")
    assert turned.flags.c_contiguous
    marks = np.arange(RGB.size, dtype=np.int64).reshape(RGB.shape)
    places = {
        1: marks,
        2: marks[:, ::-1],
        3: marks[::-1, ::-1],
        4: marks[::-1],
        5: marks.transpose(1, 0, 2),
        6: marks[::-1].transpose(1, 0, 2),
        7: marks[::-1, ::-1].transpose(1, 0, 2),
        8: marks[:, ::-1].transpose(1, 0, 2),
    }
    np.testing.assert_array_equal(turned, plain.reshape(-1)[places[orientation]])


def test_orientation_of_deep_rgb_tiff_is_applied() -> None:
    done, data = cv2.imencode(".tif", np.array([[[0, 0, 65535], [0, 128, 0]]], np.uint16))
    assert done
    tiff = bytearray(data.tobytes())
    order = "<" if tiff[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", tiff, 4)
    (count,) = struct.unpack_from(order + "H", tiff, start)
    entries = [tiff[start + 2 + 12 * i : start + 14 + 12 * i] for i in range(count)]
    tags = [struct.unpack_from(order + "H", entry)[0] for entry in entries]
    kept = [entry for tag, entry in zip(tags, entries, strict=True) if tag != 274]
    new = bytearray(struct.pack(order + "HHIHH", 274, 3, 1, 6, 0))
    kept = sorted([*kept, new], key=lambda e: int(struct.unpack_from(order + "H", e)[0]))
    struct.pack_into(order + "I", tiff, 4, len(tiff))
    tiff += struct.pack(order + "H", len(kept)) + b"".join(kept) + bytes(4)
    assert decode_image(bytes(tiff), "a").tolist() == [[[255, 0, 0]], [[0, 0, 0]]]


@pytest.mark.parametrize(
    "damage", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", exif(9, "a maker")]
)
def test_damaged_exif_leaves_the_picture_as_it_is(damage: bytes) -> None:
    for mode in ("RGB", "CMYK"):
        picture = PICTURE.convert(mode)
        plain = decode_image(encode(picture, "JPEG"), "a")
        image = decode_image(encode(picture, "JPEG", exif=damage), "a")
        np.testing.assert_array_equal(image, plain)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_jpeg_equals_pillow(mode: str, progressive: bool, subsampling: int) -> None:
    data = encode(PICTURE.convert(mode), "JPEG", progressive=progressive, subsampling=subsampling)
    with PillowImage.open(io.BytesIO(data)) as picture:
        np.testing.assert_array_equal(decode_image(data, "a"), np.array(picture.convert("RGB")))


def test_jpeg_of_adobe_cmyk_keeps_its_colours() -> None:
    red = PillowImage.new("RGB", (16, 16), (250, 10, 10)).convert("CMYK")
    mean = decode_image(encode(red, "JPEG"), "a").mean(axis=(0, 1))
    np.testing.assert_allclose(mean, (250, 10, 10), atol=6)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "TIFF"])
def test_first_frame_is_read(kind: str) -> None:
    first, second = PillowImage.new("RGB", (9, 7), "red"), PillowImage.new("RGB", (9, 7), "blue")
    data = encode(first, kind, save_all=True, append_images=[second])
    image = decode_image(data, "a")
    assert image.shape == (7, 9, 3)
    np.testing.assert_allclose(image[3, 4], (255, 0, 0), atol=4)


def test_metadata_and_trailing_bytes_change_nothing() -> None:
    extra = [png_chunk(b"iCCP", b"broken"), png_chunk(b"acTL", b"?"), png_chunk(b"teXt", b"hello")]
    data = png(2, 8, RGB.tobytes(), *extra, size=RGB.shape[:2])
    np.testing.assert_array_equal(decode_image(data + b"tail", "a"), RGB)
    jpeg = encode(PICTURE, "JPEG")
    np.testing.assert_array_equal(decode_image(jpeg + jpeg[:99], "a"), decode_image(jpeg, "a"))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1)])
def test_tiny_pictures_work(kind: str, size: tuple[int, int]) -> None:
    image = decode_image(encode(PillowImage.new("RGB", size, "white"), kind), "a")
    np.testing.assert_array_equal(image, np.full((size[1], size[0], 3), 255))


def test_remote_picture_is_read_as_a_local_one(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    remote = as_path("memory://test-image/a.png")
    remote.write_bytes((tmp_path / "a.png").read_bytes())
    assert np.array_equal(read_image(remote), read_image(tmp_path / "a.png"))


def test_remote_picture_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = as_path("memory://test-image/folder")
    (folder / "empty.png").write_bytes(b"")
    (folder / "large.png").write_bytes(b"123")
    monkeypatch.setattr(image_module, "MAX_BYTES", 2)
    reasons = {
        "": "it is a folder. Give the files in it.",
        "missing.png": "no such file. Check the path.",
        "empty.png": "it is empty (0 bytes). Remove it, or copy or export it again.",
        "large.png": "it has 3 bytes, over the limit of 2. Give PNG, JPEG, WebP, AVIF, "
        "HEIC, BMP, TIFF or GIF files.",
    }
    for name, reason in reasons.items():
        path = folder / name if name else folder
        with pytest.raises(ImageReadError) as caught:
            read_bytes(path)
        assert str(caught.value) == f"Cannot read {str(path)!r}: {reason}"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            PermissionError("Access Denied"),
            "permission denied. Give this user the right to read it.",
        ),
        (
            EOFError("Could not connect to the URL: X"),  # as clients do: no OSError
            "Could not connect to the URL: X. Check the path, the network and your right to read "
            "it.",
        ),
    ],
)
def test_remote_picture_that_cannot_be_reached_is_told(
    monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    path = as_path("memory://test-image/far.png")
    path.write_bytes(b"1")

    def fail(*_: object, **__: object) -> object:
        raise error

    monkeypatch.setattr(MemoryFileSystem, "_open", fail)
    with pytest.raises(ImageReadError) as caught:
        read_bytes(path)
    assert str(caught.value) == f"Cannot read 'memory://test-image/far.png': {reason}"
