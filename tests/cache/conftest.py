"""Shared by the tests of the cache: a detector that counts its work, and a cache opened anew."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import cv2
import numpy as np
import pytest

from roi_cls.base.closing import Closing
from roi_cls.cache.builder import CropBuilder
from roi_cls.cache.record import CropResult
from roi_cls.cache.store import CropStore
from roi_cls.roi import Box, CropParams, Detection, Face
from roi_cls.roi.picture import Picture

PARAMS = CropParams(size_px=16, min_face_px=4)
LONG_AGO = 1_600_000_000  # seconds since 1970
EYES = ((10.0, 12.0), (20.0, 14.0)) * 3
FACE = Face(Box(5, 5, 25, 25), 0.9, EYES, "short")
SECOND = Face(Box(22, 8, 34, 20), 0.8, EYES, "full")

Build = Callable[..., CropResult]
OpenBuilder = Callable[..., AbstractContextManager[CropBuilder]]


class FakeDetector(Closing):
    """Sees two faces, except in black pictures, and counts its work."""

    def __init__(self) -> None:
        self.calls = 0
        self.opened = 0

    def open(self) -> "FakeDetector":
        """Return itself, as what opens a detector."""
        self.opened += 1
        return self

    def detect(self, picture: Picture) -> Detection:
        """Return the faces or none."""
        self.calls += 1
        faces = (FACE, SECOND) if picture.pixels().any() else ()
        return Detection(picture.height, picture.width, faces, "short" if faces else "tiles")

    def close(self) -> None:
        """Count down."""
        self.opened -= 1


@pytest.fixture
def detector() -> Iterator[FakeDetector]:
    """A detector that is closed as often as it is opened."""
    detector = FakeDetector()
    yield detector
    assert detector.opened == 0


@pytest.fixture
def open_builder(tmp_path: Path, detector: FakeDetector) -> OpenBuilder:
    """Open a builder on ``tmp_path/cache``, as another process would; crops of 16 px, unless."""

    @contextlib.contextmanager
    def open_builder(**settings: object) -> Iterator[CropBuilder]:
        params = CropParams.from_dict({**PARAMS.to_dict(), **settings})
        store = CropStore(tmp_path / "cache", params)
        with CropBuilder(store, params, detector.open) as builder:
            yield builder

    return open_builder


@pytest.fixture
def build(open_builder: OpenBuilder) -> Build:
    """Build a picture by a builder opened for it."""

    def build(path: Path, **settings: object) -> CropResult:
        with open_builder(**settings) as builder:
            return builder.build(path)

    return build


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture of noise, 30 px high and 40 px wide, long unchanged."""
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(1, 256, (30, 40, 3), np.uint8))
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that any user can reach; those of pytest are private."""
    folder = Path(tempfile.mkdtemp(prefix="roi-cls-test-"))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def as_plain_user() -> Iterator[Callable[[], None]]:
    """Give up root's right to write anywhere, until the end of the test."""
    is_root = os.geteuid() == 0
    yield lambda: os.seteuid(65534) if is_root else None
    if is_root:
        os.seteuid(0)
