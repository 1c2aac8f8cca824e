"""Libraries that tell of each of their steps are kept quiet, and out of folders they cannot use."""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import logging
import os
import stat
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from roi_cls.base.location import find_temporary_folder


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drop what is printed, logged and warned of inside; errors are raised as ever."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def import_tqdm_quietly() -> None:
    """Import tqdm before torch and timm do.

    In a notebook without ipywidgets it warns at its import, and is not what shows progress here.
    """
    with quiet(), contextlib.suppress(ImportError):
        importlib.import_module("tqdm.auto")


@functools.cache
def settle_libraries() -> None:
    """Tell libraries where to keep their files, before they are imported, if home is no place.

    Where the folders that they think of cannot be written, Matplotlib and joblib warn in many
    lines, and torch cannot even be imported.
    """
    folder = find_temporary_folder()
    home = Path(os.path.expanduser("~"))  # of a user without one it stays "~"
    own = [
        Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config"),
        Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache"),
    ]
    if folder is not None and not all(map(_can_be_written, own)):
        os.environ.setdefault("MPLCONFIGDIR", str(_private_folder(folder, "roi-cls-matplotlib")))
    if folder is None:
        # One that is there: nothing else is asked of it.
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", os.path.abspath(os.sep))
        logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it cannot be imported
    if sys.platform == "linux" and not os.access("/dev/shm", os.W_OK):
        os.environ.setdefault("JOBLIB_MULTIPROCESSING", "0")  # it has no semaphores without


def _can_be_written(folder: Path) -> bool:
    there = next((each for each in (folder, *folder.parents) if each.exists()), folder)
    return os.access(there, os.W_OK)


def _private_folder(folder: Path, name: str) -> Path:
    """Return a folder that nobody else can have filled, the same one every time if possible."""
    if hasattr(os, "getuid"):
        own = folder / f"{name}-{os.getuid()}"
        with contextlib.suppress(OSError):
            own.mkdir(mode=0o700, exist_ok=True)
            found = own.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
                own.chmod(0o700)
                return own
    return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=folder))


@contextlib.contextmanager
def stderr_held(*, tells_failure: bool = True) -> Iterator[None]:
    """Keep what native code writes off stderr; show it where the block fails, unless not wanted.

    It goes to the file descriptor itself, and no log level of a Python package stops it.
    """
    sys.stderr.flush()
    with _open_log() if tells_failure else open(os.devnull, "w+b") as log:
        kept = os.dup(2)
        os.dup2(log.fileno(), 2)
        try:
            yield
        except BaseException:  # reason: what was held back is told first; raised again
            log.seek(0)
            os.write(kept, log.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _open_log() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile()
    except OSError:  # there is no folder for it: a failure is then told by its exception alone
        return open(os.devnull, "w+b")
