"""Real runs of `roi-cls crops` that are killed, run beside each other, or out of space.

Those that are interrupted: ``test_interrupt.py``.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess, Popen
from typing import Any

import pytest

from roi_cls.cache.index import check_index, find_index
from roi_cls.roi.detection.models import resolve_models
from tests.helpers.pictures import noise, save
from tests.helpers.stored import read_tree, stored_crops

PICTURES = 60
SETTINGS = ("--detector", "short", "--size", 32)
Command = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    resolve_models("short")
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(PICTURES):
        save(folder / f"{i:02}.png", noise(320, 320, 3, low=100, high=150, seed=i))
    return folder


@pytest.fixture(scope="module")
def whole(pictures: Path, command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache that an undisturbed run leaves, and its rows beside it."""
    cache = tmp_path_factory.mktemp("whole") / "cache"
    assert finish(command, pictures, cache)["cropped"] == PICTURES
    return cache


def read_rows(cache: Path) -> list[str]:
    return (cache.parent / "rows.jsonl").read_text().splitlines()


def finish(command: Command, pictures: Path, cache: Path) -> dict[str, Any]:
    """Run to the end in this process; return the summary."""
    places = ("--cache", cache, "--manifest", cache.parent / "rows.jsonl")
    done = command("crops", pictures, *SETTINGS, *places, "--workers", 0, "--json")
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    assert (summary["images"], summary["errors"]) == (PICTURES, 0)
    return summary


def assert_equal_to_whole(cache: Path, whole: Path) -> None:
    assert read_tree(cache) == read_tree(whole)
    assert read_rows(cache) == read_rows(whole)
    assert check_index(find_index(cache))


def start(pictures: Path, cache: Path, workers: int, *more: object, **how: Any) -> Popen[str]:
    words = ["crops", pictures, *SETTINGS, "--cache", cache, "--workers", workers, *more]
    return Popen(
        [sys.executable, "-m", "roi_cls", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **how,
    )


def count_crops(cache: Path) -> int:
    return len(stored_crops(cache))


def wait_until(is_time: Callable[[], bool], process: Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not is_time():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)


def end(process: Popen[str], number: signal.Signals) -> tuple[int, str]:
    """Send a signal to the process and its workers; return exit code and stderr."""
    os.killpg(process.pid, number)
    _, stderr = process.communicate(timeout=30)
    return process.returncode, stderr


@pytest.mark.slow
def test_run_killed_twice_is_continued_to_the_same_files_and_rows(
    pictures: Path, whole: Path, command: Command, tmp_path: Path
) -> None:
    cache, kept = tmp_path / "cache", 0
    for _ in range(2):
        process = start(pictures, cache, 2)
        wait_until(lambda kept=kept: count_crops(cache) >= kept + 6, process)  # type: ignore[misc]  # mypy infers no lambda with a default
        assert end(process, signal.SIGKILL)[0] == -signal.SIGKILL
        assert kept + 6 <= count_crops(cache) < PICTURES
        kept = count_crops(cache)
    summary = finish(command, pictures, cache)
    assert summary["cropped"] == PICTURES - kept
    # Of each process killed, one detection may be there without its crop.
    assert PICTURES - kept - 4 <= summary["detected"] <= PICTURES - kept
    assert_equal_to_whole(cache, whole)
    again = finish(command, pictures, cache)
    assert (again["detected"], again["cropped"], again["reused"]) == (0, 0, PICTURES)


@pytest.mark.slow
@pytest.mark.parametrize("delay_s", [0.1, 0.3])
def test_interrupt_while_workers_start_ends_quietly(
    pictures: Path, tmp_path: Path, delay_s: float
) -> None:
    process = start(pictures, tmp_path, 2)
    wait_until(find_index(tmp_path).with_name("index.sqlite-wal").exists, process)
    time.sleep(delay_s)
    code, stderr = end(process, signal.SIGINT)
    assert code == 130
    assert "Traceback" not in stderr


@pytest.mark.slow
def test_workers_leave_when_their_parent_is_killed(pictures: Path, tmp_path: Path) -> None:
    process = start(pictures, tmp_path, 2)
    wait_until(lambda: count_crops(tmp_path) >= 1, process)
    process.kill()
    _, stderr = process.communicate(timeout=30)  # the workers hold its pipes until they leave
    assert "Traceback" not in stderr


@pytest.mark.slow
def test_four_runs_fill_one_cache_at_once(
    pictures: Path, whole: Path, command: Command, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    tables = [tmp_path / f"{i}.jsonl" for i in range(4)]
    runs = [start(pictures, cache, 0, "--manifest", table) for table in tables]
    ends = [(run.communicate(timeout=120)[1], run.returncode) for run in runs]
    assert [(code, "rror" in stderr) for stderr, code in ends] == [(0, False)] * 4
    assert [table.read_text().splitlines() for table in tables] == [read_rows(whole)] * 4
    assert list(cache.rglob(".tmp-*")) == []
    again = finish(command, pictures, cache)
    assert (again["detected"], again["cropped"], again["reused"]) == (0, 0, PICTURES)
    assert_equal_to_whole(cache, whole)


def _limit_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))  # a crop of 32 px has 3.2 kB


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_file_that_does_not_fit_ends_the_run_with_one_line(
    pictures: Path, whole: Path, command: Command, tmp_path: Path, workers: int
) -> None:
    cache = tmp_path / "cache"
    process = start(pictures, cache, workers, preexec_fn=_limit_files)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (1, "")
    assert stderr.startswith(f"error: Cannot write '{cache}/")
    assert stderr.endswith(
        ".bmp': File too large. Give another folder (for crops with --cache DIR), "
        "then run the same command again: what is finished is kept.\n"
    )
    assert stderr.count("\n") == 1
    if not workers:  # others are stopped in the middle of a write
        assert list(cache.rglob(".tmp-*")) == []
    finish(command, pictures, cache)
    assert_equal_to_whole(cache, whole)
