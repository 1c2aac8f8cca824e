"""A file is there whole or not at all, and what a killed write leaves goes away."""

import errno
import os
import stat
import time
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from roi_cls.base import atomic
from roi_cls.base.atomic import open_atomically, remove_stale, write_atomically
from roi_cls.base.errors import DISK_FULL, StorageError
from roi_cls.base.location import as_path

REMEDY = (
    "Give another folder (for crops with --cache DIR), then run the same command again: what is "
    "finished is kept."
)


@pytest.mark.parametrize("durable", [False, True])
def test_file_is_written_with_its_folders(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "a" / "b" / "file"
    write_atomically(path, b"one", durable=durable)
    write_atomically(path, b"two", durable=durable)
    assert path.read_bytes() == b"two"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_file_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    write_atomically(tmp_path / "file", b"")
    (tmp_path / "other").touch()
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("file", "other")]
    assert modes[0] == modes[1]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk is full"),
        (errno.EACCES, "Permission denied"),
        (errno.EROFS, "Read-only file system"),
    ],
)
def test_failed_write_leaves_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, reason: str
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(StorageError) as caught:
        write_atomically(path, b"new")
    is_full = reason == DISK_FULL  # elsewhere free space is no help
    remedy = REMEDY.replace("Give", "Free space or give") if is_full else REMEDY
    assert str(caught.value) == f"Cannot write {str(path)!r}: {reason}. {remedy}"
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_error_without_words_is_told_by_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("odd")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(StorageError, match=r"Cannot write '.*file': odd"):
        write_atomically(tmp_path / "file", b"")


def test_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "folder").touch()
    with pytest.raises(StorageError, match=r"Cannot write '.*file': (Not a directory|File exists)"):
        write_atomically(tmp_path / "folder" / "file", b"")


def test_interrupt_just_after_the_rename_stays_an_interrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.replace

    def rename_interrupted(source: str, target: Path) -> None:
        rename(source, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", rename_interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file", b"whole")
    assert (tmp_path / "file").read_bytes() == b"whole"


def test_draft_lies_where_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drafts, seen = tmp_path / "drafts", []
    rename = os.replace

    def look(source: str, target: Path) -> None:
        seen.append(Path(source).parent)
        rename(source, target)

    monkeypatch.setattr(os, "replace", look)
    write_atomically(tmp_path / "file", b"whole", drafts=drafts)
    assert seen == [drafts]
    assert (tmp_path / "file").read_bytes() == b"whole"
    assert list(drafts.iterdir()) == []


def test_only_old_drafts_are_removed(tmp_path: Path) -> None:
    long_ago = time.time() - atomic.STALE_AFTER_S - 60
    for name, age in ((".tmp-old", long_ago), (".tmp-new", time.time()), ("kept", long_ago)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (age, age))
    remove_stale(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".tmp-new", "kept"]


def test_removing_drafts_of_no_folder_does_nothing(tmp_path: Path) -> None:
    remove_stale(tmp_path / "missing")


def test_remote_file_is_written_without_drafts() -> None:
    remote = as_path("memory://test-atomic")
    write_atomically(remote / "a/b", b"one", durable=True, drafts=remote / "drafts")
    with open_atomically(remote / "a/c") as file:
        file.write(b"two")
        assert not (remote / "a/c").exists()
    remove_stale(remote / "drafts")
    assert {str(path): path.read_bytes() for path in remote.rglob("*") if path.is_file()} == {
        "memory://test-atomic/a/b": b"one",
        "memory://test-atomic/a/c": b"two",
    }


def test_upload_that_fails_leaves_the_old_file_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    path = as_path("memory://test-atomic/old")
    write_atomically(path, b"old")
    with pytest.raises(ZeroDivisionError), open_atomically(path):
        raise ZeroDivisionError
    assert path.read_bytes() == b"old"

    def fail(*_: object, **__: object) -> None:
        raise EOFError("Could not connect")  # as clients do: no OSError

    monkeypatch.setattr(MemoryFileSystem, "_open", fail)
    monkeypatch.setattr(MemoryFileSystem, "put_file", fail)
    expected = f"Cannot write 'memory://test-atomic/old': Could not connect. {REMEDY}"
    with pytest.raises(StorageError) as caught:
        write_atomically(path, b"new")
    assert str(caught.value) == expected
    with pytest.raises(StorageError) as caught, open_atomically(path):
        pass
    assert str(caught.value) == expected


def test_folder_that_takes_no_files_is_told() -> None:
    with pytest.raises(
        StorageError, match=r"^Cannot write '/proc/a\.jpg': No such file or directory"
    ):
        write_atomically(Path("/proc/a.jpg"), b"content")


@pytest.mark.skipif(not Path("/dev/stdout").is_symlink(), reason="only Unix has such links")
def test_link_to_an_open_file_is_written_through(tmp_path: Path) -> None:
    # Of its own: as root, /dev/stdout itself was renamed over, for every program of the machine.
    with (tmp_path / "file").open("wb") as file:
        link = Path(f"/proc/self/fd/{file.fileno()}")
        write_atomically(link, b"one")
        assert link.is_symlink()
    assert (tmp_path / "file").read_bytes() == b"one"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
def test_pipe_is_written_to_as_it_is(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_atomically(pipe, b"one")
        assert os.read(reader, 10) == b"one"
    finally:
        os.close(reader)
    assert [entry.name for entry in tmp_path.iterdir()] == ["pipe"]


def test_interrupt_while_the_draft_is_made_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def interrupted(path: str, flags: int, mode: int) -> int:
        os.close(real(path, flags, mode))
        raise KeyboardInterrupt  # as Python does once the system is back

    monkeypatch.setattr(os, "open", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "a.json", b"{}")
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []
