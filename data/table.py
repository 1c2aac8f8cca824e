"""Samples as CSV: the tables users bring, and the ``split.csv`` of a run. Decides no split."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import itertools
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from roi_cls.base.atomic import write_atomically
from roi_cls.base.errors import DataError
from roi_cls.base.location import as_path, explain_absent, is_remote, reaching
from roi_cls.data.sample import Sample, SplitName
from roi_cls.roi.archives.opening import is_there

if TYPE_CHECKING:
    from _csv import Reader as CsvReader  # csv.reader is a function that makes one

SPLIT_NAMES: Mapping[str, SplitName] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
"""Names of a part, in a CSV's ``split`` column and as a folder, to the one name used here."""
SPLIT_COLUMNS = ("path", "label", "split", "group", "sha256")

_REMEDY = "Columns are path,label and, if wanted, split,group; paths start at the CSV's folder."
_SEPARATOR = re.compile(r"sep=([,;|\t])\s*", re.IGNORECASE)  # how Excel says it
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
"""How text in UTF-16 begins, with the lower or upper byte first."""
_OTHER_NAMES = {
    "path": ("filename", "file_name", "file", "filepath", "file_path", "image", "image_path",
             "img", "img_path", "image_name", "picture", "name", "url"),
    "label": ("class", "target", "category", "labels", "y"),
}  # fmt: skip
_Row = tuple[int, dict[str, str]]  # line number, column name to text


def read_samples(
    path: Path, label_names: Mapping[str, str] | None = None, *, labelled: bool = True
) -> tuple[Sample, ...]:
    """Return the samples of a CSV with the columns ``path,label[,split,group]``, in its order.

    Paths are relative to the CSV's folder. Comma, semicolon and tab separate; a byte order mark
    and other columns are passed over; a row that repeats another counts once. ``label_names``
    renames labels. Unless ``labelled``, a label may be absent.

    Raises:
        DataError: Not such a table, a picture is absent, or two rows of one picture differ.
    """
    samples: dict[str, Sample] = {}
    for line, row in _rows(path, ("path", "label") if labelled else ("path",), "utf-8-sig"):
        # "a.png, real" is written by hand; in a path alone may a space have a meaning.
        row = {name: cell if name == "path" else cell.strip() for name, cell in row.items()}
        sample = _sample(path, line, row, label_names or {})
        if labelled and sample.label is None:
            raise DataError(f"Cannot use {str(path)!r}: line {line} has no label. {_REMEDY}")
        first = samples.setdefault(os.path.normpath(str(sample.path)), sample)
        if _facts(first) != _facts(sample):
            raise DataError(
                f"Cannot use {str(path)!r}: {row['path']!r} stands in it twice, as "
                f"{_facts(first)} and, in line {line}, as {_facts(sample)}. Keep one row."
            )
    if not samples:
        raise DataError(f"Cannot use {str(path)!r}: it has a header and no row. {_REMEDY}")
    # Remote pictures are not asked for one by one: an absent one is a row in error later.
    absent = [
        str(sample.path)
        for sample in samples.values()
        if not is_remote(sample.path) and not is_there(sample.path)
    ]
    if absent:
        doubt, change = explain_absent(Path(absent[0]))
        told = f" {absent[0]!r}: {doubt}. {change}" if ":" in doubt else ""
        raise DataError(
            f"Cannot use {str(path)!r}: {len(absent)} of {len(samples)} pictures do not exist: "
            f"{first_five(absent)}. Paths start at the CSV's folder; correct or remove the rows."
            f"{told}"
        )
    return tuple(samples.values())


