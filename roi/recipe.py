"""A crop recipe made ready: what any detector must do, its model files found, how to open it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from roi_cls.roi import mediapipe_detector, models
from roi_cls.roi.face import Detection
from roi_cls.roi.models import DetectorModel
from roi_cls.roi.params import CropParams
from roi_cls.roi.picture import Picture


@dataclass(frozen=True, slots=True)
class OpenedRecipe:
    """What cropping needs, in whichever process it happens."""

    params: CropParams
    """With the SHA-256 of the detector's files."""
    models: tuple[DetectorModel, ...]
    """Those files; none for a recipe of full frames."""
    open_detector: DetectorOpener


def open_recipe(
    params: CropParams, given: Path | None = None, extra_dirs: Sequence[Path] = ()
) -> OpenedRecipe:
    """Return the recipe with its detector's files: those that it names, else the known ones.

    Args:
        params: The recipe; of a trained run, it names its files by their SHA-256.
        given: A file or folder of the user's, which replaces the known files.
        extra_dirs: Further folders to look in.

    Raises:
        DetectorModelError: A model file is not to be had.
    """
    found: tuple[DetectorModel, ...] = ()
    if params.crop == "face":
        expected = params.detector_sha256
        found = models.resolve_models(
            params.detector, given=given, expected_sha256=expected, extra_dirs=extra_dirs
        )
        params = replace(params, detector_sha256=expected or tuple(m.sha256 for m in found))
    return OpenedRecipe(params, found, partial(mediapipe_detector.MediapipeDetector, found, params))


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
