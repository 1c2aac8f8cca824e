"""Write a file whole or not at all. Every stage may use it; it knows only bytes."""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from roi_cls.base.errors import DISK_FULL, StorageError
from roi_cls.base.location import is_remote, reaching, send_file

STALE_AFTER_S = 24 * 3600  # 86400
"""No write takes a day: an older temporary file was left by a process that was killed."""
_PREFIX = ".tmp-"
_OURS = f"{_PREFIX}{secrets.token_hex(4)}"  # no other process on any machine has it, but a fork
_numbers = itertools.count()
_STREAMS = (("/", "dev"), ("/", "proc"))
_BINARY = getattr(os, "O_BINARY", 0)  # Windows would turn every \n into \r\n


def write_atomically(
    path: Path, data: bytes, *, durable: bool = False, drafts: Path | None = None
) -> None:
    """Write ``data`` beside ``path`` and rename it there: readers see all or nothing.

    An object store does so by itself; of ``scheme://`` paths it is asked to.

    Args:
        path: Its folder is made if need be.
        data: The whole content.
        durable: Flush to the disk before the rename, so that a power cut cannot leave an empty
            file under the name. For what cannot be made again cheaply.
        drafts: Folder on the same disk in place of ``path``'s own, so that what a killed process
            leaves lies in one place, where ``remove_stale`` finds it.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    if is_remote(path):
        with telling_storage(path), reaching(path):
            path.write_bytes(data)
        return
    with open_atomically(path, durable=durable, drafts=drafts) as file, telling_storage(path):
        file.write(data)


@contextlib.contextmanager
def open_atomically(
    path: Path, *, durable: bool = False, drafts: Path | None = None
) -> Iterator[io.BufferedWriter]:
    """Give a file to write to; it appears under ``path`` at the end of the block, or not at all.

    A pipe or a device is written to as it is: renamed over, it would be one no longer.

    What the block itself raises passes through: write within ``telling_storage``.

    Args:
        path: Its folder is made if need be.
        durable: As for ``write_atomically``.
        drafts: As for ``write_atomically``.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    if is_remote(path):
        with _open_upload(path) as file:
            yield file
        return
    if drafts is None and _is_stream(path):
        with telling_storage(path), path.open("wb") as file:
            yield file
        return
    names: list[str] = []
    try:
        with telling_storage(path):
            handle = _create_draft(drafts or path.parent, names)
        file = os.fdopen(handle, "wb")
        try:
            yield file
            with telling_storage(path):
                file.flush()
                if durable:
                    os.fsync(file.fileno())
        finally:
            with telling_storage(path):  # on a full disk, closing fails to flush once more
                file.close()
        with telling_storage(path):
            _move(names[0], path)
    except BaseException:  # reason: also after Ctrl-C; raised again
        for name in names:
            with contextlib.suppress(OSError):  # not made yet, or interrupted after the rename
                os.unlink(name)
        raise


def _is_stream(path: Path) -> bool:
    """Whether a path is no place for a file: a pipe, a device, ``/dev/stdout`` and its like.

    Those are links, and where they lead is for whoever started this process: a file, perhaps.
    """
    is_link = path.is_symlink() and path.absolute().parts[:2] in _STREAMS
    return is_link or (path.exists() and not path.is_file() and not path.is_dir())


@contextlib.contextmanager
def telling_storage(path: Path) -> Iterator[None]:
    """Raise what goes wrong in the block as a ``StorageError`` that names ``path``."""
    try:
        yield
    except OSError as error:
        raise StorageError(path, storage_reason(error)) from error


@contextlib.contextmanager
def _open_upload(path: Path) -> Iterator[io.BufferedWriter]:
    """Give a file on this machine that is sent to a remote ``path`` at the end of the block."""
    # Not a remote file itself: an upload that is begun is finished even where the block fails.
    with telling_storage(path):
        handle, name = tempfile.mkstemp(prefix=_PREFIX)
    try:
        file = os.fdopen(handle, "wb")
        try:
            yield file
        finally:
            with telling_storage(Path(name)):
                file.close()
        with telling_storage(path), reaching(path):
            send_file(Path(name), path)
    finally:
        os.unlink(name)


def _create_draft(folder: Path, names: list[str]) -> int:
    """Create a file of a name that nobody has, with the rights that files here usually get.

    ``names`` holds its name, and that before there is a file: Ctrl-C mostly comes while the system
    makes it, and whoever is interrupted then has to remove it.

    tempfile's are private and would have to be given other rights. Folders are made where they are
    missing and not looked for before: they hardly ever are, and a look costs as much as a write.
    """
    is_made = False
    while True:
        names[:] = [f"{folder}/{_OURS}-{os.getpid()}-{next(_numbers)}"]
        try:
            return os.open(names[0], os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
        except FileExistsError:
            names.clear()
        except FileNotFoundError:
            if is_made:  # a folder that takes no files, as /proc
                raise
            folder.mkdir(parents=True, exist_ok=True)
            is_made = True


def _move(name: str, path: Path) -> None:
    try:
        os.replace(name, path)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(name, path)


def remove_stale(drafts: Path) -> None:
    """Remove temporary files that a killed process left in ``drafts``; best effort."""
    if is_remote(drafts):  # none are made there
        return
    with contextlib.suppress(OSError):
        for draft in drafts.glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):
                if draft.stat().st_mtime < time.time() - STALE_AFTER_S:
                    draft.unlink()


def storage_reason(error: OSError) -> str:
    """Return why something cannot be written, for a ``StorageError``."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DISK_FULL
    return error.strerror or str(error)
