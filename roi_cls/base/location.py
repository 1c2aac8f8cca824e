"""Where files lie, on this machine or in whatever fsspec opens; and the name of their content."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit
from urllib.request import url2pathname

from roi_cls.base.errors import RoiClsError

# Two letters at least: C:/ is a drive of Windows. "::" chains file systems (simplecache::s3://).
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)(?:::.*)?://")
CACHE_TAG = "CACHEDIR.TAG"
"""File that marks a folder as a cache (https://bford.info/cachedir/)."""


NO_TEMPORARY_FOLDER = (
    "there is no folder for temporary files: neither /tmp nor any other can be written. Mount one "
    "(docker run --tmpfs /tmp), or set TMPDIR to a folder that can be written."
)


class LocationError(RoiClsError):
    """A remote path cannot be used: an unknown protocol, or its package is not installed."""


def as_path(text: str) -> Path:
    """Return the path that ``text`` names: a local one, a ``file://`` URL, or ``scheme://…``.

    A remote path is a ``UPath`` of universal_pathlib. That is no subclass of ``Path``, but has its
    methods, and is taken for one: what needs more (``os.stat``, SQLite, a lock) asks ``is_remote``.

    Raises:
        LocationError: The protocol is unknown, or a package for it is not installed.
    """
    if "://" not in text:  # nearly always; nothing is imported
        return Path(text)
    match = _SCHEME.match(text)
    if match is None:
        return Path(text)
    protocol = match[1].lower()
    if protocol == "file":
        return Path(_local_name(text))
    try:
        import fsspec
        from upath import UPath
    except ImportError as error:
        raise LocationError(
            f"Cannot open {text!r}: remote paths need a package that is not installed. "
            "Run: pip install 'roi-cls[remote]'"
        ) from error
    try:
        fsspec.get_filesystem_class(protocol)
        return cast(Path, UPath(text))
    except ImportError as error:
        raise LocationError(
            f"Cannot open {text!r}: the package for {protocol}:// is not installed "
            f"({_first_line(error)}). Install it with pip; s3:// needs s3fs, gs:// gcsfs, "
            "az:// adlfs."
        ) from error
    except ValueError as error:
        raise LocationError(
            f"Cannot open {text!r}: {_first_line(error)}. "
            "Give a local path, or one that fsspec opens, such as s3://bucket/folder."
        ) from error


def user_cache_dir(environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Path:
    """Return the folder for what this user can have made again; it need not exist.

    Raises:
        RuntimeError: The user has no home folder and no variable names another.
    """
    # The XDG specification: a relative path is to be ignored.
    if (xdg := environ.get("XDG_CACHE_HOME")) and Path(xdg).is_absolute():
        return Path(xdg) / "roi-cls"
    if platform == "win32" and (local := environ.get("LOCALAPPDATA")):
        return Path(local) / "roi-cls"
    caches = Path("Library", "Caches") if platform == "darwin" else Path(".cache")
    return Path.home() / caches / "roi-cls"


def find_temporary_folder(in_memory: Path = Path("/dev/shm")) -> Path | None:
    """Return where temporary files of this process and of those it starts go; None: nowhere.

    In a container without a ``/tmp`` to write to, such as one of ``docker run --read-only``, memory
    mostly can be written, where Python does not look.
    """
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:  # none of its candidates can be written
        pass
    if not (in_memory.is_dir() and os.access(in_memory, os.R_OK | os.W_OK | os.X_OK)):
        return None
    tempfile.tempdir = os.environ["TMPDIR"] = str(in_memory)
    return in_memory


def is_remote(path: Path) -> bool:
    """Whether a path is one that only fsspec opens, not the operating system."""
    return not isinstance(path, os.PathLike)


@contextlib.contextmanager
def reaching(path: Path) -> Iterator[None]:
    """Raise what the client of a remote file system raises in the block as an ``OSError``.

    They raise ``OSError`` for what is missing or forbidden, and classes of their own, which have
    only ``Exception`` in common, where the network or the credentials fail.
    """
    if not is_remote(path):
        yield
        return
    try:
        yield
    except (OSError, RoiClsError):
        raise
    # botocore, aiohttp and gcsfs need not be installed, so their classes cannot be named.
    except Exception as error:  # reason: clients' errors share no other class; raised again below
        raise OSError(errno.EIO, _first_line(error)) from error


def list_files(folder: Path) -> list[str]:
    """Return the files below a remote folder, relative to it, with / between their parts.

    One listing of all names, where walking would ask for each folder. Sorted.

    Raises:
        OSError: It cannot be listed.
    """
    with reaching(folder):
        remote = cast(Any, folder)
        root = remote.path.rstrip("/") + "/"
        names = [str(name) for name in remote.fs.find(remote.path)]
        return sorted(name[len(root) :] for name in names if name.startswith(root))


def match_files(pattern: str) -> list[Path]:
    """Return what matches a remote pattern, sorted; ``**`` stands for folders of any depth.

    Hidden files are left out, as the shell does, unless the pattern asks for them.

    Raises:
        LocationError: As ``as_path``.
        OSError: The folders cannot be listed.
    """
    path = as_path(pattern)
    with reaching(path):
        remote = cast(Any, path)
        found = sorted(str(name) for name in remote.fs.glob(remote.path))
        if "/." not in pattern:
            found = [name for name in found if "/." not in name]
        return [remote.with_segments(remote.fs.unstrip_protocol(name)) for name in found]


def send_file(source: Path, target: Path) -> None:
    """Copy a local file to a remote path; it appears there whole, as far as the store can.

    Raises:
        OSError: It cannot be written there.
    """
    with reaching(target):
        remote = cast(Any, target)
        remote.fs.put_file(str(source), remote.path)


def _local_name(url: str) -> str:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise LocationError(
            f"Cannot open {url!r}: it names a file on the machine {parts.netloc!r}. "
            "For a file on this one write three slashes: file:///folder/file."
        )
    return url2pathname(parts.path)


def _first_line(error: Exception) -> str:
    text = " ".join(str(error).partition("\n")[0].split()).rstrip(".")
    return text or type(error).__name__


def hash_file(path: Path) -> str:
    """Return the SHA-256 of the file's content, in hex.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
