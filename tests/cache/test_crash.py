"""Real runs of `roi-cls crops` that are killed, interrupted, doubled or out of space."""

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

import cv2
import numpy as np
import pytest

from roi_cls.roi.models import resolve_models

PICTURES = 60
WORKERS = pytest.mark.parametrize("workers", [0, 2])
Command = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    resolve_models("auto")
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for i in range(PICTURES):
        cv2.imwrite(str(folder / f"{i:02}.png"), random.integers(100, 150, (320, 320, 3), np.uint8))
        os.utime(folder / f"{i:02}.png", (1_600_000_000, 1_600_000_000))
    return folder


@pytest.fixture(scope="module")
def whole_tree(
    pictures: Path, command: Command, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """What an undisturbed run leaves."""
    cache = tmp_path_factory.mktemp("whole")
    assert finish(command, pictures, cache)["cropped"] == PICTURES
    return read_tree(cache)


def read_tree(folder: Path) -> dict[str, bytes]:
    """Return every file but the index; drafts that a killed process left are not part of it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "index.sqlite" not in path.name and path.parent.name != "drafts"
    }


def finish(command: Command, pictures: Path, cache: Path) -> dict[str, Any]:
    done = command("crops", pictures, "--cache", cache, "--size", 32, "--workers", 0, "--json")
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    assert (summary["images"], summary["errors"]) == (PICTURES, 0)
    return summary


def start(pictures: Path, cache: Path, workers: int, **settings: Any) -> Popen[str]:
    words = ["crops", pictures, "--cache", cache, "--size", 32, "--workers", workers]
    return Popen(
        [sys.executable, "-m", "roi_cls", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **settings,
    )


def wait_for(process: Popen[str], cache: Path, pattern: str, count: int) -> None:
    deadline = time.monotonic() + 60
    while sum(1 for _ in cache.rglob(pattern)) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)


def end(process: Popen[str], number: signal.Signals) -> tuple[int, str]:
    """Send a signal to the process and its workers; return exit code and stderr."""
    os.killpg(process.pid, number)
    _, stderr = process.communicate(timeout=30)
    return process.returncode, stderr


@WORKERS
def test_killed_run_is_continued_to_the_same_files(
    pictures: Path, whole_tree: dict[str, bytes], command: Command, tmp_path: Path, workers: int
) -> None:
    process = start(pictures, tmp_path, workers)
    wait_for(process, tmp_path, "*.npy", 6)
    assert end(process, signal.SIGKILL)[0] == -signal.SIGKILL
    kept = sum(1 for _ in tmp_path.rglob("*.npy"))
    assert 6 <= kept < PICTURES
    summary = finish(command, pictures, tmp_path)
    assert summary["cropped"] == PICTURES - kept
    assert summary["reused"] == kept or summary["detected"] <= PICTURES - kept
    assert read_tree(tmp_path) == whole_tree


@WORKERS
def test_interrupted_run_ends_quietly_and_is_continued(
    pictures: Path, whole_tree: dict[str, bytes], command: Command, tmp_path: Path, workers: int
) -> None:
    process = start(pictures, tmp_path, workers)
    wait_for(process, tmp_path, "*.npy", 6)
    code, stderr = end(process, signal.SIGINT)
    assert code == 130
    assert "Traceback" not in stderr
    assert finish(command, pictures, tmp_path)["cropped"] < PICTURES
    assert read_tree(tmp_path) == whole_tree


@pytest.mark.parametrize("delay_s", [0.1, 0.3])
def test_interrupt_while_workers_start_ends_quietly(
    pictures: Path, tmp_path: Path, delay_s: float
) -> None:
    process = start(pictures, tmp_path, 2)
    wait_for(process, tmp_path, "index.sqlite-wal", 1)
    time.sleep(delay_s)
    code, stderr = end(process, signal.SIGINT)
    assert code == 130
    assert "Traceback" not in stderr


def test_workers_leave_when_their_parent_is_killed(pictures: Path, tmp_path: Path) -> None:
    process = start(pictures, tmp_path, 2)
    wait_for(process, tmp_path, "*.npy", 1)
    process.kill()
    _, stderr = process.communicate(timeout=30)  # the workers hold its pipes until they leave
    assert "Traceback" not in stderr


def test_two_runs_fill_one_cache_at_once(
    pictures: Path, whole_tree: dict[str, bytes], tmp_path: Path
) -> None:
    runs = [start(pictures, tmp_path, 0) for _ in range(2)]
    ends = [(run.communicate(timeout=120)[1], run.returncode) for run in runs]
    assert ends == [("", 0), ("", 0)]
    assert read_tree(tmp_path) == whole_tree
    assert list(tmp_path.rglob(".tmp-*")) == []


def _limit_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))  # a crop of 32 px has 3.2 kB


@WORKERS
def test_file_that_does_not_fit_ends_the_run_with_one_line(
    pictures: Path, whole_tree: dict[str, bytes], command: Command, tmp_path: Path, workers: int
) -> None:
    process = start(pictures, tmp_path, workers, preexec_fn=_limit_files)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (1, "")
    assert stderr.startswith(f"error: Cannot write '{tmp_path}/")
    assert stderr.endswith(
        ".npy': File too large. Free space or give another folder (for crops with --cache DIR), "
        "then run the same command again: what is finished is kept.\n"
    )
    assert stderr.count("\n") == 1
    if not workers:  # others are stopped in the middle of a write
        assert list(tmp_path.rglob(".tmp-*")) == []
    finish(command, pictures, tmp_path)
    assert read_tree(tmp_path) == whole_tree
