"""What lies in an archive is read by its path, of every kind; a changed archive is opened anew."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest

from roi_cls.base.errors import ImageReadError
from roi_cls.base.location import as_path
from roi_cls.roi.archives.opening import (
    Place,
    find_place,
    list_members,
    read_member,
    read_stated_labels,
)
from roi_cls.roi.image import read_bytes
from tests.helpers.archives import make_table, make_tar, make_zip

CONTENT = {"cats/1.jpg": b"one", "dogs/2.jpg": b"two", "dogs/3.jpg": b"three"}


def make_some_table(path: Path) -> Path:
    return make_table(path, list(CONTENT.values()), paths=[name[5:] for name in CONTENT])


MAKERS: dict[str, Callable[[Path], Path]] = {
    "a.zip": lambda path: make_zip(path, CONTENT),
    "A.ZIP": lambda path: make_zip(path, CONTENT),
    "a.tar": lambda path: make_tar(path, CONTENT),
    "a.tar.gz": lambda path: make_tar(path, CONTENT, "w:gz"),
    "a.tgz": lambda path: make_tar(path, CONTENT, "w:gz"),
    "a.tar.bz2": lambda path: make_tar(path, CONTENT, "w:bz2"),
    "a.tar.xz": lambda path: make_tar(path, CONTENT, "w:xz"),
}


def refusal(path: Path) -> str:
    """Return what reading says, with the folder of the archive left out."""
    with pytest.raises(ImageReadError) as caught:
        read_bytes(path)
    return str(caught.value).replace(f"{find_root(path)}/", "")


def find_root(path: Path) -> Path:
    return next(parent for parent in path.parents if parent.is_dir())


@pytest.mark.parametrize("name", MAKERS)
def test_members_are_listed_in_order_and_read_by_path(tmp_path: Path, name: str) -> None:
    archive = MAKERS[name](tmp_path / name)
    assert list_members(Place(archive, "")).names == list(CONTENT)
    assert list_members(Place(archive, "dogs")).names == ["2.jpg", "3.jpg"]
    for member in reversed(CONTENT):
        assert read_bytes(archive / member) == CONTENT[member]


def test_rows_of_a_table_are_read_by_path(tmp_path: Path) -> None:
    table = make_some_table(tmp_path / "a.parquet")
    assert list_members(Place(table, "")).names == ["1.jpg", "2.jpg", "3.jpg"]
    assert read_bytes(table / "3.jpg") == b"three"


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("a.zip", ("a.zip", "")),
        ("a.zip/cats/1.jpg", ("a.zip", "cats/1.jpg")),
        ("folder.zip/inner.tar/x.jpg", ("folder.zip/inner.tar", "x.jpg")),
        ("folder.zip/x.jpg", None),
        ("b.zip/x.jpg", None),
        ("zip/x.jpg", None),
    ],
)
def test_the_first_file_on_the_way_is_the_archive(
    tmp_path: Path, path: str, place: tuple[str, str] | None
) -> None:
    make_zip(tmp_path / "a.zip", CONTENT)
    (tmp_path / "folder.zip").mkdir()
    make_tar(tmp_path / "folder.zip/inner.tar", {"x.jpg": b"x"})
    expected = None if place is None else Place(tmp_path / place[0], place[1])
    assert find_place(tmp_path / path) == expected


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", CONTENT)
    (tmp_path / "b.txt").write_bytes(b"text")
    make_zip(tmp_path / "empty.zip", {"0.jpg": b""})
    assert refusal(archive / "4.jpg") == (
        "Cannot read 'a.zip/4.jpg': there is no '4.jpg' in the archive. Check the name."
    )
    assert refusal(tmp_path / "b.txt/4.jpg") == (
        "Cannot read 'b.txt/4.jpg': a part of its path is a file, and no archive. Check the path."
    )
    assert refusal(tmp_path / "c.zip/4.jpg") == (
        "Cannot read 'c.zip/4.jpg': no such file. Check the path."
    )
    assert refusal(archive) == ("Cannot read 'a.zip': it is an archive. Give the pictures in it.")
    assert refusal(make_zip(tmp_path / "d.zip", {})) == (
        "Cannot read 'd.zip': it is an archive with no files in it. Give one with pictures."
    )
    assert "it is empty (0 bytes)" in refusal(tmp_path / "empty.zip/0.jpg")


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.parquet"])
@pytest.mark.parametrize("content", [b"", b"no archive at all" * 99], ids=["empty", "other"])
def test_what_is_no_archive_is_said_and_never_raised(
    tmp_path: Path, name: str, content: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    listing = list_members(Place(path, ""))
    assert listing.names == ()
    assert listing.fault
    assert f"Cannot read '{path}': it is no " in listing.fault
    assert "Copy, download or make it again." in listing.fault
    assert f"Cannot read '{name}/1.jpg': it is no " in refusal(path / "1.jpg")


def test_a_member_larger_than_a_file_may_be_is_refused(tmp_path: Path) -> None:
    for archive in (
        make_zip(tmp_path / "a.zip", CONTENT),
        make_tar(tmp_path / "a.tar", CONTENT),
    ):
        place = Place(archive, "dogs/3.jpg")
        assert read_member(archive / "dogs/3.jpg", place, 5) == b"three"
        with pytest.raises(ImageReadError, match="it has 5 bytes, over the limit of 4"):
            read_member(archive / "dogs/3.jpg", place, 4)


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_a_rewritten_archive_is_opened_anew(tmp_path: Path, name: str) -> None:
    archive = MAKERS[name](tmp_path / name)
    assert read_bytes(archive / "cats/1.jpg") == b"one"
    other = make_zip if name == "a.zip" else make_tar
    other(tmp_path / "new", {"cats/1.jpg": b"changed"}).replace(archive)
    assert read_bytes(archive / "cats/1.jpg") == b"changed"
    assert list_members(Place(archive, "")).names == ["cats/1.jpg"]


def test_more_archives_than_are_kept_open_are_read_in_turn(tmp_path: Path) -> None:
    archives = [make_zip(tmp_path / f"{i}.zip", {"x.jpg": str(i).encode()}) for i in range(9)]
    for _ in range(2):
        assert [read_bytes(path / "x.jpg") for path in archives] == [
            str(i).encode() for i in range(9)
        ]
    files = Path("/proc/self/fd")
    if files.is_dir():  # Linux
        links = {os.readlink(link) for link in files.iterdir() if os.path.lexists(link)}
        assert len({str(path) for path in archives} & links) == 4


def test_threads_read_what_they_ask_for(tmp_path: Path) -> None:
    content = {f"{i}.jpg": str(i).encode() * 500 for i in range(60)}
    archives = [make_zip(tmp_path / f"{n}.zip", content) for n in range(3)]
    archives += [make_tar(tmp_path / f"{n}.tar", content) for n in range(3)]
    wrong: list[Path] = []

    def read(start: int) -> None:
        for i in range(60):
            name = f"{(start + i) % 60}.jpg"
            path = archives[(start + i) % 6] / name
            if read_bytes(path) != content[name]:
                wrong.append(path)

    threads = [threading.Thread(target=read, args=(7 * n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_forked_process_reads_for_itself(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar", CONTENT)
    assert read_bytes(archive / "cats/1.jpg") == b"one"
    child = os.fork()
    if child == 0:
        os._exit(0 if read_bytes(archive / "dogs/3.jpg") == b"three" else 1)
    assert read_bytes(archive / "dogs/2.jpg") == b"two"
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("name", MAKERS)
def test_labels_stand_beside_the_pictures(tmp_path: Path, name: str) -> None:
    content = {
        "a/1.cls": b"0\n",
        "a/1.jpg": b"1",
        "a/2.left.jpg": b"2",
        "a/2.right.jpg": b"2",
        "a/2.json": b'{"label": "cat", "id": 7}',
        "a/3.jpg": b"3",
        "a/3.json": b'{"class": 5}',
        "a/3.cls": b"dog",
        "a/4.jpg": b"4",
        "a/4.json": b"[1, 2",
        "a/6.jpg": b"7",
        "a/6.json": b"[" * 200_000,
        "a/5.jpg": b"5",
        "a/5.json": b'{"caption": "a cat"}',
        "b/1.jpg": b"6",
    }
    made = MAKERS[name](tmp_path / name).name
    archive = tmp_path / f"x{made[1:]}"
    if made.lower().endswith("zip"):
        make_zip(archive, content)
    else:
        make_tar(archive, content)
    pictures = [name[2:] for name in content if name.endswith(".jpg") and name[0] == "a"]
    assert read_stated_labels(Place(archive, "a"), pictures) == {
        "1.jpg": "0",
        "2.left.jpg": "cat",
        "2.right.jpg": "cat",
        "3.jpg": "dog",
    }


def test_remote_archives_are_read_where_they_lie(tmp_path: Path) -> None:
    root = as_path("memory://archives-opening")
    for name, make in (*MAKERS.items(), ("a.parquet", make_some_table)):
        made = make(tmp_path / name)
        (root / name).write_bytes(made.read_bytes())
        place = find_place(root / name)
        assert place
        assert place.name == ""
        listed = list_members(place).names
        assert [read_bytes(root / name / member) for member in listed] == list(CONTENT.values())
        with pytest.raises(ImageReadError, match=r"there is no 'none\.jpg' in the archive"):
            read_bytes(root / name / "none.jpg")


def test_rows_of_one_table_alone_are_held(tmp_path: Path) -> None:
    pictures = [os.urandom(2**20) for _ in range(8)]
    tables = [make_table(tmp_path / f"{i}.parquet", pictures, rows_per_group=8) for i in range(4)]
    before = pyarrow.total_allocated_bytes()
    for table in tables:
        assert read_bytes(table / "0000001") == pictures[1]
    for _ in range(100):  # threads of Arrow's own may still let go of what they read
        if pyarrow.total_allocated_bytes() - before < 2 * 8 * 2**20:
            break
        time.sleep(0.05)
    assert pyarrow.total_allocated_bytes() - before < 2 * 8 * 2**20