def read_paths(path: Path) -> Iterator[str]:
    """Yield what each row of a CSV with the column ``path`` has in it, in order, one at a time.

    Nothing else of a row is looked at, so rows may repeat each other, differ, or be short: then
    the text is empty. Bytes that are not UTF-8 are kept as ``os.fsdecode`` does.

    Raises:
        DataError: It cannot be read, is not CSV, or has no such column.
    """
    with _telling_unread(path), path.open("rb") as file:
        encoding = "utf-16" if file.read(2) in UTF16_MARKS else "utf-8-sig"
        file.seek(0)
        errors = "replace" if encoding == "utf-16" else "surrogateescape"
        stream = io.TextIOWrapper(file, encoding, errors, newline="")
        with _reading(path, stream) as (columns, reader):
            _check_columns(path, ("path",), columns)
            at = columns.index("path")
            for cells in reader:
                if any(cells):
                    yield cells[at] if at < len(cells) else ""


def split_digest(samples: Sequence[Sample], root: Path, digests: Sequence[str]) -> str:
    """Return the SHA-256 (hex) of which picture bytes stand in which part, in any order.

    ``digests``: one SHA-256 (hex) of each sample's bytes; empty where there are none to read.
    The place of ``root`` does not count, so the digest is equal on another machine.

    Raises:
        ValueError: Not one digest per sample.
    """
    return _digest(_split_rows(samples, root, digests))


def write_split(path: Path, samples: Sequence[Sample], root: Path, digests: Sequence[str]) -> str:
    """Write ``path,label,split,group,sha256`` at once or not at all; return the split's digest.

    Paths are written relative to ``root``, or whole if they lie elsewhere. None and the empty
    text are one.

    Raises:
        ValueError: Not one digest per sample.
        StorageError: The disk is full or the folder cannot be written.
    """
    rows = _split_rows(samples, root, digests)
    text = io.StringIO()
    # The default line end (\r\n) makes the writer quote a lone \r, which a reader would drop.
    csv.writer(text).writerows([SPLIT_COLUMNS, *rows])
    # File names need not be UTF-8; surrogateescape gives their bytes back unchanged.
    write_atomically(path, text.getvalue().encode("utf-8", "surrogateescape"), durable=True)
    return _digest(rows)


def read_split(path: Path, root: Path | None = None) -> tuple[tuple[Sample, ...], tuple[str, ...]]:
    """Return the samples and digests that ``write_split`` wrote, in its order.

    Paths are put below ``root``, or left as written. Nothing is compared with the pictures.

    Raises:
        DataError: The file is absent or not such a table.
    """
    samples, digests = [], []
    for line, row in _rows(path, SPLIT_COLUMNS, "utf-8"):
        sample = _sample(path, line, row, {}, root or Path())
        samples.append(sample)
        digests.append(row["sha256"])
    return tuple(samples), tuple(digests)


def first_five(items: Sequence[str]) -> str:
    """Return up to five items, quoted on one line, with the count of the others."""
    more = f" and {len(items) - 5} more" if len(items) > 5 else ""
    return ", ".join(repr(item) for item in items[:5]) + more


def _rows(path: Path, needed: Sequence[str], encoding: str) -> Iterator[_Row]:
    with _reading(path, io.StringIO(_read_text(path, encoding), newline="")) as (columns, reader):
        _check_columns(path, needed, columns)
        for cells in reader:
            if not any(cells):
                continue
            if len(cells) != len(columns):
                raise DataError(
                    f"Cannot use {str(path)!r}: line {reader.line_num} has {len(cells)} cells, "
                    f"the header {len(columns)}. Quote cells that hold a "
                    f"{reader.dialect.delimiter!r}."
                )
            yield reader.line_num, dict(zip(columns, cells, strict=True))


@contextlib.contextmanager
def _reading(path: Path, stream: TextIO) -> Iterator[tuple[list[str], CsvReader]]:
    """Give the names of the columns, and the reader of the rows below them."""
    above = 0  # lines
    while (first := stream.readline()) and not first.strip():
        above += 1
    delimiter = None
    if match := _SEPARATOR.fullmatch(first):
        delimiter, first, above = match[1], stream.readline(), above + 1
    if delimiter is None:
        found = (each for each in ",;\t" if "path" in _names(first.split(each)))
        delimiter = next(found, max(",;\t", key=first.count))
    lines = itertools.chain(["\n"] * above, [first], stream)  # so that the reader counts them, too
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        yield _names(next((cells for cells in reader if cells), [])), reader
    except csv.Error as error:
        raise DataError(
            f"Cannot use {str(path)!r}: line {reader.line_num} is not CSV: {error}. "
            "Export it again."
        ) from error


