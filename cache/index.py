"""Which content lay under which path, so that an unchanged file is not read again.

Only a memory: losing it costs time, never a crop. Knows paths and digests, no pixels.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

SETTLED_NS = 2_000_000_000
"""A file changed less than 2 s ago may change again within the same time stamp: not trusted."""
_BATCH = 512


class FileIndex:
    """SQLite table from (path, size, mtime_ns, ctime_ns) to the SHA-256 of the file's bytes.

    ctime_ns, because a file may be replaced by one of the same size and age: unpacked archives
    often give all their files one time.

    Safe for several processes. A damaged index is thrown away and started anew; one that cannot be
    written is read only.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pending: list[tuple[bytes, int, int, int, str]] = []
        self._connection = self._open()

    def find(self, path: Path, status: os.stat_result) -> str | None:
        """Return the digest remembered for the file as ``status`` describes it, else None."""
        if not _is_settled(status):
            return None
        with self._forgiving():
            row = self._connection.execute(
                "SELECT sha256 FROM contents "
                "WHERE path = ? AND size = ? AND mtime_ns = ? AND ctime_ns = ?",
                _key(path, status),
            ).fetchone()
            return str(row[0]) if row else None
        return None

    def remember(self, path: Path, status: os.stat_result, sha256: str) -> None:
        """Keep the digest, unless the file's time is too new (or in the future) to be trusted.

        To be called right after the file was read: later, it would look older than it was then.
        """
        if not _is_settled(status):
            return
        self._pending.append((*_key(path, status), sha256))
        if len(self._pending) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        """Write what was remembered since the last flush."""
        rows, self._pending = self._pending, []
        with self._forgiving(), self._connection:
            self._connection.executemany("REPLACE INTO contents VALUES (?, ?, ?, ?, ?)", rows)

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        self._connection.close()

    def _open(self) -> sqlite3.Connection:
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _connect(self._path)
        except sqlite3.OperationalError:  # cannot be opened or written: go on without one
            return _connect(":memory:")
        except sqlite3.DatabaseError:  # not a database any more
            return self._start_anew()

    def _start_anew(self) -> sqlite3.Connection:
        for name in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                os.unlink(f"{self._path}{name}")
        try:
            return _connect(self._path)
        except sqlite3.DatabaseError:
            return _connect(":memory:")

    @contextlib.contextmanager
    def _forgiving(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError:
            pass  # locked for 30 s, disk full, read only: slower next time, nothing lost
        except sqlite3.DatabaseError:
            self._connection.close()
            self._connection = self._start_anew()


def _connect(path: Path | str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=30)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS contents (path BLOB PRIMARY KEY, size INTEGER, "
            "mtime_ns INTEGER, ctime_ns INTEGER, sha256 TEXT) WITHOUT ROWID"
        )
        connection.commit()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _is_settled(status: os.stat_result) -> bool:
    # SQLite's integers have 64 bits; file systems know times before and after those.
    return -(2**63) <= status.st_mtime_ns <= time.time_ns() - SETTLED_NS


def _key(path: Path, status: os.stat_result) -> tuple[bytes, int, int, int]:
    name = os.fsencode(os.path.abspath(path))
    return name, status.st_size, status.st_mtime_ns, status.st_ctime_ns
