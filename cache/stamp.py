"""What tells, without reading it, that a file is still the one that was read."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from roi_cls.base.location import is_remote, reaching

SETTLED_NS = 2_000_000_000
"""A file changed less than 2 s ago may change again within the same time stamp: not trusted."""


@dataclass(frozen=True, slots=True)
class FileStamp:
    """Size and times of a file, as integers that SQLite can hold."""

    size: int
    mtime_ns: int
    ctime_ns: int
    """A file may be replaced by one of the same size and age: archives often do so."""


def read_stamp(path: Path) -> FileStamp | None:
    """Return the stamp of a file; None: there is none, or it is too new to be trusted."""
    try:
        return _remote_stamp(path) if is_remote(path) else stamp_of(os.stat(path))
    except (OSError, ValueError):  # ValueError: a null character in the path
        return None


def stamp_of(status: os.stat_result) -> FileStamp | None:
    """Return the stamp, None where the file's time is too new or in the future.

    To be called right after the file was read: later, it would look older than it was then.
    """
    # SQLite's integers have 64 bits; file systems know times before and after those.
    if not -(2**63) <= status.st_mtime_ns <= time.time_ns() - SETTLED_NS:
        return None
    return FileStamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _remote_stamp(path: Path) -> FileStamp:
    # fsspec's key sums up what the store tells of an object: its ETag, or size and time.
    with reaching(path):
        remote = cast(Any, path)
        key = int(str(remote.fs.ukey(remote.path))[:15], 16)
        return FileStamp(int(remote.fs.size(remote.path)), key, 0)
