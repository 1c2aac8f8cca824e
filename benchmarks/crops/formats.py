"""Which form a stored crop should have: bytes, and time to write and to read, of each candidate.

    python -m benchmarks.crops.formats [FOLDER] [--json FILE] [--crops N] [--size PX]

Crops are the central squares of the pictures in FOLDER, else faces drawn by code. Every form must
give back each pixel. One core; the best of several passes, since other work only adds time.
"""

from __future__ import annotations

import argparse
import io
import json
import struct
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image as PillowImage

from roi_cls.data.demo.picture import draw_picture, place_persons
from roi_cls.roi.image import Image, read_image

PASSES = 5
_BMP_HEADER = struct.Struct("<2sIII IiiHHIIiiII")  # file header of 14 bytes, picture header of 40
_BMP_HEADER_BYTES = 54
_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}


@dataclass(frozen=True, slots=True)
class Form:
    """A way to keep an RGB array as bytes."""

    name: str
    encode: Callable[[Image], bytes]
    decode: Callable[[bytes, int], Image]
    """Of the bytes and the crop's side in pixels, which raw bytes do not tell."""
    opens_in_browsers: bool = True


@dataclass(frozen=True, slots=True)
class Figures:
    """What one form costs per crop."""

    name: str
    encode_ms: float
    decode_ms: float
    kib: float
    opens_in_browsers: bool


def main() -> None:
    """Measure, print the table, and write it as JSON where that is asked for."""
    parser = argparse.ArgumentParser(description="Compare file forms of a stored crop.")
    parser.add_argument("folder", nargs="?", type=Path, help="pictures to crop; drawn without it")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--crops", type=int, default=24, help="how many crops")
    parser.add_argument("--size", type=int, default=224, help="side of a crop in pixels")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    crops = load_crops(options.folder, options.crops, options.size)
    if not crops:
        sys.exit(f"No crops: {options.folder} holds no pictures. Give a folder with some.")
    table = [measure(form, crops) for form in list_forms()]
    sys.stdout.write(render(table, len(crops), options.size))
    if options.json:
        rows = {"crops": len(crops), "size_px": options.size, "forms": [asdict(r) for r in table]}
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def load_crops(folder: Path | None, count: int, size_px: int) -> list[Image]:
    """Return square (size_px, size_px, 3) crops of real pictures, or of drawn faces."""
    if folder is None:
        drawn = (draw_face(i) for i in range(4 * count) if place_persons(0, i))
        crops = (crop for crop, _ in zip(drawn, range(count), strict=False))
    else:
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
        crops = (cut_centre(read_image(path)) for path in paths[:count])
    return [shrink(crop, size_px) for crop in crops]


def draw_face(index: int) -> Image:
    """Return the first face of a drawn picture, with a quarter of its size around it."""
    image = draw_picture(0, index, None)
    box = place_persons(0, index)[0].face_box.expand(0.25).square()
    left, top, right, bottom = (max(0, round(side)) for side in box.xyxy)
    return cut_centre(image[top:bottom, left:right])


def cut_centre(image: Image) -> Image:
    """Return the largest square in the middle."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


def shrink(image: Image, size_px: int) -> Image:
    """Return the square at the size of a crop."""
    is_larger = image.shape[0] > size_px
    how = cv2.INTER_AREA if is_larger else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (size_px, size_px), interpolation=how), np.uint8)


def list_forms() -> list[Form]:
    """Return every candidate."""
    png, quality = cv2.IMWRITE_PNG_COMPRESSION, cv2.IMWRITE_WEBP_QUALITY
    return [
        Form("raw", lambda image: image.tobytes(), decode_raw, opens_in_browsers=False),
        Form("npy", encode_npy, decode_npy, opens_in_browsers=False),
        Form("BMP, header by hand", encode_bmp, decode_bmp),
        Form("BMP, OpenCV", by_opencv(".bmp"), decode_by_opencv),
        Form("BMP, OpenCV, checksum", with_tail(by_opencv(".bmp")), decode_by_opencv),
        Form("BMP, Pillow", by_pillow("BMP"), decode_by_pillow),
        Form("PPM, header by hand", encode_ppm, decode_ppm, opens_in_browsers=False),
        Form("PPM, OpenCV", by_opencv(".ppm"), decode_by_opencv, opens_in_browsers=False),
        *(
            Form(f"PNG {level}, OpenCV", by_opencv(".png", png, level), decode_by_opencv)
            for level in (0, 1, 3, 6)
        ),
        *(
            Form(f"PNG {level}, Pillow", by_pillow("PNG", compress_level=level), decode_by_pillow)
            for level in (0, 1, 3, 6)
        ),
        Form("WebP lossless, OpenCV", by_opencv(".webp", quality, 101), decode_by_opencv),
        Form(
            "WebP lossless 0, Pillow",
            by_pillow("WEBP", lossless=True, exact=True, quality=0, method=0),
            decode_by_pillow,
        ),
    ]


def decode_raw(data: bytes, size_px: int) -> Image:
    """Return a writable copy, as the other decoders do."""
    return np.frombuffer(data, np.uint8).reshape(size_px, size_px, 3).copy()


def encode_npy(image: Image) -> bytes:
    """Return NumPy's own form."""
    buffer = io.BytesIO()
    np.save(buffer, image)
    return buffer.getvalue()


