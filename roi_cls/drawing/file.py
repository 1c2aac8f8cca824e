"""Pictures made for people, as files: their format, and the names of those that belong to rows.

A row's name begins with the number of its row. So no two are alike, whatever the inputs are called,
and none can lead out of its folder.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from PIL.Image import Image

from roi_cls.base.atomic import write_atomically
from roi_cls.base.errors import CacheError, DataError, StorageError
from roi_cls.base.location import is_remote
from roi_cls.classifier.inference.prediction import Prediction
from roi_cls.inputs.names import is_url

_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}
_MOST_BYTES = 100  # of the part of a name that tells the input; file systems take 255 in all
_UNSAFE = re.compile(r"[^\w.+-]+")


def check_drawing_path(path: Path, what: str) -> None:
    """Refuse a file that cannot be drawn to, before the work is done.

    Args:
        path: Of the file.
        what: It is to hold, as in ``contact sheet``.

    Raises:
        CacheError: The suffix names no format.
        StorageError: The path is a folder.
    """
    if path.suffix.lower() not in _FORMATS:
        raise CacheError(
            f"Cannot write the {what} {str(path)!r}: its suffix names no known format. "
            f"Use one of {', '.join(_FORMATS)}."
        )
    if path.is_dir():
        raise StorageError(path, "it is a folder")


def write_drawing(path: Path, drawing: Image) -> None:
    """Write the drawing, all or nothing.

    Raises:
        StorageError: The file cannot be written.
    """
    buffer = io.BytesIO()
    # Colour at full resolution: otherwise coloured letters and thin lines bleed.
    drawing.save(buffer, _FORMATS[path.suffix.lower()], quality=90, subsampling=0)
    write_atomically(path, buffer.getvalue())


def row_name(number: int, prediction: Prediction) -> str:
    """Return what the files of a row begin with: ``000012-portrait``, ``000013-clip-1.5s``.

    Args:
        number: Of the row, from 1.
        prediction: It.
    """
    path = urlsplit(prediction.path).path if is_url(prediction.path) else prediction.path
    last = re.split(r"[/\\]", path.rstrip("/\\"))[-1]
    stem = last.rpartition(".")[0] or last
    text = _UNSAFE.sub("_", "stdin" if stem == "-" else stem)
    short = text.encode()[:_MOST_BYTES].decode("utf-8", "ignore")
    at = "" if prediction.time_s is None else f"-{prediction.time_s:g}s"
    return f"{number:06}-{short}{at}"


def check_output_folder(folder: Path, inputs: Sequence[str]) -> None:
    """Refuse a folder of which the pictures would be inputs the next time.

    Raises:
        DataError: It is one of the inputs, or lies in one.
    """
    if is_remote(folder):
        return
    whole = folder.resolve()
    for text in inputs:
        place = Path(text)
        if not is_url(text) and place.is_dir() and whole.is_relative_to(place.resolve()):
            raise DataError(
                f"Cannot write pictures to {str(folder)!r}: it lies in {text!r}, an input, and "
                "they would be found there the next time. Choose another folder."
            )
