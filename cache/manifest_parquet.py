"""The manifest as a Parquet table, written part by part. Needs the extra ``parquet``."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from roi_cls.atomic import telling_storage
from roi_cls.cache.record import RECORD_FIELDS, CropRecord
from roi_cls.errors import CacheError

_ROWS = 4096
"""Rows of a group: bounds the memory."""


@contextmanager
def open_parquet(file: io.BufferedWriter, path: Path) -> Iterator[Callable[[CropRecord], None]]:
    """Give a function that adds a row to the table in ``file``, which is to become ``path``.

    Raises:
        CacheError: pyarrow is not installed.
        StorageError: The file cannot be written.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise CacheError(
            f"Cannot write a Parquet manifest: {error}. Install it with "
            "pip install 'roi-cls[parquet]', or use .jsonl or .csv."
        ) from error
    schema = _schema(pyarrow)
    rows: list[dict[str, Any]] = []
    with telling_storage(path):
        writer = parquet.ParquetWriter(file, schema)

    def flush() -> None:
        with telling_storage(path):
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
        rows.clear()

    def add(record: CropRecord) -> None:
        values = record.to_dict()
        values["path"] = values["path"].encode("utf-8", "backslashreplace").decode()
        rows.append(values)
        if len(rows) == _ROWS:
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


def _schema(pyarrow: Any) -> Any:
    text, number, whole = pyarrow.string(), pyarrow.float64(), pyarrow.int64()
    numbers = pyarrow.list_(number)
    points = pyarrow.list_(numbers)
    face = {
        "box": numbers,
        "face_score": number,
        "keypoints": points,
        "model": text,
        "region": numbers,
        "angle": number,
    }
    types = {
        **dict.fromkeys(("height", "width", "faces", "size_px"), whole),
        **dict.fromkeys(("face_score", "angle"), number),
        **dict.fromkeys(("box", "region"), numbers),
        "keypoints": points,
        "more": pyarrow.list_(pyarrow.struct(list(face.items()))),
    }
    return pyarrow.schema([(name, types.get(name, text)) for name in RECORD_FIELDS])
