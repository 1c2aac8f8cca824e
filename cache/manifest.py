"""The manifest: every row of a crop run in a file, one per input, in input order."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

from roi_cls.atomic import write_atomically
from roi_cls.cache.record import CropRecord
from roi_cls.errors import CacheError

SUFFIXES = (".jsonl", ".csv")


def write_manifest(path: Path, records: Iterable[CropRecord]) -> None:
    """Write the rows as JSON lines or CSV, by the suffix of ``path``; all or nothing.

    In CSV, boxes and points are written as JSON and what is absent is left empty.

    Raises:
        CacheError: Another suffix.
        StorageError: The file cannot be written.
    """
    check_manifest_path(path)
    text = _jsonl(records) if path.suffix.lower() == ".jsonl" else _csv(records)
    write_atomically(path, text.encode())


def check_manifest_path(path: Path) -> None:
    """Raise ``CacheError`` unless the suffix names a form of manifest."""
    if path.suffix.lower() not in SUFFIXES:
        raise CacheError(
            f"Cannot write the manifest {str(path)!r}: its suffix names no known form. "
            f"Use one of {', '.join(SUFFIXES)}."
        )


def _jsonl(records: Iterable[CropRecord]) -> str:
    return "".join(json.dumps(record.to_dict(), ensure_ascii=False) + "\n" for record in records)


def _csv(records: Iterable[CropRecord]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(
        buffer, [field.name for field in fields(CropRecord)], lineterminator="\n"
    )
    writer.writeheader()
    for record in records:
        values = record.to_dict().items()
        writer.writerow({k: json.dumps(v) if isinstance(v, tuple | list) else v for k, v in values})
    return buffer.getvalue()
