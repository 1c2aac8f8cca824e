"""The two decoders, OpenCV and Pillow: encoded bytes to samples. Knows no file and no name.

Both are kept from writing to stderr and from warning where that is possible.
"""

from __future__ import annotations

import io
import logging
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
from numpy.typing import NDArray
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
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
    EXPORT_AGAIN,
    FIX_RANGE,
    NO_RANGE,
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
_QUIET_LOCK = threading.Lock()
# Without a handler Pillow's errors would reach stderr by logging's last resort.
logging.getLogger("PIL").addHandler(logging.NullHandler())


def read_jpeg(data: bytes) -> JpegParts:
    """Return what a JPEG says of itself.

    Raises:
        UndecodableError: It is cut off, damaged before its first scan, or not of 8 bits.
    """
    try:
        with _quiet(), JpegImagePlugin.JpegImageFile(io.BytesIO(data)) as picture:
            scan = picture.fp.tell() if picture.fp else 0
            exif, profile = picture.info.get("exif"), picture.info.get("icc_profile")
            parts = JpegParts(
                picture.height, picture.width, picture.layers, exif or b"", profile or b""
            )
    except _PILLOW_ERRORS as error:
        why = _one_line(error)
        remedy = CONVERT if "cannot handle" in why else EXPORT_AGAIN  # its bits or components
        raise UndecodableError(f"its JPEG header cannot be read ({why})", remedy) from error
    # A scan never holds this pair but at its end, and previews lie before it.
    if data.rfind(b"\xff\xd9", scan) < 0:
        raise UndecodableError(f"it is cut off after {len(data)} bytes")
    return parts


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
        raise UndecodableError("its pixel data are damaged") from error
    if pixels is None or pixels.shape[:2] != shape:
        raise UndecodableError("its pixel data are damaged")
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


def decode_by_pillow(data: bytes, kind: str, max_pixels: int) -> Decoded:
    """Return what Pillow makes of a file.

    Raises:
        UndecodableError: The picture is damaged, over the limit, or without a fixed range.
    """
    if kind == "WebP":
        check_webp(data, max_pixels)
    elif kind == "TIFF":
        data = pick_full_tiff(data)
    elif kind == "JPEG 2000":
        check_jpeg_2000(data)
    try:
        with _quiet(), _PLUGINS[kind](io.BytesIO(data)) as picture:
            check_size(picture.height, picture.width, max_pixels)
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
        raise UndecodableError(reason) from error


def _one_line(error: Exception) -> str:
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
