"""Fingerprints kept by content beside the crop index, so that each picture is decoded once.

Only a memory: what is lost or damaged is taken anew.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from roi_cls.cache.index import find_index
from roi_cls.cache.options import BuildOptions
from roi_cls.data.fingerprint import VERSION, Fingerprint, read_fingerprint

_AT_ONCE = 256  # SQLite takes 999 parameters at least
_PATIENCE_S = 30
_SCHEMA = """
CREATE TABLE IF NOT EXISTS fingerprints (
    version INTEGER, sha256 BLOB, print BLOB, crc INTEGER, PRIMARY KEY (version, sha256)
) WITHOUT ROWID
"""


def take_fingerprints(
    paths: Sequence[Path],
    digests: Sequence[str],
    options: BuildOptions,
    observe: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Fingerprint | None, ...]:
    """Return the fingerprint of each picture, decoding those that are not kept yet, in threads.

    Args:
        paths: Pictures.
        digests: SHA-256 (hex) of each one's bytes; empty: it could not be read, and gives None.
        options: Cache folder and limits.
        observe: Called with (pictures decoded, pictures to decode).
    """
    place = {digest: i for i, digest in enumerate(digests) if digest}
    with _open(find_index(options.cache).with_name("fingerprints.sqlite")) as database:
        known = _find(database, list(place))
        unknown = [digest for digest in place if digest not in known]
        read = partial(read_fingerprint, max_pixels=options.max_pixels)
        workers = options.workers if options.workers is not None else os.cpu_count()
        with ThreadPoolExecutor(workers or 1) as pool:  # OpenCV decodes outside the interpreter
            for start in range(0, len(unknown), _AT_ONCE):
                block = unknown[start : start + _AT_ONCE]
                found = pool.map(read, [paths[place[digest]] for digest in block])
                taken = {d: p for d, p in zip(block, found, strict=True) if p is not None}
                _keep(database, taken)
                known |= taken
                observe(start + len(block), len(unknown))
    return tuple(known.get(digest) for digest in digests)


@contextlib.contextmanager
def _open(path: Path) -> Iterator[sqlite3.Connection]:
    """Give the database; a damaged one is thrown away, one that cannot be opened is in memory."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        database = _connect(path)
    except sqlite3.OperationalError:  # locked, or no right to write
        database = _connect(":memory:")
    except sqlite3.DatabaseError:
        with contextlib.suppress(OSError):
            path.unlink()
        database = _connect(path) if not path.exists() else _connect(":memory:")
    with contextlib.closing(database):
        yield database


def _connect(path: Path | str) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=_PATIENCE_S)
    try:
        database.execute(_SCHEMA)
        database.execute("SELECT version, sha256, print, crc FROM fingerprints LIMIT 0")
    except sqlite3.DatabaseError:
        database.close()
        raise
    return database


def _find(database: sqlite3.Connection, digests: Sequence[str]) -> dict[str, Fingerprint]:
    found = {}
    with contextlib.suppress(sqlite3.DatabaseError):
        for start in range(0, len(digests), _AT_ONCE):
            part = [bytes.fromhex(digest) for digest in digests[start : start + _AT_ONCE]]
            places = ",".join("?" * len(part))
            query = (
                "SELECT sha256, print, crc FROM fingerprints "
                f"WHERE version = ? AND sha256 IN ({places})"
            )
            for sha256, data, crc in database.execute(query, (VERSION, *part)):
                if zlib.crc32(sha256 + data) == crc:
                    found[sha256.hex()] = Fingerprint.from_bytes(data)
    return found


def _keep(database: sqlite3.Connection, taken: dict[str, Fingerprint]) -> None:
    rows = []
    for digest, fingerprint in taken.items():
        sha256, data = bytes.fromhex(digest), fingerprint.to_bytes()
        rows.append((VERSION, sha256, data, zlib.crc32(sha256 + data)))
    with contextlib.suppress(sqlite3.DatabaseError), database:
        database.executemany("REPLACE INTO fingerprints VALUES (?,?,?,?)", rows)
