"""Files below a folder, here or elsewhere: which of them are pictures, by suffix.

Opens no picture, knows no label.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from pathlib import Path

from roi_cls.base.errors import DataError
from roi_cls.base.location import CACHE_TAG, is_remote, list_files

_READ_SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".webp",
    ".bmp",
    ".tif",
    ".tiff",
    ".gif",
    ".heic",
    ".heif",
    ".hif",
    ".avif",
    ".jp2",
    ".j2k",
    ".jpf",
    ".jpx",
    ".ppm",
    ".pgm",
    ".pbm",
    ".pnm",
    ".tga",
)
# Rows in error say what to do.
_UNREAD_SUFFIXES = (
    ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw",
    ".exr", ".hdr", ".pfm", ".qoi",
)  # fmt: skip
PICTURE_SUFFIXES = _READ_SUFFIXES + _UNREAD_SUFFIXES
"""Endings of picture files, in any case; also of forms that cannot be read, so that none vanish."""


def find_pictures(source: Path, also: Sequence[str] = ()) -> list[str]:
    """Return every picture file below a folder, sorted: paths in it, with / between their parts.

    Hidden files are left out; broken links, and folders named like a picture, are kept.

    also: endings of other files that are wanted.

    Raises:
        DataError: There is none, or a folder cannot be listed.
    """
    pictures: list[str] = []
    others: Counter[str] = Counter()
    wanted = frozenset((*PICTURE_SUFFIXES, *also))
    if is_remote(source):
        _list(source, wanted, pictures, others)
    else:
        _walk(str(source), wanted, pictures, others)
    if pictures:
        return sorted(pictures)
    known = ", ".join(suffix[1:] for suffix in _READ_SUFFIXES)
    kinds = ", ".join(f"{n} {suffix or 'without suffix'}" for suffix, n in others.most_common(3))
    holds = f"no file ends in {known}; it holds {kinds}" if others else "it holds no files"
    raise DataError(
        f"Cannot find pictures in {str(source)!r} or below: {holds}. "
        f"Give a folder with files that end in {known}."
    )


def _walk(source: str, wanted: Set[str], pictures: list[str], others: Counter[str]) -> None:
    """Add the files below ``source`` whose suffix is wanted, and a count of others by suffix."""
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
                if prefix and any(entry.name == CACHE_TAG for entry in entries):
                    continue  # crops of earlier runs, unless they are named themselves
                for entry in entries:
                    if entry.name.startswith(".") or entry.name == "__MACOSX":
                        continue
                    suffix = os.path.splitext(entry.name)[1].lower()
                    if suffix in wanted:
                        pictures.append(prefix + entry.name)
                    if _is_folder(entry):
                        waiting.append((entry.path, f"{prefix}{entry.name}/", above | {identity}))
                    else:
                        others[suffix] += 1
        except OSError as error:
            # Going on would leave out, unseen, every picture below.
            raise DataError(
                f"Cannot list the folder {folder!r}: {error.strerror}. "
                "Make it readable or move it away."
            ) from error


def _list(source: Path, wanted: Set[str], pictures: list[str], others: Counter[str]) -> None:
    """Do what ``_walk`` does for a remote folder."""
    with telling_unlisted(source):
        names = list_files(source)
    caches = tuple(name.removesuffix(CACHE_TAG) for name in names if name.endswith(f"/{CACHE_TAG}"))
    for name in names:
        if name.startswith(caches):
            continue
        parts = name.split("/")
        if any(part.startswith(".") or part == "__MACOSX" for part in parts):
            continue
        suffix = os.path.splitext(name)[1].lower()
        if suffix in wanted:
            pictures.append(name)
        else:
            others[suffix] += 1


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link that leads to itself
            return False
        raise


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
