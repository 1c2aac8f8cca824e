"""Files and bytes to upright RGB pixels. Knows pictures, not faces, and writes nothing.

One kind of file has one decoder, so a file has one set of pixels: OpenCV for PNG and for grey or
colour JPEG, Pillow for the rest. Headers are read here before OpenCV decodes, since it reports
damage on stderr and takes a cut picture for a whole one. EXIF orientation is applied, colour
profiles are ignored. Transparency is composited on white, as a page shows it: the colour under a
transparent pixel is whatever the last program left there.
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
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import BmpImagePlugin, GifImagePlugin, JpegImagePlugin, TiffImagePlugin, WebPImagePlugin
from PIL.Image import DecompressionBombError
from PIL.ImageFile import ImageFile

from roi_cls.errors import ImageReadError
from roi_cls.roi.image_header import (
    EXPORT_AGAIN,
    GIVE_PICTURES,
    UndecodableError,
    check_size,
    check_webp,
    read_jpeg,
    read_orientation,
    read_png,
    sniff_kind,
)
from roi_cls.roi.params import MAX_PIXELS

Image = NDArray[np.uint8]
"""(height, width, 3) RGB uint8, C-contiguous."""
MAX_BYTES = 2**30
"""Bytes a file may have: 1 GiB, more than any picture within reach of ``MAX_PIXELS`` needs."""

_Samples = NDArray[np.integer[Any] | np.floating[Any]]  # as decoded, typed as by OpenCV
_PLUGINS: dict[str, Callable[[io.BytesIO], ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
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


def read_image(path: Path, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Return the upright pixels of a file; of an animation or a document, its first frame.

    Raises:
        ImageReadError: The file cannot be read, or ``decode_image`` refuses what it holds.
        ValueError: ``max_pixels`` is below 1.
    """
    return decode_image(read_bytes(path), path, max_pixels=max_pixels)


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes, at least one.

    Raises:
        ImageReadError: It is missing, a folder, a pipe or device, empty, over ``MAX_BYTES``, or
            may not be read.
    """
    try:
        # Asked first: opening a named pipe would wait for a writer for ever.
        status = path.stat()
        if S_ISDIR(status.st_mode):
            raise ImageReadError(path, "it is a folder", "Give the files in it.")
        if not S_ISREG(status.st_mode):
            raise ImageReadError(path, "it is a pipe or device, not a file", GIVE_PICTURES)
        if status.st_size > MAX_BYTES:
            reason = f"it has {status.st_size} bytes, over the limit of {MAX_BYTES}"
            raise ImageReadError(path, reason, GIVE_PICTURES)
        data = path.read_bytes()
    except FileNotFoundError as error:
        if path.is_symlink():
            reason = "it is a link to a file that does not exist"
            raise ImageReadError(path, reason, "Restore the file or remove the link.") from error
        raise ImageReadError(path, "no such file", "Check the path.") from error
    except PermissionError as error:
        remedy = "Give this user the right to read it."
        raise ImageReadError(path, "permission denied", remedy) from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise ImageReadError(path, reason.lower(), "Check the path and the disk.") from error
    if not data:
        raise ImageReadError(path, "it is empty (0 bytes)", EXPORT_AGAIN)
    return data


def decode_image(data: bytes, name: Path | str, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Return the upright pixels of an encoded picture, whatever its name says it is.

    Grey is repeated, 16 bits are scaled to 8 (value / 257, rounded). The array is writable and
    the caller's own. Nothing is allocated for a picture over ``max_pixels`` (width times height).

    Raises:
        ImageReadError: ``data`` is no picture, a damaged or cut one, over the limit, or of
            pixels without a fixed range (float, 32-bit). It names the picture by ``name``.
        ValueError: ``max_pixels`` is below 1.
    """
    if max_pixels < 1:
        raise ValueError(f"max_pixels must be at least 1, got {max_pixels}")
    try:
        kind = sniff_kind(data)
        if kind == "PNG":
            pixels, orientation = _decode_png(data, max_pixels)
        elif kind == "JPEG":
            pixels, orientation = _decode_jpeg(data, max_pixels)
        else:
            pixels, orientation = _decode_by_pillow(data, kind, max_pixels)
        return _turn_upright(_to_rgb(pixels), orientation)
    except UndecodableError as error:
        raise ImageReadError(name, error.reason, error.remedy) from error.__cause__
    except MemoryError as error:
        remedy = "Free memory, or lower the limit with --max-pixels or ROI_CLS_MAX_PIXELS."
        raise ImageReadError(name, "its pixels do not fit into memory", remedy) from error


