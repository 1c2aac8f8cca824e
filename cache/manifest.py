"""The manifest: every row of a crop run in a file, one per input, in input order."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from roi_cls.atomic import write_atomically
from roi_cls.cache.record import CropRecord
from roi_cls.errors import CacheError

SUFFIXES = (".jsonl", ".csv")


def write_manifest(path: Path, records: Iterable[CropRecord]) -> None:
    """Write the rows as JSON lines or CSV, by the suffix of ``path``; all or nothing.

    In CSV, boxes and points are written as JSON and what is absent is left empty. A path that is
    no text (bytes that are not UTF-8) is escaped in JSON and written as it is in CSV.

    Raises:
        CacheError: Another suffix.
        StorageError: The file cannot be written.
    """
    check_manifest_path(path)
    text = _jsonl(records) if path.suffix.lower() == ".jsonl" else _csv(records)
    write_atomically(path, text.encode("utf-8", "surrogateescape"))


def check_manifest_path(path: Path) -> None:
    """Raise ``CacheError`` unless the suffix names a form of manifest."""
    if path.suffix.lower() not in SUFFIXES:
        raise CacheError(
            f"Cannot write the manifest {str(path)!r}: its suffix names no known form. "
            f"Use one of {', '.join(SUFFIXES)}."
        )


def _jsonl(records: Iterable[CropRecord]) -> str:
    return "".join(_json(record.to_dict()) + "\n" for record in records)


def _json(values: dict[str, Any]) -> str:
    text = json.dumps(values, ensure_ascii=False)
    return text if _is_unicode(text) else json.dumps(values)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _csv(records: Iterable[CropRecord]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    # A lone carriage return ends a row for readers; the plain writer does not quote it.
    quoting_writer = csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(field.name for field in fields(CropRecord))
    for record in records:
        values = record.to_dict().values()
        row = [json.dumps(v) if isinstance(v, tuple | list) else v for v in values]
        (quoting_writer if "\r" in str(record.path) else writer).writerow(row)
    return buffer.getvalue()
