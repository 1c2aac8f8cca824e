"""Which part of a path is an archive, and what lies in it: ``shards/0001.tar/000123.jpg``.

Where a path leads by itself, it is not looked at here. Archives are kept open, a few in each
process, and opened anew where they have changed.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from stat import S_ISREG
from typing import Any, BinaryIO, cast

from roi_cls.base.errors import ImageReadError
from roi_cls.base.location import as_path, is_remote, reaching
from roi_cls.roi.archives.archive import AGAIN, Archive, ArchiveError

KINDS = ("zip", "tar", "tar.gz", "tgz", "tar.bz2", "tbz2", "tar.xz", "txz", "parquet")
ARCHIVE_SUFFIXES = tuple(f".{kind}" for kind in KINDS)
_ARCHIVE = re.compile(rf"\.(?:{'|'.join(map(re.escape, KINDS))})(?=[/\\]|$)", re.IGNORECASE)
_KEPT_OPEN = 4
_REMOTE_S = 10.0
"""How long a store is believed that an archive has not changed: it is a request to ask."""
Identity = tuple[int | str, ...]
"""What an archive looks like from outside: another file, or a rewritten one, looks different."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something lies in an archive."""

    archive: Path
    name: str
    """Of a member, or of a folder of members, with / between its parts; empty: the archive."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies in an archive, or in a folder of it."""

    names: Sequence[str]
    """Relative to it, in the order of the archive."""
    fault: str | None = None
    """Why there are fewer than there should be, as a message."""


def find_place(path: Path) -> Place | None:
    """Return what of a path lies in which archive; None where no part of it is an archive."""
    text = str(path)
    for match in _ARCHIVE.finditer(text):
        archive = _as_path(text[: match.end()])
        if look_at(archive) is not None:
            return Place(archive, text[match.end() :].replace(os.sep, "/").strip("/"))
    return None


def is_archive(path: Path) -> bool:
    """Whether a path leads to an archive, or to something in one."""
    return find_place(path) is not None


def is_there(path: Path) -> bool:
    """Whether a path leads to something, or into an archive that is there.

    It is not looked for in the archive: what is absent is told when it is read.
    """
    is_found = path.exists() if is_remote(path) else os.path.exists(path)
    return is_found or is_archive(path)


def has_archive_name(text: str) -> bool:
    """Whether a name ends as an archive's."""
    return text.lower().endswith(ARCHIVE_SUFFIXES)


def look_at(archive: Path) -> Identity | None:
    """Return what a file looks like; None: there is no file."""
    try:
        if is_remote(archive):
            return _ARCHIVES.look_at_remote(archive)
        status = os.stat(archive)
    except (OSError, ValueError):  # ValueError: a null character in the path
        return None
    if not S_ISREG(status.st_mode):
        return None
    # Another file may take the place of one of its size and age: archives keep both.
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def list_members(place: Place) -> Listing:
    """Return what lies at a place: members of an archive or of a folder in it.

    Of an archive that cannot be opened, nothing and its fault.
    """
    try:
        with _ARCHIVES.using(place.archive) as archive:
            names = archive.names()
            fault = archive.fault
    except ArchiveError as error:
        names, fault = (), error
    if place.name:
        inner = f"{place.name}/"
        names = [name.removeprefix(inner) for name in names if name.startswith(inner)]
    return Listing(names, None if fault is None else str(_told(place.archive, fault)))


def read_member(path: Path, place: Place, max_bytes: int) -> bytes:
    """Return the bytes of a member.

    Raises:
        ImageReadError: It cannot be read, there is none, or it has more than ``max_bytes``.
    """
    try:
        with _ARCHIVES.using(place.archive) as archive:
            return archive.read(place.name, max_bytes)
    except ArchiveError as error:
        raise _told(path, error) from error


def archive_error(archive: Path) -> ImageReadError:
    """Return what is wrong with an archive: if nothing else, that it is no picture."""
    try:
        with _ARCHIVES.using(archive) as opened:
            names = opened.names()
            fault = opened.fault
    except ArchiveError as error:
        return _told(archive, error)
    if not (names or fault):
        fault = ArchiveError("it is an archive with no files in it", "Give one with pictures.")
    return _told(archive, fault or ArchiveError("it is an archive", "Give the pictures in it."))


