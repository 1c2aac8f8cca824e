"""Workers die, fail and are interrupted; every item still has one result, in order."""

import contextlib
import itertools
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from roi_cls.base import pool as pool_module
from roi_cls.base.errors import ImageReadError, StorageError
from roi_cls.base.pool import WorkerPool

Work = Callable[[int], str]


@contextlib.contextmanager
def _state(work: Work) -> Iterator[Work]:
    yield work


def _died(item: int, exit_code: int | None) -> str:
    return f"{item} died with {exit_code}"


def make_pool(workers: int, work: Work) -> WorkerPool[int, str]:
    return WorkerPool(workers, partial(_state, work), _died)


@pytest.fixture
def run() -> Iterator[Callable[[int, Work, int], list[str]]]:
    """Map the first numbers over a pool and see that no process is left."""
    pools = []

    def run(workers: int, work: Work, count: int) -> list[str]:
        pool = make_pool(workers, work)
        pools.append(pool)
        with contextlib.closing(pool):
            return list(pool.map(range(count)))

    yield run
    assert all(not pool._workers for pool in pools)


def _name_slowly(item: int) -> str:
    time.sleep(0.02 * (item % 3 == 0))
    return f"{item}"


def test_results_come_in_order(run: Callable[[int, Work, int], list[str]]) -> None:
    assert run(2, _name_slowly, 40) == [f"{i}" for i in range(40)]


def test_no_items_start_no_process(run: Callable[[int, Work, int], list[str]]) -> None:
    assert run(2, _name_slowly, 0) == []


def test_items_are_taken_as_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "WINDOW", 4)
    monkeypatch.setattr(pool_module, "CHUNK", 2)
    taken: list[int] = []

    def endless() -> Iterator[int]:
        for item in itertools.count():
            taken.append(item)
            yield item

    pool = make_pool(1, _name_slowly)
    with contextlib.closing(pool):
        for due, result in enumerate(itertools.islice(pool.map(endless()), 20)):
            assert result == f"{due}"
            assert len(taken) <= due + 4 + 2 * 2


def test_map_in_another_thread_can_be_stopped() -> None:
    pool = make_pool(1, _wait_for_ever)
    results: list[str] = []
    thread = threading.Thread(target=lambda: results.extend(pool.map(range(3))))
    thread.start()
    pool.stop()
    thread.join(20)
    assert not thread.is_alive()
    pool.close()
    assert results == []


def _die_of_some(item: int) -> str:
    if item in (0, 5, 11):
        os._exit(7)
    return f"{item}"


@pytest.mark.parametrize("workers", [1, 2])
def test_death_costs_the_one_item_it_happened_in(
    workers: int, run: Callable[[int, Work, int], list[str]]
) -> None:
    expected = [f"{i} died with 7" if i in (0, 5, 11) else f"{i}" for i in range(14)]
    assert run(workers, _die_of_some, 14) == expected


def _read(item: int) -> str:
    if item == 3:
        raise ImageReadError("a.png", "it is empty", "Remove it.")
    if item == 4:
        raise StorageError("b", "the disk is full")
    return f"{item}"


def test_expected_error_ends_the_run_as_itself(
    run: Callable[[int, Work, int], list[str]], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ImageReadError) as caught:
        run(1, _read, 10)
    assert str(caught.value) == "Cannot read 'a.png': it is empty. Remove it."
    assert (caught.value.reason, caught.value.remedy) == ("it is empty", "Remove it.")
    assert capfd.readouterr().err == ""


class _UnpicklableError(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def _fail(item: int, error: str) -> str:
    if error == "lookup":
        return dict[int, str]()[item]
    if error == "connection":
        raise EOFError("of another pipe")
    raise _UnpicklableError(item, 2)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ("lookup", "KeyError: 0"),
        ("connection", "EOFError: of another pipe"),
        ("custom", "_UnpicklableError: 0 and 2"),
    ],
)
def test_unexpected_error_surfaces_with_its_traceback(
    run: Callable[[int, Work, int], list[str]], error: str, text: str
) -> None:
    with pytest.raises(RuntimeError) as caught:
        run(1, partial(_fail, error=error), 3)
    message = str(caught.value)
    assert message.startswith("A worker process failed.\nTraceback (most recent call last):\n")
    assert text in message
    assert "in _fail" in message


def _return_what_cannot_travel(item: int) -> str:
    return lambda: item  # type: ignore[return-value]  # no number: a function, which cannot be pickled


def test_result_that_cannot_travel_surfaces(run: Callable[[int, Work, int], list[str]]) -> None:
    with pytest.raises(RuntimeError, match="pickle"):
        run(1, _return_what_cannot_travel, 3)


