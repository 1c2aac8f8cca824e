"""A file is believed to be unchanged only where its times can tell."""

import os
import time
from pathlib import Path

import pytest

from roi_cls.cache.record import FileStamp, read_stamp, stamp_of

LONG_AGO = 1_600_000_000  # seconds since 1970


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    path.write_bytes(b"content")
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def test_stamp_of_an_old_file_is_its_size_and_times(picture: Path) -> None:
    status = picture.stat()
    assert read_stamp(picture) == FileStamp(7, LONG_AGO * 10**9, status.st_ctime_ns)


@pytest.mark.parametrize("seconds_old", [0.0, 1.5, -1.0, -3600.0])
def test_file_too_new_or_of_the_future_is_not_trusted(picture: Path, seconds_old: float) -> None:
    changed = time.time() - seconds_old
    os.utime(picture, (changed, changed))
    assert read_stamp(picture) is None


def test_clock_set_back_distrusts_what_was_trusted(
    picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_stamp(picture)
    monkeypatch.setattr(time, "time_ns", lambda: (LONG_AGO - 10) * 10**9)
    assert read_stamp(picture) is None


@pytest.mark.parametrize("mtime_ns", [2**64, -(2**64)])
def test_time_beyond_the_integers_of_sqlite_is_not_trusted(picture: Path, mtime_ns: int) -> None:
    status = os.stat_result((*picture.stat()[:7], 0, 0, 0), {"st_mtime_ns": mtime_ns})
    assert stamp_of(status) is None


@pytest.mark.parametrize("name", ["missing", "nul\0", "a.png/below"])
def test_what_is_no_file_has_no_stamp(picture: Path, name: str) -> None:
    assert read_stamp(picture.parent / name) is None
