"""Work in a thread of its own: waited for by nobody at the exit, or done ahead of its use.

Threads of ours and not an executor's: for those Python waits at its exit, so that Ctrl-C would
take as long as the slowest server.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from queue import Full, Queue
from typing import TypeVar

Result = TypeVar("Result")
Item = TypeVar("Item")

POLL_S = 0.1
"""How soon a thread sees that the rest of what it makes ahead is not wanted."""
THREAD_PATIENCE_S = 2.0
"""How long it is waited for then; it may itself wait for a server, and ends with the process."""


def run_in_background(function: Callable[[], Result]) -> Future[Result]:
    """Start the function in a thread; the future gives its result or raises what it raised."""
    return _start(function, "roi-cls-background")[0]


def take_ahead(items: Iterable[Item], most: int, stop: Callable[[], None]) -> Iterator[Item]:
    """Yield the items in order; up to ``most`` of them are made in a thread before they are due.

    What ``items`` raises is raised in its place.

    Args:
        items: Used by that thread alone.
        most: How many are made ahead, at least 1.
        stop: Called, in the caller's thread, once no more are wanted; lets ``items`` end soon.
    """
    ahead: Queue[Item | _End] = Queue(most)
    is_over = threading.Event()

    def put(item: Item | _End) -> bool:
        """Return whether the item was wanted."""
        while not is_over.is_set():
            try:
                ahead.put(item, timeout=POLL_S)
            except Full:
                continue
            return True
        return False

    def make() -> None:
        try:
            all(map(put, items))
        finally:
            put(_End())

    making, thread = _start(make, "roi-cls-ahead")
    try:
        while not isinstance(item := ahead.get(), _End):
            yield item
        making.result()
    finally:
        is_over.set()
        stop()
        thread.join(THREAD_PATIENCE_S)


class _End:
    """Stands behind the last item."""


def _start(function: Callable[[], Result], name: str) -> tuple[Future[Result], threading.Thread]:
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001  # reason: handed over, the future raises it
            future.set_exception(error)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return future, thread
