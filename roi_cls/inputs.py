"""What people name on the command line, as pictures: files, folders, globs, standard input."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from roi_cls.data.collect import collect_samples
from roi_cls.errors import DataError

STDIN = "-"


def expand_paths(inputs: Iterable[str]) -> Iterator[Path]:
    """Yield the pictures that the inputs name, in order: folders to their depth, a CSV's rows.

    A named file is yielded whether it is there or not: its absence becomes a row.

    Raises:
        DataError: A folder or a pattern holds no picture, or an input is empty.
    """
    for text in inputs:
        if not text:  # Path("") would be this folder and all that is in it
            raise DataError(
                "Cannot find pictures: an input is empty (''). Give a file or a folder."
            )
        found = _matches(text) if is_pattern(text) else [text]
        for path in map(Path, found):
            if path.is_dir() or is_table(path):
                yield from (sample.path for sample in collect_samples(path, labelled=False))
            else:
                yield path


def is_table(path: Path) -> bool:
    """Whether ``path`` is a CSV that lists pictures, as a data set may be."""
    return path.suffix.lower() in (".csv", ".tsv") and path.is_file()


def is_pattern(text: str) -> bool:
    """Whether ``text`` stands for other names: ``*.png``, but no file that is called so."""
    return glob.has_magic(text) and not os.path.lexists(text)


def _matches(pattern: str) -> list[str]:
    found = sorted(glob.glob(pattern, recursive=True))
    if not found:
        raise DataError(
            f"Cannot find pictures: nothing matches {pattern!r}. Check the pattern; ** stands for "
            "folders of any depth."
        )
    return found


def read_stdin() -> bytes:
    """Return the picture piped into the command.

    Raises:
        DataError: Standard input is a terminal: nothing is piped.
    """
    if sys.stdin.isatty():
        raise DataError(
            "Cannot read a picture from standard input: nothing is piped into it. "
            "Use: cat img.png | roi-cls predict -"
        )
    return sys.stdin.buffer.read()
