"""Ctrl-C and kill in the middle of real work: nothing is torn, and the next call makes it whole.

The signal goes to the whole process group, as a terminal sends it.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.helpers.pictures import encode, noise
from tests.helpers.stored import stored_crops

Command = Callable[..., CompletedProcess[str]]
PATIENCE_S = 120  # far more than is needed, on a machine that does other things, too
VARYING = ("seconds", "images_per_second")


def interrupt(
    words: list[str], is_time: Callable[[], bool], number: signal.Signals = signal.SIGINT
) -> CompletedProcess[str]:
    """Run the command, signal its process group once ``is_time()``, return how it ended."""
    with subprocess.Popen(
        [sys.executable, "-m", "roi_cls", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + PATIENCE_S
        while process.poll() is None and not is_time():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert process.poll() is None, "it ended before it was interrupted"
        os.killpg(process.pid, number)
        stdout, stderr = process.communicate(timeout=PATIENCE_S)
    return CompletedProcess(words, process.returncode, stdout, stderr)


def assert_interrupted(done: CompletedProcess[str]) -> None:
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.splitlines()[-1] == (
        "Interrupted. Finished crops and epochs are kept; run it again (train with --resume)."
    )
    assert "Traceback" not in done.stderr
    assert "KeyboardInterrupt" not in done.stderr


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 pictures that take 20 ms each to decode; they differ in what follows the pixels."""
    folder = tmp_path_factory.mktemp("photos")
    data = encode(noise(900, 900, 3), compress_level=1)
    for i in range(60):
        (folder / f"{i:02}.png").write_bytes(data + bytes([i]))
    return folder


def crop_words(photos: Path, cache: Path, workers: int) -> list[str]:
    places = ["--cache", str(cache), "--workers", str(workers), "--manifest", f"{cache}.jsonl"]
    return ["crops", str(photos), "--crop", "full", "--size", "64", *places, "--json"]


def crop_files(cache: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in stored_crops(cache)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workers", "number"),
    [(0, signal.SIGINT), (2, signal.SIGINT), (2, signal.SIGKILL)],
    ids=["one process", "workers", "killed"],
)
def test_interrupted_crops_are_kept_and_the_next_call_ends_like_one_that_was_not(
    command: Command, photos: Path, tmp_path: Path, workers: int, number: signal.Signals
) -> None:
    cache = tmp_path / "cache"
    words = crop_words(photos, cache, workers)
    manifest = tmp_path / "cache.jsonl"
    manifest.write_text("old")
    done = interrupt(words, lambda: len(stored_crops(cache)) >= 3, number)
    if number == signal.SIGINT:
        assert_interrupted(done)
        assert not list(tmp_path.rglob(".tmp-*"))
    assert manifest.read_text() == "old"
    kept = len(crop_files(cache))
    assert 3 <= kept < 60
    whole = command(*crop_words(photos, tmp_path / "other", 0))
    again = command(*crop_words(photos, cache, 0))
    summary = json.loads(again.stdout)
    assert again.returncode == whole.returncode == 0
    assert (summary["images"], summary["errors"]) == (60, 0)
    assert summary["cropped"] <= 60 - kept + 1  # of one, the detection may be there and no crop
    assert crop_files(cache) == crop_files(tmp_path / "other")
    assert manifest.read_bytes() == (tmp_path / "other.jsonl").read_bytes()
    assert manifest.read_bytes().count(b"\n") == 60


def read_lines(run: Path) -> list[dict[str, Any]]:
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return [{name: row[name] for name in row if name not in VARYING} for row in rows]


def count_lines(run: Path) -> int:
    metrics = run / "metrics.jsonl"
    return metrics.read_bytes().count(b"\n") if metrics.exists() else 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "killed"])
def test_interrupted_training_resumes_and_ends_like_one_that_was_not(
    command: Command,
    tiny_set: Path,
    tiny_train_arguments: list[str],
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    runs = tmp_path / "runs"
    places = ["--runs", str(runs), "--cache", str(tmp_path / "cache")]
    words = ["train", str(tiny_set), *tiny_train_arguments, *places, "--epochs", "12"]
    words += ["--patience", "0", "--run"]
    done = interrupt([*words, "torn"], lambda: count_lines(runs / "torn") >= 2, number)
    if number == signal.SIGINT:
        assert_interrupted(done)
        assert "\nTo go on: the same command with --run torn --resume.\n" in done.stderr
        assert not list(runs.rglob(".tmp-*"))
    lines = count_lines(runs / "torn")
    assert 2 <= lines < 12
    refused = command("predict", "x.png", "--run", "torn", "--runs", runs)
    assert refused.returncode == 1
    assert "it is not finished; go on with `roi-cls train DATA --run " in refused.stderr
    resumed = command(*words, "torn", "--resume")
    whole = command(*words, "whole")
    assert (resumed.returncode, whole.returncode) == (0, 0), resumed.stderr
    assert resumed.stderr.count("\nepoch ") <= 12 - lines + 1  # what was done is not done again
    assert read_lines(runs / "torn") == read_lines(runs / "whole")
    configs = [json.loads((runs / name / "config.json").read_text()) for name in ("torn", "whole")]
    assert configs[0]["roi_cls"] == configs[1]["roi_cls"]
