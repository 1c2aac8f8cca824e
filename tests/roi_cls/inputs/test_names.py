"""What people name on the command line becomes pictures, in order."""

from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

from roi_cls.base.errors import DataError
from roi_cls.base.location import as_path
from roi_cls.inputs.names import Wanted, check_not_input, expand_input, expand_paths, is_list
from roi_cls.roi.archives.pattern import is_pattern
from tests.helpers.archives import make_zip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of pictures that nothing opens."""
    for name in ("b.png", "a.png", "c.jpg", "deep/d.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (["b.png", "a.png"], ["b.png", "a.png"]),
        (["a.png", "a.png"], ["a.png", "a.png"]),
        (["missing.png"], ["missing.png"]),
        (["notes.txt"], ["notes.txt"]),
        (["*.png"], ["a.png", "b.png"]),
        (["[bc].*"], ["b.png", "c.jpg"]),
        (["**/*.png"], ["a.png", "b.png", "deep/d.png"]),
        (["d?ep"], ["deep/d.png"]),
        (["."], ["a.png", "b.png", "c.jpg", "deep/d.png"]),
        (["deep", "a.png"], ["deep/d.png", "a.png"]),
        ([], []),
    ],
    ids=str,
)
def test_names_become_pictures_in_order(
    folder: Path, inputs: list[str], expected: list[str]
) -> None:
    assert expand_paths(inputs) == [Path(name) for name in expected]


def test_file_that_is_called_like_a_pattern_is_that_file(folder: Path) -> None:
    (folder / "x[1].png").touch()
    (folder / "x1.png").touch()
    assert expand_paths(["x[1].png"]) == [Path("x[1].png")]
    assert not is_pattern("x[1].png")


@pytest.mark.parametrize("name", ["x*.png", "x?.png", "x[1].png"])
def test_broken_link_that_is_called_like_a_pattern_is_a_picture(folder: Path, name: str) -> None:
    (folder / name).symlink_to("nowhere")
    assert expand_paths([name]) == [Path(name)]
    assert Path(name) in expand_paths(["x*"])


def test_only_pattern_that_matches_nothing_is_told(folder: Path) -> None:
    with pytest.raises(DataError) as caught:
        expand_paths(["*.tiff"])
    assert str(caught.value) == (
        "Cannot find pictures: nothing matches '*.tiff'. Check the pattern; ** stands for "
        "folders of any depth."
    )


@pytest.mark.parametrize("name", ["missing[1].jpg", "*.tiff", "none/**/*.png"])
def test_name_like_a_pattern_that_matches_nothing_is_a_file_beside_others(
    folder: Path, name: str
) -> None:
    assert expand_paths(["a.png", name, "b.png"]) == [Path("a.png"), Path(name), Path("b.png")]


def test_an_archive_of_a_pattern_without_pictures_stops_no_other(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_zip(folder / "1.zip", {"a.png": b""})
    make_zip(folder / "2.zip", {"a.txt": b""})
    make_zip(folder / "3.zip", {"b.png": b""})
    found = expand_paths(["{1,2,3,4}.zip"])
    assert [str(path) for path in found] == ["1.zip/a.png", "2.zip", "3.zip/b.png", "4.zip"]
    assert "Cannot find pictures in '2.zip': it holds no picture, but 1 .txt" in (
        " ".join(capsys.readouterr().err.split())
    )
    with pytest.raises(DataError, match="it holds no picture"):
        expand_paths(["2.zip"])


def test_what_is_passed_over_is_noted_once_for_all_inputs(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("deep/more.txt", "deep/some.pdf", ".DS_Store"):
        (folder / name).touch()
    assert len(expand_paths(["deep", ".", "a.png", "d*"])) == 7
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "Passed over: 4 .txt, 3 .pdf, 1 hidden.\n"
    expand_paths(["a.png", "missing.png"])
    assert capsys.readouterr().err == ""


def test_pattern_leaves_out_folders_of_systems_unless_it_names_them(folder: Path) -> None:
    for name in ("@eaDir/a.png/THUMB.png", "deep/@eaDir/d.png/THUMB.png", "deep/#recycle/e.png"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).touch()
    named = expand_input("**/*.png")
    assert list(named.names) == ["a.png", "b.png", "deep/d.png"]
    assert named.passed_over == {"@eaDir/": 2, "#recycle/": 1}
    assert list(expand_input("d*/#recycle/*").names) == ["deep/#recycle/e.png"]
    assert list(expand_input("@eaDir").names) == ["@eaDir/a.png", "@eaDir/a.png/THUMB.png"]
    with pytest.raises(DataError, match=r"nothing matches '@\*'"):
        expand_input("@*")


def test_empty_input_is_told_and_is_not_this_folder(folder: Path) -> None:
    with pytest.raises(DataError) as caught:
        expand_paths(["a.png", ""])
    assert str(caught.value) == (
        "Cannot find pictures: an input is empty (''). Give a file or a folder."
    )


def test_folder_without_pictures_is_told(folder: Path) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match="Cannot find pictures in 'empty' or below"):
        expand_paths(["empty"])


@given(st.text(st.characters(exclude_characters="*?[\0", codec="utf-8"), min_size=1))
def test_name_without_magic_is_never_a_pattern(name: str) -> None:
    assert not is_pattern(name)


def test_list_stands_for_its_lines_from_the_current_folder_on(folder: Path) -> None:
    (folder / "lists").mkdir()
    (folder / "lists" / "names.txt").write_bytes(
        b"\xef\xbb\xbfa.png\r\n\n  # a comment\n deep/d.png \nhttps://host/x?y=1#z\n*.png\n./#e.png\n\xff.png"
    )
    assert list(expand_input("lists/names.txt").names) == [
        "a.png",
        " deep/d.png ",
        "https://host/x?y=1#z",
        "*.png",
        "./#e.png",
        "\udcff.png",
    ]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_list_may_be_as_windows_powershell_writes_it(folder: Path, encoding: str) -> None:
    text = "\ufeffa.png\r\n\r\n# no\r\nĊ/ü.png"  # Ċ: a byte of it is a line end
    (folder / "names.txt").write_bytes(text.encode(encoding))
    named = expand_input("names.txt")
    assert (named.count, list(named.names)) == (2, ["a.png", "Ċ/ü.png"])


def test_list_is_counted_and_can_be_gone_through_again(folder: Path) -> None:
    (folder / "names.txt").write_text("a.png\n\nb.png\n")
    named = expand_input("names.txt")
    assert (named.count, named.is_one) == (2, False)
    assert list(named.names) == list(named.names) == ["a.png", "b.png"]


def test_list_without_a_name_is_told(folder: Path) -> None:
    (folder / "names.txt").write_text("# nothing yet\n\n")
    with pytest.raises(DataError) as caught:
        expand_input("names.txt")
    assert str(caught.value) == (
        "Cannot find pictures: the list 'names.txt' names none. Write a path or a URL in each line."
    )


def test_list_that_goes_away_is_told(folder: Path) -> None:
    (folder / "names.txt").write_text("a.png\n")
    named = expand_input("names.txt")
    (folder / "names.txt").unlink()
    with pytest.raises(DataError) as caught:
        list(named.names)
    assert str(caught.value) == (
        "Cannot read the list 'names.txt': No such file or directory. Check the path and the disk."
    )


def test_picture_and_empty_file_called_txt_are_no_lists(folder: Path) -> None:
    (folder / "picture.txt").write_bytes(b"\x89PNG\r\n\x1a\n")
    for name in ("picture.txt", "notes.txt", "missing.txt"):
        named = expand_input(name)
        assert (list(named.names), named.is_one) == ([name], True)


@pytest.mark.parametrize(
    ("head", "is_one"),
    [
        (b"a.png\n", True),
        (b"\xef\xbb\xbfa.png", True),
        (b"\xff\xfe.png\n", True),
        (b"", False),
        (b" \n\n", False),
        (b"<!doctype html><p>404", False),
        (b"<svg>", False),
        (b"version https://git-lfs.github.com/spec/v1\n", False),
        (b"GIF89a", False),
        (b"a.png\0b.png", False),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", False),
    ],
    ids=repr,
)
def test_list_is_told_from_pictures_by_its_bytes(head: bytes, is_one: bool) -> None:
    assert is_list(head) is is_one


def test_folders_hold_other_files_where_they_are_asked_for(folder: Path) -> None:
    (folder / "deep" / "clip.MP4").touch()
    assert [Path(name).name for name in expand_input("deep").names] == ["d.png"]
    named = expand_input("deep", Wanted([".mp4"]))
    assert [Path(name).name for name in named.names] == ["clip.MP4", "d.png"]
    assert (named.count, named.is_one) == (2, False)


@pytest.mark.parametrize(
    ("text", "count", "is_one"),
    [("a.png", 1, True), ("missing.png", 1, True), ("*.png", 2, False), ("deep", 1, False)],
)
def test_one_picture_is_told_from_what_holds_pictures(
    folder: Path, text: str, count: int, is_one: bool
) -> None:
    named = expand_input(text)
    assert (named.count, named.is_one) == (count, is_one)


def test_table_stands_for_its_rows(tmp_path: Path) -> None:
    for name in ("b.png", "a.png"):
        (tmp_path / name).write_bytes(b"")
    table = tmp_path / "rows.csv"
    table.write_text("path,label\nb.png,x\na.png,y\n")
    assert expand_paths([str(table)]) == [tmp_path / "b.png", tmp_path / "a.png"]


def test_remote_inputs_are_files_folders_patterns_and_file_urls(tmp_path: Path) -> None:
    remote = as_path("memory://test-inputs/set")
    for name in ("b/2.png", "a/1.png", "a/.3.png", "a/note.txt"):
        (remote / name).write_bytes(b"")
    (tmp_path / "5.png").touch()
    inputs = [
        f"{remote}/a/1.png",
        f"{remote}/missing.png",
        str(remote),
        f"{remote}/**/*.png",
        tmp_path.as_uri(),
        f"{tmp_path.as_uri()}/*.png",
    ]
    pictures = [f"{remote}/a/1.png", f"{remote}/b/2.png"]
    local = [str(tmp_path / "5.png")] * 2
    found = [str(path) for path in expand_paths(inputs)]
    assert found == [pictures[0], f"{remote}/missing.png", *pictures, *pictures, *local]


def test_remote_pattern_without_a_match_is_told() -> None:
    with pytest.raises(DataError, match=r"^Cannot find pictures: nothing matches 'memory://x/\*'"):
        expand_paths(["memory://x/*"])
    given = ["memory://x/*", "memory://x/a.png"]
    assert [str(path) for path in expand_paths(given)] == given


def test_remote_input_that_cannot_be_reached_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> object:
        raise EOFError("Could not connect")  # as clients do: no OSError

    monkeypatch.setattr(MemoryFileSystem, "info", fail)
    monkeypatch.setattr(MemoryFileSystem, "ls", fail)
    for text in ("memory://y", "memory://y/a.csv", "memory://y/*.png"):
        with pytest.raises(DataError, match=r"^Cannot look at 'memory://y.*': Could not connect\."):
            expand_paths([text])


def test_name_that_no_file_can_have_is_no_reason_to_stop(folder: Path) -> None:
    check_not_input(folder / "a.png", [Path("x" * 5000), folder / "b.png"])
    with pytest.raises(DataError, match="it is one of the inputs"):
        check_not_input(folder / "a.png", [Path("x" * 5000), folder / "deep" / ".." / "a.png"])
