"""What people name on the command line, as pictures: files, folders, globs, standard input."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from roi_cls.data.collect import collect_samples
from roi_cls.data.find import PICTURE_SUFFIXES, telling_unlisted
from roi_cls.errors import DataError
from roi_cls.location import as_path, is_remote, match_files, reaching

STDIN = "-"


def expand_paths(inputs: Iterable[str]) -> Iterator[Path]:
    """Yield the pictures that the inputs name, in order: folders to their depth, a CSV's rows.

    A named file is yielded whether it is there or not: its absence becomes a row. All of it may
    lie elsewhere: ``s3://bucket/folder``, and what else ``as_path`` takes.

    Raises:
        DataError: A folder or a pattern holds no picture, or an input is empty.
        LocationError: A remote path's package is not installed.
    """
    for text in inputs:
        if not text:  # Path("") would be this folder and all that is in it
            raise DataError(
                "Cannot find pictures: an input is empty (''). Give a file or a folder."
            )
        found = _matches(text) if is_pattern(text) else [as_path(text)]
        for path in found:
            if is_table(path) or _is_folder(path):
                yield from (sample.path for sample in collect_samples(path, labelled=False))
            else:
                yield path


def check_not_input(output: Path, inputs: Iterable[Path]) -> None:
    """Refuse to write over what is read.

    Raises:
        DataError: ``output`` is one of the inputs, by whatever name.
    """
    if is_remote(output) or not output.exists():
        return
    for path in inputs:
        # The name first: a look at each of very many files would take long.
        is_near = path.name == output.name or path.is_symlink() or output.is_symlink()
        if is_near and not is_remote(path) and path.exists() and path.samefile(output):
            raise DataError(
                f"Cannot write {str(output)!r}: it is one of the inputs, which would be lost. "
                "Choose another name."
            )


def is_table(path: Path) -> bool:
    """Whether ``path`` is a CSV that lists pictures, as a data set may be."""
    return path.suffix.lower() in (".csv", ".tsv") and _asks(path, path.is_file)


def is_pattern(text: str) -> bool:
    """Whether ``text`` stands for other names: ``*.png``, but no file that is called so."""
    if not glob.has_magic(text):
        return False
    path = as_path(text)
    return not (_asks(path, path.exists) if is_remote(path) else os.path.lexists(path))


def _is_folder(path: Path) -> bool:
    # An object store has no folders, only names: to ask costs a request for each picture named.
    if is_remote(path) and path.suffix.lower() in PICTURE_SUFFIXES:
        return False
    return _asks(path, path.is_dir)


def _asks(path: Path, question: Callable[[], bool]) -> bool:
    try:
        with telling_unlisted(path), reaching(path):
            return question()
    except OSError:
        return False  # what is wrong with a local file is told when it is read


def _matches(pattern: str) -> list[Path]:
    path = as_path(pattern)
    if is_remote(path):
        with telling_unlisted(path):
            found = match_files(pattern)
    else:
        local = str(path) if "://" in pattern else pattern  # a slash at its end has a meaning
        found = [Path(name) for name in sorted(glob.glob(local, recursive=True))]
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
