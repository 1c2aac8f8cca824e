"""One holder at a time, told by name; what a killed one leaves keeps nobody out."""

import errno
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

from roi_cls.base import lock as lock_module
from roi_cls.base.lock import HeldError, hold

_HOLD = """
import sys, time
from pathlib import Path
from roi_cls.base.lock import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@contextmanager
def another(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Let another process hold the lock; it is killed at the end."""
    command = [sys.executable, "-c", _HOLD, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_second_process_is_told_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with another(path) as process, pytest.raises(HeldError) as caught, hold(path):
        pass
    told = re.fullmatch(
        r"`-c .*/lock` \(process (\d+) on \S+, since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\)",
        caught.value.holder,
    )
    assert told is not None
    assert int(told[1]) == process.pid


def test_killed_holder_keeps_nobody_out(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with another(path) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert path.exists()
        with hold(path):
            assert f"process {os.getpid()} on" in path.read_text()
    assert not path.exists()


def test_threads_keep_each_other_out(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    heard: list[str] = []

    def try_it() -> None:
        try:
            with hold(path):
                heard.append("held")
        except HeldError as error:
            heard.append(error.holder)

    with hold(path):
        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join()
    assert len(heard) == 1
    assert f"process {os.getpid()} on" in heard[0]
    with hold(path):  # and afterwards it is free
        pass


def test_lock_is_gone_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with pytest.raises(KeyError), hold(path):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_file_that_its_holder_removed_meanwhile_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "lock", lock_module.lock
    asked: list[int] = []

    def remove_first(handle: int, **how: bool) -> bool:
        asked.append(handle)
        if len(asked) == 1:  # as the holder before does, between our opening and our locking
            path.unlink()
        return real(handle, **how)

    monkeypatch.setattr(lock_module, "lock", remove_first)
    with hold(path):
        assert len(asked) == 2
        assert path.exists()


def test_what_another_user_left_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "lock", os.open
    path.write_text("somebody who was killed")

    def refuse_first(name: Any, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_RDWR and path.exists():
            raise PermissionError(13, "Permission denied")
        return real(name, flags, mode)

    monkeypatch.setattr(os, "open", refuse_first)
    with hold(path):
        assert f"process {os.getpid()} on" in path.read_text()


@pytest.mark.parametrize("text", ["", "\x1b[2J"])
def test_holder_whose_words_are_no_text_is_another_process(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lock"
    with another(path):
        path.write_text(text)
        with pytest.raises(HeldError, match=r"^another process$"), hold(path):
            pass


def test_long_command_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/roi-cls", "train", "a b", "x" * 500])
    with hold(tmp_path / "lock"):
        text = (tmp_path / "lock").read_text()
    assert text.startswith("`roi-cls train 'a b' xxx")
    assert len(text) < 250


def test_second_kind_of_lock_serves_where_the_first_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(handle: int, how: int) -> NoReturn:
        raise OSError(95, "Operation not supported")

    path = tmp_path / "lock"
    code = _HOLD.replace("import sys, time", "import sys, time, fcntl").replace(
        "with hold", "def no(*a): raise OSError(95, 'no')\nfcntl.flock = no\nwith hold"
    )
    monkeypatch.setattr("fcntl.flock", unknown)
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(HeldError), hold(path):
            pass
        process.kill()
    with hold(path):
        pass


def test_file_system_without_locks_gives_everybody_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(handle: int, how: int) -> NoReturn:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", unknown)
    monkeypatch.setattr("fcntl.lockf", unknown)
    with hold(tmp_path / "lock"), hold(tmp_path / "lock"):
        pass


def test_arguments_may_be_any_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["roi-cls", "train", os.fsdecode(b"caf\xe9")])
    path = tmp_path / "lock"
    with hold(path), pytest.raises(HeldError) as caught, hold(path):
        pass
    assert caught.value.holder.startswith("`roi-cls train 'caf?'` (process ")


def test_lock_that_cannot_be_asked_for_counts_as_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS locks no file alone that may only be read: it may be somebody's, and is not removed."""

    def refuse(*arguments: object) -> NoReturn:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    monkeypatch.setattr("fcntl.flock", refuse)
    path = tmp_path / "lock"
    path.write_text("`roi-cls train` (process 7 on nas)")
    with pytest.raises(HeldError, match="process 7 on nas"), hold(path):
        pass
    assert path.exists()
