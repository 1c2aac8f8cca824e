"""What people name on the command line, as pictures: files, folders, patterns, tables, lists."""

from __future__ import annotations

import codecs
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from roi_cls.base.errors import DataError
from roi_cls.base.location import as_path, is_remote, reaching
from roi_cls.console.terminal import note
from roi_cls.data.archives import Members, find_members, holds_members
from roi_cls.data.table import UTF16_MARKS, read_paths
from roi_cls.data.walk import (
    PICTURE_SUFFIXES,
    find_pictures,
    is_system_folder,
    tell_passed_over,
    telling_unlisted,
)
from roi_cls.roi.archives.opening import has_archive_name
from roi_cls.roi.archives.pattern import is_pattern, match_pattern
from roi_cls.roi.image_header import UndecodableError, sniff_kind

Holds = Callable[[Path], bool]
"""Whether a path belongs to the part of the work that is asked for."""
LIST_SUFFIX = ".txt"
_HEAD_BYTES = 4096  # so much of a file tells whether it is a list
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
    passed_over: Mapping[str, int] = field(default_factory=dict)
    """How often what else is in the folders that it names: see ``Found``."""


def expand_paths(inputs: Sequence[str], holds: Holds | None = None) -> list[Path]:
    """Return the pictures that the inputs name, in order, and note what is passed over.

    All of it may lie elsewhere: ``s3://bucket/folder``, and what else ``as_path`` takes.

    holds: says which archives are wanted; no other is opened.

    Raises:
        DataError: See ``expand_input``.
        LocationError: A remote path's package is not installed.
    """
    what = Wanted(holds=holds)
    named = [expand_input(text, what, is_only=len(inputs) == 1) for text in inputs]
    note_passed_over(named)
    return [as_path(name) for each in named for name in each.names]


def note_passed_over(named: Iterable[Named]) -> None:
    """Note what lies in the folders that were named, and is no picture."""
    passed_over: Counter[str] = Counter()
    for each in named:
        passed_over.update(each.passed_over)
    for text in tell_passed_over(passed_over):
        note(text)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is taken of folders and archives."""

    also: Sequence[str] = ()
    """Suffixes of files that are found there besides pictures, such as videos'."""
    is_also: Callable[[bytes], bool] = lambda head: False
    """Whether a file begins as one of these, where its suffix says nothing."""
    holds: Holds | None = None
    """Says which archives are wanted; None: all."""


def expand_input(text: str, wanted: Wanted = Wanted(), *, is_only: bool = True) -> Named:
    """Return what an input names: folders to their depth, archives, a CSV's rows, a list's lines.

    A named file is among it whether it is there or not: its absence becomes a row. A list is a
    ``.txt`` file with a name in each line, from the current folder on, as ``find`` writes them:
    each line is taken as it stands; blank ones and those that begin with # are passed over. Each
    row of a CSV is a name, too, from the CSV's folder on; an empty one where it has none. A
    pattern that nothing matches is a named file, too, where there are other inputs.

    Args:
        text: A file, folder, archive, pattern, table or list.
        wanted: What of folders and archives.
        is_only: Whether there is no other input, so that there is nothing to do without it.

    Raises:
        DataError: A folder or a list holds no picture, or the only pattern matches nothing; or
            the input is empty.
        LocationError: A remote path's package is not installed.
    """
    if not text:  # Path("") would be this folder and all that is in it
        raise DataError("Cannot find pictures: an input is empty (''). Give a file or a folder.")
    if is_pattern(text):
        with telling_unlisted(as_path(text)):
            matches, passed_over = _leave_out_systems(text, match_pattern(text))
        if matches:
            return _expand_matches(matches, passed_over, wanted)
        if is_only:
            raise DataError(
                f"Cannot find pictures: nothing matches {text!r}. Check the pattern; ** stands for "
                "folders of any depth."
            )
    return _expand_path(as_path(text), wanted)


