"""Worker processes that survive each other: results in order of input, a dead worker is replaced.

The work is a picklable function that makes a worker's state, and the one that this gives. What it
does is not known here, but that most of it decodes pictures.
"""

from __future__ import annotations

import contextlib
import itertools
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from multiprocessing import connection, get_context, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

from roi_cls.base.closing import Closing
from roi_cls.base.errors import RoiClsError
from roi_cls.base.machine import keep_freed_memory

Item = TypeVar("Item")
Result = TypeVar("Result")
State = AbstractContextManager[Callable[[Item], Result]]
"""A worker's resources: entered once in the worker, gives the function that does the work."""

CHUNK = 8
"""Items sent to a worker at once: few enough to share the work evenly, more than one in flight."""
WINDOW = 64
"""Items per worker that may be done ahead of the one that is due: bounds the memory."""
STOP_S = 0.1
"""How soon ``stop`` is heard."""
LEAVING_S = 2.0
"""How long a worker in the middle of an item may take to end it, before it is killed."""


@dataclass(slots=True)
class _Worker(Generic[Item]):
    process: BaseProcess
    pipe: Connection
    todo: deque[tuple[int, Item]] = field(default_factory=deque)
    """Sent and not yet answered, in order."""


class WorkerPool(Closing, Generic[Item, Result]):
    """Spawned processes that each enter ``make_state()`` and map items to results.

    Spawned, because MediaPipe hangs in forked ones. An expected error that is raised in a worker
    ends the run and is raised here; so does any other exception, as a ``RuntimeError``.
    """

    def __init__(
        self,
        workers: int,
        make_state: Callable[[], State[Item, Result]],
        on_death: Callable[[Item, int | None], Result],
    ) -> None:
        """Start nothing yet.

        Args:
            workers: Number of processes.
            make_state: Called in each worker; picklable.
            on_death: Makes the result of an item during which a worker died, from its exit code.
        """
        if workers < 1:
            raise ValueError(f"workers must be at least 1, got {workers}")
        self._count = workers
        self._make_state = make_state
        self._on_death = on_death
        self._context = get_context("spawn")
        self._workers: list[_Worker[Item]] = []
        self._is_stopped = False

    def map(self, items: Iterable[Item]) -> Iterator[Result]:
        """Yield the result of each item, in order; items are taken as they are needed."""
        coming = enumerate(items)
        waiting: deque[tuple[int, Item]] = deque()
        done: dict[int, Result] = {}
        due = 0
        while not self._is_stopped:
            self._hand_out(coming, waiting, due + WINDOW * self._count)
            if not waiting and not any(worker.todo for worker in self._workers):
                return
            self._receive(done, waiting)
            while due in done:
                yield done.pop(due)
                due += 1

    def stop(self) -> None:
        """Let a ``map`` that runs in another thread end, without the results that are missing."""
        self._is_stopped = True

    def close(self) -> None:
        """End the workers; those in the middle of an item end it, or are killed if that is long."""
        for worker in self._workers:
            if worker.todo:
                worker.process.terminate()
            worker.pipe.close()  # an idle worker reads the end of its input and leaves
        end = time.monotonic() + LEAVING_S
        for worker in self._workers:
            worker.process.join(max(0.0, end - time.monotonic()))
            if worker.process.is_alive():  # it hangs where no signal of Python's reaches it
                worker.process.kill()
                worker.process.join()
        self._workers.clear()

    def _start(self) -> _Worker[Item]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_serve, args=(theirs, self._make_state), name="roi-cls-worker", daemon=True
        )
        with _interrupts_held():
            process.start()
        theirs.close()
        return _Worker(process, ours)

    def _hand_out(
        self, coming: Iterator[tuple[int, Item]], waiting: deque[tuple[int, Item]], end: int
    ) -> None:
        """Send the next items below ``end`` to the workers that have none."""
        for place in range(self._count):
            if place < len(self._workers) and self._workers[place].todo:
                continue
            waiting.extend(itertools.islice(coming, max(0, CHUNK - len(waiting))))
            if not waiting or waiting[0][0] >= end:
                return
            if place == len(self._workers):
                self._workers.append(self._start())
            self._send(place, waiting)

    def _send(self, place: int, waiting: deque[tuple[int, Item]]) -> None:
        worker = self._workers[place]
        while waiting and len(worker.todo) < CHUNK:
            worker.todo.append(waiting.popleft())
        try:
            worker.pipe.send([item for _, item in worker.todo])
        except (BrokenPipeError, ConnectionResetError):  # it died idle: no item is to blame
            self._workers[place] = self._replace(worker, waiting)

    def _receive(self, done: dict[int, Result], waiting: deque[tuple[int, Item]]) -> None:
        busy = {worker.pipe: i for i, worker in enumerate(self._workers) if worker.todo}
        if not busy:  # every worker was just replaced; wait() for nothing would not return
            return
        for pipe in connection.wait(list(busy), STOP_S):
            place = busy[pipe]  # type: ignore[index]  # wait() is typed for handles of any kind
            worker = self._workers[place]
            try:
                answer = worker.pipe.recv()
            except (EOFError, ConnectionResetError):
                index, item = worker.todo.popleft()
                worker.process.join()
                done[index] = self._on_death(item, worker.process.exitcode)
                self._workers[place] = self._replace(worker, waiting)
                continue
            if isinstance(answer, BaseException):
                raise answer
            done[worker.todo.popleft()[0]] = answer

    def _replace(self, dead: _Worker[Item], waiting: deque[tuple[int, Item]]) -> _Worker[Item]:
        """Give the items that the worker has not begun back to the queue."""
        dead.process.join()
        dead.pipe.close()
        waiting.extendleft(reversed(dead.todo))
        return self._start()


@contextlib.contextmanager
def in_worker(
    make_state: Callable[[], State[Item, Result]],
) -> Iterator[Callable[[Item], Result]]:
    """Give a state that decodes pictures to one of several workers: one core, freed memory kept."""
    import cv2

    keep_freed_memory()
    cv2.setNumThreads(1)
    with make_state() as work:
        yield work


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Start processes deaf to Ctrl-C: until they could ignore it, they would print a traceback."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # its own start, inside the first process's, unblocks SIGINT
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: Connection, make_state: Callable[[], State[Item, Result]]) -> None:
    """Run in a worker: answer each item until the parent closes the pipe or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    is_stopped = threading.Event()
    # Between two items: in the middle of one, a file that is half written would be left behind.
    signal.signal(signal.SIGTERM, lambda number, frame: is_stopped.set())
    try:
        with make_state() as work:
            while items := _receive_items(pipe):
                for item in items:
                    if is_stopped.is_set() or not _answer(pipe, work(item)):
                        return
    except RoiClsError as error:
        _answer(pipe, error)
    except Exception as error:  # reason: only this tells the parent of a fault of ours
        # Raised there and here, never passed over. As text: an exception may not survive pickling,
        # and the traceback would not.
        _answer(pipe, RuntimeError(f"A worker process failed.\n{traceback.format_exc()}"))
        raise SystemExit(1) from error


def _receive_items(pipe: Connection) -> Any:
    """Return the next items to do; empty: the parent has closed the pipe or is gone."""
    try:
        return pipe.recv()
    except (EOFError, ConnectionResetError):
        return []


def _answer(pipe: Connection, answer: object) -> bool:
    """Send an answer; return False where the parent is gone."""
    try:
        pipe.send(answer)
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True