def decode_npy(data: bytes, size_px: int) -> Image:
    """Return the array of an .npy file."""
    return np.asarray(np.load(io.BytesIO(data)), np.uint8)


def encode_bmp(image: Image) -> bytes:
    """Return a BMP written with NumPy alone: header, then blue-first rows from the bottom."""
    height, width = image.shape[:2]
    row = width * 3 + -(width * 3) % 4  # rows end on multiples of four
    rows = np.zeros((height, row), np.uint8)
    rows[:, : width * 3] = image[::-1, :, ::-1].reshape(height, -1)
    size, start = _BMP_HEADER_BYTES + rows.size, _BMP_HEADER_BYTES
    header = (b"BM", size, 0, start, 40, width, height, 1, 24, 0, rows.size, 0, 0, 0, 0)
    return _BMP_HEADER.pack(*header) + rows.tobytes()


def decode_bmp(data: bytes, size_px: int) -> Image:
    """Return what ``encode_bmp`` was given."""
    row = size_px * 3 + -(size_px * 3) % 4
    rows = np.frombuffer(data, np.uint8, size_px * row, _BMP_HEADER_BYTES).reshape(size_px, row)
    return np.ascontiguousarray(rows[::-1, : size_px * 3].reshape(size_px, -1, 3)[..., ::-1])


def encode_ppm(image: Image) -> bytes:
    """Return the binary PPM."""
    return b"P6\n%d %d\n255\n" % image.shape[1::-1] + image.tobytes()


def decode_ppm(data: bytes, size_px: int) -> Image:
    """Return what ``encode_ppm`` was given."""
    return decode_raw(data[-size_px * size_px * 3 :], size_px)


def by_opencv(suffix: str, *flags: int) -> Callable[[Image], bytes]:
    """Return OpenCV's encoder, which is given blue first."""

    def encode(image: Image) -> bytes:
        return cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), flags)[1].tobytes()

    return encode


def with_tail(encode: Callable[[Image], bytes]) -> Callable[[Image], bytes]:
    """Return the encoder followed by a line as long as a checksum's; hashing is not its cost."""
    return lambda image: encode(image) + b"\nsha256:" + b"0" * 64 + b"\n"


def decode_by_opencv(data: bytes, size_px: int) -> Image:
    """Return RGB as OpenCV reads it."""
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB), np.uint8)


def by_pillow(kind: str, **options: Any) -> Callable[[Image], bytes]:
    """Return Pillow's encoder."""

    def encode(image: Image) -> bytes:
        buffer = io.BytesIO()
        PillowImage.fromarray(image).save(buffer, kind, **options)
        return buffer.getvalue()

    return encode


def decode_by_pillow(data: bytes, size_px: int) -> Image:
    """Return RGB as Pillow reads it."""
    with PillowImage.open(io.BytesIO(data)) as picture:
        return np.array(picture.convert("RGB"))


def measure(form: Form, crops: Sequence[Image]) -> Figures:
    """Return the mean cost per crop in the fastest pass; exits where a pixel is not given back."""
    size_px, files = crops[0].shape[0], [form.encode(crop) for crop in crops]
    for crop, data in zip(crops, files, strict=True):
        if not np.array_equal(form.decode(data, size_px), crop):
            sys.exit(f"{form.name} does not give back the pixels. Remove it from the table.")
    encode_ms = best_pass(lambda: [form.encode(crop) for crop in crops]) / len(crops)
    decode_ms = best_pass(lambda: [form.decode(data, size_px) for data in files]) / len(crops)
    kib = sum(map(len, files)) / len(files) / 1024
    return Figures(form.name, encode_ms, decode_ms, kib, form.opens_in_browsers)


def best_pass(work: Callable[[], object]) -> float:
    """Return the milliseconds of the fastest of ``PASSES`` calls."""
    times = []
    for _ in range(PASSES):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times) * 1000


def render(table: Sequence[Figures], count: int, size_px: int) -> str:
    """Return the figures as a Markdown table."""
    lines = [
        f"{count} crops of {size_px} px, per crop; all lossless.",
        "",
        "| form | encode ms | decode ms | KiB | a browser opens it |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.name} | {row.encode_ms:.3f} | {row.decode_ms:.3f} | {row.kib:.1f} "
        f"| {'yes' if row.opens_in_browsers else 'no'} |"
        for row in table
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
