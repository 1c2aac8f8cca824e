"""Write a file whole or not at all. Every stage may use it; it knows only bytes."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from roi_cls.errors import StorageError

_UMASK = os.umask(0o022)  # it can only be read by setting it; at import no thread minds
os.umask(_UMASK)


def write_atomically(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Write ``data`` beside ``path`` and rename it there: readers see all or nothing.

    Args:
        path: Its folder is made if need be.
        data: The whole content.
        durable: Flush to the disk before the rename, so that a power cut cannot leave an empty
            file under the name. For what cannot be made again cheaply.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".tmp-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            os.chmod(name, 0o666 & ~_UMASK)  # mkstemp's files are private
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise StorageError(path, _reason(error)) from error


def _reason(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full"
    return error.strerror or str(error)
