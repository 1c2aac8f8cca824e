"""Items are made ahead in a thread: in order, not too many, and errors come where they belong."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from roi_cls.base import background
from roi_cls.base.background import take_ahead


def _nothing() -> None:
    pass


class Numbers:
    """Counts from 0, and how far it was asked to."""

    def __init__(self, fail_at: int = -1) -> None:
        self.made = 0
        self.threads = set[str]()
        self._fail_at = fail_at

    def __iter__(self) -> Iterator[int]:
        while self.made != self._fail_at:
            self.threads.add(threading.current_thread().name)
            yield self.made
            self.made += 1
        raise LookupError("no more")


def _wait_until(is_so: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not is_so() and time.monotonic() < end:
        time.sleep(0.005)


def test_items_come_in_order_from_one_other_thread() -> None:
    numbers = Numbers()
    ahead = take_ahead(numbers, 3, _nothing)
    assert [next(ahead) for _ in range(50)] == list(range(50))
    ahead.close()  # type: ignore[attr-defined]  # a generator
    assert numbers.threads == {"roi-cls-ahead"}


def test_no_more_are_made_than_asked_for() -> None:
    numbers = Numbers()
    ahead = take_ahead(numbers, 3, _nothing)
    assert next(ahead) == 0
    _wait_until(lambda: numbers.made == 4)
    time.sleep(0.05)
    assert numbers.made == 4  # 3 in the queue, and one that waits for its place
    ahead.close()  # type: ignore[attr-defined]  # a generator


def test_error_comes_after_the_items_before_it() -> None:
    ahead = take_ahead(Numbers(fail_at=5), 2, _nothing)
    assert [next(ahead) for _ in range(5)] == list(range(5))
    with pytest.raises(LookupError, match="no more"):
        next(ahead)


def test_end_ends_the_thread() -> None:
    before = threading.active_count()
    assert list(take_ahead(range(20), 4, _nothing)) == list(range(20))
    assert threading.active_count() == before


def test_stop_is_called_once_no_more_are_wanted_and_the_thread_ends() -> None:
    stopped: list[str] = []
    before = threading.active_count()
    ahead = take_ahead(Numbers(), 2, lambda: stopped.append(threading.current_thread().name))
    next(ahead)
    assert stopped == []
    ahead.close()  # type: ignore[attr-defined]  # a generator
    assert stopped == [threading.main_thread().name]
    assert threading.active_count() == before


def test_thread_that_waits_for_a_server_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "THREAD_PATIENCE_S", 0.05)
    server = threading.Event()

    def slow() -> Iterator[int]:
        yield 0
        server.wait(30)
        yield 1

    ahead = take_ahead(slow(), 2, _nothing)
    assert next(ahead) == 0
    begin = time.monotonic()
    ahead.close()  # type: ignore[attr-defined]  # a generator
    assert time.monotonic() - begin < 5
    server.set()
