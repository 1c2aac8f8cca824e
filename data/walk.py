"""Files below a folder, here or elsewhere: which of them are pictures, and what is passed over.

A suffix that says what a file is, is believed; of all others the first bytes are looked at. Decodes
no picture, knows no label.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from roi_cls.base.errors import DataError
from roi_cls.base.location import CACHE_TAG, is_remote, list_files, read_heads
from roi_cls.roi.image_header import is_picture

ReadHeads = Callable[[Sequence[str], int], Sequence[bytes | None]]
"""Reads so many first bytes of each of the files; None: it cannot be read."""
PICTURE_SUFFIXES = (
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".pjpeg", ".mpo", ".webp", ".bmp", ".dib",
    ".tif", ".tiff", ".gif", ".heic", ".heif", ".hif", ".avif", ".jp2", ".j2k", ".jpf", ".jpx",
    ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".targa",
    # Of forms that cannot be read: their rows in error say what to do.
    ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw",
    ".exr", ".hdr", ".pfm", ".qoi",
)  # fmt: skip
"""Endings of picture files, in any case; these are pictures without a look into them."""
_OTHER_SUFFIXES = frozenset((
    ".txt", ".md", ".rst", ".log", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".xmp", ".aae",
    ".yaml", ".yml", ".toml", ".ini", ".cfg", ".html", ".htm", ".css", ".js", ".py", ".ipynb",
    ".pdf", ".doc", ".docx", ".xls", ".xlsx", ".ppt", ".pptx", ".psd", ".svg", ".db", ".sqlite",
    ".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".parquet", ".npy", ".npz", ".pt", ".pth",
    ".onnx", ".safetensors", ".pkl", ".h5", ".url", ".lnk", ".md5", ".sha256",
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mp3", ".m4a", ".wav",
    # A part of a download: it may look like a picture from its start.
    ".part", ".partial", ".filepart", ".crdownload", ".opdownload", ".download", ".tmp", ".temp",
    ".aria2", ".!ut", ".!qb",
    # Copies that programs leave beside a picture that they change.
    ".bak", ".orig",
))  # fmt: skip
_COPY_ENDINGS = ("~", "_original")  # of editors; of exiftool
# Only names that nobody gives to pictures: "thumbs" or "originals" may be a class.
_SYSTEM_FOLDERS = frozenset((
    "@eadir", "#recycle", "#snapshot", "@tmp",  # Synology
    "@recycle", "@recently-snapshot", "@__thumb",  # QNAP
    "$recycle.bin", "system volume information",  # Windows
    "__macosx", "network trash folder", "temporary items",  # macOS, also on shares
    "lost+found",  # Linux
))  # fmt: skip
_PREVIEWS = ".lrdata"  # Lightroom's
_APPLE_LIBRARY, _APPLE_PREVIEWS = ".photoslibrary", "resources"
DEMO_RECORD = "demo.json"
"""File that ``data demo`` leaves beside its pictures: it is not told of."""
_HEAD_BYTES = 512  # so much of a file tells whether it is a picture
HIDDEN, WITHOUT_SUFFIX, EMPTY = "hidden", "without suffix", "empty folder"
"""What is passed over, besides suffixes and folders."""
_KIND = re.compile(r"\.\w{1,15}~?")
_MOST_KINDS = 20


@dataclass(frozen=True, slots=True)
class Found:
    """What a folder holds."""

    names: list[str] = field(default_factory=list)
    """Paths in it of the pictures, with / between their parts."""
    passed_over: Counter[str] = field(default_factory=Counter)
    """How often what else is there: files by suffix (``.txt``), ``without suffix``, ``hidden``
    files and folders, each ``empty folder``, and folders of systems and caches, by their name with
    a / at its end."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which files are."""

    suffixes: Set[str]
    is_also: Callable[[bytes], bool]

    def holds(self, head: bytes) -> bool:
        """Whether a file that begins so is wanted."""
        return is_picture(head) or self.is_also(head)

    def holds_file(self, entry: os.DirEntry[str]) -> bool:
        """The same of a file, by its first bytes; also where these cannot be read."""
        try:
            if not entry.is_file():  # a pipe would wait for a writer for ever
                return False
            with open(entry.path, "rb", buffering=0) as file:
                return self.holds(file.read(_HEAD_BYTES))
        except OSError as error:
            return error.errno != errno.ELOOP  # its row says why; a link to itself is nothing


