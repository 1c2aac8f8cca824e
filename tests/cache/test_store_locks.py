"""Runs share a part of the cache, pruning has it alone; what a dead process held is free."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from roi_cls.base import lock as lock_module
from roi_cls.cache.store import claim, share_parts

A, B = "a" * 64, "b" * 64
_HOLD = """
import sys, time
from pathlib import Path
from roi_cls.cache.store import share_parts
with share_parts(Path(sys.argv[1]), sys.argv[2:]):
    print("held", flush=True)
    time.sleep(600)
"""


@contextmanager
def holding(root: Path, *digests: str) -> Iterator[subprocess.Popen[str]]:
    """Let another process share the parts; it is killed at the end."""
    words = [sys.executable, "-c", _HOLD, str(root), *digests]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def is_free(root: Path, digest: str) -> bool:
    with claim(root, digest) as free:
        return free


def test_part_is_in_use_while_it_is_shared_however_often(tmp_path: Path) -> None:
    with share_parts(tmp_path, [A]):
        with share_parts(tmp_path, [A, B]):
            assert not is_free(tmp_path, A)
            assert not is_free(tmp_path, B)
        assert not is_free(tmp_path, A)
        assert is_free(tmp_path, B)
    assert is_free(tmp_path, A)


def test_part_is_known_by_the_digits_that_name_its_folder(tmp_path: Path) -> None:
    with share_parts(tmp_path, [A]):
        assert not is_free(tmp_path, A[:16])
        assert os.listdir(tmp_path / "locks") == ["aaaaaaaaaaaaaaaa.lock"]


def test_part_that_a_killed_process_held_is_free(tmp_path: Path) -> None:
    with holding(tmp_path, A) as process:
        assert not is_free(tmp_path, A)
        assert is_free(tmp_path, B)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert is_free(tmp_path, A)


def test_run_waits_while_its_part_is_pruned(tmp_path: Path) -> None:
    events = []

    def run() -> None:
        with share_parts(tmp_path, [A]):
            events.append("shared")

    with claim(tmp_path, A) as free:
        assert free
        thread = threading.Thread(target=run)
        thread.start()
        time.sleep(0.2)
        events.append("pruned")
    thread.join()
    assert events == ["pruned", "shared"]


def test_two_do_not_prune_one_part(tmp_path: Path) -> None:
    with claim(tmp_path, A), claim(tmp_path, A) as second:
        assert not second


def test_no_handle_is_left_open(tmp_path: Path) -> None:
    with pytest.raises(KeyError), share_parts(tmp_path, [A, B]):
        raise KeyError
    for _ in range(2000):  # more than a process may have open
        with share_parts(tmp_path, [A]), claim(tmp_path, B):
            pass


def test_folder_that_cannot_be_written_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "locks").touch()  # no folder can be made there
    with share_parts(tmp_path, [A]), claim(tmp_path, A) as free:
        assert free  # nobody can hold anything, and removing it would fail


def test_user_who_may_only_read_still_keeps_the_owner_from_pruning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_free(tmp_path, A)  # the owner's lock file is there
    real = os.open

    def read_only(path: Any, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied")
        return real(path, flags, mode)

    with ExitStack() as stack:
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", read_only)
            stack.enter_context(share_parts(tmp_path, [A]))
            stack.enter_context(share_parts(tmp_path, [B]))  # of this there is no lock file
        assert not is_free(tmp_path, A)
        assert is_free(tmp_path, B)
    assert is_free(tmp_path, A)


@pytest.mark.parametrize("way", ["no fcntl", "no locks on this file system"])
def test_system_without_locks_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "no fcntl":
        monkeypatch.setattr(lock_module, "fcntl", None)
    else:

        def refuse(handle: int, how: int) -> None:
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr("fcntl.flock", refuse)
    with share_parts(tmp_path, [A]):
        assert is_free(tmp_path, A)