def _check_columns(path: Path, needed: Sequence[str], columns: Sequence[str]) -> None:
    absent = next((name for name in needed if name not in columns), None)
    if absent is None:
        return
    seen = ", ".join(repr(name) for name in columns) or "none"
    if absent == "path" and any("." in name or "/" in name for name in columns):
        raise DataError(
            f"Cannot use {str(path)!r}: it has no column 'path'; its first line, {seen}, looks "
            "like a row and not like a header. Write the columns' names above it, like path,label."
        )
    other = next((name for name in _OTHER_NAMES.get(absent, ()) if name in columns), None)
    remedy = f"Call its column {other!r} {absent!r}. " if other else ""
    raise DataError(
        f"Cannot use {str(path)!r}: it has no column {absent!r}; its first line names {seen}. "
        f"{remedy}{_REMEDY}"
    )


def _read_text(path: Path, encoding: str) -> str:
    errors = "strict" if encoding == "utf-8-sig" else "surrogateescape"
    try:
        with _telling_unread(path):
            data = path.read_bytes()
        return data.decode("utf-16" if data[:2] in UTF16_MARKS else encoding, errors)
    except UnicodeDecodeError as error:
        raise DataError(
            f"Cannot read {str(path)!r}: byte {error.start} is not UTF-8. "
            "Save it as 'CSV UTF-8' and try again."
        ) from error


@contextlib.contextmanager
def _telling_unread(path: Path) -> Iterator[None]:
    try:
        with reaching(path):
            yield
    except OSError as error:
        raise DataError(
            f"Cannot read {str(path)!r}: {error.strerror or error}. Give a CSV file that exists."
        ) from error


def _names(cells: Sequence[str]) -> list[str]:
    return [cell.strip().strip('"').lower() for cell in cells]


def _sample(
    path: Path,
    line: int,
    row: Mapping[str, str],
    label_names: Mapping[str, str],
    root: Path | None = None,
) -> Sample:
    if not row["path"]:
        raise DataError(f"Cannot use {str(path)!r}: line {line} has no path. {_REMEDY}")
    label, split = row.get("label", ""), row.get("split", "").strip().lower()
    if split and split not in SPLIT_NAMES:
        raise DataError(
            f"Cannot use {str(path)!r}: line {line} has the split {row['split']!r}. "
            "Write train, validation (or val), test, or leave it empty."
        )
    return Sample(
        as_path(row["path"]) if "://" in row["path"] else (root or path.parent) / row["path"],
        label_names.get(label, label) or None,
        SPLIT_NAMES[split] if split else None,
        row.get("group") or None,
    )


def _facts(sample: Sample) -> str:
    facts = {"label": sample.label, "split": sample.split, "group": sample.group}
    return ", ".join(f"{name} {value!r}" for name, value in facts.items() if value) or "unlabelled"


def _split_rows(
    samples: Sequence[Sample], root: Path, digests: Sequence[str]
) -> list[tuple[str, ...]]:
    if len(samples) != len(digests):
        raise ValueError(f"need one digest per sample, got {len(digests)} for {len(samples)}")
    base = Path(os.path.abspath(root))
    return [
        (
            _relative(sample.path, root, base),
            sample.label or "",
            sample.split or "",
            sample.group or "",
            digest,
        )
        for sample, digest in zip(samples, digests, strict=True)
    ]


def _relative(path: Path, root: Path, base: Path) -> str:
    if path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    whole = Path(os.path.abspath(path))
    return (whole.relative_to(base) if whole.is_relative_to(base) else whole).as_posix()


def _digest(rows: Sequence[tuple[str, ...]]) -> str:
    # JSON marks where a cell ends, and escapes what is not UTF-8 in a file's name.
    return hashlib.sha256(json.dumps(sorted(rows)).encode()).hexdigest()
