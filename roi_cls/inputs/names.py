"""What people name on the command line, as pictures: files, folders, patterns, tables, lists."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from roi_cls.base.errors import DataError
from roi_cls.base.location import as_path, is_remote, reaching
from roi_cls.data.archives import Members, find_members, holds_members
from roi_cls.data.collect import collect_samples
from roi_cls.data.walk import PICTURE_SUFFIXES, find_pictures, telling_unlisted
from roi_cls.roi.archives.opening import has_archive_name
from roi_cls.roi.archives.pattern import is_pattern, match_pattern
from roi_cls.roi.image_header import UndecodableError, sniff_kind

Holds = Callable[[Path], bool]
"""Whether a path belongs to the part of the work that is asked for."""
LIST_SUFFIX = ".txt"
_HEAD_BYTES = 4096  # so much of a file tells whether it is a list
_UTF16 = (b"\xff\xfe", b"\xfe\xff")  # how text in it begins, with the lower or upper byte first
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
# Text, but no list: a web page or a drawing, and what git leaves in a large file's place.
_OTHER_TEXT = re.compile(rb"(\xef\xbb\xbf)?\s*(<|version https://git-lfs)")
_URL = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Named:
    """What one input stands for."""

    names: Iterable[str]
    """Paths and URLs in order."""
    count: int | None
    """How many there are; None: not known before the last has come, and they come only once."""
    is_one: bool = False
    """Whether it names one picture by itself, and nothing that holds several."""
    data: bytes | None = None
    """Of the one picture or video, where it was piped in."""


def expand_paths(inputs: Iterable[str], holds: Holds | None = None) -> Iterator[Path]:
    """Yield the pictures that the inputs name, in order; see ``expand_input``.

    All of it may lie elsewhere: ``s3://bucket/folder``, and what else ``as_path`` takes.

    holds: says which archives are wanted; no other is opened.

    Raises:
        DataError: A folder, a pattern or a list holds no picture, or an input is empty.
        LocationError: A remote path's package is not installed.
    """
    for text in inputs:
        for name in expand_input(text, holds=holds).names:
            yield as_path(name)


def expand_input(text: str, also: Sequence[str] = (), holds: Holds | None = None) -> Named:
    """Return what an input names: folders to their depth, archives, a CSV's rows, a list's lines.

    A named file is among it whether it is there or not: its absence becomes a row. A list is a
    ``.txt`` file with a name in each line, from the current folder on, as ``find`` writes them:
    each line is taken as it stands; blank ones and those that begin with # are passed over.

    Args:
        text: A file, folder, archive, pattern, table or list.
        also: Suffixes of files that are found in folders besides pictures, such as videos'.
        holds: Says which archives are wanted; None: all.

    Raises:
        DataError: A folder, a pattern or a list holds no picture, or the input is empty.
        LocationError: A remote path's package is not installed.
    """
    if not text:  # Path("") would be this folder and all that is in it
        raise DataError("Cannot find pictures: an input is empty (''). Give a file or a folder.")
    if not is_pattern(text):
        return _expand_path(as_path(text), also, holds)
    paths = _matches(text)
    if any(has_archive_name(str(path)) for path in paths):  # one after the other, none counted
        return Named(_Each(paths, also, holds), None)
    names = [name for path in paths for name in _expand_path(path, also, holds).names]
    return Named(names, len(names))


def _matches(pattern: str) -> list[Path]:
    with telling_unlisted(as_path(pattern)):
        found = match_pattern(pattern)
    if not found:
        raise DataError(
            f"Cannot find pictures: nothing matches {pattern!r}. Check the pattern; ** stands for "
            "folders of any depth."
        )
    return found


def _expand_path(path: Path, also: Sequence[str], holds: Holds | None) -> Named:
    if holds_members(path):
        if holds and not holds(path):
            return Named((), 0)
        members = find_members(path, also)
        return Named(_Members(path, members), len(members.names) + (members.fault is not None))
    if is_table(path):
        rows = [str(sample.path) for sample in collect_samples(path, labelled=False)]
        return Named(rows, len(rows))
    if _is_folder(path):
        found = find_pictures(path, also)
        return Named(_Below(path, found), len(found))
    if path.suffix.lower() == LIST_SUFFIX and _is_list_file(path):
        listed = _Listed(path)
        return Named(listed, listed.count())
    return Named((str(path),), 1, is_one=path.suffix.lower() not in also)


@dataclass(frozen=True, slots=True)
class _Each:
    """What several paths stand for, found when it is asked for."""

    paths: Sequence[Path]
    also: Sequence[str]
    holds: Holds | None

    def __iter__(self) -> Iterator[str]:
        for path in self.paths:
            yield from _expand_path(path, self.also, self.holds).names


@dataclass(frozen=True, slots=True)
class _Members:
    """The pictures of an archive."""

    path: Path
    members: Members

    def __iter__(self) -> Iterator[str]:
        return self.members.paths(self.path)


@dataclass(frozen=True, slots=True)
class _Below:
    """Files below a folder. Their names alone are kept: there may be very many."""

    folder: Path
    relative: Sequence[str]

    def __iter__(self) -> Iterator[str]:
        return (str(self.folder / name) for name in self.relative)


@dataclass(frozen=True, slots=True)
class _Listed:
    """The names in a list, read as they are needed."""

    path: Path

    def __iter__(self) -> Iterator[str]:
        try:
            with reaching(self.path), self.path.open("rb") as file:
                yield from read_list(_in_utf8(file))
        except OSError as error:
            raise DataError(
                f"Cannot read the list {str(self.path)!r}: {error.strerror or error}. "
                "Check the path and the disk."
            ) from error

    def count(self) -> int:
        """Return how many names there are, at least one; it is read once for this."""
        if number := sum(1 for _ in self):
            return number
        raise DataError(
            f"Cannot find pictures: the list {str(self.path)!r} names none. "
            "Write a path or a URL in each line."
        )


def _in_utf8(file: BinaryIO) -> Iterable[bytes]:
    """Return the lines of a list, which may be in UTF-16 as Windows PowerShell writes it."""
    is_wide = file.read(2) in _UTF16
    file.seek(0)
    if not is_wide:
        return file
    return (line.encode() for line in codecs.getreader("utf-16")(file, "replace"))


def read_list(lines: Iterable[bytes]) -> Iterator[str]:
    """Yield the names in the lines of a list, in order."""
    for number, line in enumerate(lines):
        if number == 0:
            line = line.removeprefix(b"\xef\xbb\xbf")  # a byte order mark
        if line.strip() and not line.lstrip().startswith(b"#"):
            # Names may be any bytes, and begin or end with a blank.
            yield line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")


def is_url(text: str) -> bool:
    """Whether an input is a URL of the web, ``http://`` or ``https://``."""
    return _URL.match(text) is not None