def find_pictures(
    source: Path, also: Sequence[str] = (), is_also: Callable[[bytes], bool] = lambda head: False
) -> Found:
    """Return every picture file below a folder, sorted; and a count of all that is passed over.

    Known by suffix, or by content where the suffix says nothing. Broken links, and folders named
    like a picture, are kept; so is a file of which it cannot be read what it is. Passed over are
    hidden files, and known folders of systems and photo programs, unless they are ``source``.

    Args:
        source: The folder.
        also: Endings of other files that are wanted.
        is_also: Whether a file is wanted that begins so, of those whose ending says nothing.

    Raises:
        DataError: There is none, or a folder cannot be listed.
    """
    found = Found()
    wanted = _Wanted(frozenset((*PICTURE_SUFFIXES, *also)), is_also)
    if is_remote(source):
        _list(source, wanted, found)
    else:
        _walk(str(source), wanted, found)
    if found.names:
        found.names.sort()
        return found
    kinds = list_passed_over(found.passed_over)
    holds = f"it holds no picture, but {kinds}" if kinds else "it holds no files"
    raise DataError(
        f"Cannot find pictures in {str(source)!r} or below: {holds}. "
        "Give a folder of pictures, such as PNG, JPEG, WebP, HEIC or TIFF files."
    )


def tell_passed_over(passed_over: Mapping[str, int]) -> tuple[str, ...]:
    """Return a sentence about what was passed over; none where nothing was."""
    return (f"Passed over: {list_passed_over(passed_over)}.",) if passed_over else ()


def list_passed_over(passed_over: Mapping[str, int]) -> str:
    """Return in words what was passed over, the most frequent first; empty: nothing was."""
    ranked = sorted(passed_over.items(), key=lambda one: (-one[1], one[0]))
    parts = [_kind_text(*one) for one in ranked[:_MOST_KINDS]]
    if rest := sum(count for _, count in ranked[_MOST_KINDS:]):
        parts.append(f"{rest} of other kinds")
    return ", ".join(parts)


def _kind_text(kind: str, count: int) -> str:
    if kind.endswith("/"):
        return f"{count} folder{'' if count == 1 else 's'} {kind[:-1]!r}"
    return f"{count} {kind}s" if kind == EMPTY and count > 1 else f"{count} {kind}"


def _walk(source: str, wanted: _Wanted, found: Found) -> None:
    """Add the files below ``source`` that are wanted, and a count of the others."""
    # Only the folders above are compared: a link to one of them would never end, while a second
    # link to a folder elsewhere is one more place with pictures, as it is for `find -L`.
    nobody: frozenset[tuple[int, int]] = frozenset()
    waiting = [(source, "", nobody)]
    while waiting:
        folder, prefix, above = waiting.pop()
        try:
            status = os.stat(folder)
            identity = (status.st_dev, status.st_ino)
            if identity in above:
                continue
            with os.scandir(folder) as listing:
                entries = list(listing)
            if prefix and not entries:  # a class, perhaps, that was never filled
                found.passed_over[EMPTY] += 1
            if prefix and any(entry.name == CACHE_TAG for entry in entries):
                found.passed_over[f"{os.path.basename(folder)}/"] += 1
                continue  # crops of earlier runs, unless they are named themselves
            for name, path in _take(entries, folder, prefix, wanted, found):
                waiting.append((path, f"{prefix}{name}/", above | {identity}))
        except OSError as error:
            # Going on would leave out, unseen, every picture below.
            raise DataError(
                f"Cannot list the folder {folder!r}: {error.strerror}. "
                "Make it readable or move it away."
            ) from error


