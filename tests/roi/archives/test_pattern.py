"""Braces stand for the names that a shell would make of them."""

from pathlib import Path

import pytest

from roi_cls.base.errors import DataError
from roi_cls.base.location import as_path
from roi_cls.roi.archives.pattern import (
    expand_braces,
    fixed_folder,
    has_braces,
    is_pattern,
    match_pattern,
)
from tests.helpers.archives import make_zip


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a.tar", ["a.tar"]),
        ("{a,b}.tar", ["a.tar", "b.tar"]),
        ("x-{08..11}.tar", ["x-08.tar", "x-09.tar", "x-10.tar", "x-11.tar"]),
        ("{8..11}", ["8", "9", "10", "11"]),
        ("{2..0}", ["2", "1", "0"]),
        ("{000..001}", ["000", "001"]),
        ("{5..5}.tar", ["5.tar"]),
        ("{a,b}/{0..1}", ["a/0", "a/1", "b/0", "b/1"]),
        ("{a,b{1,2}}", ["a", "b1", "b2"]),
        ("{a,}x", ["ax", "x"]),
        ("{a}", ["{a}"]),
        ("{}{a,b}", ["{}a", "{}b"]),
        ("a{b", ["a{b"]),
        ("{a..c}", ["{a..c}"]),
    ],
)
def test_braces_are_expanded_as_in_a_shell(text: str, names: list[str]) -> None:
    assert expand_braces(text) == names
    assert has_braces(text) == (names != [text])


@pytest.mark.parametrize("text", ["{0..999999999}.tar", "{0..999}{0..999}{0..999}"])
def test_too_many_names_are_refused_before_they_are_made(text: str) -> None:
    with pytest.raises(DataError, match="it stands for more than 1000000 names"):
        expand_braces(text)


def test_a_file_that_is_called_so_is_no_pattern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("{a,b}.zip").touch()
    assert not is_pattern("{a,b}.zip")
    assert is_pattern("{a,c}.zip")
    assert is_pattern("*.zip")
    assert not is_pattern("{a}.zip")


def test_braces_name_what_need_not_be_there_and_stars_only_what_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b1.tar", "b2.tar", "a1.tar"):
        Path(name).touch()
    assert match_pattern("{b,a}*.tar") == [Path("b1.tar"), Path("b2.tar"), Path("a1.tar")]
    assert match_pattern("a{1..2}.tar") == [Path("a1.tar"), Path("a2.tar")]
    assert match_pattern("c*.tar") == []


def test_remote_patterns_have_braces_too() -> None:
    root = as_path("memory://archives-pattern")
    for name in ("a1.tar", "a2.tar"):
        (root / name).write_bytes(b"")
    found = match_pattern("memory://archives-pattern/{a,b}*.tar")
    assert [str(path).rpartition("/")[2] for path in found] == ["a1.tar", "a2.tar"]
    assert is_pattern("memory://archives-pattern/a{1..2}.tar")


@pytest.mark.parametrize(
    ("pattern", "folder"),
    [
        ("shards/x-{0..9}.tar", "shards"),
        ("/data/{a,b}/c/*.zip", "/data"),
        ("*.zip", "."),
        ("{a,b}/x.zip", "."),
        ("c/{a/b,c/d}/x.zip", "c"),
    ],
)
def test_the_folder_in_common_has_no_pattern(pattern: str, folder: str) -> None:
    assert fixed_folder(Path(pattern)) == Path(folder)


def test_what_is_called_like_a_pattern_in_an_archive_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_zip(Path("a[1].zip"), {"x[1].jpg": b"", "{a,b}/1.jpg": b"", "c/1.jpg": b""})
    for name in ("a[1].zip/x[1].jpg", "a[1].zip/{a,b}", "a[1].zip/c"):
        assert not is_pattern(name)
    for name in ("a[1].zip/x[2].jpg", "a[1].zip/{c,d}", "b[1].zip/c"):
        assert is_pattern(name)
