"""Sources to crops, in whichever process: read, decoded, looked through, cut. Imports no torch."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from roi_cls.base.closing import Closing
from roi_cls.base.errors import ImageReadError, NoFaceError
from roi_cls.base.location import LocationError, as_path
from roi_cls.classifier.prediction import Source
from roi_cls.classifier.view_cropper import ViewCropper
from roi_cls.roi import CropParams
from roi_cls.roi.crop import Crops
from roi_cls.roi.image import read_bytes
from roi_cls.roi.picture import Picture

Cropped = tuple[Crops, ...] | str
"""The crops of each view, or why there are none."""


@dataclass(frozen=True, slots=True)
class CropSettings:
    """What a ``SourceCropper`` is made from; travels to other processes."""

    views: tuple[CropParams, ...]
    """The recipes."""
    given: Path | None
    """Where the detector's model files lie, if not in ``folders``."""
    folders: tuple[Path, ...]
    """Where to look for them first."""
    max_pixels: int
    """Larger pictures are refused."""


class SourceCropper(Closing):
    """Crops what a model is asked about, one source at a time. Owns face detectors."""

    def __init__(self, settings: CropSettings) -> None:
        """Find the detectors' files; their networks are loaded when first needed.

        Raises:
            DetectorModelError: A model file is not to be had.
        """
        self._max_pixels = settings.max_pixels
        self._views = ViewCropper(settings.views, settings.given, settings.folders)
        self._lock = threading.Lock()  # a detector is not for several threads at once
        self._is_closed = False

    def crop(self, source: Source) -> Cropped:
        """Return the crops of each view; why there are none, where the picture is in error.

        Raises:
            DetectorModelError: A network cannot be loaded.
            ValueError: It was closed.
        """
        if source.error is not None:
            return source.error
        try:
            picture = self._open(source)
            with self._lock:
                if self._is_closed:
                    raise ValueError("a SourceCropper that was closed cannot crop")
                return self._views.crop(picture)
        except (ImageReadError, LocationError, NoFaceError) as error:
            return str(error)

    def close(self) -> None:
        """Free the detectors, once the source at work is done."""
        with self._lock:
            self._is_closed = True
            self._views.close()

    def _open(self, source: Source) -> Picture:
        if source.image is not None:
            return Picture.of(source.image)
        data = read_bytes(as_path(source.path)) if source.data is None else source.data
        return Picture(data, source.path, max_pixels=self._max_pixels)


@contextlib.contextmanager
def open_cropping(settings: CropSettings) -> Iterator[Callable[[Source], Cropped]]:
    """Give the function that crops a source, in whichever process enters this."""
    with SourceCropper(settings) as cropper:
        yield cropper.crop
