"""Many pictures: one truthful row each, in order, whoever does the work and whatever dies."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import pytest

from roi_cls.base import pool as pool_module
from roi_cls.base.errors import StorageError
from roi_cls.base.pool import in_worker
from roi_cls.cache import build as build_module
from roi_cls.cache import builder
from roi_cls.cache.build import CropSummary, LocalEngine, build_crops, died, find_rows
from roi_cls.cache.builder import CropWork, open_builder
from roi_cls.cache.index import CropIndex, find_index
from roi_cls.cache.options import BuildOptions, Shard
from roi_cls.cache.record import CropRecord, CropResult
from roi_cls.cache.store import FORMAT, CropStore, claim
from roi_cls.roi import CropParams
from tests.helpers.fakes import FakeDetector, no_detector, see_or_die
from tests.helpers.pictures import LONG_AGO, save_plain
from tests.helpers.stored import CROP_FILES, read_tree

PARAMS = CropParams(size_px=16, min_face_px=4)
FULL = CropParams(crop="full", size_px=16)
open_detector = partial(FakeDetector, see_or_die)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Eight files: faces, a black one, a missing one, a damaged one, one twice."""
    faces = [save_plain(tmp_path / f"{i}.png", (50 + i, 90, 90)) for i in range(4)]
    black = save_plain(tmp_path / "black.png", (0, 0, 0))
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(faces[0].read_bytes()[:40])
    return [faces[0], damaged, faces[1], black, tmp_path / "missing.png", *faces[2:], faces[0]]


@pytest.fixture
def options(tmp_path: Path) -> BuildOptions:
    return BuildOptions(tmp_path / "cache", workers=0)


def run(paths: list[Path], options: BuildOptions, params: CropParams = PARAMS) -> CropSummary:
    summary = CropSummary()
    for path, result in zip(paths, build_crops(paths, params, open_detector, options), strict=True):
        assert result.record.path == path
        summary.add(result)
    return summary


def rows_of(
    paths: list[Path], options: BuildOptions, params: CropParams = PARAMS
) -> list[CropRecord]:
    return [result.record for result in build_crops(paths, params, open_detector, options)]


def look_up(paths: list[Path], options: BuildOptions) -> list[CropRecord | None]:
    """Return what is known without reading a picture."""
    with CropIndex(find_index(options.cache, options.shard), PARAMS) as index:
        return find_rows(paths, index, CropStore(options.cache, PARAMS))


def counts(summary: CropSummary) -> dict[str, Any]:
    values = summary.to_dict()
    assert values.pop("seconds") >= 0
    assert values.pop("images_per_second") >= 0
    return values


def test_every_input_has_its_row_in_order_and_is_counted(
    pictures: list[Path], options: BuildOptions
) -> None:
    expected = {
        "images": 8, "face": 5, "full_frame": 1, "reasons": {"no_face": 1}, "errors": 2,
        "skipped": 0, "damaged": 1, "steps": {"short": 5, "turned": 1}, "detected": 5,
        "cropped": 5, "reused": 1,
    }  # fmt: skip
    assert counts(run(pictures, options)) == expected
    again = {**expected, "detected": 0, "cropped": 0, "reused": 6}
    assert counts(run(pictures, options)) == again


