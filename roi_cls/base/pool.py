"""Worker processes that survive each other: results in order of input, a dead worker is replaced.

The work is a picklable function that makes a worker's state, and the one that this gives. What it
does is not known here, but that most of it decodes pictures.

A worker is a new Python that imports this module and what the work names, never the program that
runs: no script needs a guard, none is run twice, and there need not be a file of it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from multiprocessing import connection, spawn
from multiprocessing.connection import Connection
from typing import IO, Any, Generic, TypeVar

from roi_cls.base.closing import Closing
from roi_cls.base.errors import RoiClsError, WorkerError
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
MOST_FAILED_STARTS = 3
"""In a row; a machine short of memory may need a second try."""
_PROGRAM = """\
import os, sys
from multiprocessing import connection
name = "PipeConnection" if sys.platform == "win32" else "Connection"
pipe = getattr(connection, name)(int(sys.argv[1]))
sys.path[:], sys.argv[:] = pipe.recv()
from roi_cls.base.pool import serve
serve(pipe, lambda: os.dup2(1, 2))
"""
"""What a worker runs: it looks for modules where its parent does."""
_READY = "ready"
"""A worker's first answer, once it has its state."""


@dataclass(slots=True)
class _Worker(Generic[Item]):
    process: subprocess.Popen[bytes]
    pipe: Connection
    said: IO[bytes] | None
    """What it wrote on stderr until it was ready; None: that was not kept."""
    is_ready: bool = False
    todo: deque[tuple[int, Item]] = field(default_factory=deque)
    """Sent and not yet answered, in order."""


class WorkerPool(Closing, Generic[Item, Result]):
    """Processes that each enter ``make_state()`` and map items to results.

    Started anew, because MediaPipe hangs in forked ones. An expected error that is raised in a
    worker ends the run and is raised here; so does any other exception, as a ``RuntimeError``, and
    a worker that cannot start, as a ``WorkerError``: no item is to blame for that.
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
            make_state: Called in each worker; picklable, and of modules that can be imported.
            on_death: Makes the result of an item during which a worker died, from its exit code.
        """
        if workers < 1:
            raise ValueError(f"workers must be at least 1, got {workers}")
        self._count = workers
        self._make_state = make_state
        self._on_death = on_death
        self._workers: list[_Worker[Item]] = []
        self._failed_starts = 0
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
            try:
                worker.process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:  # it hangs where no signal of Python's reaches it
                worker.process.kill()
                worker.process.wait()
            _let_go_of_words(worker)
        self._workers.clear()

    def _start(self) -> _Worker[Item]:
        ours, theirs = connection.Pipe()
        said = _words_file()
        try:
            with theirs:
                process = _start_python(theirs, said)
        except WorkerError:
            ours.close()
            if said is not None:
                said.close()
            raise
        worker: _Worker[Item] = _Worker(process, ours, said)
        try:
            ours.send((sys.path, sys.argv))
            ours.send(self._make_state)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it is dead, which is seen when an answer is waited for
        except BaseException:  # reason: what makes the state cannot travel; raised again
            process.kill()
            process.wait()
            ours.close()
            _let_go_of_words(worker)
            raise
        return worker

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
            self._replace(place, waiting)

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
                if worker.is_ready:
                    index, item = worker.todo.popleft()
                    done[index] = self._on_death(item, worker.process.wait())
                self._replace(place, waiting)
                continue
            if isinstance(answer, BaseException):
                raise answer
            if worker.is_ready:
                done[worker.todo.popleft()[0]] = answer
            else:
                self._welcome(worker)

    def _welcome(self, worker: _Worker[Item]) -> None:
        worker.is_ready, self._failed_starts = True, 0
        if words := _let_go_of_words(worker):
            sys.stderr.write(words)

    def _replace(self, place: int, waiting: deque[tuple[int, Item]]) -> None:
        """Start another in place of a dead one; what that has not begun goes back to the queue.

        Raises:
            WorkerError: One after the other died before it was ready.
        """
        dead = self._workers[place]
        exit_code = dead.process.wait()
        dead.pipe.close()
        waiting.extendleft(reversed(dead.todo))
        dead.todo.clear()
        words = _let_go_of_words(dead)
        if not dead.is_ready:
            self._failed_starts += 1
            if self._failed_starts >= MOST_FAILED_STARTS:
                raise WorkerError(exit_code, words)
        self._workers[place] = self._start()


def _words_file() -> IO[bytes] | None:
    try:
        return tempfile.TemporaryFile()
    except OSError:  # there is no folder for it: what a worker says then goes where ours does
        return None


def _let_go_of_words(worker: _Worker[Any]) -> str:
    """Return what the worker said before it was ready; the first time alone."""
    if worker.said is None:
        return ""
    with worker.said as said:
        worker.said = None
        said.seek(0)
        return said.read().decode(errors="replace")


def _start_python(pipe: Connection, said: IO[bytes] | None) -> subprocess.Popen[bytes]:
    """Start a Python of its own that serves the other end of ``pipe``.

    What it prints belongs on our stderr, whatever the stream: stdout is for results. Until it is
    ready its stderr is ``said``, if there is one, so that it can be told why it could not start.
    """
    if getattr(sys, "frozen", False):  # a program in one file, which has no Python to start
        raise WorkerError(None, "this program is frozen and cannot start a Python")
    try:
        os.fstat(2)
        stderr = 2
    except OSError:  # ours is closed
        stderr = subprocess.DEVNULL
    python = os.fsdecode(spawn.get_executable() or sys.executable)
    flags = ["-P", f"-Xutf8={sys.flags.utf8_mode}", *(f"-W{one}" for one in sys.warnoptions)]
    options: dict[str, Any] = {"pass_fds": [pipe.fileno()]}
    if sys.platform == "win32":
        os.set_handle_inheritable(pipe.fileno(), True)
        inherited = {"handle_list": [pipe.fileno()]}
        options = {"startupinfo": subprocess.STARTUPINFO(lpAttributeList=inherited)}
    try:
        with _interrupts_held():
            return subprocess.Popen(
                [python, *flags, "-c", _PROGRAM, str(pipe.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr if said is None else said,
                **options,
            )
    except OSError as error:
        raise WorkerError(None, f"{python}: {error.strerror or error}") from error


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
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def serve(pipe: Connection, on_ready: Callable[[], object] = lambda: None) -> None:
    """Run in a worker: answer each item until the parent closes the pipe or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    is_stopped = threading.Event()
    # Between two items: in the middle of one, a file that is half written would be left behind.
    signal.signal(signal.SIGTERM, lambda number, frame: is_stopped.set())
    try:
        with _receive_state(pipe)() as work:
            on_ready()
            if not _answer(pipe, _READY):
                return
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


def _receive_state(pipe: Connection) -> Callable[[], State[Any, Any]]:
    """Return what makes the worker's state.

    Raises:
        WorkerError: It is of the parent's own program, which is not imported here.
    """
    try:
        state: Callable[[], State[Any, Any]] = pipe.recv()
    except (EOFError, ConnectionResetError):
        raise SystemExit from None  # the parent is gone
    except (AttributeError, ImportError) as error:
        raise WorkerError(
            None,
            f"{error}; what workers use must stand in a module that can be imported, not in the "
            "script or notebook itself",
        ) from error
    return state


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
