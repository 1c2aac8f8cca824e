"""The index is locked, out of reach, shared or huge: known rows are found, the run goes on."""

import resource
import sqlite3
import sys
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from roi_cls.cache import build
from roi_cls.cache import database as database_module
from roi_cls.cache.build import find_rows
from roi_cls.cache.index import CropIndex, check_index, find_index
from roi_cls.cache.record import CropRecord, CropResult, FileStamp, ok_record
from roi_cls.cache.store import CropStore
from roi_cls.roi import CropParams, Detection, plan_crop

PARAMS = CropParams(crop="full", size_px=16)
ROWS = 24
STAMP = FileStamp(100, 1_600_000_000 * 10**9, 1_600_000_000 * 10**9)


def make_row(i: int) -> CropRecord:
    seen = Detection(30 + i, 40, ())
    path = Path("pictures", f"{i}.png").absolute()
    return ok_record(path, f"{i:064x}", seen, plan_crop(seen, PARAMS), PARAMS)


TRUE = [make_row(i) for i in range(ROWS)]


def remember(index: CropIndex) -> None:
    for row in TRUE:
        index.remember(CropResult(row, stamp=STAMP))
    index.flush()


def count_known(index: CropIndex) -> int:
    """Return how many rows are known, after seeing that each is the true one."""
    found = index.find([row.path for row in TRUE], [STAMP] * ROWS)
    assert all(row is None or row == true for row, true in zip(found, TRUE, strict=True))
    return sum(row is not None for row in found)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "index.sqlite"


def test_index_that_cannot_be_opened_is_kept_in_memory(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()  # where the folder should be
    with CropIndex(tmp_path / "cache" / "index.sqlite", PARAMS) as index:
        remember(index)
        assert count_known(index) == ROWS


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "LOCK_PATIENCE_S", 0.05)


@pytest.mark.usefixtures("impatient")
def test_locked_index_forgets_and_goes_on(database: Path) -> None:
    with CropIndex(database, PARAMS) as index:
        other = sqlite3.connect(database)
        other.execute("BEGIN EXCLUSIVE")
        remember(index)
        other.rollback()
        assert count_known(index) == 0
        remember(index)
        assert count_known(index) == ROWS
        other.close()


@pytest.mark.usefixtures("impatient")
def test_index_that_another_process_holds_all_the_time_is_kept_in_memory(database: Path) -> None:
    other = sqlite3.connect(database)
    other.execute("BEGIN EXCLUSIVE")  # before it was ever used: nobody else can read it
    with CropIndex(database, PARAMS) as index:
        remember(index)
        assert count_known(index) == ROWS
    other.rollback()
    other.close()
    with CropIndex(database, PARAMS) as index:
        assert count_known(index) == 0


def _remember_parts(paths: list[Path], number: int, barrier: Barrier) -> None:
    for path in paths:
        barrier.wait(60)
        with CropIndex(path, PARAMS) as index:
            for i in range(number, ROWS, 4):
                index.remember(CropResult(TRUE[i], stamp=STAMP))
                index.flush()


def test_four_processes_that_write_one_index_at_once_lose_nothing(tmp_path: Path) -> None:
    context = get_context("spawn")
    barrier = context.Barrier(4)
    paths = [tmp_path / f"{i}.sqlite" for i in range(4)]
    processes = [
        context.Process(target=_remember_parts, args=(paths, i, barrier)) for i in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    for path in paths:
        assert check_index(path)
        with CropIndex(path, PARAMS) as index:
            assert count_known(index) == ROWS


HUGE = 100_000


@pytest.mark.slow
def test_a_hundred_thousand_entries_are_found_in_flat_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = make_row(0)
    monkeypatch.setattr(build, "read_stamp", lambda path: STAMP)
    monkeypatch.setattr(CropStore, "has_crop", lambda *_: True)
    path, store = find_index(tmp_path), CropStore(tmp_path, PARAMS)
    paths = [Path(f"/pictures/{i:06}.png") for i in range(HUGE)]
    before = max_memory()
    with CropIndex(path, PARAMS) as index:
        for i, picture in enumerate(paths):
            known = replace(row, path=picture, sha256=f"{i:064x}")
            index.remember(CropResult(known, stamp=STAMP))
    wrong = 0
    with CropIndex(path, PARAMS) as index:
        for start in range(0, HUGE, 8192):
            for i, found in enumerate(find_rows(paths[start : start + 8192], index, store), start):
                wrong += found is None or found.sha256 != f"{i:064x}" or found.height != row.height
        assert find_rows([Path("/pictures/none.png")], index, store) == [None]
    assert wrong == 0
    assert max_memory() - before < 100 * 2**20  # all rows at once would take 300 MB


def max_memory() -> int:
    """Return the most memory this process ever had, bytes."""
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage if sys.platform == "darwin" else usage * 1024
