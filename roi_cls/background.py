"""A function that runs beside the others, in a thread that nobody waits for at the exit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

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
