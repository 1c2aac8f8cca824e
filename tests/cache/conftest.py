"""Shared by the tests of the builder: a detector that counts its work, and a cache opened anew."""

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import cv2
import numpy as np
import pytest

from roi_cls.cache.builder import CropBuilder
from roi_cls.cache.record import CropResult
from roi_cls.cache.store import CropCache
from roi_cls.roi import Box, CropParams, Detection, Face
from roi_cls.roi.image import Image

PARAMS = CropParams(size_px=16, min_face_px=4)
LONG_AGO = 1_600_000_000  # seconds since 1970
FACE = Face(Box(5, 5, 25, 25), 0.9, ((10.0, 12.0), (20.0, 14.0)) * 3, "short")

Build = Callable[..., CropResult]
OpenBuilder = Callable[[], AbstractContextManager[CropBuilder]]


class FakeDetector:
    """Sees one face, except in black pictures, and counts its work."""

    def __init__(self) -> None:
        self.calls = 0
        self.opened = 0

    def open(self) -> "FakeDetector":
        """Return itself, as what opens a detector."""
        self.opened += 1
        return self

    def detect(self, image: Image) -> Detection:
        """Return the face or none."""
        self.calls += 1
        return Detection(image.shape[0], image.shape[1], (FACE,) if image.any() else ())

    def close(self) -> None:
        """Count down."""
        self.opened -= 1

    def __enter__(self) -> "FakeDetector":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@pytest.fixture
def detector() -> Iterator[FakeDetector]:
    """A detector that is closed as often as it is opened."""
    detector = FakeDetector()
    yield detector
    assert detector.opened == 0


@pytest.fixture
def open_builder(tmp_path: Path, detector: FakeDetector) -> OpenBuilder:
    """Open a builder on ``tmp_path/cache``, as another process would."""
    return lambda: _open_builder(tmp_path / "cache", detector, PARAMS)


@contextlib.contextmanager
def _open_builder(
    folder: Path, detector: FakeDetector, params: CropParams
) -> Iterator[CropBuilder]:
    with CropCache(folder) as cache, CropBuilder(cache, params, detector.open) as builder:
        yield builder


@pytest.fixture
def build(tmp_path: Path, detector: FakeDetector) -> Build:
    """Build a picture by a builder opened for it, by a recipe of 16 px unless told otherwise."""

    def build(path: Path, **settings: object) -> CropResult:
        params = CropParams.from_dict({**PARAMS.to_dict(), **settings})
        with _open_builder(tmp_path / "cache", detector, params) as builder:
            return builder.build(path)

    return build


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture of noise, 30 px high and 40 px wide, long unchanged."""
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(1, 256, (30, 40, 3), np.uint8))
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path
