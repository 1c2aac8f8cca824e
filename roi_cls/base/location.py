"""Where files lie, on this machine or in whatever fsspec opens; and the name of their content.

Also why there is none of a name, as far as the name tells.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import sys
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from roi_cls.base.errors import RoiClsError

# Two letters at least: C:/ is a drive of Windows. "::" chains file systems (simplecache::s3://).
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)(?:::.*)?://")
# Blanks, and the marks that nobody sees: Windows puts one before a path copied from a dialogue.
_BLANK = r"[\s\ufeff\u200b-\u200f\u202a-\u202e]+"
_QUOTED = re.compile(r"(.*?/|)[\"'\u201c\u2018\xab](.+)[\"'\u201d\u2019\xbb]")
_AT_ENDS = re.compile(rf"(^|/){_BLANK}|{_BLANK}$")
_HOME = re.compile(r"(?:^|/)(~[^/\\]*[/\\].*)")
_VARIABLE = re.compile(r"(?:^|/)((?:\$\w+|\$\{\w+\}|%\w+%)[/\\].*)")
_DRIVE = re.compile(r"(?:^|/)([A-Za-z]):[/\\](.*)")
_SHARE = re.compile(r"(?:^|/)\\\\")
_FILE_URL = re.compile(r"(?:^|/)file:/*(/.*)", re.IGNORECASE)
_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")
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


def read_heads(folder: Path, names: Sequence[str], size: int) -> list[bytes | None]:
    """Return the first bytes of files below a remote folder, asked for together.

    None: it cannot be read.
    """
    with reaching(folder):
        remote = cast(Any, folder)
        root = remote.path.rstrip("/")
        places = [f"{root}/{name}" for name in names]
        starts, ends = [0] * len(places), [size] * len(places)
        heads = remote.fs.cat_ranges(places, starts, ends, on_error="return")
    return [bytes(head) if isinstance(head, bytes | bytearray) else None for head in heads]


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


def explain_absent(path: Path, platform: str = sys.platform) -> tuple[str, str]:
    """Return why there is no such file, as far as its name tells, and what to do.

    A name is only doubted here, where no file has it: any character may stand in a name.
    """
    text = str(path)
    for doubt in (_doubt_marks, _doubt_spelling):
        if found := doubt(text):
            why, other = found
            if other == text:  # nobody of that name, no such variable
                return f"no such file: {why}", "Write the whole path."
            return f"no such file: {why}", f"Write {_told(other)}."
    if platform != "win32" and (found := _doubt_windows(text)):
        return f"no such file: {found[0]}", found[1]
    if any("\udc80" <= letter <= "\udcff" for letter in text):
        return "no such file: its name has bytes that are not UTF-8", (
            "Save the list or table that names it as UTF-8."
        )
    for change, why in _LOOK_ALIKE:
        other = change(text)
        if other != text and os.path.lexists(other):
            return f"no such file: {why}", f"Take the name as the folder lists it: {other!a}."
    return "no such file", "Check the path."


def _doubt_marks(text: str) -> tuple[str, str] | None:
    """Return what stands around a name and belongs to no name, and the name without it."""
    if match := _QUOTED.fullmatch(text):
        return "there are quotes around it", match[1] + match[2]
    if _AT_ENDS.search(text):
        return "it begins or ends with a blank", _AT_ENDS.sub(r"\1", text)
    return None


def _doubt_spelling(text: str) -> tuple[str, str] | None:
    """Return what a shell or a browser would have replaced, and what with."""
    if match := _HOME.search(text):
        return "only a shell takes ~ for a home folder", os.path.expanduser(match[1])
    if match := _VARIABLE.search(text):
        return "only a shell replaces variables", os.path.expandvars(match[1])
    if match := _FILE_URL.search(text):
        return "a file:// address has three slashes", f"file://{match[1]}"
    if _PERCENT.search(text):
        return "it is written as in a URL, with % and numbers", unquote(text)
    return None


def _doubt_windows(text: str) -> tuple[str, str] | None:
    """Return why a Windows path is none here, and the remedy."""
    if match := _DRIVE.search(text):
        mounted = f"/mnt/{match[1].lower()}/" + match[2].replace("\\", "/")
        why = f"it is a Windows path, and here is no drive {match[1]}:"
        if os.path.lexists(mounted):
            return why, f"Write {_told(mounted)}."
        return why, "Write where it lies here, with /."
    if _SHARE.search(text):
        return "it is a Windows network path", "Write where that folder is mounted here, with /."
    if "\\" not in text:
        return None
    other = re.sub(r"\\([^\w\\/])", r"\1", text)  # as in a shell: my\ file.png
    if other != text and os.path.lexists(other):
        return "only a shell takes \\ before a blank away", f"Write {_told(other)}."
    other = text.replace("\\", "/")
    return "it has \\ between its parts, as on Windows", f"Write {_told(other)}."


def _told(name: str) -> str:
    return f"{name!r}, which exists" if os.path.lexists(name) else repr(name)


def _with_other_case(text: str) -> str:
    root, suffix = os.path.splitext(text)
    return root + suffix.swapcase()


_LOOK_ALIKE: tuple[tuple[Callable[[str], str], str], ...] = (
    (_with_other_case, "here upper and lower case are two names"),
    (lambda text: unicodedata.normalize("NFC", text), "one that looks alike has other characters"),
    (lambda text: unicodedata.normalize("NFD", text), "one that looks alike has other characters"),
)
"""Other names under which a file is looked for, and what it means if there is one."""


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
