"""Samples as CSV: the tables users bring, and the ``split.csv`` of a run. Decides no split."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from roi_cls.base.atomic import write_atomically
from roi_cls.base.errors import DataError
from roi_cls.base.location import as_path, is_remote, reaching
from roi_cls.data.sample import Sample, SplitName

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
        if not is_remote(sample.path) and not os.path.exists(sample.path)
    ]
    if absent:
        raise DataError(
            f"Cannot use {str(path)!r}: {len(absent)} of {len(samples)} pictures do not exist: "
            f"{first_five(absent)}. Paths start at the CSV's folder; correct or remove the rows."
        )
    return tuple(samples.values())


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
    text = _read_text(path, encoding)
    header = text.partition("\n")[0]
    delimiter = next((d for d in ",;\t" if "path" in _names(header.split(d))), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        columns = _names(next(reader, []))
        absent = [name for name in needed if name not in columns]
        if absent:
            seen = ", ".join(repr(name) for name in columns) or "none"
            raise DataError(
                f"Cannot use {str(path)!r}: it has no column {absent[0]!r}; its first line names "
                f"{seen}. {_REMEDY}"
            )
        for cells in reader:
            if not any(cells):
                continue
            if len(cells) != len(columns):
                raise DataError(
                    f"Cannot use {str(path)!r}: line {reader.line_num} has {len(cells)} cells, "
                    f"the header {len(columns)}. Quote cells that hold a {delimiter!r}."
                )
            yield reader.line_num, dict(zip(columns, cells, strict=True))
    except csv.Error as error:
        raise DataError(
            f"Cannot use {str(path)!r}: line {reader.line_num} is not CSV: {error}. "
            "Export it again."
        ) from error


def _read_text(path: Path, encoding: str) -> str:
    errors = "strict" if encoding == "utf-8-sig" else "surrogateescape"
    try:
        with reaching(path):
            data = path.read_bytes()
        return data.decode(encoding, errors)
    except OSError as error:
        raise DataError(
            f"Cannot read {str(path)!r}: {error.strerror or error}. Give a CSV file that exists."
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"Cannot read {str(path)!r}: byte {error.start} is not UTF-8. "
            "Save it as 'CSV UTF-8' and try again."
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
