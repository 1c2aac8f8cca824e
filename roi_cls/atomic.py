"""Write a file whole or not at all. Every stage may use it; it knows only bytes."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import time
from pathlib import Path

from roi_cls.errors import StorageError

_UMASK = os.umask(0o022)  # it can only be read by setting it; at import no thread minds
os.umask(_UMASK)


STALE_AFTER_S = 24 * 3600  # 86400
"""No write takes a day: an older temporary file was left by a process that was killed."""
_PREFIX = ".tmp-"


def write_atomically(
    path: Path, data: bytes, *, durable: bool = False, drafts: Path | None = None
) -> None:
    """Write ``data`` beside ``path`` and rename it there: readers see all or nothing.

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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if drafts:
            drafts.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=drafts or path.parent, prefix=_PREFIX)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            os.chmod(name, 0o666 & ~_UMASK)  # mkstemp's files are private
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):  # interrupted just after the rename
                os.unlink(name)
            raise
    except OSError as error:
        raise StorageError(path, _reason(error)) from error


def remove_stale(drafts: Path) -> None:
    """Remove temporary files that a killed process left in ``drafts``; best effort."""
    with contextlib.suppress(OSError):
        for draft in drafts.glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):
                if draft.stat().st_mtime < time.time() - STALE_AFTER_S:
                    draft.unlink()


def _reason(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full"
    return error.strerror or str(error)