def _take(
    entries: Sequence[os.DirEntry[str]], folder: str, prefix: str, wanted: _Wanted, found: Found
) -> Iterator[tuple[str, str]]:
    """Add a folder's files; yield name and path of each folder in it that is to be looked into."""
    names, passed_over, suffixes = found.names, found.passed_over, wanted.suffixes
    for entry in entries:
        name = entry.name
        if name.startswith("."):
            passed_over[HIDDEN] += 1
            continue
        suffix = os.path.splitext(name)[1].lower()
        is_folder = _is_folder(entry)
        if is_folder:
            if is_system_folder(name, folder):
                passed_over[f"{name}/"] += 1
                continue
            yield name, entry.path
        if suffix in suffixes:
            names.append(prefix + name)
        elif not is_folder and name != DEMO_RECORD:
            if _is_other(suffix) or not wanted.holds_file(entry):
                passed_over[_kind(suffix)] += 1
            else:
                names.append(prefix + name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link that leads to itself
            return False
        raise


def is_system_folder(name: str, above: str) -> bool:
    """Whether a folder of this name, in another one, holds what no user put there."""
    name = name.casefold()
    return (
        name in _SYSTEM_FOLDERS
        or name.endswith(_PREVIEWS)
        or (name == _APPLE_PREVIEWS and above.casefold().endswith(_APPLE_LIBRARY))
    )


def _is_other(suffix: str) -> bool:
    """Whether a suffix says that a file is no picture, or none that is meant."""
    return suffix in _OTHER_SUFFIXES or suffix.endswith(_COPY_ENDINGS)


@functools.lru_cache(maxsize=1024)
def _kind(suffix: str) -> str:
    """Return the kind that a file is counted as, by its suffix: ``.html?id=7`` is ``.html…``."""
    match = _KIND.match(suffix)
    if match is None:
        return WITHOUT_SUFFIX
    return suffix if match[0] == suffix else f"{match[0]}…"


def _list(source: Path, wanted: _Wanted, found: Found) -> None:
    """Do what ``_walk`` does for a remote folder; all unnamed files are looked into at once."""
    with telling_unlisted(source):
        files = list_files(source)
    _sort_out(files, str(source), partial(read_heads, source), wanted, found)


def sort_out(
    names: Sequence[str],
    source: str,
    read_heads: ReadHeads,
    also: Sequence[str] = (),
    is_also: Callable[[bytes], bool] = lambda head: False,
) -> Found:
    """Return which of the names in a place are pictures, by the rules of ``find_pictures``.

    Args:
        names: Of files, paths in it with / between their parts.
        source: What the place is called.
        read_heads: Reads the first bytes of files whose names say nothing.
        also: As of ``find_pictures``, and the next.
        is_also: See there.
    """
    found = Found()
    wanted = _Wanted(frozenset((*PICTURE_SUFFIXES, *also)), is_also)
    _sort_out(names, source, read_heads, wanted, found)
    return found


def _sort_out(
    names: Sequence[str], source: str, read_heads: ReadHeads, wanted: _Wanted, found: Found
) -> None:
    caches = {name.removesuffix(CACHE_TAG) for name in names if name.endswith(f"/{CACHE_TAG}")}
    passed_by: set[str] = set()  # folders that were counted
    unnamed = []
    for name in names:
        folder = _find_passed(name, source, caches)
        suffix = os.path.splitext(name)[1].lower()
        if folder:
            if folder not in passed_by:
                passed_by.add(folder)
                last = folder.rstrip("/").rpartition("/")[2]
                found.passed_over[HIDDEN if last.startswith(".") else f"{last}/"] += 1
        elif suffix in wanted.suffixes:
            found.names.append(name)
        elif name == DEMO_RECORD:
            continue
        elif _is_other(suffix):
            found.passed_over[_kind(suffix)] += 1
        else:
            unnamed.append((name, suffix))
    heads = read_heads([name for name, _ in unnamed], _HEAD_BYTES) if unnamed else []
    for (name, suffix), head in zip(unnamed, heads, strict=True):
        if head is None or wanted.holds(head):
            found.names.append(name)
        else:
            found.passed_over[_kind(suffix)] += 1


def _find_passed(name: str, source: str, caches: Set[str]) -> str:
    """Return the first part of a path that is passed over, a folder or the file; mostly empty."""
    above = ""
    for part in name.split("/"):
        here = f"{above}{part}"
        is_folder = len(here) < len(name)
        if part.startswith(".") or (
            is_folder
            and (is_system_folder(part, above.rstrip("/") or source) or f"{here}/" in caches)
        ):
            return here
        above = f"{here}/"
    return ""


@contextlib.contextmanager
def telling_unlisted(source: Path) -> Iterator[None]:
    """Raise a ``DataError`` where a remote folder cannot be looked at in the block."""
    try:
        yield
    except OSError as error:
        if not is_remote(source):
            raise
        raise DataError(
            f"Cannot look at {str(source)!r}: {error.strerror or error}. "
            "Check the path, the network and your right to read it."
        ) from error
