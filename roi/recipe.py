"""A crop recipe made ready: its detector's model files found, and how to open the detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from roi_cls.roi.crop import DetectorOpener
from roi_cls.roi.detection import detector, models
from roi_cls.roi.detection.models import DetectorModel
from roi_cls.roi.params import CropParams


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
    return OpenedRecipe(params, found, partial(detector.NetworkDetector, found, params))
