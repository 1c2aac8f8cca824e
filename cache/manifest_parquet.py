"""The manifest as a Parquet table, written part by part. Needs the extra ``parquet``."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from roi_cls.base.errors import CacheError
from roi_cls.base.rows import open_table
from roi_cls.cache.record import RECORD_FIELDS, CropRecord


@contextmanager
def open_parquet(file: io.BufferedWriter, path: Path) -> Iterator[Callable[[CropRecord], None]]:
    """Give a function that adds a row to the table in ``file``, which is to become ``path``.

    Raises:
        CacheError: pyarrow is not installed.
        StorageError: The file cannot be written.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise CacheError(
            f"Cannot write a Parquet manifest: {error}. Install it with "
            "pip install 'roi-cls[parquet]', or use .jsonl or .csv."
        ) from error
    with open_table(file, path, _schema(pyarrow)) as add:
        yield lambda record: add(record.to_dict())


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
