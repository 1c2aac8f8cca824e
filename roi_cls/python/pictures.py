"""Pictures as Python code has them: paths, encoded bytes, decoded arrays. Knows no label."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from roi_cls.base.atomic import write_atomically
from roi_cls.base.location import as_path, is_remote
from roi_cls.classifier.inference.prediction import Source
from roi_cls.roi.image import Image

PictureLike: TypeAlias = str | os.PathLike[str] | bytes | Image
"""A path (also ``s3://…``), the bytes of a file, or (height, width, 3) RGB uint8, upright."""

_KINDS = "a path, the bytes of a file, or a (height, width, 3) RGB uint8 array"


def as_source(picture: PictureLike, name: str) -> Source:
    """Return the picture for ``Predictor``; one without a path goes by ``name``.

    Raises:
        ValueError: It is nothing that a picture can be given as.
    """
    if isinstance(picture, np.ndarray):
        return Source(name, image=_checked(picture, name))
    if isinstance(picture, bytes | bytearray | memoryview):
        return Source(name, data=bytes(picture))
    return Source(str(_path(picture, name)))


def as_sources(pictures: Iterable[PictureLike]) -> Iterator[Source]:
    """Yield the pictures for ``Predictor`` as they come; ``X[3]`` names the fourth.

    Raises:
        ValueError: They are no row of pictures.
    """
    _check_row(pictures)
    return (as_source(picture, f"X[{i}]") for i, picture in enumerate(pictures))


def list_pictures(pictures: Iterable[PictureLike]) -> list[PictureLike]:
    """Return the pictures, one at least.

    Raises:
        ValueError: They are no row of pictures, or none.
    """
    _check_row(pictures)
    found = list(pictures)
    if not found:
        raise ValueError("X has 0 sample(s), a minimum of 1 is required.")
    return found


def store_pictures(pictures: Sequence[PictureLike], folder: Path) -> list[Path]:
    """Return a file of each picture; those that have none are written to ``folder``, lossless.

    They are named by their content, so that nothing is ever replaced by another picture.

    Raises:
        ValueError: One is nothing that a picture can be given as.
        StorageError: The folder cannot be written.
    """
    return [_store(as_source(picture, f"X[{i}]"), folder) for i, picture in enumerate(pictures)]


def _store(source: Source, folder: Path) -> Path:
    if source.image is not None:
        buffer = io.BytesIO()
        # Level 1: a picture that is read once need not be small.
        PillowImage.fromarray(source.image).save(buffer, "PNG", compress_level=1)
        data, suffix = buffer.getvalue(), ".png"
    elif source.data is not None:
        data, suffix = source.data, ".picture"
    else:
        return as_path(source.path)
    path = folder / f"{hashlib.sha256(data).hexdigest()}{suffix}"
    if not path.exists():
        write_atomically(path, data)
    return path


def optional_path(given: str | Path | None) -> Path | None:
    """Return a path as Python code gives it, local or remote; None where it gives none."""
    return None if given is None else as_path(str(given))


def common_folder(paths: Sequence[Path]) -> Path:
    """Return the folder that all paths lie below; that of the program where there is none."""
    local = [path.absolute().parent for path in paths if not is_remote(path)]
    try:
        return Path(os.path.commonpath(local))
    except ValueError:  # none, or on several drives of Windows
        return Path()


def _check_row(pictures: object) -> None:
    """Raise ``ValueError`` where something stands in the place of a row of pictures."""
    shape = getattr(pictures, "shape", None)
    if isinstance(pictures, str | bytes | os.PathLike):
        raise ValueError(f"X must be a list of pictures, got one: {str(pictures)[:80]!r}. Use [X].")
    if shape is not None and len(shape) not in (1, 4):
        raise ValueError(
            f"X must be a list of pictures or an (N, height, width, 3) array, got shape "
            f"{tuple(shape)}. Reshape your data: each picture is {_KINDS}; a table's column of "
            "paths is given as table['path']."
        )


def _path(picture: object, name: str) -> Path:
    if isinstance(picture, str | os.PathLike):
        return as_path(os.fspath(picture))
    if hasattr(picture, "protocol"):  # a UPath, which is no PathLike: see location.py
        return as_path(str(picture))
    raise ValueError(f"{name} must be {_KINDS}, got {type(picture).__name__}.")


def _checked(image: NDArray[np.generic], name: str) -> Image:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(
            f"{name} must be (height, width, 3) RGB uint8 with values 0 to 255, got shape "
            f"{image.shape} of {image.dtype}. Grey: np.stack([x] * 3, axis=2)."
        )
    return image  # type: ignore[return-value]  # its dtype was just looked at