def _tell_process(item: int) -> str:
    return f"{os.getpid()}"


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_worker_killed_while_idle_is_replaced_without_blame() -> None:
    pool = make_pool(1, _tell_process)
    with contextlib.closing(pool):
        results = pool.map(range(2 * pool_module.CHUNK))
        first = [next(results) for _ in range(pool_module.CHUNK)]
        os.kill(int(first[0]), signal.SIGKILL)
        pool._workers[0].process.wait()
        rest = list(results)
    assert len(set(first)) == len(set(rest)) == 1
    assert first[0] != rest[0]
    assert rest[0].isdigit()


def test_stopping_early_leaves_no_process() -> None:
    pool = make_pool(2, _tell_process)
    results = pool.map(range(1000))
    next(results)
    processes = [worker.process for worker in pool._workers]
    pool.close()
    assert [process.poll() is None for process in processes] == [False, False]


def _wait_for_ever(item: int) -> str:
    time.sleep(600)
    return ""


def test_closing_stops_a_worker_in_the_middle_of_an_item() -> None:
    pool = make_pool(1, _wait_for_ever)
    results = pool.map(range(3))
    pool._workers.append(pool._start())  # before the first result is waited for
    pool._send(0, deque(enumerate(range(3))))
    process = pool._workers[0].process
    pool.close()
    assert process.poll() is not None
    results.close()  # type: ignore[attr-defined]  # a generator that never began


def _hold_a_draft(draft: Path, seconds: float, item: int) -> str:
    draft.touch()
    time.sleep(seconds)
    draft.unlink()
    return ""


@pytest.mark.parametrize(("seconds", "is_left"), [(0.5, False), (600, True)])
def test_worker_that_is_stopped_ends_its_item_unless_that_takes_long(
    seconds: float, is_left: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "LEAVING_S", 0.2 if is_left else 60)
    draft = tmp_path / "draft"
    pool = make_pool(1, partial(_hold_a_draft, draft, seconds))
    pool._workers.append(pool._start())
    pool._send(0, deque(enumerate(range(3))))
    process = pool._workers[0].process
    while not draft.exists():
        time.sleep(0.01)
    pool.close()
    assert process.poll() is not None
    assert draft.exists() == is_left


def test_results_far_ahead_wait(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pool_module, "WINDOW", 4)
    monkeypatch.setattr(pool_module, "CHUNK", 2)
    pool = make_pool(2, partial(_touch_or_wait, folder=tmp_path))
    with contextlib.closing(pool):
        results = pool.map(range(100))
        next(results)
        assert len(list(tmp_path.iterdir())) <= 1 + 2 * 4 + 2 * 2
        assert [next(results) for _ in range(99)] == [f"{i}" for i in range(1, 100)]


def _touch_or_wait(item: int, folder: Path) -> str:
    (folder / f"{item}").touch()
    time.sleep(0.1 * (item == 0))
    return f"{item}"


@pytest.mark.parametrize("workers", [0, -1])
def test_pool_without_workers_is_misuse(workers: int) -> None:
    with pytest.raises(ValueError, match=f"workers must be at least 1, got {workers}"):
        make_pool(workers, _tell_process)


def test_worker_is_deaf_to_interrupts_from_its_first_moment(tmp_path: Path) -> None:
    pool = make_pool(1, _name_slowly)
    with contextlib.closing(pool):
        results = pool.map(range(1))
        pool._workers.append(pool._start())
        process = pool._workers[0].process
        os.kill(process.pid, signal.SIGINT)  # it has not begun to import anything
        assert list(results) == ["0"]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def make_pipe(work: Work) -> tuple[Connection, Connection]:
    """Return both ends of a pipe by which a worker has been told what to do."""
    ours, theirs = Pipe()
    ours.send(partial(_state, work))
    return ours, theirs


@pytest.fixture
def handler() -> Iterator[None]:
    """Put Ctrl-C back as it was: the worker's function is called in this process."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("handler")
def test_worker_answers_until_its_input_ends() -> None:
    ours, theirs = make_pipe(_name_slowly)
    ours.send([1, 2])
    ours.send([])
    pool_module.serve(theirs)
    assert [ours.recv(), ours.recv(), ours.recv()] == [pool_module._READY, "1", "2"]
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.usefixtures("handler")
@pytest.mark.parametrize("work", [_name_slowly, _read])
def test_worker_whose_parent_is_gone_leaves_quietly(work: Work) -> None:
    ours, theirs = make_pipe(work)
    ours.send([3])
    ours.close()
    pool_module.serve(theirs)


@pytest.mark.usefixtures("handler")
def test_worker_that_fails_tells_and_ends() -> None:
    ours, theirs = make_pipe(partial(_fail, error="lookup"))
    ours.send([3])
    with pytest.raises(SystemExit):
        pool_module.serve(theirs)
    assert ours.recv() == pool_module._READY
    assert isinstance(ours.recv(), RuntimeError)


@pytest.mark.usefixtures("handler")
def test_worker_whose_parent_is_gone_at_once_leaves_quietly() -> None:
    ours, theirs = Pipe()
    ours.close()
    with pytest.raises(SystemExit) as caught:
        pool_module.serve(theirs)
    assert caught.value.code is None
