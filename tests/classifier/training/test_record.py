"""What a run's record says, with and without a repository, epochs, GPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from roi_cls.base.errors import BundleError
from roi_cls.classifier.models.device import choose_backend
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.training.logs import draw_curves
from roi_cls.classifier.training.record import RunRecord, describe_git, read_metrics


def test_run_leaves_its_record(toy_run: RunFolder) -> None:
    record = json.loads(toy_run.record.read_text())
    rows = read_metrics(toy_run.metrics)
    assert record["backend"] == "cpu (fp32)"
    assert record["batch_size"] == 8
    assert record["epochs"] == len(rows) == 2
    assert record["train_seconds"] == pytest.approx(sum(row["seconds"] for row in rows), abs=0.002)
    assert record["images_per_second"] > 0
    assert record["steps"] >= 4
    assert record["metric"] == "average_precision"
    assert 90_000 < record["parameters"] < 110_000
    assert record["peak_memory_bytes"] > 50 * 2**20
    assert record["peak_gpu_memory_bytes"] is None
    assert record["processes"] == 1
    assert record["command"] == sys.argv
    assert {"torch", "timm", "roi-cls", "python"} <= record["versions"].keys()
    assert record["machine"]["cores"] >= 1
    assert record["started"].endswith("+00:00")


@pytest.mark.parametrize("text", ['{"epoch": 1, "be', "[1]", '{"epoch": 1}', "\xff"])
def test_damaged_course_of_training_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(BundleError, match=r"Cannot read .*metrics.jsonl', the course of the train"):
        read_metrics(path)


def test_seconds_are_counted_from_the_beginning(tmp_path: Path) -> None:
    times = iter([100.0, 107.5])
    record = RunRecord(clock=lambda: next(times))
    record.add("steps", 3)
    record.write(tmp_path / "record.json", tmp_path / "absent", choose_backend("cpu", "fp32"))
    facts = json.loads((tmp_path / "record.json").read_text())
    assert (facts["seconds"], facts["steps"], facts["epochs"]) == (7.5, 3, 0)
    assert facts["images_per_second"] is None


def _git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True)


def test_git_state_is_commit_and_whether_it_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    folder = tmp_path / "code"
    folder.mkdir()
    assert describe_git(folder) is None
    _git(folder, "init")
    (folder / "a").write_text("1")
    _git(folder, "add", "a")
    _git(folder, "commit", "-m", "first")
    state = describe_git(folder)
    assert state is not None
    assert len(state["commit"]) == 40
    assert state["dirty"] is False
    (folder / "sheet.jpg").write_text("not the code's")
    assert describe_git(folder) == state
    (folder / "a").write_text("2")
    assert describe_git(folder) == {"commit": state["commit"], "dirty": True}


def test_machine_without_git_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert describe_git(tmp_path) is None


@pytest.mark.parametrize("epochs", [1, 2, 40])
def test_curves_are_drawn_of_any_number_of_epochs(tmp_path: Path, epochs: int) -> None:
    rows = [
        {
            "epoch": i + 1,
            "phase": "head" if i < 2 else "all",
            "lr": 0.001 * (epochs - i),
            "train_loss": 1 / (i + 1),
            "validation_loss": 0.5 + 0.01 * i,
            "average_precision": 0.5,
            "roc_auc": 0.6,
            "best": i < 3,
        }
        for i in range(epochs)
    ]
    draw_curves(rows, tmp_path / "curves.png", "run: model")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_run_leaves_its_curves(toy_run: RunFolder) -> None:
    assert toy_run.curves.read_bytes().startswith(b"\x89PNG")
