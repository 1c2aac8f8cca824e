"""The index knows unchanged files again; without it nothing is lost but time."""

import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from roi_cls.cache.index import FileIndex

LONG_AGO = 1_600_000_000  # seconds since 1970
DIGEST = "d" * 64


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "index.sqlite"


@pytest.fixture
def index(database: Path) -> Iterator[FileIndex]:
    index = FileIndex(database)
    yield index
    index.close()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    path.write_bytes(b"content")
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def remember(index: FileIndex, path: Path) -> None:
    index.remember(path, path.stat(), DIGEST)
    index.flush()


def test_unchanged_file_is_known_to_the_next_process(
    index: FileIndex, database: Path, picture: Path
) -> None:
    remember(index, picture)
    other = FileIndex(database)
    assert other.find(picture, picture.stat()) == DIGEST
    other.close()


def test_relative_and_absolute_path_are_one(
    index: FileIndex, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember(index, picture)
    monkeypatch.chdir(picture.parent)
    assert index.find(Path("a.png"), picture.stat()) == DIGEST


def test_name_that_is_no_text_is_known(index: FileIndex, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff'\n.png")
    path.write_bytes(b"content")
    os.utime(path, (LONG_AGO, LONG_AGO))
    remember(index, path)
    assert index.find(path, path.stat()) == DIGEST


@pytest.mark.parametrize("change", ["size", "time", "path"])
def test_changed_file_is_not_known(index: FileIndex, picture: Path, change: str) -> None:
    remember(index, picture)
    if change == "size":
        picture.write_bytes(b"longer content")
        os.utime(picture, (LONG_AGO, LONG_AGO))
    elif change == "time":
        os.utime(picture, (LONG_AGO, LONG_AGO + 1))
    else:
        picture = picture.rename(picture.with_name("b.png"))
    assert index.find(picture, picture.stat()) is None


def test_file_replaced_by_one_of_the_same_size_and_time_is_not_known(
    index: FileIndex, picture: Path
) -> None:
    remember(index, picture)
    other = picture.with_name("other.png")
    other.write_bytes(b"CONTENT")
    os.utime(other, (LONG_AGO, LONG_AGO))
    other.replace(picture)
    assert index.find(picture, picture.stat()) is None


@pytest.mark.parametrize("seconds_old", [0.0, 1.5, -1.0, -3600.0])
def test_file_too_new_or_of_the_future_is_not_remembered(
    index: FileIndex, picture: Path, seconds_old: float
) -> None:
    changed = time.time() - seconds_old
    os.utime(picture, (changed, changed))
    remember(index, picture)
    connection = sqlite3.connect(index._path)
    assert connection.execute("SELECT COUNT(*) FROM contents").fetchone() == (0,)
    connection.close()


def test_clock_set_back_distrusts_what_was_remembered(
    index: FileIndex, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember(index, picture)
    monkeypatch.setattr(time, "time_ns", lambda: (LONG_AGO - 10) * 10**9)
    assert index.find(picture, picture.stat()) is None


@pytest.mark.parametrize("mtime_ns", [2**64, -(2**64)])
def test_time_beyond_the_integers_of_sqlite_is_not_remembered(
    index: FileIndex, picture: Path, mtime_ns: int
) -> None:
    status = os.stat_result((*picture.stat()[:7], 0, 0, 0), {"st_mtime_ns": mtime_ns})
    index.remember(picture, status, DIGEST)
    assert index.find(picture, status) is None


@pytest.mark.parametrize("content", [b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_garbage_is_thrown_away(database: Path, picture: Path, content: bytes) -> None:
    database.parent.mkdir()
    database.write_bytes(content)
    index = FileIndex(database)
    assert index.find(picture, picture.stat()) is None
    remember(index, picture)
    index.close()
    again = FileIndex(database)
    assert again.find(picture, picture.stat()) == DIGEST
    again.close()


def test_index_damaged_while_it_is_open_is_started_anew(
    database: Path, picture: Path, tmp_path: Path
) -> None:
    index = FileIndex(database)
    for i in range(600):  # more than one batch
        index.remember(tmp_path / f"{i}", picture.stat(), DIGEST)
    index.close()
    index = FileIndex(database)
    with database.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (database.stat().st_size - 4096))
    assert index.find(tmp_path / "3", picture.stat()) is None
    remember(index, picture)
    assert index.find(picture, picture.stat()) == DIGEST
    index.close()


def test_index_that_cannot_be_opened_is_kept_in_memory(tmp_path: Path, picture: Path) -> None:
    (tmp_path / "cache").touch()  # where the folder should be
    index = FileIndex(tmp_path / "cache" / "index.sqlite")
    remember(index, picture)
    assert index.find(picture, picture.stat()) == DIGEST
    index.close()


def test_index_that_stays_broken_is_kept_in_memory(
    database: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.parent.mkdir()
    database.write_bytes(b"garbage" * 1000)
    monkeypatch.setattr(os, "unlink", _refuse)
    index = FileIndex(database)
    remember(index, picture)
    assert index.find(picture, picture.stat()) == DIGEST
    index.close()
    assert database.read_bytes() == b"garbage" * 1000


def _refuse(_: object) -> None:
    raise PermissionError


def test_locked_index_forgets_and_goes_on(
    database: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, timeout: connect(path, timeout=0.05))
    index = FileIndex(database)
    other = connect(database)
    other.execute("BEGIN EXCLUSIVE")
    remember(index, picture)
    other.rollback()
    assert index.find(picture, picture.stat()) is None
    remember(index, picture)
    assert index.find(picture, picture.stat()) == DIGEST
    other.close()
    index.close()
