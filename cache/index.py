"""What is known without reading any picture: which content lies under a path, and its row.

Only a memory, made from the entries: losing it costs time, never a crop. Knows no pixels.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from roi_cls.base.closing import Closing
from roi_cls.base.errors import CacheError
from roi_cls.base.location import is_remote, user_cache_dir
from roi_cls.cache.database import (
    ForgivingDatabase,
    Schema,
    check_database,
    shrink_database,
)
from roi_cls.cache.options import Shard
from roi_cls.cache.record import CropRecord, CropResult, FileStamp
from roi_cls.cache.store import FORMAT, part_name
from roi_cls.roi import CropParams

_BATCH = 512
_FIND = """
SELECT path, size, mtime_ns, ctime_ns, contents.sha256, contents.crc, row, rows.crc
FROM contents JOIN rows ON rows.recipe = {} AND rows.sha256 = contents.sha256 WHERE path IN ({})
"""
_SCHEMA = Schema(
    """
CREATE TABLE IF NOT EXISTS contents (
    path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER,
    sha256 BLOB, crc INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rows (
    recipe BLOB, sha256 BLOB, row BLOB, crc INTEGER, PRIMARY KEY (recipe, sha256)
) WITHOUT ROWID;
""",
    _FIND.format("x''", "x''"),
)
_Stored = tuple[bytes, bytes, int]
"""Digest of the picture, row and the row's checksum."""


def find_index(cache: Path, shard: Shard | None = None) -> Path:
    """Return where the index of a cache lies; a shard has its own, so that each has one writer.

    SQLite needs a file on this machine: of a remote cache, the index lies in the user's own cache.

    Raises:
        CacheError: The cache is remote, and this user has no folder for its index.
    """
    name = "index.sqlite" if shard is None else f"index-{shard.number}-of-{shard.count}.sqlite"
    if not is_remote(cache):
        return cache / FORMAT / name
    try:
        place = hashlib.sha256(str(cache).encode()).hexdigest()[:16]
        return user_cache_dir() / "indexes" / place / FORMAT / name
    except RuntimeError as error:
        raise CacheError(
            f"Cannot keep an index of the cache {str(cache)!r} on this machine: this user has no "
            "home folder. Set XDG_CACHE_HOME to a folder you may write to."
        ) from error


class CropIndex(Closing):
    """SQLite file with two tables: (path, stamp) to SHA-256, and (recipe, SHA-256) to row.

    One process writes it, the one that drives a run, and several such are safe. A damaged line is
    unknown.
    """

    def __init__(self, path: Path, params: CropParams) -> None:
        self._recipe = bytes.fromhex(part_name(params.digest))
        # What every row of the recipe has in common is not stored with each.
        self._common = {
            "error": None,
            "size_px": params.size_px,
            "border": params.border,
            "resampling": params.resampling,
            "color": params.color,
            "recipe": params.digest,
        }
        self._contents: list[tuple[Any, ...]] = []
        self._rows: list[tuple[Any, ...]] = []
        self._database = ForgivingDatabase(path, _SCHEMA)

    def find(self, paths: Sequence[Path], stamps: Sequence[FileStamp]) -> list[CropRecord | None]:
        """Return the row of each file as its stamp describes it, None where it is not known.

        Args:
            paths: Pictures, at most ``database.AT_ONCE``.
            stamps: What each file looks like now.
        """
        names = [_name(path) for path in paths]
        stored = self._read(names, stamps)
        return [
            self._decode(path, *stored[name]) if name in stored else None
            for path, name in zip(paths, names, strict=True)
        ]

    def remember(self, result: CropResult) -> None:
        """Keep the row of a picture that was read; errors are tried again every time."""
        record, stamp = result.record, result.stamp
        if record.status == "error" or record.sha256 is None or stamp is None:
            return
        name, sha256 = _name(record.path), bytes.fromhex(record.sha256)
        self._contents.append((name, *_numbers(stamp), sha256, _check(name, stamp, sha256)))
        row = self._encode(record)
        self._rows.append((self._recipe, sha256, row, self._check_row(sha256, row)))
        if len(self._rows) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        """Write what was remembered since the last flush."""
        contents, self._contents = self._contents, []
        rows, self._rows = self._rows, []
        self._database.write(
            ("REPLACE INTO contents VALUES (?,?,?,?,?,?)", contents),
            ("REPLACE INTO rows VALUES (?,?,?,?)", rows),
        )

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        self._database.close()

    def _read(self, names: Sequence[bytes], stamps: Sequence[FileStamp]) -> dict[bytes, _Stored]:
        expected = dict(zip(names, stamps, strict=True))
        query = _FIND.format("?", ",".join("?" * len(expected)))
        found: dict[bytes, _Stored] = {}
        for name, *numbers, sha256, crc, row, row_crc in self._database.find(
            query, (self._recipe, *expected)
        ):
            stamp = expected.get(name)
            if (
                stamp
                and isinstance(sha256, bytes)  # damaged, a column is of any type
                and _numbers(stamp) == tuple(numbers)
                and crc == _check(name, stamp, sha256)
            ):
                found[name] = (sha256, row, row_crc)
        return found

    def _encode(self, record: CropRecord) -> bytes:
        values = record.to_dict()
        for name in ("path", "sha256", *self._common):
            del values[name]
        return json.dumps(values, separators=(",", ":")).encode()

    def _check_row(self, sha256: bytes, row: bytes) -> int:
        return zlib.crc32(self._recipe + sha256 + row)

    def _decode(self, path: Path, sha256: bytes, row: bytes, crc: int) -> CropRecord | None:
        try:
            if self._check_row(sha256, row) != crc:
                return None
            values = json.loads(row)
            return CropRecord.from_dict(path, {**values, **self._common, "sha256": sha256.hex()})
        except (KeyError, TypeError, ValueError):  # a value of another type
            return None


def index_files(root: Path) -> list[Path]:
    """Return the indexes of a cache: one, and one for each shard."""
    return sorted(root.glob("index*.sqlite"))


def check_index(path: Path) -> bool:
    """Whether an index is sound, as far as SQLite can tell."""
    return check_database(path, _SCHEMA)


def forget_recipe(path: Path, part: str) -> None:
    """Forget every row of a recipe, told by the name of its crops' part."""
    delete = "DELETE FROM rows WHERE recipe = ?"
    shrink_database(path, _SCHEMA, delete, (bytes.fromhex(part),))


def _name(path: Path) -> bytes:
    return os.fsencode(str(path) if is_remote(path) else os.path.abspath(path))


def _numbers(stamp: FileStamp) -> tuple[int, int, int]:
    return stamp.size, stamp.mtime_ns, stamp.ctime_ns


def _check(name: bytes, stamp: FileStamp, sha256: bytes) -> int:
    return zlib.crc32(b"%b %d %d %d %b" % (name, *_numbers(stamp), sha256))
