"""Locks between processes, also of several machines on a shared disk; each dies with its holder.

Nothing that a killed process leaves behind keeps others out: the lock is the system's, the file
only its place. Where a file system has no locks, everybody gets one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import shlex
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # reason: a module else

_FAR_BYTE = 2**30
"""What Windows locks: nobody could read what is locked there."""
_LONGEST_COMMAND = 120
_LONGEST_WORDS = 400


class HeldError(Exception):
    """Somebody else holds the lock; for the caller, who knows what it is for."""

    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.holder = holder
        """Who, in words: command, process, machine, since when."""


@contextlib.contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold the lock at ``path`` alone in a block; threads of one process keep each other out, too.

    The file says who holds it and is gone afterwards. Its folder must be there.

    Raises:
        HeldError: Somebody else holds it.
        OSError: The file cannot be made.
    """
    handle = _open_alone(path)
    try:
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, _describe_holder().encode(errors="replace"))  # arguments may be any bytes
        yield
    finally:
        if fcntl is not None:  # Windows removes no file that is open
            _remove(path, handle)
            with contextlib.suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_UN)  # a forked process may have the handle, too
        os.close(handle)
        if fcntl is None:
            _remove(path, None)


def _open_alone(path: Path) -> int:
    while True:
        handle, is_ours = _open(path)
        try:
            if not lock(handle, exclusive=True):
                raise HeldError(_read_holder(handle))
            if not is_ours:  # left behind by another user, who was killed
                path.unlink()
            elif fcntl is None or _is_at(path, handle):
                return handle
        except BaseException:  # reason: the handle is closed; raised again
            os.close(handle)
            raise
        os.close(handle)  # the holder before us has just removed it: it locks out nobody


def _open(path: Path) -> tuple[int, bool]:
    """Return the opened file, and whether it may be written to."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666), True
    except PermissionError:
        if not path.exists():
            raise
        return os.open(path, os.O_RDONLY), False


def lock(handle: int, *, exclusive: bool, waits: bool = False) -> bool:
    """Lock an open file until it is closed; return whether that was to be had.

    Args:
        handle: The file's.
        exclusive: Alone; else with others who do not want it alone. Windows has no such locks.
        waits: For those who hold it; else they make this False.
    """
    if fcntl is None:
        return waits or not exclusive or _lock_on_windows(handle)
    how = (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | (0 if waits else fcntl.LOCK_NB)
    # Some network file systems know the second kind alone. Not both at once: on NFS they are one.
    for take in (fcntl.flock, fcntl.lockf):
        try:
            take(handle, how)
        except (BlockingIOError, PermissionError):
            return False
        except OSError as error:
            if error.errno == errno.EBADF:  # NFS, of a file that may only be read: nobody can tell
                return False
            continue  # this file system has no such locks
        return True
    return True


def _lock_on_windows(handle: int) -> bool:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(handle, _FAR_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
    return True


def _is_at(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False


def _remove(path: Path, handle: int | None) -> None:
    with contextlib.suppress(OSError):  # somebody removed the folder, or may not see the file
        if handle is None or _is_at(path, handle):
            path.unlink()


def _describe_holder() -> str:
    name = Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "python"
    command = " ".join(shlex.join([name, *sys.argv[1:]]).split())
    if len(command) > _LONGEST_COMMAND:
        command = f"{command[: _LONGEST_COMMAND - 1]}…"
    since = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return f"`{command}` (process {os.getpid()} on {platform.node()}, since {since})"


def _read_holder(handle: int) -> str:
    os.lseek(handle, 0, os.SEEK_SET)
    words = os.read(handle, _LONGEST_WORDS).decode(errors="replace").strip()
    return words if words.isprintable() and words else "another process"
