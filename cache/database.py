"""SQLite files of what can be had again: losing one costs time, never a result.

A damaged file is thrown away, one that is locked or cannot be written is done without. Knows no
table.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roi_cls.base.closing import Closing

AT_ONCE = 256
"""Values that one query asks for; SQLite takes 999 parameters at least."""
LOCK_PATIENCE_S = 30
"""For other processes that write the file."""
# UnicodeDecodeError: SQLite's message quotes a damaged schema.
_ERRORS = (sqlite3.DatabaseError, UnicodeDecodeError)


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables of a database."""

    create: str
    """Statements that make what is not there yet."""
    probe: str
    """A query without parameters that names every column: a damaged name shows there."""


class ForgivingDatabase(Closing):
    """A database that raises nothing: what it cannot find or keep is unknown.

    A damaged file is started anew; one that cannot be written is only read; one that cannot be
    opened, or that another process holds all the time, is in memory.
    """

    def __init__(self, path: Path, schema: Schema) -> None:
        self._path = path
        self._schema = schema
        self._connection = self._open()

    def find(self, query: str, values: Iterable[Any]) -> list[tuple[Any, ...]]:
        """Return the rows; where the file is damaged or locked, those that came before."""
        rows: list[tuple[Any, ...]] = []
        with self._forgiving():
            for row in self._connection.execute(query, tuple(values)):
                rows.append(row)
        return rows

    def write(self, *statements: tuple[str, Sequence[tuple[Any, ...]]]) -> None:
        """Run each statement for each of its rows: all of this is kept, or nothing."""
        for _ in range(2):  # the second time into a new file, where the old one was damaged
            connection = self._connection
            with self._forgiving(), connection:
                for statement, rows in statements:
                    connection.executemany(statement, rows)
            if connection is self._connection:
                return

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _open(self) -> sqlite3.Connection:
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _connect(self._path, self._schema)
        except _ERRORS as error:
            if _is_damage(error):
                return self._start_anew()
            # Never read-only while others write: so read, SQLite takes the file to stand still.
            is_busy = _code(error) == sqlite3.SQLITE_BUSY
            return self._in_memory() if is_busy else self._read_only()

    def _start_anew(self) -> sqlite3.Connection:
        for file in database_files(self._path):
            with contextlib.suppress(OSError):
                os.unlink(file)
        try:
            return _connect(self._path, self._schema)
        except _ERRORS:
            return self._in_memory()

    def _read_only(self) -> sqlite3.Connection:
        # immutable: without it SQLite wants to make its -shm file, which it cannot here.
        uri = f"{self._path.absolute().as_uri()}?mode=ro&immutable=1"
        try:
            connection = sqlite3.connect(uri, uri=True)
        except _ERRORS:
            return self._in_memory()
        try:
            connection.execute(self._schema.probe)
        except _ERRORS:
            connection.close()
            return self._in_memory()
        return connection

    def _in_memory(self) -> sqlite3.Connection:
        return _connect(":memory:", self._schema)

    @contextlib.contextmanager
    def _forgiving(self) -> Iterator[None]:
        try:
            yield
        except _ERRORS as error:
            if _is_damage(error):
                self._connection.close()
                self._connection = self._start_anew()
            # Else locked for 30 s, disk full, read only: slower next time, nothing lost.


def database_files(path: Path) -> tuple[Path, ...]:
    """Return where the database lies: its file, and SQLite's own beside it, if they are there."""
    return tuple(Path(f"{path}{end}") for end in ("", "-wal", "-shm"))


def check_database(path: Path, schema: Schema) -> bool:
    """Whether a file is sound, as far as SQLite can tell: one that is locked may be."""
    try:
        with contextlib.closing(_connect(path, schema)) as connection:
            return bool(connection.execute("PRAGMA integrity_check").fetchone() == ("ok",))
    except _ERRORS as error:
        return not _is_damage(error)


def shrink_database(path: Path, schema: Schema, delete: str, values: Sequence[Any]) -> None:
    """Run a statement that deletes rows, and give their space back; best effort."""
    with contextlib.suppress(*_ERRORS), contextlib.closing(_connect(path, schema)) as connection:
        with connection:
            connection.execute(delete, values)
        connection.execute("VACUUM")


def _connect(path: Path | str, schema: Schema) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=LOCK_PATIENCE_S)
    try:
        _use_wal(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(schema.create)
        connection.commit()
        connection.execute(schema.probe)
    except _ERRORS:
        connection.close()
        raise
    return connection


def _use_wal(connection: sqlite3.Connection) -> None:
    give_up = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # Of several processes that make one file, SQLite turns some away without waiting.
            if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.01)
        else:
            return


def _is_damage(error: Exception) -> bool:
    """Whether the file itself is the cause; else its surroundings are: locks, rights, space."""
    return not isinstance(error, sqlite3.OperationalError) or _code(error) == sqlite3.SQLITE_ERROR


def _code(error: Exception) -> int:
    # The lower byte; the rest is detail. Errors of Python's own module have none.
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
