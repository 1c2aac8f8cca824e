"""Verdicts that people corrected: a CSV that grows by a line each, and is read back.

A picture is named by the SHA-256 of its bytes, so that it is found again under any name. A cell
that a spreadsheet would take for a formula is written with an apostrophe before it, and read
without.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from roi_cls.base.atomic import telling_storage
from roi_cls.base.errors import DataError
from roi_cls.base.lock import lock
from roi_cls.data.sample import label_name

_SHA256 = re.compile("[0-9a-f]{64}")
_FORMULA = ("=", "+", "-", "@")
_UNPRINTED = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]")  # would break the line, or hide in it
_MOST_NAME = 255
_REMEDY = "Give the file that `roi-cls serve --review FILE` wrote."


@dataclass(frozen=True, slots=True)
class Correction:
    """What somebody said about a verdict."""

    name: str
    """What the picture was called; for people."""
    sha256: str
    """Of the picture's bytes, in hex."""
    answer: str
    """The model's label."""
    label: str
    """The right one; where it is ``answer``, an earlier correction is taken back."""
    probability: float
    """That the model gave its answer, 0 to 1."""
    run: str
    """The model's name."""
    time: str
    """ISO 8601, in UTC."""

    def __post_init__(self) -> None:
        if not _SHA256.fullmatch(self.sha256):
            raise ValueError(f"sha256 must be 64 hex digits, got {self.sha256!r}")
        if not self.label:
            raise ValueError("label must not be empty")
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability must be between 0 and 1, got {self.probability}")


COLUMNS = tuple(field.name for field in fields(Correction))


def append_correction(path: Path, correction: Correction) -> None:
    """Add a line to the file, which is made if need be, and see it to the disk.

    Of several who do so at once, each writes its line whole.

    Raises:
        StorageError: The disk is full or the file cannot be written.
    """
    line = _to_line([_guard(str(value)) for value in astuple(correction)])
    with telling_storage(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b", buffering=0) as file:
            lock(file.fileno(), exclusive=True, waits=True)  # let go when the file is closed
            size = file.seek(0, os.SEEK_END)
            rest = _missing_before(file, size, path) + line
            try:
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(size)  # else half a line would stay
                raise


def read_corrections(path: Path) -> tuple[tuple[Correction, ...], tuple[str, ...]]:
    """Return what the file says of each picture last, and what is wrong with other lines.

    The pictures come in the order in which they were first spoken of.

    Raises:
        DataError: The file is absent or not such a table.
    """
    found: dict[str, Correction] = {}
    faults: list[str] = []
    for number, line in _lines(path):
        try:
            cells = _read_line(line)
            if len(cells) != len(COLUMNS):
                raise ValueError(f"it has {len(cells)} of {len(COLUMNS)} cells")
            row = dict(zip(COLUMNS, map(_unguard, cells), strict=True))
            probability = float(row.pop("probability"))
            row |= {name: label_name(row[name]) for name in ("answer", "label")}
            correction = Correction(**row, probability=probability)
        except (ValueError, csv.Error) as error:
            faults.append(f"line {number} is passed over: {error}")
        else:
            found[correction.sha256] = correction
    return tuple(found.values()), tuple(faults)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_bytes().decode("utf-8-sig", "replace")
    except OSError as error:
        raise DataError(
            f"Cannot read {str(path)!r}: {error.strerror or error}. {_REMEDY}"
        ) from error
    header, *lines = text.split("\n")
    if tuple(_read_line(header[:1000])) != COLUMNS:  # of something else it may be all there is
        raise DataError(
            f"Cannot use {str(path)!r}: its first line is not {','.join(COLUMNS)}. {_REMEDY}"
        )
    return ((number, line) for number, line in enumerate(lines, 2) if line.strip())


def _read_line(line: str) -> list[str]:
    """Return its cells. By itself: a quote that a torn line left open takes no other line along."""
    return next(csv.reader([line.rstrip("\r")]), [])


def _missing_before(file: io.FileIO, size: int, path: Path) -> bytes:
    """Return what must stand before the next line: the header, or the end of a torn line."""
    if not size:
        return _to_line(COLUMNS)
    start = _to_line(COLUMNS)
    file.seek(0)
    if file.read(len(start)) != start:
        raise OSError(f"it holds something else; {path.name} is kept as it is")
    file.seek(size - 1)
    return b"" if file.read(1) == b"\n" else b"\n"


def _to_line(cells: Sequence[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode("utf-8", "replace")


def _guard(cell: str) -> str:
    """Return a cell of one line that no spreadsheet computes."""
    cell = _UNPRINTED.sub(" ", cell)[:_MOST_NAME]
    return f"'{cell}" if cell.lstrip(" '").startswith(_FORMULA) else cell


def _unguard(cell: str) -> str:
    is_guarded = cell.startswith("'") and cell.lstrip(" '").startswith(_FORMULA)
    return cell[1:] if is_guarded else cell
