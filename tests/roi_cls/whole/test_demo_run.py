"""Everything in a row with the real detector: demo set, crops, training, evaluation, prediction."""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.helpers.pictures import backdate
from tests.helpers.stored import PREDICTION_FIELDS

Command = Callable[..., CompletedProcess[str]]
pytestmark = pytest.mark.slow

METRICS = [
    *("roc_auc", "average_precision", "micro_f1", "macro_f1", "balanced_accuracy", "mcc"),
    *("accuracy", "majority_accuracy"),
]
IMAGES = 40


class Demo:
    """The demo set with a run trained on its faces, and the commands on both."""

    def __init__(self, folder: Path, command: Command) -> None:
        self.data = folder / "demo"
        self.cache = folder / "crops"
        self.runs = folder / "runs"
        self._command = command
        self.drawn = command("data", "demo", self.data, "--images", IMAGES)
        for picture in self.pictures:
            backdate(picture)
        self.first = self.crops()
        self.trained = command(
            *("train", self.data, "--run", "demo", "--model", "test_efficientnet", "--export"),
            *("--weights", "none", "--epochs", 2, "--device", "cpu"),
            *("--runs", self.runs, "--cache", self.cache),
        )

    @property
    def pictures(self) -> list[Path]:
        """All pictures, sorted."""
        return sorted(self.data.rglob("*.png"))

    def crops(self, *arguments: object) -> dict[str, Any]:
        """Return the summary of ``roi-cls crops`` on the set."""
        done = self._command("crops", self.data, "--cache", self.cache, "--json", *arguments)
        assert done.returncode == 0, done.stderr
        summary: dict[str, Any] = json.loads(done.stdout)
        return summary

    def predict(self, *inputs: object, stdin: bytes = b"") -> CompletedProcess[str]:
        """Run ``roi-cls predict`` with the run."""
        return self._command("predict", *inputs, "--runs", self.runs, "--run", "demo", stdin=stdin)

    def evaluate(self, *arguments: object) -> CompletedProcess[str]:
        """Run ``roi-cls evaluate`` on the set with the run."""
        places = ["--runs", self.runs, "--cache", self.cache]
        return self._command("evaluate", self.data, "--run", "demo", *places, *arguments)


@pytest.fixture(scope="module")
def demo(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    return Demo(tmp_path_factory.mktemp("everything"), command)


def work(summary: dict[str, Any]) -> tuple[int, int, int]:
    return summary["detected"], summary["cropped"], summary["reused"]


def test_demo_set_is_drawn_and_counted(demo: Demo) -> None:
    assert demo.drawn.returncode == 0, demo.drawn.stderr
    assert demo.drawn.stdout.startswith(
        f"{demo.data}: {IMAGES} pictures ({IMAGES} drawn now); train "
    )
    assert len(demo.pictures) == IMAGES


def test_faces_of_the_demo_set_are_found(demo: Demo) -> None:
    assert demo.first["images"] == IMAGES
    assert demo.first["face"] >= IMAGES * 3 // 4
    assert demo.first["face"] + demo.first["full_frame"] == IMAGES
    assert work(demo.first) == (IMAGES, IMAGES, 0)


def test_what_is_done_is_not_done_again(demo: Demo) -> None:
    assert work(demo.crops()) == (0, 0, IMAGES)
    demo.pictures[0].touch()
    assert work(demo.crops()) == (0, 0, IMAGES)


def test_changed_margin_recomputes_crop_not_detection(demo: Demo) -> None:
    assert work(demo.crops("--margin", "0.6")) == (0, IMAGES, 0)


def test_changed_byte_recomputes_exactly_that_picture(demo: Demo) -> None:
    picture = demo.pictures[-1]
    kept = picture.read_bytes()
    picture.write_bytes(kept + b"\0")
    try:
        assert work(demo.crops()) == (1, 1, IMAGES - 1)
    finally:
        picture.write_bytes(kept)


def test_training_used_the_crops_that_were_there(demo: Demo) -> None:
    assert demo.trained.returncode == 0, demo.trained.stderr
    assert demo.trained.stdout == f"Run 'demo' is ready in {demo.runs / 'demo'}\n"
    assert "epoch   2/2" in demo.trained.stderr
    config = json.loads((demo.runs / "demo" / "config.json").read_text())
    assert config["roi_cls"]["views"][0]["crop"] == "face"
    assert len(config["roi_cls"]["views"][0]["detector_sha256"]) == 3


def test_evaluation_has_the_fields_of_the_contract(demo: Demo) -> None:
    done = demo.evaluate("--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert {*METRICS, "classes", "confusion_matrix", "slices"} <= set(report)
    assert "face" in report["slices"]
    for metrics in (report, *report["slices"].values()):
        for name in METRICS:
            assert {"value", "low", "high"} <= set(metrics[name]), name


def test_run_predicts_from_the_raw_files_as_it_was_trained(command: Command, demo: Demo) -> None:
    done = command("verify", "demo", "--runs", demo.runs)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Run 'demo' predicts as it was trained: ")


def test_prediction_has_the_fields_of_the_contract(demo: Demo) -> None:
    done = demo.predict(demo.data / "test", "--json")
    rows = json.loads(done.stdout)
    assert done.returncode == 0
    assert [row["path"] for row in rows] == [
        str(picture) for picture in demo.pictures if picture.is_relative_to(demo.data / "test")
    ]
    for row in rows:
        assert list(row) == PREDICTION_FIELDS
        assert set(row["probabilities"]) == {"artefact", "artefactless"}
        assert row["score"] == row["probabilities"][row["label"]]
        assert (row["source"] == "face") == (row["box"] is not None) == (row["reason"] is None)
    face = next(row for row in rows if row["source"] == "face")
    left, top, right, bottom = face["box"]
    assert left < right
    assert top < bottom
    assert face["faces"] >= 1
    assert 0.5 <= face["face_score"] <= 1


def test_every_way_to_name_a_picture_gives_the_same_row(demo: Demo, tmp_path: Path) -> None:
    picture = demo.pictures[-1]
    row = json.loads(demo.predict(picture, "--json").stdout)
    pattern = picture.parent / f"{picture.stem[:-1]}?.png"
    matched = json.loads(demo.predict(pattern, "--json").stdout)
    assert row in matched
    piped = json.loads(demo.predict("-", "--json", stdin=picture.read_bytes()).stdout)
    assert piped == {**row, "path": "-"}
    line = demo.predict(picture, "--jsonl").stdout
    assert json.loads(line) == row
    (cells,) = csv.DictReader(io.StringIO(demo.predict(picture, "--csv").stdout))
    assert json.loads(cells["box"] or "null") == row["box"]
    target = tmp_path / "row.json"
    assert demo.predict(picture, "--json", "-o", target).stdout == ""
    assert json.loads(target.read_text(encoding="utf-8")) == row


def test_pipe_from_a_real_process_is_clean(demo: Demo) -> None:
    """What the native libraries write goes to stderr, too."""
    words = [sys.executable, "-m", "roi_cls", "predict", str(demo.pictures[-1]), "--json"]
    done = subprocess.run(
        [*words, "--runs", str(demo.runs), "--device", "cpu"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert list(json.loads(done.stdout)) == PREDICTION_FIELDS
    assert done.stderr == (
        f"Using run 'demo', the newest in {demo.runs}.\nComputing with ONNX Runtime on cpu.\n"
    )