def read_stated_labels(place: Place, names: Sequence[str]) -> dict[str, str]:
    """Return the labels that an archive states itself for members, by their names at ``place``.

    Raises:
        ImageReadError: They cannot be read.
    """
    inner = f"{place.name}/" if place.name else ""
    try:
        with _ARCHIVES.using(place.archive) as archive:
            found = archive.read_labels([inner + name for name in names])
    except ArchiveError as error:
        raise _told(place.archive, error) from error
    return {name.removeprefix(inner): label for name, label in found.items()}


def _told(path: Path, error: ArchiveError) -> ImageReadError:
    return ImageReadError(path, error.reason, error.remedy)


@dataclass(slots=True)
class _Kept:
    archive: Archive
    identity: Identity
    lock: threading.Lock
    is_closed: bool = False


class _OpenArchives:
    """The archives that this process has open: the last used, each used by one thread at a time."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._seen: OrderedDict[str, tuple[float, Identity]] = OrderedDict()
        """Remote archives: when they were asked for, and what they looked like."""
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def using(self, archive: Path) -> Iterator[Archive]:
        """Give an archive, opened anew where it has changed since.

        Raises:
            ArchiveError: It cannot be opened or, in the block, read.
        """
        while True:
            kept = self._take(archive)
            with kept.lock:
                if kept.is_closed:  # meanwhile, for another
                    continue
                try:
                    with reaching(archive):
                        yield kept.archive
                except OSError as error:
                    reason = f"its archive cannot be read ({error.strerror or error})"
                    raise ArchiveError(reason, "Check the disk or the network.") from error
                return

    def _take(self, archive: Path) -> _Kept:
        name = str(archive)
        identity = look_at(archive)
        with self._lock:
            last = next(reversed(self._kept.values()), None)
            if last and last is not self._kept.get(name) and last.lock.acquire(blocking=False):
                # Pictures of one table alone are held, however many are open.
                last.archive.let_go()
                last.lock.release()
            kept = self._kept.get(name)
            if kept is not None and kept.identity == identity:
                self._kept.move_to_end(name)
                return kept
            kept = _Kept(_open(archive), identity or (), threading.Lock())
            old = [self._kept.pop(name)] if name in self._kept else []
            self._kept[name] = kept
            if len(self._kept) > _KEPT_OPEN:
                old.append(self._kept.popitem(last=False)[1])
        for one in old:
            with one.lock:
                one.is_closed = True
                one.archive.close()
        return kept

    def look_at_remote(self, archive: Path) -> Identity:
        name, now = str(archive), time.monotonic()
        seen = self._seen.get(name)
        if seen is None or now - seen[0] > _REMOTE_S:
            remote = cast(Any, archive)
            with reaching(archive):
                if not archive.is_file():
                    raise FileNotFoundError(name)
                remote.fs.invalidate_cache()
                seen = now, (str(remote.fs.ukey(remote.path)),)
            self._seen[name] = seen
            while len(self._seen) > 8 * _KEPT_OPEN:
                self._seen.popitem(last=False)
        return seen[1]

    def close(self) -> None:
        """Close all; those that are needed are opened again."""
        self._lock = threading.Lock()  # in a forked process another thread may have held it
        for kept in self._kept.values():
            kept.is_closed = True
            kept.archive.close()
        self._kept.clear()


def _open(archive: Path) -> Archive:
    try:
        with reaching(archive):
            file = cast(BinaryIO, archive.open("rb"))
    except OSError as error:
        raise ArchiveError(
            f"it cannot be opened ({error.strerror or error})", "Check your right to read it."
        ) from error
    try:
        with reaching(archive):
            return _open_kind(archive.name.lower(), file)
    except OSError as error:
        file.close()
        raise ArchiveError(f"it cannot be read ({error.strerror or error})", AGAIN) from error
    except ArchiveError:
        file.close()
        raise


def _open_kind(name: str, file: BinaryIO) -> Archive:
    if name.endswith(".zip"):
        from roi_cls.roi.archives.zip_file import ZipArchive

        return ZipArchive(file)
    if name.endswith(".parquet"):
        from roi_cls.roi.archives.table import TableArchive

        return TableArchive(file)
    from roi_cls.roi.archives.tar_file import TarArchive

    return TarArchive(file)


_as_path = lru_cache(maxsize=64)(as_path)  # the same for each of very many members


# One for the process: a reader of one picture cannot know which archive will be asked for next.
_ARCHIVES = _OpenArchives()
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_ARCHIVES.close)  # a file's position is shared by both
