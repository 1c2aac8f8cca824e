"""Who uses a part of the cache: runs share it, pruning wants it for itself.

File locks: the system frees them when a process ends, however it ends. Where there are none (object
stores, some network drives, Windows), nothing is held, and pruning goes by age alone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from roi_cls.base.location import is_remote

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # a module else


@contextlib.contextmanager
def share(root: Path, digests: Iterable[str]) -> Iterator[None]:
    """Keep these parts from being pruned; waits while one is being pruned."""
    with contextlib.ExitStack() as stack:
        for digest in digests:
            handle = _open(root, digest, stack)
            if handle is not None:
                _lock(handle, exclusive=False)
        yield


@contextlib.contextmanager
def claim(root: Path, digest: str) -> Iterator[bool]:
    """Give whether this part is in nobody's use, and keep others out of it if so."""
    with contextlib.ExitStack() as stack:
        handle = _open(root, digest, stack)
        yield handle is None or _lock(handle, exclusive=True)


def _open(root: Path, digest: str, stack: contextlib.ExitStack) -> int | None:
    if fcntl is None or is_remote(root):
        return None
    path = root / "locks" / f"{digest[:16]}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:  # a cache that this user only reads: its owner may prune it
        try:
            handle = os.open(path, os.O_RDONLY)
        except OSError:  # no run of the owner's ever used this part, or nobody can write here
            return None
    stack.callback(os.close, handle)
    return handle


def _lock(handle: int, *, exclusive: bool) -> bool:
    how = fcntl.LOCK_EX | fcntl.LOCK_NB if exclusive else fcntl.LOCK_SH
    try:
        fcntl.flock(handle, how)
    except BlockingIOError:
        return False
    except OSError:  # this file system has no locks
        return True
    return True
