"""What a file says and shows besides its content: size, format, light. Knows no label."""

from __future__ import annotations

import contextlib
import hashlib
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as PillowImage
from PIL.JpegImagePlugin import JpegImageFile

from roi_cls.base.errors import ImageReadError
from roi_cls.base.pool import WorkerPool, in_worker
from roi_cls.cache.options import BuildOptions
from roi_cls.data.near import Fingerprint, take_fingerprint
from roi_cls.roi.image import read_bytes
from roi_cls.roi.image_header import sniff_kind
from roi_cls.roi.picture import Picture, fitting_factor

_LIGHT_PX = 128  # light is measured at this scale or the next larger one, like the fingerprint


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """One file. Categories are texts, quantities numbers; of one that cannot be read only why."""

    path: Path
    error: str | None = None
    sha256: str = ""
    fingerprint: Fingerprint | None = None
    categories: tuple[tuple[str, str], ...] = ()
    """Name and value, like ``format`` and ``JPEG``."""
    quantities: tuple[tuple[str, float], ...] = ()
    """Name and value, like ``width`` and 1024."""
    damaged: bool = False
    """Whether it cannot be read because it is not whole."""


def read_all_facts(paths: Sequence[Path], options: BuildOptions) -> Iterator[PictureFacts]:
    """Yield the facts of each file, in order, read by several processes where it is worth it."""
    workers = options.worker_count(len(paths))
    make_work = partial(_open_reader, options.max_pixels)
    if not workers:
        with make_work() as read:
            yield from map(read, paths)
        return
    with WorkerPool[Path, PictureFacts](workers, partial(in_worker, make_work), _died) as pool:
        yield from pool.map(paths)


def read_facts(path: Path, max_pixels: int) -> PictureFacts:
    """Return the facts of a file; of one that cannot be read, its error."""
    try:
        data = read_bytes(path)
        picture = Picture(data, path, max_pixels=max_pixels)
        fingerprint = take_fingerprint(picture)
        light = _measure_light(picture)
    except ImageReadError as error:
        return PictureFacts(path, str(error), damaged=error.is_damaged)
    categories, quantities = _read_header(data)
    size = f"{picture.width} x {picture.height}"
    return PictureFacts(
        path,
        None,
        hashlib.sha256(data).hexdigest(),
        fingerprint,
        (
            ("size", size),
            ("suffix", path.suffix.lower()),
            ("format", sniff_kind(data)),
            ("color_profile", picture.colours.name or picture.colours.note or "none"),
            *categories,
        ),
        (
            ("width", picture.width),
            ("height", picture.height),
            ("file_bytes", len(data)),
            ("bits_per_pixel", 8 * len(data) / (picture.width * picture.height)),
            *quantities,
            *light,
        ),
    )


def _read_header(
    data: bytes,
) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, float], ...]]:
    """Return what Pillow reads in the header; nothing where it reads less than our decoders."""
    try:
        with PillowImage.open(io.BytesIO(data)) as picture:
            tables: dict[int, list[int]] = {}
            if isinstance(picture, JpegImageFile):
                tables = picture.quantization
            categories = (
                ("colour_mode", picture.mode),
                ("exif", "yes" if len(picture.getexif()) else "no"),
                ("jpeg_tables", _name_tables(tables)),
            )
    except (OSError, SyntaxError, ValueError, PillowImage.DecompressionBombError):
        return (), ()
    coarseness = np.mean([value for table in tables.values() for value in table]) if tables else 0
    return categories, (("jpeg_coarseness", float(coarseness)),)


def _name_tables(tables: dict[int, list[int]]) -> str:
    if not tables:
        return "none"
    digest = hashlib.sha256(repr(sorted((k, list(v)) for k, v in tables.items())).encode())
    return digest.hexdigest()[:8]


def _measure_light(picture: Picture) -> tuple[tuple[str, float], ...]:
    small = picture.reduced(fitting_factor(min(picture.height, picture.width), _LIGHT_PX))
    grey = cv2.cvtColor(picture.pixels(), cv2.COLOR_RGB2GRAY)
    return (
        ("brightness", float(small.mean())),
        ("contrast", float(small.mean(axis=2).std())),
        ("saturation", float(np.ptp(small, axis=2).mean())),
        # In full size: another program's resampling or compression shows in the finest detail.
        ("sharpness", float(cv2.Laplacian(grey, cv2.CV_32F).std())),
    )


@contextlib.contextmanager
def _open_reader(max_pixels: int) -> Iterator[Callable[[Path], PictureFacts]]:
    with warnings.catch_warnings():  # Pillow's, about damaged metadata around good pixels
        warnings.simplefilter("ignore")
        yield partial(read_facts, max_pixels=max_pixels)


def _died(path: Path, exit_code: int | None) -> PictureFacts:
    return PictureFacts(
        path,
        f"Cannot read {str(path)!r}: the process that decoded it died (exit code {exit_code}). "
        "Remove the picture or convert it to PNG.",
    )