def _expand_matches(matches: Sequence[Path], passed_over: Counter[str], wanted: Wanted) -> Named:
    if any(has_archive_name(str(path)) for path in matches):  # one by one, none counted
        return Named(_Each(matches, wanted), None, passed_over=passed_over)
    parts = [_expand_path(path, wanted) for path in matches]
    for part in parts:
        passed_over.update(part.passed_over)
    names = [name for part in parts for name in part.names]
    return Named(names, len(names), passed_over=passed_over)


def _leave_out_systems(pattern: str, matches: Sequence[Path]) -> tuple[list[Path], Counter[str]]:
    """Return the matches outside of systems' folders, which a pattern must name; and these."""
    asked = {*as_path(pattern).parts}
    found: dict[str, str] = {}  # a folder of matches to that of a system that it lies in, or is
    kept, systems = [], set()
    for path in matches:
        folder, _, name = str(path).rpartition("/" if is_remote(path) else os.sep)
        if folder not in found:
            found[folder] = _find_system(folder, asked)
        is_one = is_system_folder(name, folder) and name not in asked
        if system := found[folder] or (str(path) if is_one else ""):
            systems.add(system)
        else:
            kept.append(path)
    return kept, Counter(f"{os.path.basename(system)}/" for system in systems)


def _find_system(folder: str, asked: Set[str]) -> str:
    """Return the outermost folder of a system in a path, if it was not asked for; mostly empty."""
    parts = Path(folder).parts
    for i, part in enumerate(parts):
        if part not in asked and is_system_folder(part, parts[i - 1] if i else ""):
            return os.path.join(*parts[: i + 1])
    return ""


def _expand_path(path: Path, wanted: Wanted) -> Named:
    if holds_members(path):
        if wanted.holds and not wanted.holds(path):
            return Named((), 0)
        members = find_members(path, wanted.also, wanted.is_also)
        count = len(members.names) + (members.fault is not None)
        return Named(_Members(path, members), count, passed_over=members.passed_over)
    if is_table(path):
        rows = _Rows(path)
        return Named(rows, rows.count())
    if _is_folder(path):
        found = find_pictures(path, wanted.also, wanted.is_also)
        below = _Below(path, found.names)
        return Named(below, len(found.names), passed_over=found.passed_over)
    if path.suffix.lower() == LIST_SUFFIX and _is_list_file(path):
        listed = _Listed(path)
        return Named(listed, listed.count())
    return Named((str(path),), 1, is_one=path.suffix.lower() not in wanted.also)


@dataclass(frozen=True, slots=True)
class _Each:
    """What several paths stand for, found when it is asked for.

    One that holds no picture becomes a row in error, since others may have been answered before.
    """

    paths: Sequence[Path]
    wanted: Wanted

    def __iter__(self) -> Iterator[str]:
        passed_over: Counter[str] = Counter()
        for path in self.paths:
            try:
                named = _expand_path(path, self.wanted)
            except DataError as error:
                note(str(error))
                named = Named((str(path),), 1)
            passed_over.update(named.passed_over)
            yield from named.names
        for text in tell_passed_over(passed_over):  # known only now
            note(text)


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


@dataclass(frozen=True, slots=True)
class _Rows:
    """The names in a table, read as they are needed: each row is one, an empty one at worst."""

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
        """Return how many names there are, at least one; it is read once for this."""
        if number := sum(1 for _ in read_paths(self.path)):
            return number
        raise DataError(
            f"Cannot find pictures: the table {str(self.path)!r} has a header and no row. "
            "Write a path or a URL in each row."
        )


def _in_utf8(file: BinaryIO) -> Iterable[bytes]:
    """Return the lines of a list, which may be in UTF-16 as Windows PowerShell writes it."""
    is_wide = file.read(2) in UTF16_MARKS
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
            return is_list(
                head.decode("utf-16", "ignore").encode() if head[:2] in UTF16_MARKS else head
            )
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
