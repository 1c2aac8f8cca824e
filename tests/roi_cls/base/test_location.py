"""A text names a local path or a remote one, and what is missing is told."""

import errno
import os
import pickle
import sys
from pathlib import Path

import pytest
from upath import UPath

from roi_cls.base.errors import DataError
from roi_cls.base.location import (
    LocationError,
    as_path,
    explain_absent,
    is_remote,
    list_files,
    match_files,
    reaching,
    send_file,
)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a/b.png", Path("a/b.png")),
        ("", Path()),
        ("C://x", Path("C:/x")),
        ("a b://x", Path("a b:/x")),
        ("file:///tmp/a%20b.png", Path("/tmp/a b.png")),
        ("FILE://localhost/tmp/x", Path("/tmp/x")),
    ],
)
def test_local_text_is_a_plain_path(text: str, path: Path) -> None:
    assert as_path(text) == path
    assert type(as_path(text)) is type(path)
    assert not is_remote(as_path(text))


def test_remote_text_is_a_path_that_survives_pickling() -> None:
    path = as_path("memory://test-location/a b/c.png")
    assert is_remote(path)
    assert isinstance(path, UPath)
    assert str(path) == "memory://test-location/a b/c.png"
    assert path.name == "c.png"
    assert pickle.loads(pickle.dumps(path)) == path


def test_local_text_imports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("fsspec", "upath"):
        monkeypatch.setitem(sys.modules, name, None)
    assert as_path("file:///x") == Path("/x")
    with pytest.raises(LocationError) as caught:
        as_path("s3://bucket/folder")
    assert str(caught.value) == (
        "Cannot open 's3://bucket/folder': remote paths need a package that is not installed. "
        "Run: pip install 'roi-cls[remote]'"
    )


def test_missing_package_of_a_protocol_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(LocationError) as caught:
        as_path("gs://bucket")
    assert str(caught.value) == (
        "Cannot open 'gs://bucket': the package for gs:// is not installed (Please install gcsfs "
        "to access Google Storage). Install it with pip; s3:// needs s3fs, gs:// gcsfs, az:// "
        "adlfs."
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "nonsense://x",
            "Protocol not known: nonsense. Give a local path, or one that fsspec opens, such as "
            "s3://bucket/folder.",
        ),
        (
            "file://server/x",
            "it names a file on the machine 'server'. For a file on this one write three "
            "slashes: file:///folder/file.",
        ),
    ],
)
def test_text_that_names_nothing_is_told(text: str, reason: str) -> None:
    with pytest.raises(LocationError) as caught:
        as_path(text)
    assert str(caught.value) == f"Cannot open {text!r}: {reason}"


def test_remote_files_are_listed_matched_and_sent(tmp_path: Path) -> None:
    folder = as_path("memory://test-location/set")
    (tmp_path / "1").write_bytes(b"one")
    for name in ("a/2.png", "1.png", "a/.h/3.png", ".4.png", "5.txt"):
        send_file(tmp_path / "1", folder / name)
    assert (folder / "1.png").read_bytes() == b"one"
    assert list_files(folder) == [".4.png", "1.png", "5.txt", "a/.h/3.png", "a/2.png"]
    assert list_files(folder / "none") == []
    assert match_files(f"{folder}/**/*.png") == [folder / "1.png", folder / "a/2.png"]
    assert match_files(f"{folder}/.*.png") == [folder / ".4.png"]
    assert match_files(f"{folder}/*.gif") == []


@pytest.mark.parametrize("error", [FileNotFoundError(2, "gone"), DataError("x"), OSError("y")])
def test_errors_in_our_words_pass(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, reaching(as_path("memory://x")):
        raise error
    assert caught.value is error


def test_errors_of_a_client_become_those_of_files() -> None:
    with (
        pytest.raises(OSError, match="Could not connect") as caught,
        reaching(as_path("memory://x")),
    ):
        raise EOFError("Could not connect.\nsee above")
    assert (caught.value.errno, caught.value.strerror) == (errno.EIO, "Could not connect")
    with pytest.raises(OSError, match="EOFError"), reaching(as_path("memory://x")):
        raise EOFError
    with pytest.raises(EOFError), reaching(Path("x")):  # a fault of ours stays one
        raise EOFError


def test_local_paths_are_what_the_system_opens() -> None:
    assert isinstance(as_path("x"), os.PathLike)


@pytest.mark.parametrize(
    ("name", "reason", "remedy"),
    [
        ("gone.png", "", "Check the path."),
        ('"a b.png"', "there are quotes around it", "Write 'a b.png', which exists."),
        ("x/\u2018gone.png\u2019", "there are quotes around it", "Write 'x/gone.png'."),
        (" a b.png\xa0", "it begins or ends with a blank", "Write 'a b.png', which exists."),
        ("\u202aa b.png", "it begins or ends with a blank", "Write 'a b.png', which exists."),
        ("x/\tgone.png", "it begins or ends with a blank", "Write 'x/gone.png'."),
        (
            "x/~/a b.png",
            "only a shell takes ~ for a home folder",
            "Write 'HOME/a b.png', which exists.",
        ),
        ("$HOME/a b.png", "only a shell replaces variables", "Write 'HOME/a b.png', which exists."),
        ("%NONE%\\gone.png", "only a shell replaces variables", "Write the whole path."),
        ("file:/x/gone.png", "a file:// address has three slashes", "Write 'file:///x/gone.png'."),
        (
            "a%20b.png",
            "it is written as in a URL, with % and numbers",
            "Write 'a b.png', which exists.",
        ),
        (
            "x/C:\\gone.png",
            "it is a Windows path, and here is no drive C:",
            "Write where it lies here, with /.",
        ),
        (
            "d:/x/gone.png",
            "it is a Windows path, and here is no drive d:",
            "Write where it lies here, with /.",
        ),
        (
            "\\\\nas\\share\\gone.png",
            "it is a Windows network path",
            "Write where that folder is mounted here, with /.",
        ),
        (
            "x\\c.PNG",
            "it has \\ between its parts, as on Windows",
            "Write 'x/c.PNG', which exists.",
        ),
        (
            "a\\ b.png",
            "only a shell takes \\ before a blank away",
            "Write 'a b.png', which exists.",
        ),
        (
            "x/c.png",
            "here upper and lower case are two names",
            "Take the name as the folder lists it: 'x/c.PNG'.",
        ),
        (
            "u\u0308.png",
            "one that looks alike has other characters",
            "Take the name as the folder lists it: '\\xfc.png'.",
        ),
        (
            "\udcfc.png",
            "its name has bytes that are not UTF-8",
            "Save the list or table that names it as UTF-8.",
        ),
    ],
)  # fmt: skip
def test_names_without_a_file_are_doubted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, reason: str, remedy: str
) -> None:
    (tmp_path / "x").mkdir()
    for file in ("a b.png", "x/c.PNG", "ü.png"):
        (tmp_path / file).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    why = f"no such file: {reason}" if reason else "no such file"
    expected = remedy.replace("HOME", str(tmp_path))
    assert explain_absent(Path(name), platform="linux") == (why, expected)


def test_windows_paths_are_right_on_windows() -> None:
    told = "no such file", "Check the path."
    assert explain_absent(Path("C:\\gone.png"), platform="win32") == told
    assert explain_absent(Path("x\\gone.png"), platform="win32") == told
