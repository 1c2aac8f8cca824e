"""Values and rows for people and programs: JSON text, Parquet tables, Markdown tables."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from roi_cls.base.atomic import telling_storage

ROWS_AT_ONCE = 4096
"""Rows of a Parquet table that are written together: bounds the memory."""


def to_json(value: object, indent: int | None = None) -> str:
    """Return JSON with its letters as they are, or escaped where they are no text.

    A file name that is not UTF-8 would make the whole text none.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, indent=indent)
    return text


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
        if len(rows) == ROWS_AT_ONCE:
            flush()

    try:
        yield add
        if rows:
            flush()
    except BaseException:  # reason: also after Ctrl-C; raised again
        with contextlib.suppress(OSError):  # the file is thrown away, for a reason known already
            writer.close()
        raise
    with telling_storage(path):
        writer.close()


def _readable(row: dict[str, Any]) -> dict[str, str]:
    named = {name: row[name] for name in ("path", "error") if row.get(name) is not None}
    return {k: v.encode("utf-8", "backslashreplace").decode() for k, v in named.items()}


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Return a padded Markdown table; the first ``left`` columns are flush left."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (header, *rows)]
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * width if i < left else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    return "\n".join([line(cells[0]), line(rule), *map(line, cells[1:])])
