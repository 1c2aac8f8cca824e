"""Files below a folder: pictures by suffix and by content, and a count of all that is left."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from roi_cls.base.errors import DataError
from roi_cls.base.location import as_path
from roi_cls.data.walk import Found, find_pictures, list_passed_over, tell_passed_over

PIXELS = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
JPEG = cv2.imencode(".jpg", PIXELS)[1].tobytes()
PNG = cv2.imencode(".png", PIXELS)[1].tobytes()
NAS = {
    "real/a.jpg": JPEG,
    "real/@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg": JPEG,
    "fake/@eaDir/b.jpg/SYNOPHOTO_THUMB_M.jpg": JPEG,
    "#recycle/old.jpg": JPEG,
    "#snapshot/x.jpg": JPEG,
    "@Recycle/x.jpg": JPEG,
    "@Recently-Snapshot/x.jpg": JPEG,
    ".@__thumb/x.jpg": JPEG,
    "$RECYCLE.BIN/S-1/x.jpg": JPEG,
    "System Volume Information/x.jpg": JPEG,
    "__MACOSX/real/._a.jpg": JPEG,
    "lost+found/x.jpg": JPEG,
    "real/Catalog Previews.lrdata/x.jpg": JPEG,
    "real/Photos.photoslibrary/originals/0/b.jpg": JPEG,
    "real/Photos.photoslibrary/resources/derivatives/0/b.jpg": JPEG,
    "fake/c.jpg": JPEG,
    "fake/._c.jpg": b"\0\5\x16\7",
    "fake/.DS_Store": b"\0",
    "fake/Thumbs.db": b"\xd0\xcf",
    "fake/desktop.ini": b"[",
}
NAS_PICTURES = ["fake/c.jpg", "real/Photos.photoslibrary/originals/0/b.jpg", "real/a.jpg"]
NAS_REST = {
    "@eaDir/": 2,
    "#recycle/": 1,
    "#snapshot/": 1,
    "@Recycle/": 1,
    "@Recently-Snapshot/": 1,
    "$RECYCLE.BIN/": 1,
    "System Volume Information/": 1,
    "__MACOSX/": 1,
    "lost+found/": 1,
    "Catalog Previews.lrdata/": 1,
    "resources/": 1,
    "hidden": 3,
    ".db": 1,
    ".ini": 1,
}


def fill(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


@pytest.fixture(params=["here", "elsewhere"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """An empty folder, on this machine or in a store."""
    if request.param == "here":
        return tmp_path
    MemoryFileSystem.store.clear()
    return as_path("memory://test-walk/set")


def found(root: Path, files: dict[str, bytes]) -> tuple[list[str], dict[str, int]]:
    walked = find_pictures(fill(root, files))
    return walked.names, dict(walked.passed_over)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x.jpg_large", JPEG),
        ("photo.jpg?w=200", PNG),
        ("noext", JPEG),
        ("x.pjpeg", JPEG),
        ("y.mpo", JPEG),
        ("c.jpg.1", JPEG),
        ("IMG 12.05.2024", PNG),
        ("a.jpg ", JPEG),
        ("b.", b"P6\n# a comment\n4 4\n255\n" + bytes(48)),
        ("raw", b"II*\0\x10\0\0\0CR\2\0"),
        ("jxl", b"\xff\x0a\xfa\x1f"),
        ("float", b"PF\n4 4\n-1.0\n"),
        # Pictures by suffix, whatever is in them: their row says what is wrong.
        ("a.HIF", b""),
        ("b.ppm", b""),
        ("c.tga", b"hello"),
        ("d.JXL", b""),
    ],
)
def test_picture_is_known_by_suffix_or_by_content(root: Path, name: str, data: bytes) -> None:
    assert found(root, {name: data}) == ([name], {})


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("notes", b"hello", "without suffix"),
        ("empty", b"", "without suffix"),
        ("Dr. Smith", b"hello", "without suffix"),
        ("page.html?id=7", b"<html>", ".html…"),
        ("x.dat", bytes(200), ".dat"),
        ("pf", b"pf is a firewall", "without suffix"),
        # Not by its first bytes alone: a header of TGA may be anything.
        ("y.bin", b"\0\0\2" + bytes(9) + b"\4\0\4\0\x18\0" + bytes(48), ".bin"),
        # What the suffix says is believed, also of a picture.
        ("x.jpg.txt", JPEG, ".txt"),
        ("a.jpg.json", b"{}", ".json"),
        # Half of a download, and what programs keep of a picture that they changed.
        ("b.jpg.crdownload", JPEG[:200], ".crdownload"),
        ("b.part", JPEG[:200], ".part"),
        ("c.JPG~", JPEG, ".jpg~"),
        ("c.jpg_original", JPEG, ".jpg_original"),
        ("c.jpg.bak", JPEG, ".bak"),
        (".hidden.png", PNG, "hidden"),
    ],
)
def test_what_is_no_picture_is_counted(root: Path, name: str, data: bytes, kind: str) -> None:
    assert found(root, {"a.png": PNG, name: data}) == (["a.png"], {kind: 1})


def test_folders_and_files_of_systems_are_left_out_and_counted(root: Path) -> None:
    assert found(root, NAS) == (NAS_PICTURES, NAS_REST)


@pytest.mark.parametrize("folder", ["#recycle", "real/@eaDir", ".@__thumb", "lost+found"])
def test_folder_that_is_named_itself_is_always_read(root: Path, folder: str) -> None:
    fill(root, NAS)
    assert [Path(name).suffix for name in find_pictures(root / folder).names[-1:]] == [".jpg"]


@pytest.mark.parametrize("folder", ["thumbs", "Originals", "resources", "recycle", "snapshot"])
def test_folder_that_may_be_a_class_is_read(root: Path, folder: str) -> None:
    assert found(root, {f"{folder}/a.png": PNG}) == ([f"{folder}/a.png"], {})


def test_cache_within_a_folder_is_counted(root: Path) -> None:
    files = {"a.png": PNG, "deep/crops/CACHEDIR.TAG": b"", "deep/crops/x/1.png": PNG}
    assert found(root, files) == (["a.png"], {"crops/": 1})


def test_record_of_a_demo_set_is_not_spoken_of(root: Path) -> None:
    assert found(root, {"a.png": PNG, "demo.json": b"{}"}) == (["a.png"], {})


def test_other_endings_are_wanted_where_they_are_asked_for(root: Path) -> None:
    fill(root, {"a.png": PNG, "b.MP4": b"", "c.insv": b"video", "d.insv": b"other"})
    by_suffix = find_pictures(root, [".mp4"])
    assert (by_suffix.names, by_suffix.passed_over) == (["a.png", "b.MP4"], {".insv": 2})
    by_content = find_pictures(root, [".mp4"], lambda head: head == b"video")
    assert by_content == Found(["a.png", "b.MP4", "c.insv"], Counter({".insv": 1}))
    assert find_pictures(root).passed_over == {".mp4": 1, ".insv": 2}


def test_only_files_whose_suffix_says_nothing_are_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, {"a.png": b"", "b.JPG": b"", "c.txt": b"", "d.unknown": b""})
    opened: list[str] = []

    def watch(path: str, *_: object, **__: object) -> object:
        opened.append(os.path.basename(path))
        raise FileNotFoundError(2, "gone meanwhile")

    monkeypatch.setattr("builtins.open", watch)
    # It is there, and nobody knows what it is: a row tells.
    assert find_pictures(tmp_path).names == ["a.png", "b.JPG", "d.unknown"]
    assert opened == ["d.unknown"]


@pytest.mark.skipif(sys.platform == "win32", reason="no such pipes")  # reason: POSIX alone
def test_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert found(tmp_path, {"a.png": PNG}) == (["a.png"], {"without suffix": 2})


def test_remote_files_are_looked_into_together(monkeypatch: pytest.MonkeyPatch) -> None:
    MemoryFileSystem.store.clear()
    folder = fill(as_path("memory://test-walk/together"), {f"{i}": PNG for i in range(5)})
    fill(folder, {"a.png": PNG, "b.txt": b"", "odd": b"x"})
    asked: list[tuple[int, int]] = []
    ask = MemoryFileSystem.cat_ranges

    def watch(
        self: MemoryFileSystem, paths: list[str], starts: list[int], ends: list[int], **more: str
    ) -> object:
        asked.append((len(paths), max(ends)))
        heads = ask(self, paths, starts, ends, **more)
        heads[0] = OSError("no right to read it")
        return heads

    monkeypatch.setattr(MemoryFileSystem, "cat_ranges", watch)
    walked = find_pictures(folder)
    assert walked.names == ["0", "1", "2", "3", "4", "a.png"]
    assert walked.passed_over == {".txt": 1, "without suffix": 1}
    assert asked == [(6, 512)]


def test_passed_over_is_told_in_a_line_the_most_frequent_first() -> None:
    counts = {".txt": 1, "@eaDir/": 2, ".pdf": 3, "hidden": 1, "x/": 1}
    text = "3 .pdf, 2 folders '@eaDir', 1 .txt, 1 hidden, 1 folder 'x'"
    assert list_passed_over(counts) == text
    assert tell_passed_over(counts) == (f"Passed over: {text}.",)
    assert tell_passed_over({}) == ()
    many = {f".{i:02}": 1 for i in range(30)}
    assert list_passed_over(many).endswith(", 1 .19, 10 of other kinds")


def test_folder_that_holds_no_picture_says_what_it_holds(root: Path) -> None:
    with pytest.raises(DataError) as caught:
        found(root, {"a.txt": b"", "@eaDir/a.jpg": JPEG})
    assert str(caught.value) == (
        f"Cannot find pictures in {str(root)!r} or below: it holds no picture, but 1 .txt, "
        "1 folder '@eaDir'. Give a folder of pictures, such as PNG, JPEG, WebP, HEIC or TIFF files."
    )


def test_empty_folder_is_told_since_it_may_be_a_class(tmp_path: Path) -> None:
    for name in ("real", "fake", "deep/empty"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "real" / "a.png").write_bytes(PNG)
    found = find_pictures(tmp_path)
    assert found == Found(["real/a.png"], Counter({"empty folder": 2}))
    assert tell_passed_over(found.passed_over) == ("Passed over: 2 empty folders.",)
