"""Work in a thread of its own: waited for by nobody at the exit, or done ahead of its use."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Full, Queue
from typing import Generic, TypeVar

Result = TypeVar("Result")


def run_in_background(function: Callable[[], Result]) -> Future[Result]:
    """Start the function in a thread; the future gives its result or raises what it raised.

    Not by an executor: Python waits at its exit for an executor's threads, so that Ctrl-C would
    take as long as the slowest server.
    """
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001  (handed over: the future raises it)
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


Item = TypeVar("Item")
POLL_S = 0.1
"""How soon the thread sees that the rest is not wanted."""
PATIENCE_S = 2.0
"""How long it is waited for then; it may itself wait for a server, and ends with the process."""


@dataclass(frozen=True, slots=True)
class _End:
    error: BaseException | None = None
    """What ended it early."""


def take_ahead(items: Iterable[Item], most: int, stop: Callable[[], None]) -> Iterator[Item]:
    """Yield the items in order; up to ``most`` of them are made in a thread before they are due.

    What ``items`` raises is raised in its place.

    Args:
        items: Used by that thread alone.
        most: How many are made ahead, at least 1.
        stop: Called, in the caller's thread, once no more are wanted; lets ``items`` end soon.
    """
    ahead = _Ahead(items, most)
    ahead.start()
    try:
        while not isinstance(item := ahead.queue.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        ahead.is_stopped = True
        stop()
        ahead.join(PATIENCE_S)


class _Ahead(threading.Thread, Generic[Item]):
    # A daemon, and not an executor's: for those Python waits at its exit.

    def __init__(self, items: Iterable[Item], most: int) -> None:
        super().__init__(name="roi-cls-ahead", daemon=True)
        self.queue: Queue[Item | _End] = Queue(most)
        self.is_stopped = False
        self._items = items

    def run(self) -> None:
        """Put the items into the queue, then the end."""
        try:
            for item in self._items:
                if not self._put(item):
                    return
            self._put(_End())
        except BaseException as error:  # noqa: BLE001  (handed over: the caller's thread raises it)
            self._put(_End(error))

    def _put(self, item: Item | _End) -> bool:
        """Return whether the item was wanted."""
        while not self.is_stopped:
            try:
                self.queue.put(item, timeout=POLL_S)
            except Full:
                continue
            return True
        return False