def is_table(path: Path) -> bool:
    """Whether ``path`` is a CSV that lists pictures, as a data set may be."""
    return path.suffix.lower() in (".csv", ".tsv") and _asks(path, path.is_file)


def _is_folder(path: Path) -> bool:
    # An object store has no folders, only names: to ask costs a request for each picture named.
    if is_remote(path) and path.suffix.lower() in PICTURE_SUFFIXES:
        return False
    return _asks(path, path.is_dir)


def _is_list_file(path: Path) -> bool:
    try:
        with reaching(path), path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            return is_list(head.decode("utf-16", "ignore").encode() if head[:2] in _UTF16 else head)
    except OSError:
        return False  # what is wrong with it is told when it is read


def is_list(head: bytes) -> bool:
    """Whether a file that begins so is a list of names, and no picture: by its bytes alone."""
    if not head.strip() or _CONTROL.search(head) or _OTHER_TEXT.match(head):
        return False
    try:
        sniff_kind(head)
    except UndecodableError:
        return True
    return False


def _asks(path: Path, question: Callable[[], bool]) -> bool:
    try:
        with telling_unlisted(path), reaching(path):
            return question()
    except OSError:
        return False  # what is wrong with a local file is told when it is read


def check_not_input(output: Path, inputs: Iterable[Path]) -> None:
    """Refuse to write over what is read.

    Raises:
        DataError: ``output`` is one of the inputs, by whatever name.
    """
    if is_remote(output) or not output.exists():
        return
    for path in inputs:
        if _is_same_file(path, output):
            raise DataError(
                f"Cannot write {str(output)!r}: it is one of the inputs, which would be lost. "
                "Choose another name."
            )


def _is_same_file(path: Path, output: Path) -> bool:
    try:
        # The name first: a look at each of very many files would take long.
        is_near = path.name == output.name or path.is_symlink() or output.is_symlink()
        return is_near and not is_remote(path) and path.exists() and path.samefile(output)
    except OSError:
        return False  # a name that is too long, say: reading it tells that
