"""Workers start whatever program runs, without running it; one that cannot start blames nobody."""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from pickle import PicklingError
from typing import NoReturn

import pytest

from roi_cls.base import pool as pool_module
from roi_cls.base.errors import WorkerError
from roi_cls.base.pool import WorkerPool

_SCRIPT = """\
import contextlib, pathlib
from functools import partial
from pickle import PicklingError
from roi_cls.base.pool import WorkerPool

with pathlib.Path({log!r}).open("a") as log:
    log.write("run ")


def died(item, exit_code):
    return f"{{item}} died"


def main():
    with WorkerPool(2, partial(contextlib.nullcontext, abs), died) as pool:
        print(list(pool.map(range(-20, 0))))

"""
_CALL = "\nmain()\n"
_GUARDED = '\nif __name__ == "__main__":\n    main()\n'


@pytest.mark.parametrize("way", ["file", "guarded file", "stdin", "argument"])
def test_program_is_run_once_and_needs_no_guard(way: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    text = _SCRIPT.format(log=str(log)) + (_GUARDED if way == "guarded file" else _CALL)
    script = tmp_path / "script.py"
    script.write_text(text)
    argument = {"stdin": ["-"], "argument": ["-c", text]}.get(way, [str(script)])
    done = subprocess.run(
        [sys.executable, *argument],
        input=text if way == "stdin" else "",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == (f"{list(range(20, 0, -1))}\n", "")
    assert log.read_text() == "run "


def test_module_of_the_working_folder_does_not_stand_in_for_pythons(tmp_path: Path) -> None:
    (tmp_path / "pickle.py").write_text("raise SystemExit('the wrong pickle')")
    script = tmp_path / "elsewhere" / "script.py"
    script.parent.mkdir()
    script.write_text(_SCRIPT.format(log=str(tmp_path / "log")) + _CALL)
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == (f"{list(range(20, 0, -1))}\n", "")


def test_work_of_the_program_itself_is_refused_in_words(tmp_path: Path) -> None:
    text = _SCRIPT.format(log=str(tmp_path / "log")).replace("contextlib.nullcontext, abs", "work")
    text = text.replace(
        "def died", "@contextlib.contextmanager\ndef work():\n    yield abs\n\ndef died"
    )
    done = subprocess.run(
        [sys.executable, "-c", text + _CALL], capture_output=True, text=True, check=False
    )
    last = done.stderr.splitlines()[-1]
    assert "Cannot start a worker process: " in last
    assert "'work'" in last
    assert "must stand in a module that can be imported, not in the script or notebook" in last
    assert "died" not in done.stdout


def _never(item: int, exit_code: int | None) -> NoReturn:
    raise AssertionError(f"{item} is blamed for the worker")


@contextlib.contextmanager
def _state(work: Callable[[int], int]) -> Iterator[Callable[[int], int]]:
    yield work


def make_pool(workers: int = 2, work: Callable[[int], int] = abs) -> WorkerPool[int, int]:
    return WorkerPool(workers, partial(_state, work), _never)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (
            "import sys; sys.exit('Traceback of much\\nno library here')",
            "Cannot start a worker process: it ended with exit code 1 before the first picture "
            "(no library here). Work without them (--workers 0, in Python workers=0); `roi-cls "
            "doctor` may tell more.",
        ),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "Cannot start a worker process: it ended with exit code -9 before the first picture "
            "(it said nothing). Memory may have run out: run again with fewer --workers.",
        ),
    ],
)
def test_worker_that_cannot_start_blames_no_item(
    program: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "_PROGRAM", program)
    with make_pool() as pool, pytest.raises(WorkerError) as caught:
        list(pool.map(range(30)))
    assert str(caught.value) == message


def test_state_that_cannot_travel_is_raised_and_leaves_no_process() -> None:
    pool = make_pool(1, lambda item: item)
    with pool, pytest.raises((AttributeError, TypeError, PicklingError), match="lambda"):
        list(pool.map(range(3)))
    assert pool._workers == []


def test_python_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multiprocessing.spawn._python_exe", b"/no/python")
    with make_pool() as pool, pytest.raises(WorkerError) as caught:
        list(pool.map(range(3)))
    assert str(caught.value) == (
        "Cannot start a worker process: /no/python: No such file or directory. Work without them "
        "(--workers 0, in Python workers=0); `roi-cls doctor` may tell more."
    )


def test_frozen_program_starts_no_copy_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with make_pool() as pool, pytest.raises(WorkerError, match="this program is frozen"):
        list(pool.map(range(3)))


def test_start_that_fails_once_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    first = f"import os\nif not os.path.exists({str(mark)!r}):\n    open({str(mark)!r}, 'w')\n"
    monkeypatch.setattr(pool_module, "_PROGRAM", f"{first}    os._exit(5)\n{pool_module._PROGRAM}")
    with make_pool(1) as pool:
        assert list(pool.map(range(30))) == list(range(30))
    assert mark.exists()


def _say(item: int) -> int:
    print("said at work", flush=True)  # noqa: T201  # reason: as a library might
    return item


@pytest.mark.parametrize("has_folder", [True, False])
def test_what_workers_say_goes_to_stderr(
    has_folder: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> NoReturn:
        raise FileNotFoundError(2, "no usable temporary folder")

    if not has_folder:
        monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    greeting = "import sys; print('said at the start', file=sys.stderr, flush=True)"
    monkeypatch.setattr(pool_module, "_PROGRAM", f"{greeting}\n{pool_module._PROGRAM}")
    with make_pool(1, _say) as pool:
        assert list(pool.map(range(2))) == [0, 1]
    out, err = capfd.readouterr()
    assert out == ""
    # Ours and theirs are written by two processes, in either order.
    assert sorted(err.splitlines()) == ["said at the start", "said at work", "said at work"]