def test_known_pictures_are_not_read_and_have_the_same_rows(
    pictures: list[Path], options: BuildOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    cold = rows_of(pictures, options)
    known = [pictures[i] for i in (0, 2, 3, 5, 6, 7)]
    monkeypatch.setattr(builder, "read_bytes", no_detector)
    warm = list(build_crops(known, PARAMS, no_detector, options))
    assert [result.record for result in warm] == [row for row in cold if row.status == "ok"]
    assert warm == [CropResult(row.record) for row in warm]  # nothing was done


def test_skipped_pictures_are_known_too(pictures: list[Path], options: BuildOptions) -> None:
    params = CropParams(size_px=16, min_face_px=4, fallback="skip")
    first, second = (run(pictures, options, params) for _ in range(2))
    assert (first.skipped, first.cropped, first.detected, first.errors) == (1, 4, 5, 2)
    assert (second.skipped, second.cropped, second.detected, second.reused) == (1, 0, 0, 6)


def test_one_changed_byte_recomputes_exactly_that_picture(
    pictures: list[Path], options: BuildOptions
) -> None:
    run(pictures, options)
    save_plain(pictures[2], (99, 99, 99))
    summary = run(pictures, options)
    assert (summary.detected, summary.cropped, summary.reused) == (1, 1, 5)


def test_changed_margin_crops_all_and_detects_none(
    pictures: list[Path], options: BuildOptions
) -> None:
    run(pictures, options)
    summary = run(pictures, options, CropParams(size_px=16, min_face_px=4, margin=1.0))
    assert (summary.detected, summary.cropped, summary.reused) == (0, 5, 1)


def test_blocks_change_nothing(
    pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = rows_of(pictures, BuildOptions(tmp_path / "whole", workers=0))
    monkeypatch.setattr(LocalEngine, "block", 3)
    options = BuildOptions(tmp_path / "parts", workers=0)
    assert rows_of(pictures, options) == whole
    assert rows_of(pictures, options) == whole
    assert read_tree(options.cache) == read_tree(tmp_path / "whole")


@pytest.mark.parametrize("content", [None, b"garbage" * 999])
def test_lost_index_is_made_anew_from_the_entries(
    pictures: list[Path], options: BuildOptions, content: bytes | None
) -> None:
    rows = rows_of(pictures, options)
    path = find_index(options.cache)
    path.unlink()
    if content:
        path.write_bytes(content)
    summary = run(pictures, options)
    assert (summary.detected, summary.cropped, summary.reused) == (0, 0, 6)
    known = look_up(pictures, options)
    assert known == [row if row.status == "ok" else None for row in rows]


@pytest.mark.parametrize("pattern", [CROP_FILES, "crops"])
def test_lost_crops_are_cut_again_and_nothing_is_detected(
    pictures: list[Path], options: BuildOptions, pattern: str
) -> None:
    rows, tree = rows_of(pictures, options), read_tree(options.cache)
    for path in list(options.cache.rglob(pattern)):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    summary = run(pictures, options)
    assert (summary.detected, summary.cropped, summary.reused) == (0, 5, 1)
    assert rows_of(pictures, options) == rows
    assert read_tree(options.cache) == tree


def test_clock_set_back_distrusts_the_index_and_gives_the_same_rows(
    pictures: list[Path], options: BuildOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, tree = rows_of(pictures, options), read_tree(options.cache)
    assert look_up(pictures[:1], options) == rows[:1]
    monkeypatch.setattr(time, "time_ns", lambda: (LONG_AGO - 3600) * 10**9)
    assert look_up(pictures[:1], options) == [None]
    save_plain(pictures[2], (99, 99, 99))
    summary = run(pictures, options)
    assert (summary.detected, summary.cropped, summary.reused) == (1, 1, 5)
    monkeypatch.undo()
    assert rows_of(pictures, options)[2] != rows[2]
    assert tree.items() <= read_tree(options.cache).items()


def test_workers_give_the_same_rows_and_the_same_files(
    pictures: list[Path], tmp_path: Path
) -> None:
    rows, trees = [], []
    for workers in (0, 2):
        options = BuildOptions(tmp_path / f"cache{workers}", workers)
        rows.append(rows_of(pictures, options))
        trees.append(read_tree(options.cache))
    assert rows[0] == rows[1]
    assert trees[0] == trees[1]


def test_picture_that_kills_its_process_is_a_row_in_error_every_time(
    pictures: list[Path], tmp_path: Path
) -> None:
    blue = save_plain(tmp_path / "blue.png", (0, 0, 255))
    options = BuildOptions(tmp_path / "cache", workers=1)
    paths = [pictures[0], blue, pictures[2]]
    rows = rows_of(paths, options)
    assert [row.status for row in rows] == ["ok", "error", "ok"]
    assert rows[1].error == (
        f"Cannot crop {str(blue)!r}: the process that decoded it died (exit code 9). "
        "The picture may be made to crash decoders; remove it or convert it to PNG."
    )
    assert rows_of(paths, options) == rows


def test_stopping_early_leaves_no_process(
    pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    start = pool_module._start_python

    def watch(*arguments: Any) -> subprocess.Popen[bytes]:
        started.append(start(*arguments))
        return started[-1]

    monkeypatch.setattr(pool_module, "_start_python", watch)
    results = build_crops(pictures, PARAMS, open_detector, BuildOptions(tmp_path / "cache", 2))
    assert isinstance(results, Iterator)
    next(results)
    results.close()  # type: ignore[attr-defined]  # it is a generator
    assert [process.poll() is None for process in started] == [False]


def test_what_was_done_before_stopping_is_remembered(
    pictures: list[Path], options: BuildOptions
) -> None:
    results = build_crops(pictures, PARAMS, open_detector, options)
    first = next(results)
    results.close()  # type: ignore[attr-defined]  # it is a generator
    assert look_up(pictures[:1], options) == [first.record]


def test_run_keeps_its_parts_from_being_pruned(pictures: list[Path], options: BuildOptions) -> None:
    results = build_crops(pictures, PARAMS, open_detector, options)
    next(results)
    for digest in (PARAMS.digest, PARAMS.detector_digest):
        with claim(options.cache / FORMAT, digest) as is_free:
            assert not is_free
    results.close()  # type: ignore[attr-defined]  # it is a generator
    with claim(options.cache / FORMAT, PARAMS.digest) as is_free:
        assert is_free


def test_shards_fill_one_cache_and_each_its_own_index(pictures: list[Path], tmp_path: Path) -> None:
    whole = BuildOptions(tmp_path / "whole", workers=0)
    rows = rows_of(pictures, whole)
    found: dict[Path, CropRecord] = {}
    for i in (1, 2):
        options = BuildOptions(tmp_path / "parts", workers=0, shard=Shard(i, 2))
        mine = [path for path in pictures if Shard(i, 2).holds(path)]
        found |= {row.path: row for row in rows_of(mine, options)}
        assert find_index(options.cache, options.shard).exists()
    assert [found[path] for path in pictures] == rows
    assert read_tree(tmp_path / "parts") == read_tree(whole.cache)
    assert not find_index(tmp_path / "parts").exists()


def test_cache_that_may_only_be_read_gives_known_rows_and_tells_of_new_pictures(
    shared_folder: Path, as_plain_user: Callable[[], None]
) -> None:
    paths = [save_plain(shared_folder / f"{i}.png", (50 + i, 90, 90)) for i in range(3)]
    options = BuildOptions(shared_folder / "cache", workers=0)
    rows = rows_of(paths[:2], options)
    make_read_only(options.cache)
    tree = read_tree(options.cache)
    as_plain_user()
    warm = list(build_crops(paths[:2], PARAMS, no_detector, options))
    assert warm == [CropResult(row) for row in rows]  # from the index, nothing was done
    results = build_crops(paths, PARAMS, open_detector, options)
    assert [next(results).record for _ in rows] == rows
    with pytest.raises(StorageError) as caught:
        next(results)
    assert str(caught.value) == (
        f"Cannot write {str(caught.value.path)!r}: Permission denied. Give another folder (for "
        "crops with --cache DIR), then run the same command again: what is finished is kept."
    )
    assert str(caught.value.path).startswith(f"{options.cache}/v2/detections/")
    assert read_tree(options.cache) == tree


def make_read_only(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)


def test_picture_over_the_limit_is_a_row_in_error(pictures: list[Path], tmp_path: Path) -> None:
    options = BuildOptions(tmp_path / "cache", workers=0, max_pixels=1000)
    (row,) = rows_of(pictures[:1], options)
    assert row.status == "error"
    assert "1000" in (row.error or "")


def test_no_pictures_make_no_rows(options: BuildOptions) -> None:
    assert counts(run([], options))["images"] == 0


def test_partial_opener_is_as_good_as_a_class(pictures: list[Path], options: BuildOptions) -> None:
    results = build_crops(pictures[:1], FULL, partial(FakeDetector, see_or_die), options)
    assert [result.record.source for result in results] == ["full_frame"]


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
    monkeypatch.setattr(build_module, "WorkerPool", _FakePool)
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


def test_builder_keeps_its_parts_from_being_pruned(tmp_path: Path) -> None:
    root = tmp_path / FORMAT
    with open_builder(FULL, no_detector, BuildOptions(tmp_path)):
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
