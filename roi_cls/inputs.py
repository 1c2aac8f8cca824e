"""What people name on the command line, as pictures: files, folders, globs, standard input."""

from __future__ import annotations

import glob
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from roi_cls.data.collect import collect_samples
from roi_cls.errors import DataError

STDIN = "-"


def expand_paths(inputs: Iterable[str]) -> Iterator[Path]:
    """Yield the pictures that the inputs name, in order; folders are searched to their depth.

    A named file is yielded whether it is there or not: its absence becomes a row.

    Raises:
        DataError: A folder or a pattern holds no picture.
    """
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            yield from (sample.path for sample in collect_samples(path, labelled=False))
        elif glob.has_magic(text) and not path.exists():
            yield from _matches(text)
        else:
            yield path


def _matches(pattern: str) -> Iterator[Path]:
    found = sorted(glob.glob(pattern, recursive=True))
    if not found:
        raise DataError(
            f"Cannot find pictures: nothing matches {pattern!r}. Check the pattern; ** stands for "
            "folders of any depth."
        )
    yield from expand_paths(found)


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
