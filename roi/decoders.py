"""The decoders libjpeg, kornia-rs, OpenCV and Pillow: bytes to samples. Knows no file and no name.

They are kept from writing to stderr and from warning where that is possible.
"""

from __future__ import annotations

import io
import logging
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TgaImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from PIL.Image import DecompressionBombError
from PIL.ImageFile import ImageFile

from roi_cls.roi.image_header import (
    CODES,
    CONVERT,
    FIX_RANGE,
    NO_RANGE,
    DamagedError,
    JpegParts,
    Space,
    UndecodableError,
    check_jpeg_2000,
    check_size,
    check_webp,
    pick_full_tiff,
    read_colr,
    read_orientation,
)

Samples = NDArray[np.integer[Any] | np.floating[Any]]
"""(height, width) or (height, width, channels) as decoded; typed as by OpenCV."""


def _open_heic(file: io.BytesIO) -> ImageFile:
    try:
        from pi_heif import HeifImageFile
    except ImportError as error:
        reason = "it is a HEIC picture, and the package that decodes them is not installed"
        remedy = f"Install it with `pip install 'roi-cls[heif]'`, or: {CONVERT}"
        raise UndecodableError(reason, remedy) from error
    return cast(ImageFile, HeifImageFile(file))


_PLUGINS: dict[str, Callable[[io.BytesIO], ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
    "HEIC": _open_heic,
    "JPEG 2000": Jpeg2KImagePlugin.Jpeg2KImageFile,
    "PNM": PpmImagePlugin.PpmImageFile,
    "TGA": TgaImagePlugin.TgaImageFile,
}
"""Constructed directly: ``PIL.Image.open`` adds a pixel limit of its own, a process-wide one."""
# What Pillow may raise for a damaged file: mutated files gave the first four, its code the rest.
_PILLOW_ERRORS = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, AttributeError, AssertionError,
    ArithmeticError, EOFError, RuntimeError, struct.error, zlib.error,
)  # fmt: skip
_JPEG_END = b"\xff\xd9"
_JPEG_MARKER = re.compile(rb"\xff+([^\0\1\xd0-\xd8\xff])")  # these begin no segment
_TOLD = (0xE1, 0xE2)  # APP1, APP2: EXIF and ICC profile
_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
KORNIA_MODES = {0: ("mono", 4), 2: ("rgb", 3), 6: ("rgba", 4)}
"""By PNG's colour type; and bytes per pixel, of grey those of RGB, too, which is made of it."""
_COMPONENTS = {"Gray": 1, "RGB": 3, "YCbCr": 3, "CMYK": 4, "YCCK": 4}
_QUIET_LOCK = threading.Lock()
# Without a handler Pillow's errors would reach stderr by logging's last resort.
logging.getLogger("PIL").addHandler(logging.NullHandler())


def read_jpeg(data: bytes) -> JpegParts:
    """Return what a JPEG says of itself: size and components by libjpeg, else by Pillow.

    Raises:
        UndecodableError: It is damaged before its first scan, or not of 8 bits.
    """
    # Pillow reads EXIF and profiles, too, in 0.3 ms, a tenth of decoding at half the size.
    told = [data[start + 2 : end] for marker, start, end in _walk_jpeg(data) if marker in _TOLD]
    exif = next((body for body in told if body.startswith(b"Exif\0\0")), b"")
    profile = _join_profile([body for body in told if body.startswith(b"ICC_PROFILE\0")])
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data, strict=False)
        return JpegParts(height, width, _COMPONENTS[colours], exif, profile, is_usual=True)
    except (ValueError, KeyError) as error:  # KeyError: it got as far as no colours
        is_usual = "subsampling" not in str(error)
    try:
        with _quiet(), JpegImagePlugin.JpegImageFile(io.BytesIO(data)) as picture:
            size = picture.height, picture.width
            return JpegParts(*size, picture.layers, exif, profile, is_usual)
    except _PILLOW_ERRORS as error:
        reason = f"its JPEG header cannot be read ({_one_line(error)})"
        if "cannot handle" in reason:  # its bits or components
            raise UndecodableError(reason, CONVERT) from error
        raise DamagedError(reason) from error