def _decode_png(data: bytes, max_pixels: int) -> tuple[_Samples, int]:
    png = read_png(data)
    check_size(png.height, png.width, max_pixels)
    is_grey, has_alpha = png.color == 0, png.color in (4, 6) or bool(png.transparent)
    pixels = _decode_by_opencv(
        png.pixels_only, (png.height, png.width), as_stored=has_alpha and not is_grey
    )
    if is_grey and has_alpha:
        pixels = _cut_out_grey(pixels, png.transparent, png.depth)
    return pixels, read_orientation(png.exif)


def _cut_out_grey(pixels: _Samples, key: bytes, depth: int) -> _Samples:
    """Return RGBA with alpha 0 where the grey value is ``key``, a big-endian sample."""
    step = 255 // (2**depth - 1) if depth < 8 else 1  # few bits were spread to 0-255
    opaque = 65535 if depth == 16 else 255
    hit = pixels[..., :1] == int.from_bytes(key[:2]) * step
    return np.concatenate([pixels, np.where(hit, 0, opaque).astype(pixels.dtype)], axis=2)


def _decode_jpeg(data: bytes, max_pixels: int) -> tuple[_Samples, int]:
    jpeg = read_jpeg(data)
    check_size(jpeg.height, jpeg.width, max_pixels)
    if jpeg.components in (1, 3):
        pixels = _decode_by_opencv(data, (jpeg.height, jpeg.width), as_stored=False)
    else:  # OpenCV's CMYK differs from every other program's
        pixels, _ = _decode_by_pillow(data, "JPEG", max_pixels)
    return pixels, read_orientation(jpeg.exif)


def _decode_by_opencv(data: bytes, shape: tuple[int, int], *, as_stored: bool) -> _Samples:
    """Return RGB in the file's depth, not turned; ``as_stored``: RGBA where the file has alpha."""
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    if as_stored:
        flags = cv2.IMREAD_UNCHANGED
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError from error
        raise UndecodableError("its pixel data are damaged") from error
    if pixels is None or pixels.shape[:2] != shape:
        raise UndecodableError("its pixel data are damaged")
    if as_stored and pixels.ndim == 3:
        pixels = cv2.cvtColor(
            pixels, cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB
        )
    return pixels


def _decode_by_pillow(data: bytes, kind: str, max_pixels: int) -> tuple[_Samples, int]:
    if kind == "WebP":
        check_webp(data, max_pixels)
    try:
        with _quiet(), _PLUGINS[kind](io.BytesIO(data)) as picture:
            check_size(picture.height, picture.width, max_pixels)
            if isinstance(picture, TiffImagePlugin.TiffImageFile):
                return _load_tiff(picture, data)
            return _load_picture(picture), read_orientation(picture.info.get("exif", b""))
    except DecompressionBombError as error:
        raise UndecodableError("its frame is far over the limit of pixels") from error
    except _PILLOW_ERRORS as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise UndecodableError(f"its {kind} data cannot be decoded ({why})") from error


def _load_picture(picture: ImageFile) -> _Samples:
    if picture.mode in ("I", "F"):
        reason = "its pixels are float, signed or 32-bit numbers, which have no fixed range"
        raise UndecodableError(reason, "Convert it to 8 or 16 bits, unsigned.")
    picture.load()
    if picture.mode.startswith("I;16"):  # Pillow's own conversion clips at 255
        return np.array(picture, dtype=np.uint16)
    return np.array(picture.convert("RGBA" if picture.has_transparency_data else "RGB"))


def _load_tiff(picture: TiffImagePlugin.TiffImageFile, data: bytes) -> tuple[_Samples, int]:
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
            deep = _decode_by_opencv(data, (height, width), as_stored=True)
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


def _turn_upright(pixels: Image, orientation: int) -> Image:
    # 5 to 8 swap the sides first; what remains are mirrored rows, columns, or both.
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _to_rgb(samples: _Samples) -> Image:
    """Return (height, width, 3) of 8 bits, on white where it is transparent."""
    if samples.dtype == np.uint16:
        samples = cv2.convertScaleAbs(samples, alpha=1 / 257)
    pixels = samples.astype(np.uint8, copy=False)
    if pixels.ndim == 2:
        return np.repeat(pixels[:, :, None], 3, axis=2)
    if pixels.shape[2] == 3:
        return pixels
    alpha = pixels[..., 3].astype(np.uint16)
    white = 255 * (255 - alpha) + 127  # 127: the division rounds to nearest
    return np.stack(
        [((pixels[..., i] * alpha + white) // 255).astype(np.uint8) for i in range(3)], 2
    )
