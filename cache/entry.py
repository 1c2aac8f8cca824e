"""One file of the cache: written whole or not at all, and known to be undamaged when read.

Knows bytes and checksums, neither crops nor recipes.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from roi_cls.base.atomic import write_atomically
from roi_cls.base.errors import CacheError
from roi_cls.base.location import reaching

_MARK = b"\nsha256:"
_TRAILER_LENGTH = len(_MARK) + 64 + 1  # 73: mark, hex digest, newline


def write_entry(path: Path, payload: bytes, drafts: Path | None = None) -> None:
    """Write ``payload`` and its checksum under ``path``, atomically.

    Not fsynced: after a power cut a torn entry fails its checksum and is made again, which costs
    less than a flush for each of thousands of crops. ``drafts``: see ``write_atomically``.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    write_atomically(path, payload + _trailer(payload), drafts=drafts)


def read_entry(path: Path) -> bytes | None:
    """Return the payload, or None where there is no entry or a damaged one.

    Raises:
        CacheError: The file is there and cannot be read.
    """
    try:
        with reaching(path):
            data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise CacheError(
            f"Cannot read the cache entry {str(path)!r}: {error.strerror or error}. "
            "Check its permissions or choose another folder with --cache DIR."
        ) from error
    payload, trailer = data[:-_TRAILER_LENGTH], data[-_TRAILER_LENGTH:]
    return payload if trailer == _trailer(payload) else None


def _trailer(payload: bytes) -> bytes:
    return _MARK + hashlib.sha256(payload).hexdigest().encode() + b"\n"
