"""Files and bytes to upright RGB pixels. Knows pictures, not faces, and writes nothing.

One kind of file has one decoder, so a file has one set of pixels: libjpeg for grey or colour JPEG,
kornia-rs for PNG of 8 bits, grey, RGB or RGBA, OpenCV for other PNGs, Pillow for the rest. A PNG's
chunks are read before, since OpenCV takes a cut picture for a whole one and reports damage on
stderr; what it alone finds, a changed byte among the pixels, still leaves a line there. EXIF
orientation is applied, and what a file says of its colours is told beside the pixels, since to
convert what was reduced costs less.
Transparency is composited on white, as a page shows it: the colour under a transparent pixel is
whatever the last program left there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from stat import S_ISDIR, S_ISREG

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from roi_cls.base.errors import ImageReadError
from roi_cls.base.location import explain_absent, is_remote, reaching
from roi_cls.roi.archives.opening import archive_error, find_place, has_archive_name, read_member
from roi_cls.roi.colour import Colours, read_colours
from roi_cls.roi.decoders import (
    KORNIA_MODES,
    Decoded,
    Samples,
    check_cmyk,
    decode_by_kornia,
    decode_by_libjpeg,
    decode_by_opencv,
    decode_by_pillow,
    end_jpeg,
    read_jpeg,
)
from roi_cls.roi.image_header import (
    EXPORT_AGAIN,
    GIVE_PICTURES,
    MAX_PIXELS,
    DamagedError,
    JpegParts,
    PngParts,
    Space,
    UndecodableError,
    check_png_pixels,
    check_size,
    read_orientation,
    read_png,
    sniff_kind,
)
from roi_cls.roi.params import ColorChoice

Image = NDArray[np.uint8]
"""(height, width, 3) RGB uint8, C-contiguous."""
MAX_BYTES = 2**30
"""Bytes a file may have: 1 GiB, more than any picture within reach of ``MAX_PIXELS`` needs."""
_STRIP = 256
"""Rows composited at once: the numbers of a whole picture of 100 MP would take a gigabyte."""
Header = PngParts | JpegParts | str
"""What a file says before it is decoded; a kind's name where only its decoder reads that."""
_RGB_FLAGS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION


def read_image(path: Path, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Return the upright pixels of a file; of an animation or a document, its first frame.

    Raises:
        ImageReadError: The file cannot be read, or ``decode_image`` refuses what it holds.
        ValueError: ``max_pixels`` is below 1.
    """
    return decode_image(read_bytes(path), path, max_pixels=max_pixels)


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file, or of what lies in an archive; at least one.

    Raises:
        ImageReadError: It is missing, a folder, a pipe or device, empty, over ``MAX_BYTES``, may
            not be read, or lies where the network does not reach.
    """
    with _telling_unread(path):
        data = _read_anywhere(path)
    if not data:
        raise ImageReadError(path, "it is empty (0 bytes)", EXPORT_AGAIN)
    return data


def hash_content(path: Path) -> str:
    """Return the SHA-256 (hex) of a file, or of what lies in an archive.

    Raises:
        ImageReadError: As ``read_bytes``.
    """
    return hashlib.sha256(read_bytes(path)).hexdigest()


def has_content(path: Path, sha256: str) -> bool:
    """Whether this is what ``hash_content`` returns, and not another or an error."""
    try:
        return hash_content(path) == sha256
    except ImageReadError:
        return False


def read_head(path: Path, size: int) -> bytes:
    """Return a file's first bytes, ``size`` of them or all.

    Raises:
        ImageReadError: As ``read_bytes``, but for an empty or a large file.
    """
    with _telling_unread(path):
        try:
            _check_is_file(path)
            with path.open("rb") as file:
                return file.read(size)
        except (FileNotFoundError, NotADirectoryError):
            return _read_anywhere(path)[:size]


@contextmanager
def _telling_unread(path: Path) -> Iterator[None]:
    """Turn what goes wrong with reading a file into an ``ImageReadError`` that says what to do."""
    try:
        with reaching(path):
            yield
    except FileNotFoundError as error:
        if is_remote(path):
            raise ImageReadError(path, "no such file", "Check the path.") from error
        if path.is_symlink():
            reason = "it is a link to a file that does not exist"
            raise ImageReadError(path, reason, "Restore the file or remove the link.") from error
        raise ImageReadError(path, *explain_absent(path)) from error
    except NotADirectoryError as error:
        reason = "a part of its path is a file, and no archive"
        raise ImageReadError(path, reason, "Check the path.") from error
    except PermissionError as error:
        remedy = "Give this user the right to read it."
        raise ImageReadError(path, "permission denied", remedy) from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        if is_remote(path):
            remedy = "Check the path, the network and your right to read it."
            raise ImageReadError(path, reason, remedy) from error
        raise ImageReadError(path, reason.lower(), "Check the path and the disk.") from error


def _read_anywhere(path: Path) -> bytes:
    """Return the bytes of a file, or of what lies in an archive."""
    try:
        return _read_file(path)
    except (FileNotFoundError, NotADirectoryError):
        if place := find_place(path):
            return read_member(path, place, MAX_BYTES)
        raise


def _read_file(path: Path) -> bytes:
    size = _check_is_file(path)
    if size > MAX_BYTES:
        reason = f"it has {size} bytes, over the limit of {MAX_BYTES}"
        raise ImageReadError(path, reason, GIVE_PICTURES)
    return path.read_bytes()


def _check_is_file(path: Path) -> int:
    """Return a file's size; raise where it is none: opening a named pipe would wait for ever."""
    status = path.stat()
    if S_ISDIR(status.st_mode):
        if str(path) == ".":  # what Path("") is
            remedy = "Write a file's name."
            raise ImageReadError(path, "it has no name, or is this folder", remedy)
        raise ImageReadError(path, "it is a folder", "Give the files in it.")
    if not S_ISREG(status.st_mode):
        raise ImageReadError(path, "it is a pipe or device, not a file", GIVE_PICTURES)
    if has_archive_name(path.name):
        raise archive_error(path)
    return status.st_size


def decode_image(data: bytes, name: Path | str, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Return the upright sRGB pixels of an encoded picture, whatever its name says it is.

    Grey is repeated, 16 bits are scaled to 8 (value / 257, rounded). The array is writable and
    the caller's own. Nothing is allocated for a picture over ``max_pixels`` (width times height).

    Raises:
        ImageReadError: ``data`` is no picture, a damaged or cut one, over the limit, or of
            pixels without a fixed range (float, 32-bit). It names the picture by ``name``.
        ValueError: ``max_pixels`` is below 1.
    """
    with naming_picture(name):
        pixels, colours = decode_pixels(data, read_header(data, max_pixels), max_pixels)
        return colours.to_srgb(pixels)


@contextmanager
def naming_picture(name: Path | str) -> Iterator[None]:
    """Turn what goes wrong with a picture's bytes into an ``ImageReadError`` with its name."""
    try:
        yield
    except UndecodableError as error:
        is_damaged = isinstance(error, DamagedError)
        raise ImageReadError(
            name, error.reason, error.remedy, is_damaged=is_damaged
        ) from error.__cause__
    except MemoryError as error:
        remedy = "Free memory, or lower the limit with --max-pixels or ROI_CLS_MAX_PIXELS."
        raise ImageReadError(name, "its pixels do not fit into memory", remedy) from error


def read_header(data: bytes, max_pixels: int) -> Header:
    """Return what can be known before decoding.

    Raises:
        UndecodableError: Nothing decodes ``data``, or its size is over the limit.
        ValueError: ``max_pixels`` is below 1.
    """
    if max_pixels < 1:
        raise ValueError(f"max_pixels must be at least 1, got {max_pixels}")
    kind = sniff_kind(data)
    if kind not in ("PNG", "JPEG"):
        return kind
    header = read_png(data) if kind == "PNG" else read_jpeg(data)
    check_size(header.height, header.width, max_pixels)
    return header


def decode_pixels(
    data: bytes,
    header: Header,
    max_pixels: int,
    factor: int = 1,
    *,
    color: ColorChoice = "srgb",
    partial: bool = False,
) -> tuple[Image, Colours]:
    """Return upright RGB, smaller by ``factor``, and what brings its colours to sRGB.

    Args:
        data: The file.
        header: What ``read_header`` returned; of a PNG whose header is damaged, too, ``"PNG"``.
        max_pixels: Larger pictures are refused.
        factor: 1, or for a grey or colour JPEG of a side of 8 pixels or more 2, 4 or 8.
        color: Whether printing inks become RGB by their profile, or by what they add up to.
        partial: Of a damaged picture, give what its decoder can; grey, black or white beyond.

    Raises:
        DamagedError: The pixels are damaged.
        UndecodableError: They are without a fixed range, or over the limit.
    """
    decoded = _decode(data, header, max_pixels, factor, partial=partial)
    colours = choose_colours(decoded.profile, decoded.space, color)
    samples = decoded.samples
    if decoded.space == "CMYK":
        samples = _mix_inks(samples.astype(np.uint8, copy=False), colours)
        colours = replace(colours, transform=None)
    return turn_upright(_to_rgb(samples), decoded.orientation), colours


def choose_colours(profile: bytes, space: Space, color: ColorChoice) -> Colours:
    """Return what is made of the colours of a file, by what it says and by the recipe."""
    colours = read_colours(profile, space)
    return colours.as_stored() if color == "stored" else colours


def _decode(data: bytes, header: Header, max_pixels: int, factor: int, *, partial: bool) -> Decoded:
    if isinstance(header, JpegParts) and not header.is_reducible:
        return _decode_odd_jpeg(data, header, max_pixels, partial)
    samples: Samples
    if isinstance(header, JpegParts):
        samples = decode_by_libjpeg(data, header, factor, partial=partial)
    elif isinstance(header, PngParts) and not partial:
        samples = _decode_png(header)
    else:
        kind = "PNG" if isinstance(header, PngParts) else header
        return decode_by_pillow(data, kind, max_pixels, partial=partial)
    return Decoded(samples, header.space, read_orientation(header.exif), header.profile)


def _decode_odd_jpeg(data: bytes, jpeg: JpegParts, max_pixels: int, partial: bool) -> Decoded:
    # OpenCV's CMYK differs from every other program's.
    if jpeg.is_usual and not partial:
        check_cmyk(data, jpeg)
    if jpeg.is_usual or partial:  # where nothing else tells that a picture is cut off, Pillow does
        data = end_jpeg(data)
    return decode_by_pillow(data, "JPEG", max_pixels, partial=partial)


def _mix_inks(inks: Image, colours: Colours) -> Image:
    """Return (height, width, 3) of (height, width, 4) CMYK."""
    if colours.transform is not None:
        return colours.to_srgb(inks)
    return np.array(PillowImage.fromarray(inks, "CMYK").convert("RGB"))


def _decode_png(png: PngParts) -> Samples:
    shape = png.height, png.width
    is_grey, has_alpha = png.color == 0, png.color in (4, 6) or bool(png.transparent)
    flags = cv2.IMREAD_UNCHANGED if has_alpha and not is_grey else _RGB_FLAGS
    try:
        if png.depth == 8 and png.color in KORNIA_MODES and not png.transparent:
            return decode_by_kornia(png.pixels_only, shape, png.color)
        pixels = decode_by_opencv(png.pixels_only, shape, flags)
    except UndecodableError:
        check_png_pixels(png.pixels_only)
        raise
    return _cut_out_grey(pixels, png.transparent, png.depth) if is_grey and has_alpha else pixels


def _cut_out_grey(pixels: Samples, key: bytes, depth: int) -> Samples:
    """Return RGBA with alpha 0 where the grey value is ``key``, a big-endian sample."""
    step = 255 // (2**depth - 1) if depth < 8 else 1  # few bits were spread to 0-255
    opaque = 65535 if depth == 16 else 255
    hit = pixels[..., :1] == int.from_bytes(key[:2]) * step
    return np.concatenate([pixels, np.where(hit, 0, opaque).astype(pixels.dtype)], axis=2)


def turn_upright(pixels: Image, orientation: int) -> Image:
    """Return (height, width, 3) pixels as EXIF's orientation, 1 to 8, says they are seen."""
    # 5 to 8 swap the sides first; what remains are mirrored rows, columns, or both.
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _to_rgb(samples: Samples) -> Image:
    """Return (height, width, 3) of 8 bits, on white where it is transparent."""
    if samples.dtype == np.uint16:
        samples = cv2.convertScaleAbs(samples, alpha=1 / 257)
    pixels = samples.astype(np.uint8, copy=False)
    if pixels.ndim == 2:
        return np.repeat(pixels[:, :, None], 3, axis=2)
    if pixels.shape[2] == 3:
        return pixels
    if not pixels[..., 3].any():  # alpha that hides everything is none: programs leave it at 0
        return np.ascontiguousarray(pixels[..., :3])
    rgb = np.empty((*pixels.shape[:2], 3), np.uint8)
    for start in range(0, len(pixels), _STRIP):
        strip = slice(start, start + _STRIP)
        alpha = pixels[strip, :, 3:].astype(np.uint16)
        white = 255 * (255 - alpha) + 127  # 127: the division rounds to nearest
        rgb[strip] = (pixels[strip, :, :3] * alpha + white) // 255
    return rgb
