"""An entry is read back exactly, or reads as absent."""

import errno
import os
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roi_cls.base.errors import CacheError, StorageError
from roi_cls.base.location import as_path
from roi_cls.cache.store import read_entry, write_entry

# No deadline: the first write on a busy machine may take long.
KEEP_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@KEEP_FOLDER
@given(st.binary(max_size=300))
def test_payload_is_read_back_exactly(tmp_path: Path, payload: bytes) -> None:
    write_entry(tmp_path / "entry", payload)
    assert read_entry(tmp_path / "entry") == payload


@KEEP_FOLDER
@given(st.binary(max_size=60), st.data())
def test_any_changed_bit_makes_it_absent(
    tmp_path: Path, payload: bytes, data: st.DataObject
) -> None:
    path = tmp_path / "entry"
    write_entry(path, payload)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    assert read_entry(path) is None


@KEEP_FOLDER
@given(st.binary(max_size=60), st.data())
def test_any_cut_makes_it_absent(tmp_path: Path, payload: bytes, data: st.DataObject) -> None:
    path = tmp_path / "entry"
    write_entry(path, payload)
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    assert read_entry(path) is None


def test_missing_entry_is_absent(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert read_entry(tmp_path / "missing") is None
    assert read_entry(tmp_path / "file" / "below") is None


def test_unreadable_entry_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "entry"

    def refuse(_: Path) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(CacheError) as caught:
        read_entry(path)
    assert str(caught.value) == (
        f"Cannot read the cache entry {str(path)!r}: Permission denied. "
        "Check its permissions or choose another folder with --cache DIR."
    )


def test_remote_entry_is_read_back_or_absent() -> None:
    folder = as_path("memory://test-entry")
    write_entry(folder / "entry", b"payload", folder / "drafts")
    assert read_entry(folder / "entry") == b"payload"
    (folder / "entry").write_bytes(b"payload")
    assert read_entry(folder / "entry") is None
    assert read_entry(folder / "missing") is None


def test_remote_entry_that_cannot_be_reached_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    path = as_path("memory://test-entry/unreachable")

    def fail(*_: object, **__: object) -> bytes:
        raise EOFError("the connection was closed")  # as clients do: no OSError

    monkeypatch.setattr(MemoryFileSystem, "open", fail)
    with pytest.raises(CacheError) as caught:
        read_entry(path)
    assert str(caught.value) == (
        "Cannot read the cache entry 'memory://test-entry/unreachable': the connection was "
        "closed. Check its permissions or choose another folder with --cache DIR."
    )


def test_unwritable_entry_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"^Cannot write "):
        write_entry(tmp_path / "file" / "below", b"payload")
