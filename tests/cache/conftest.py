"""Shared by the tests of the cache: a detector that counts its work, and a cache opened anew."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from roi_cls.cache.builder import CropBuilder
from roi_cls.cache.record import CropResult
from roi_cls.cache.store import CropStore
from roi_cls.roi import Box, CropParams, Face
from tests.helpers.fakes import EYES, FACE, FakeDetector, see, unless_black
from tests.helpers.pictures import noise, save

PARAMS = CropParams(size_px=16, min_face_px=4)
SECOND = Face(Box(22, 8, 34, 20), 0.8, EYES, "full")

Build = Callable[..., CropResult]
OpenBuilder = Callable[..., AbstractContextManager[CropBuilder]]


@pytest.fixture
def detector() -> Iterator[FakeDetector]:
    """A detector that sees two faces, except in black pictures; closed as often as opened."""
    detector = FakeDetector(unless_black(see(FACE, SECOND)))
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
    return save(tmp_path / "a.png", noise(30, 40, 3, low=1))


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
