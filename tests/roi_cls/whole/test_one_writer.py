"""Each command that writes into a run is refused while somebody else does; readers are not."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.writing import LOCK_NAME, hold_run
from roi_cls.python.estimator import RoiClassifier

Command = Callable[..., CompletedProcess[str]]
_WRITERS = (
    "train",
    "train --resume",
    "evaluate",
    "report",
    "export",
    "ensemble",
    "compare",
    "ablate",
)
_HOLD = """
import sys, time
from pathlib import Path
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.writing import hold_run
with hold_run(RunFolder(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def runs(tiny_runs: Path, tmp_path: Path) -> Path:
    """Two copies of a finished run, ``tiny`` and ``other``."""
    shutil.copytree(tiny_runs / "tiny", tmp_path / "runs" / "tiny")
    shutil.copytree(tiny_runs / "tiny", tmp_path / "runs" / "other")
    return tmp_path / "runs"


def words(
    what: str, data: Path, runs: Path, arguments: list[str], run: str = "tiny"
) -> list[object]:
    cache = ["--cache", runs.parent / "cache", "--workers", "0"]
    name = ["--runs", runs, "--run", run]
    quick = ["--workers", "0", *cache[:2], "--epochs", "1", "--device", "cpu"]
    return {
        "train": ["train", data, *name, *arguments, *cache[:2]],
        "train --resume": ["train", data, *name, *arguments, *cache[:2], "--resume"],
        "evaluate": ["evaluate", data, *name, *cache, "--device", "cpu"],
        "report": ["report", *name, *cache, "--device", "cpu", "--no-pictures", "--no-audit"],
        "export": ["export", *name, "--format", "timm"],
        "ensemble": ["ensemble", "--run", "tiny", "--run", "other", "--name", run, "--runs", runs],
        "compare": ["compare", data, "--recipes", "classical", "--output", runs / run, *quick],
        "ablate": ["ablate", data, "--output", runs / run, *quick],
    }[what]


@pytest.mark.parametrize("what", _WRITERS)
def test_writer_is_refused_while_another_writes(
    what: str, command: Command, tiny_set: Path, runs: Path, tiny_train_arguments: list[str]
) -> None:
    before = sorted(runs.rglob("*"))
    with hold_run(RunFolder(runs / "tiny")):
        done = command(*words(what, tiny_set, runs, tiny_train_arguments))
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"error: Cannot write into {str(runs / 'tiny')!r}: it is in use by ")
    assert f"(process {os.getpid()} on " in last
    assert last.endswith("another name (--run, --output) makes a run beside it.")
    assert sorted(runs.rglob("*")) == before


def test_readers_need_no_lock(command: Command, tiny_set: Path, runs: Path) -> None:
    picture = next(iter(sorted(tiny_set.rglob("*.png"))))
    name = ["--runs", runs, "--run", "tiny", "--device", "cpu"]
    with hold_run(RunFolder(runs / "tiny")):
        for each in (["predict", picture, *name], ["verify", "tiny", "--runs", runs]):
            done = command(*each)
            assert done.returncode == 0, done.stderr


def test_estimator_is_refused_while_another_writes(tiny_set: Path, tmp_path: Path) -> None:
    pictures = sorted(tiny_set.rglob("*.png"))
    classifier = RoiClassifier("test_efficientnet", weights="none", crop="full", run=tmp_path / "r")
    with (
        hold_run(RunFolder(tmp_path / "r")),
        pytest.raises(Exception, match=f"in use by .*process {os.getpid()} on ") as caught,
    ):
        classifier.fit(pictures, [path.parent.name for path in pictures])
    assert type(caught.value).__name__ == "RunInUseError"


def test_writer_that_was_killed_keeps_nobody_out(
    command: Command, tiny_set: Path, tiny_train_arguments: list[str], tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    holding = [sys.executable, "-c", _HOLD, str(runs / "first")]
    arguments = words("train", tiny_set, runs, tiny_train_arguments, "first")
    with subprocess.Popen(holding, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        done = command(*arguments)
        assert done.returncode == 1
        assert f"(process {holder.pid} on " in done.stderr
        os.kill(holder.pid, signal.SIGKILL)
    assert (runs / "first" / LOCK_NAME).exists()
    done = command(*arguments)
    assert done.returncode == 0, done.stderr
    assert not (runs / "first" / LOCK_NAME).exists()
    assert (runs / "first" / "config.json").exists()
