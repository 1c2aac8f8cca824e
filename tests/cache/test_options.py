"""Settings of a build are checked, and processes are started only where they are worth it."""

import os
from pathlib import Path

import pytest

from roi_cls.cache import options as options_module
from roi_cls.cache.options import WORTH_WORKERS, BuildOptions


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"workers": -1}, "workers must not be negative, got -1"),
        ({"max_pixels": 0}, "max_pixels must be at least 1, got 0"),
    ],
)
def test_bad_value_is_told(given: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        BuildOptions(Path("cache"), **given)  # type: ignore[arg-type]  # whole numbers both


@pytest.mark.parametrize(
    ("workers", "pictures", "count"),
    [
        (0, 10**6, 0),
        (5, 1, 5),
        (None, 0, 0),
        (None, WORTH_WORKERS - 1, 0),
        (None, WORTH_WORKERS, 7),
    ],
)
def test_processes_are_counted(
    monkeypatch: pytest.MonkeyPatch, workers: int | None, pictures: int, count: int
) -> None:
    monkeypatch.setattr(options_module, "available_cores", lambda: 7)
    assert BuildOptions(Path("cache"), workers).worker_count(pictures) == count


def test_cores_are_those_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda who: {0, 3, 5}, raising=False)
    assert BuildOptions(Path("cache")).worker_count(WORTH_WORKERS) == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert BuildOptions(Path("cache")).worker_count(WORTH_WORKERS) == 1
