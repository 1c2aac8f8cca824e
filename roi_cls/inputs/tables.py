"""A CSV as inputs: its ``path`` column names pictures, a row after the other, however many."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from roi_cls.base.errors import DataError
from roi_cls.base.location import is_remote
from roi_cls.data.table import read_paths


@dataclass(frozen=True, slots=True)
class TableNames:
    """The names in a table, read as they are needed. Each row is one, whatever it holds."""

    path: Path

    def __iter__(self) -> Iterator[str]:
        folder = self.path.parent
        local = (
            "" if folder == Path() else str(folder)
        )  # joining paths would take ten times as long
        for cell in read_paths(self.path):
            if not cell.strip():
                yield ""
            elif "://" in cell:
                yield cell
            else:
                yield str(folder / cell) if is_remote(folder) else os.path.join(local, cell)

    def count(self) -> int:
        """Return how many rows there are, at least one; it is read once for this.

        Raises:
            DataError: There is none, or it is no such table.
        """
        if number := sum(1 for _ in read_paths(self.path)):
            return number
        raise DataError(
            f"Cannot find pictures: the table {str(self.path)!r} has a header and no row. "
            "Write a path or a URL in each row."
        )