def _walk_jpeg(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of the segments up to the first scan's own.

    The marker stands before the start. What lies between segments is passed over, as every decoder
    does.
    """
    marker, end = 0, 2
    while marker != 0xDA and (found := _JPEG_MARKER.search(data, end)):
        marker, start = found[1][0], found.end()
        end = start + int.from_bytes(data[start : start + 2], "big")
        yield marker, start, end


def _join_profile(parts: list[bytes]) -> bytes:
    """Return the ICC profile of bodies that each hold a part, its number and how many there are."""
    parts = sorted(parts)
    is_whole = bool(parts) and all(part[13:14] == bytes([len(parts)]) for part in parts)
    return b"".join(part[14:] for part in parts) if is_whole else b""


def decode_by_libjpeg(
    data: bytes, jpeg: JpegParts, factor: int, *, partial: bool = False
) -> NDArray[np.uint8]:
    """Return the RGB of a reducible JPEG, (ceil(height / factor), ceil(width / factor), 3).

    The pixels are OpenCV's and Pillow's, but these overlook what libjpeg warns of: a scan that ends
    too soon or makes no sense. Not turned upright.

    Args:
        data: The file.
        jpeg: Its header.
        factor: 1, 2, 4 or 8; above 1 only if a side has 8 pixels or more.
        partial: Give the pixels as far as they go, grey beyond, in place of an error.

    Raises:
        DamagedError: The pixels are.
        MemoryError: They do not fit.
    """
    if partial:
        return _run_libjpeg(_mend_jpeg(data), jpeg, factor, strict=False)
    return _decode_strictly(data, jpeg, factor)


def check_cmyk(data: bytes, jpeg: JpegParts) -> None:
    """Refuse a usually sampled CMYK JPEG whose pixels are damaged: Pillow decodes them.

    Raises:
        DamagedError: They are.
        MemoryError: They do not fit.
    """
    _decode_strictly(data, jpeg, 8, "CMYK")  # an eighth of each side tells as much


def _decode_strictly(
    data: bytes, jpeg: JpegParts, factor: int, colours: str = "RGB"
) -> NDArray[np.uint8]:
    """Return the pixels of a JPEG whose scans are whole.

    Raises:
        DamagedError: They are not, even with what harms no pixel mended.
    """
    try:
        return _run_libjpeg(data, jpeg, factor, colours)
    except DamagedError as first:
        try:
            return _run_libjpeg(_mend_jpeg(data), jpeg, factor, colours)
        except DamagedError as error:
            if "Premature end of JPEG file" in first.reason:
                raise DamagedError(f"it is cut off after {len(data)} bytes") from error
            raise


def _run_libjpeg(
    data: bytes, jpeg: JpegParts, factor: int, colours: str = "RGB", *, strict: bool = True
) -> NDArray[np.uint8]:
    shape = -(-jpeg.height // factor), -(-jpeg.width // factor), len(colours)
    # Of the scales that leave a size or more, the smallest is taken: the one that leaves just that.
    least = {"min_height": shape[0], "min_width": shape[1]} if factor > 1 else {}
    # Where libjpeg reads another, larger size than Pillow did, it is told that there is no room.
    # What it does not reach of a damaged picture stays as it was.
    room = np.empty(shape, np.uint8) if strict else np.full(shape, 128, np.uint8)
    try:
        pixels = simplejpeg.decode_jpeg(data, colours, buffer=room, strict=strict, **least)
    except ValueError as error:
        why = _one_line(error).removeprefix("Corrupt JPEG data: ")
        if "nsufficient memory" in why:
            raise MemoryError(why) from error
        if "data precision" in why:
            raise UndecodableError(f"it is a JPEG of a rare kind ({why})", CONVERT) from error
        raise DamagedError(f"it is damaged ({why})") from error
    if pixels.shape != shape:
        raise DamagedError("its pixel data are damaged")
    return np.asarray(pixels, np.uint8)


def _mend_jpeg(data: bytes) -> bytes:
    """Return a JPEG without what libjpeg warns of although it harms no pixel.

    That is what stands between the segments of its header, a damaged profile, JFIF's version, and a
    missing end where one scan holds the whole picture: nobody can tell whether a progressive file
    lacks a further scan.
    """
    kept, rest, is_progressive = [data[:2]], 2, False
    for marker, start, end in _walk_jpeg(data):
        body, rest = data[start:end], end
        is_progressive |= marker in _PROGRESSIVE
        if marker == 0xE0 and body[2:].startswith(b"JFIF\0"):
            body = body[:7] + b"\1" + body[8:]
        if marker < 0xE0 or marker in (0xE0, 0xEE):  # from there on, only these tell colours
            kept.append(bytes([0xFF, marker]) + body)
    return b"".join([*kept, data[rest:], b"" if is_progressive else _JPEG_END])


def end_jpeg(data: bytes) -> bytes:
    """Return a JPEG with an end, without which Pillow gives nothing."""
    return data + _JPEG_END


def decode_by_kornia(data: bytes, shape: tuple[int, int], color: int) -> NDArray[np.uint8]:
    """Return a PNG of 8 bits: RGB, also of grey, or RGBA; bit for bit what OpenCV returns.

    It takes half of OpenCV's time, but holds the interpreter's lock while it decodes. The checksums
    of chunks are checked. Zlib's Adler-32 of the inflated rows is not: whatever happens to a file
    is told by the former, and to inflate it once more would cost what is gained. So the latter is
    wrong where a program wrote false rows, or mended the checksums of damaged ones.

    Args:
        data: The file, without tRNS.
        shape: (height, width).
        color: PNG's colour type, one of ``KORNIA_MODES``.

    Raises:
        DamagedError: The pixels are damaged, or not of ``shape``.
        MemoryError: They do not fit.
    """
    from kornia_rs.io import decode_image_png_u8  # 10 ms that other kinds need not wait for

    mode, room = KORNIA_MODES[color]
    np.empty((*shape, room), np.uint8)  # raises MemoryError, where kornia-rs would panic
    try:
        pixels: NDArray[np.uint8] = decode_image_png_u8(data, shape, mode)
    # Its errors are Exceptions of no kind of their own, and a Rust panic is none at all; whatever
    # else comes, an interrupt above all, goes on.
    except BaseException as error:  # reason: neither has a class; all others are raised again
        if type(error) is not Exception and type(error).__module__ != "pyo3_runtime":
            raise
        why = _one_line(error).removeprefix("Failed to decode the png image. ")
        raise DamagedError(f"its pixel data are damaged ({why})") from error
    if mode == "mono":
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), np.uint8)
    return pixels


def decode_by_opencv(data: bytes, shape: tuple[int, int], flags: int) -> Samples:
    """Return RGB or, as ``IMREAD_UNCHANGED``, RGBA where the file has alpha; 8 or 16 bits.

    Not turned upright.

    Raises:
        UndecodableError: The pixels are damaged, or not of ``shape``, (height, width).
        MemoryError: They do not fit.
    """
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError from error
        raise DamagedError("its pixel data are damaged") from error
    if pixels is None or pixels.shape[:2] != shape:
        raise DamagedError("its pixel data are damaged")
    if flags == cv2.IMREAD_UNCHANGED and pixels.ndim == 3:
        order = cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB
        pixels = cv2.cvtColor(pixels, order)
    return pixels


@dataclass(frozen=True, slots=True)
class Decoded:
    """Samples as a file stores them, and what it says of them."""

    samples: Samples
    """Grey (16 bits alone is (height, width)), RGB, RGBA, or CMYK where ``space`` says so."""
    space: Space
    """``L`` where RGB is repeated grey."""
    orientation: int
    """EXIF's that is left to apply, 1 to 8."""
    profile: bytes
    """As ``read_colours`` takes it."""


def decode_by_pillow(data: bytes, kind: str, max_pixels: int, *, partial: bool = False) -> Decoded:
    """Return what Pillow makes of a file.

    Args:
        data: The file.
        kind: As ``sniff_kind`` names it.
        max_pixels: Larger pictures are refused.
        partial: Give the pixels as far as they go, black or clear beyond, in place of an error.

    Raises:
        UndecodableError: The picture is damaged, over the limit, or without a fixed range.
    """
    if kind == "WebP":
        check_webp(data, max_pixels)
    elif kind == "TIFF":
        data = pick_full_tiff(data)
    elif kind == "JPEG 2000" and not partial:
        check_jpeg_2000(data)
    try:
        with _quiet(), _PLUGINS[kind](io.BytesIO(data)) as picture:
            check_size(picture.height, picture.width, max_pixels)
            if partial:
                _load_part(picture)
            if isinstance(picture, TiffImagePlugin.TiffImageFile):
                samples, orientation = _load_tiff(picture, data)
            else:
                samples = _load_picture(picture)
                orientation = read_orientation(picture.info.get("exif") or b"")
            return Decoded(samples, _space_of(picture), orientation, _read_profile(picture, data))
    except DecompressionBombError as error:
        raise UndecodableError("its frame is far over the limit of pixels") from error
    except _PILLOW_ERRORS as error:
        reason = f"its {kind} data cannot be decoded ({_one_line(error)})"
        raise DamagedError(reason) from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _space_of(picture: ImageFile) -> Space:
    if picture.mode == "CMYK":
        return "CMYK"
    return "L" if picture.mode[0] in "1LI" and picture.mode != "LAB" else "RGB"


def _read_profile(picture: ImageFile, data: bytes) -> bytes:
    if profile := picture.info.get("icc_profile"):
        return bytes(profile)
    if codes := picture.info.get("nclx_profile"):  # pi-heif's
        named = (codes["color_primaries"], codes["transfer_characteristics"])
        return CODES + bytes(min(code, 255) for code in named)
    return read_colr(data) if picture.format in ("AVIF", "JPEG2000") else b""


def _load_part(picture: ImageFile) -> None:
    """Load what can be; as with ``ImageFile.LOAD_TRUNCATED_IMAGES``, which all threads share."""
    try:
        picture.load()
    except _PILLOW_ERRORS:
        picture.tile = []  # nothing is left to load: what was decoded lies in ``picture.im``


def _load_picture(picture: ImageFile) -> Samples:
    is_deep = picture.mode.startswith("I;16") or (picture.format == "PPM" and picture.mode == "I")
    if picture.mode in ("I", "F") and not is_deep:
        raise UndecodableError(NO_RANGE, FIX_RANGE)
    picture.load()
    if is_deep:  # Pillow's own conversion clips at 255
        return np.array(picture).astype(np.uint16)
    if picture.mode == "CMYK":
        return np.array(picture)
    return np.array(picture.convert("RGBA" if picture.has_transparency_data else "RGB"))


def _load_tiff(picture: TiffImagePlugin.TiffImageFile, data: bytes) -> tuple[Samples, int]:
    tags = picture.tag_v2
    bits, photometric, orientation = tags.get(258, (1,)), tags.get(262), tags.get(274, 1)
    pixels = _load_picture(picture)  # Pillow turns TIFF upright by itself
    if picture.mode.startswith("I;16"):
        if bits[0] < 16:
            pixels = (pixels.astype(np.uint32) * 65535 // (2 ** bits[0] - 1)).astype(np.uint16)
        return np.iinfo(np.uint16).max - pixels if photometric == 0 else pixels, 1
    if 16 in bits and picture.mode in ("RGB", "RGBA"):  # of these Pillow keeps the upper byte
        height, width = pixels.shape[:2] if orientation < 5 else pixels.shape[1::-1]
        # A layout unknown to OpenCV is left to Pillow, which is at most one step off.
        with suppress(UndecodableError), _silent_opencv():
            # As stored: for 16-bit TIFF, IMREAD_COLOR_RGB gives other values (OpenCV 5.0.0).
            deep = decode_by_opencv(data, (height, width), cv2.IMREAD_UNCHANGED)
            return deep[..., : len(picture.mode)], orientation
    return pixels, 1


@contextmanager
def _silent_opencv() -> Iterator[None]:
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Pillow's warnings about damaged metadata back; the filters belong to all threads."""
    with _QUIET_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
