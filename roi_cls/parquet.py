"""Rows into a Parquet table, group by group. Every stage may use it; it knows columns only."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from roi_cls.atomic import telling_storage

ROWS = 4096
"""Rows of a group: bounds the memory."""


@contextlib.contextmanager
def open_table(
    file: io.BufferedWriter, path: Path, schema: Any
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Give a function that adds a row to the table in ``file``, which is to become ``path``.

    Text that no encoding has (names of files may be any bytes) is escaped in the column ``path``
    and in ``error``.

    Args:
        file: Where the table is written; left open.
        path: As messages call it.
        schema: pyarrow's, of all rows.

    Raises:
        ImportError: pyarrow is not installed.
        StorageError: The file cannot be written.
    """
    import pyarrow
    from pyarrow import parquet

    rows: list[dict[str, Any]] = []
    with telling_storage(path):
        writer = parquet.ParquetWriter(file, schema)

    def flush() -> None:
        with telling_storage(path):
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
        rows.clear()

    def add(row: dict[str, Any]) -> None:
        rows.append({**row, **_readable(row)})
        if len(rows) == ROWS:
            flush()

    try:
        yield add
        if rows:
            flush()
    except BaseException:
        with contextlib.suppress(OSError):  # the file is thrown away, for a reason known already
            writer.close()
        raise
    with telling_storage(path):
        writer.close()


def _readable(row: dict[str, Any]) -> dict[str, str]:
    named = {name: row[name] for name in ("path", "error") if row.get(name) is not None}
    return {k: v.encode("utf-8", "backslashreplace").decode() for k, v in named.items()}
