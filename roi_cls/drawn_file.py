"""Write a drawn page or view as a picture file, in the format that its suffix names."""

from __future__ import annotations

import io
from pathlib import Path

from PIL.Image import Image

from roi_cls.base.atomic import write_atomically
from roi_cls.base.errors import CacheError, StorageError

_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}


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
