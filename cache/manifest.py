"""The manifest: every row of a crop run in a file, one per input, in input order.

A Parquet manifest is written part by part and needs the extra ``parquet``.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from roi_cls.base.atomic import open_atomically, telling_storage
from roi_cls.base.errors import CacheError, StorageError
from roi_cls.base.location import is_remote
from roi_cls.base.rows import open_table, to_json
from roi_cls.cache.record import RECORD_FIELDS, CropRecord

AddRow = Callable[[CropRecord], None]


@contextmanager
def open_manifest(path: Path) -> Iterator[AddRow]:
    """Give a function that adds a row; at the end of the block the file is there, or nothing is.

    The suffix says the form: JSON lines, CSV or Parquet. In CSV, boxes and points are written as
    JSON and what is absent is left empty. A path that is no text (bytes that are not UTF-8) is
    escaped in JSON and in Parquet, and written as it is in CSV.

    Raises:
        CacheError: Another suffix, or Parquet without pyarrow.
        StorageError: The file cannot be written.
    """
    check_manifest_path(path)
    open_form = _FORMS[path.suffix.lower()]
    with open_atomically(path) as file, open_form(file, path) as add:
        yield add


def check_manifest_path(path: Path) -> None:
    """Refuse a manifest that cannot be written, before the work is done.

    Raises:
        CacheError: The suffix names no form, or another table would be lost.
        StorageError: The path is a folder.
    """
    if path.suffix.lower() not in _FORMS:
        raise CacheError(
            f"Cannot write the manifest {str(path)!r}: its suffix names no known form. "
            f"Use one of {', '.join(_FORMS)}."
        )
    if path.is_dir():
        raise StorageError(path, "it is a folder")
    if path.suffix.lower() == ".csv" and not is_remote(path) and path.is_file():
        with path.open(encoding="utf-8", errors="replace") as file:
            columns = file.readline().strip().split(",")
        if columns[:2] != ["path", "status"] and columns != [""]:
            raise CacheError(
                f"Cannot write the manifest {str(path)!r}: there is another table of that name, "
                "perhaps of labels, which would be lost. Choose another name."
            )


@contextmanager
def _open_jsonl(file: io.BufferedWriter, path: Path) -> Iterator[AddRow]:
    yield lambda record: _write(file, _json_line(record), path)


@contextmanager
def _open_csv(file: io.BufferedWriter, path: Path) -> Iterator[AddRow]:
    _write(file, ",".join(RECORD_FIELDS) + "\n", path)
    yield lambda record: _write(file, _csv_line(record), path)


@contextmanager
def _open_parquet(file: io.BufferedWriter, path: Path) -> Iterator[AddRow]:
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


_FORMS = {".jsonl": _open_jsonl, ".csv": _open_csv, ".parquet": _open_parquet}


def _write(file: io.BufferedWriter, text: str, path: Path) -> None:
    # Only what is done to the file is told as its fault, not what happens between the rows.
    with telling_storage(path):
        file.write(text.encode("utf-8", "surrogateescape"))


def _json_line(record: CropRecord) -> str:
    return to_json(record.to_dict()) + "\n"


def _csv_line(record: CropRecord) -> str:
    buffer = io.StringIO()
    quoting: Literal[0, 1]
    # A lone carriage return ends a row for readers; the plain writer does not quote it.
    quoting = csv.QUOTE_ALL if "\r" in str(record.path) else csv.QUOTE_MINIMAL
    writer = csv.writer(buffer, lineterminator="\n", quoting=quoting)
    writer.writerow(_csv_value(value) for value in record.to_dict().values())
    return buffer.getvalue()


def _csv_value(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return json.dumps(value) if value else None
    return value


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
        "roll": number,
    }
    types = {
        **dict.fromkeys(("height", "width", "faces", "size_px"), whole),
        **dict.fromkeys(("face_score", "angle", "roll"), number),
        **dict.fromkeys(("box", "region"), numbers),
        "keypoints": points,
        "more": pyarrow.list_(pyarrow.struct(list(face.items()))),
    }
    return pyarrow.schema([(name, types.get(name, text)) for name in RECORD_FIELDS])
