"""Whoever does the work, a picture's row is the same; a process that dies costs one row."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import cv2
import pytest

from roi_cls.base.pool import in_worker
from roi_cls.cache import build as engine_module
from roi_cls.cache.build import LocalEngine, died
from roi_cls.cache.builder import CropWork, open_builder
from roi_cls.cache.lease import claim
from roi_cls.cache.options import BuildOptions
from roi_cls.cache.record import CropRecord, CropResult
from roi_cls.cache.store import FORMAT
from roi_cls.roi import CropParams
from roi_cls.roi.detector import FaceDetector

FULL = CropParams(crop="full", size_px=16)


def _name(path: Path) -> CropResult:
    return CropResult(CropRecord(path, "ok"))


def test_small_work_is_done_in_this_process_by_one_state(tmp_path: Path) -> None:
    seen = SimpleNamespace(opened=0, closed=0)

    @contextmanager
    def make_work() -> Iterator[Callable[[Path], CropResult]]:
        seen.opened += 1
        yield _name
        seen.closed += 1

    options = BuildOptions(tmp_path, workers=0)
    with LocalEngine(make_work, "r", options) as engine:
        assert seen.opened == 0  # until there is something to do
        for name in ("a", "b"):
            assert [r.record.path for r in engine.map([Path(name)])] == [Path(name)]
    assert (seen.opened, seen.closed) == (1, 1)


class _FakePool:
    """Notes how it is made and closed."""

    made: list["_FakePool"]

    def __init__(self, workers: int, make_work: object, on_death: object) -> None:
        self.workers, self.closed = workers, 0
        self.made.append(self)

    def map(self, paths: list[Path]) -> Iterator[CropResult]:
        """Return the rows."""
        return map(_name, paths)

    def close(self) -> None:
        """Count."""
        self.closed += 1


def _no_work() -> CropWork:
    raise AssertionError("the workers do it")


def test_processes_are_started_when_first_needed_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _FakePool.made = []
    monkeypatch.setattr(engine_module, "WorkerPool", _FakePool)
    with LocalEngine(_no_work, "r", BuildOptions(tmp_path, workers=3)) as engine:
        assert _FakePool.made == []
        for _ in range(2):
            assert len(list(engine.map([Path("a"), Path("b")]))) == 2
        (pool,) = _FakePool.made
        assert (pool.workers, pool.closed) == (3, 0)
    assert pool.closed == 1


@pytest.fixture
def threads() -> Iterator[None]:
    """Give OpenCV its threads back."""
    before = cv2.getNumThreads()
    yield
    cv2.setNumThreads(before)


@pytest.mark.usefixtures("threads")
def test_process_among_others_uses_one_core() -> None:
    seen: list[int] = []

    @contextmanager
    def make_work() -> Iterator[Callable[[Path], CropResult]]:
        seen.append(cv2.getNumThreads())
        yield _name

    with in_worker(make_work) as work:
        assert work(Path("a")) == _name(Path("a"))
    assert seen == [1]


def _no_detector() -> FaceDetector:
    raise AssertionError("full frames need no detector")


def test_builder_keeps_its_parts_from_being_pruned(tmp_path: Path) -> None:
    root = tmp_path / FORMAT
    with open_builder(FULL, _no_detector, BuildOptions(tmp_path)):
        for digest in (FULL.digest, FULL.detector_digest):
            with claim(root, digest) as is_free:
                assert not is_free
    with claim(root, FULL.digest) as is_free:
        assert is_free


@pytest.mark.parametrize(
    ("exit_code", "remedy"),
    [
        (9, "The picture may be made to crash decoders; remove it or convert it to PNG."),
        (-11, "The picture may be made to crash decoders; remove it or convert it to PNG."),
        (-9, "Memory may have run out: run again with fewer --workers."),
    ],
)
def test_picture_during_which_a_process_ended_has_a_row(exit_code: int, remedy: str) -> None:
    result = died("recipe", Path("a.png"), exit_code)
    assert result.record.error == (
        f"Cannot crop 'a.png': the process that decoded it died (exit code {exit_code}). {remedy}"
    )
    assert (result.record.recipe, result.detected, result.cropped) == ("recipe", False, False)
    assert result.stamp is None
