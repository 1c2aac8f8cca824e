"""Parquet tables with a column of pictures, as the library ``datasets`` writes them.

A picture is a struct of ``bytes`` and ``path``, or plain bytes; class names stand in the schema.
One group of rows is held at a time.
"""

from __future__ import annotations

import bisect
import itertools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from roi_cls.roi.archives.archive import (
    AGAIN,
    Archive,
    ArchiveError,
    MissingMemberError,
    check_length,
    clean_name,
)
from roi_cls.roi.image_header import UndecodableError, sniff_kind

_LABELS = ("label", "labels", "class", "cls")
_MOST_GROUP_BYTES = 4 * 2**30
"""Of the pictures in a group of rows, which are read together."""
_DIVIDE = "Write the table with smaller groups of rows."
_MOST_SHOWN = 20  # columns that a message names


class TableArchive(Archive):
    """A Parquet file; its members are its rows, named by their pictures or by their numbers."""

    def __init__(self, file: BinaryIO) -> None:
        """Read the schema, and where it has them the pictures' names.

        Raises:
            ArchiveError: It is no Parquet file, has no one column of pictures, or pyarrow is not
                installed.
        """
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError as error:
            remedy = "Run: pip install 'roi-cls[parquet]'"
            raise ArchiveError("it needs pyarrow, which is not installed", remedy) from error
        self._file = file
        # ValueError: text that is not UTF-8; IndexError: fewer rows than it says.
        self._damage = (pyarrow.ArrowException, OSError, ValueError, IndexError)
        self._excess = pyarrow.ArrowNotImplementedError  # what it says of structs of so many bytes
        try:
            self._table = parquet.ParquetFile(file)
            self._schema = self._table.schema_arrow
            sizes = [
                self._table.metadata.row_group(i).num_rows
                for i in range(self._table.metadata.num_row_groups)
            ]
            self._starts = list(itertools.accumulate(sizes, initial=0))
            self._features = _read_features(self._schema.metadata)
            self._column = self._choose_column()
            self._rows = {name: i for i, name in enumerate(self._name_rows())}
        except self._damage as error:
            raise ArchiveError("it is no Parquet table, or not whole", AGAIN) from error
        self._held: tuple[int, Any] | None = None
        """The last group of rows that was read, and its pictures."""

    def names(self) -> Sequence[str]:
        """Return the rows' names in their order."""
        return list(self._rows)

    def read(self, name: str, max_bytes: int) -> bytes:
        """Return the picture of a row; the rows beside it are kept for what is asked next."""
        row = self._rows.get(name)
        if row is None:
            raise MissingMemberError(name)
        group = bisect.bisect_right(self._starts, row) - 1
        try:
            value = self._read_group(group)[row - self._starts[group]].as_py()
        except self._excess as error:
            raise ArchiveError("its group of rows has over 2 GiB of pictures", _DIVIDE) from error
        except self._damage as error:
            raise ArchiveError("its group of rows is damaged", AGAIN) from error
        if value is None:
            raise ArchiveError("its row holds no bytes", "Write the table with the pictures in it.")
        check_length(len(value), max_bytes)
        return bytes(value)

    def read_labels(self, names: Sequence[str]) -> dict[str, str]:
        """Return the labels of these rows, from the column that holds classes."""
        column = self._label_column()
        if column is None:
            return {}
        classes = self._features.get(column, {}).get("names") or ()
        try:
            cells = self._table.read([column]).column(0).to_pylist()
            values = [cells[self._rows[name]] for name in names]
        except self._damage as error:
            raise ArchiveError(f"its column {column!r} is damaged", AGAIN) from error
        found = {}
        for name, value in zip(names, values, strict=True):
            if isinstance(value, int) and 0 <= value < len(classes):
                found[name] = str(classes[value])
            elif isinstance(value, int | str) and not (classes and value == -1):  # -1: unlabelled
                found[name] = str(value)
        return found

    def let_go(self) -> None:
        """Forget the last group of rows."""
        self._held = None

    def close(self) -> None:
        """Close the file."""
        self._table.close()
        self._file.close()

    def _choose_column(self) -> str:
        """Return the column of pictures, ``image`` or ``image.bytes``."""
        import pyarrow

        def is_bytes(kind: Any) -> bool:
            return bool(pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind))

        columns: dict[str, str] = {}
        for field in self._schema:
            kind = field.type
            if is_bytes(kind):
                columns[field.name] = field.name
            elif pyarrow.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
                columns[field.name] = f"{field.name}.bytes"
        stated = [n for n in columns if self._features.get(n, {}).get("_type") == "Image"]
        found = stated or list(columns)
        if len(found) > 1:
            found = [name for name in found if self._begins_with_picture(columns[name])]
        if len(found) == 1:
            return columns[found[0]]
        what = "no column of pictures" if not found else f"several columns of pictures: {found}"
        shown = ", ".join(self._schema.names[:_MOST_SHOWN])
        raise ArchiveError(
            f"it has {what}; its columns are {shown}",
            "Give a table with one column of pictures, as bytes or as {bytes, path}.",
        )

    def _begins_with_picture(self, column: str) -> bool:
        for batch in self._table.iter_batches(1, columns=[column]):
            value = _flatten(batch.column(0))[0].as_py()
            try:
                sniff_kind(value or b"")
            except UndecodableError:
                return False
            return True
        return False

    def _name_rows(self) -> Sequence[str]:
        """Return the file names of the pictures where each row has its own, else numbers."""
        count = self._starts[-1]
        paths: list[str | None] = [None] * count
        outer = self._column.removesuffix(".bytes")
        if outer != self._column and self._schema.field(outer).type.get_field_index("path") >= 0:
            column = self._table.read([f"{outer}.path"]).column(0)
            paths = _flatten(column).to_pylist()
        names = [clean_name(path.rpartition("/")[2]) if path else "" for path in paths]
        if all(names) and Counter(names).most_common(1)[0][1] == 1:
            return names
        return [f"{i:07d}{PurePosixPath(name).suffix}" for i, name in enumerate(names)]

    def _label_column(self) -> str | None:
        stated = [n for n, f in self._features.items() if f.get("_type") == "ClassLabel"]
        usual = [name for name in _LABELS if name in (stated or self._schema.names)]
        return next(iter(usual or stated), None)

    def _read_group(self, group: int) -> Any:
        if self._held is None or self._held[0] != group:
            size = self._table.metadata.row_group(group).total_byte_size
            if size > _MOST_GROUP_BYTES:
                raise ArchiveError(
                    f"its group of rows has {size} bytes, over the limit of {_MOST_GROUP_BYTES}",
                    _DIVIDE,
                )
            self._held = None  # never two at once
            column = self._table.read_row_group(group, columns=[self._column]).column(0)
            self._held = group, _flatten(column)  # in pieces: as one, 2 GiB would be too many
        return self._held[1]


def _flatten(column: Any) -> Any:
    """Return the one field of a struct, or the column itself where it is none."""
    import pyarrow
    from pyarrow import compute

    return compute.struct_field(column, [0]) if pyarrow.types.is_struct(column.type) else column


def _read_features(metadata: Mapping[bytes, bytes] | None) -> dict[str, dict[str, Any]]:
    """Return what ``datasets`` states of each column; nothing where it did not write the table."""
    try:
        stated = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return {str(name): feature for name, feature in stated.items() if isinstance(feature, dict)}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}
