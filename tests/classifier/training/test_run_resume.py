"""Training that is killed with no warning ends, once resumed, in the very same bits."""

import json
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.training.job import Observers, TrainJob
from roi_cls.classifier.training.run import train_run

PROGRAM = Path(__file__).with_name("killed_training.py")
PLACES = [
    "in the first epoch",
    "in the second phase",
    "between best weights and checkpoint",
    "before the bundle",
    "after the bundle",
]
SETTINGS: dict[str, Any] = {
    "epochs": 5,
    "head_epochs": 1,
    "batch_size": 4,
    "accumulate": 2,
    "augmentation": "strong",
    "mixup": 0.3,
    "drop_rate": 0.3,
    "ema": 0.8,
    "schedule": "plateau",
    "layer_decay": 0.8,
}


def _metrics(run: RunFolder) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    return [{k: v for k, v in row.items() if "second" not in k} for row in rows]


@pytest.fixture(scope="module")
def whole(
    toy_set: Path, make_job: Callable[..., TrainJob], tmp_path_factory: pytest.TempPathFactory
) -> TrainJob:
    """A job on ``toy_set`` and its undisturbed run."""
    job = make_job(toy_set, tmp_path_factory.mktemp("resume") / "whole", **SETTINGS)
    train_run(job, Observers())
    return job


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_killed_training_resumes_bit_for_bit(whole: TrainJob, tmp_path: Path, place: str) -> None:
    job = replace(whole, run=RunFolder(tmp_path / "cut"), resume=True)
    (tmp_path / "job").write_bytes(pickle.dumps(job))
    words = [sys.executable, str(PROGRAM), str(tmp_path / "job"), place]
    killed = subprocess.run(words, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert job.run.is_finished == (place == "after the bundle")
    assert train_run(job, Observers()).trained == (place != "after the bundle")
    for name in ("model.safetensors", "config.json", "split.csv", "scores_validation.csv"):
        assert (job.run.path / name).read_bytes() == (whole.run.path / name).read_bytes(), name
    assert _metrics(job.run) == _metrics(whole.run)
    assert not job.run.checkpoint.exists()
    assert not job.run.best.exists()
