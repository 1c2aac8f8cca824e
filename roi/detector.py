"""What any face detector must do. Knows no implementation."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from roi_cls.roi.face import Detection
from roi_cls.roi.picture import Picture


class FaceDetector(Protocol):
    """Finds faces; owns native resources, so it is used as a context manager.

    An implementation raises ``DetectorModelError`` on construction where its model cannot be
    loaded; in ``detect`` only the ``ImageReadError`` of a picture that cannot be decoded.
    """

    def detect(self, picture: Picture) -> Detection:
        """Return the faces of a picture, best first."""

    def close(self) -> None:
        """Free the native resources; calling it again does nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


DetectorOpener = Callable[[], FaceDetector]
"""Makes a detector in whichever process needs one; picklable."""
