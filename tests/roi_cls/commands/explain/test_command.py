"""``roi-cls explain``: a drawing and a truthful row for each input, in order."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from PIL import Image

from roi_cls.classifier.explanation.explain import Explanation
from roi_cls.classifier.explanation.heat import make_heat
from roi_cls.classifier.inference.prediction import Looked, Prediction
from roi_cls.commands.explain.view import explanation_line, explanation_row
from roi_cls.roi import Box, Cut
from roi_cls.roi.crop import Crops
from roi_cls.roi.face import Detection
from roi_cls.roi.plan import CropPlan

Command = Callable[..., CompletedProcess[str]]
PLAN = CropPlan("full_frame", None, (Cut(Box(-10, 0, 30, 40)),), 0, None)
FIELDS = [
    *("path", "time_s", "status", "error", "label", "probability", "answer", "method"),
    *("runtime", "file", "peak", "peak_value", "share_in_face", "agreement", "views"),
]


@pytest.fixture
def explain(command: Command, tiny_runs: Path, tmp_path: Path) -> Command:
    def run(*arguments: object, stdin: bytes = b"") -> CompletedProcess[str]:
        places = ["--runs", tiny_runs, "--run", "tiny", "--device", "cpu", "-o", tmp_path / "why"]
        return command("explain", *arguments, *places, stdin=stdin)

    return run


@pytest.fixture
def picture(tiny_set: Path) -> Path:
    return tiny_set / "odd" / "00.png"


def test_one_picture_is_one_object_and_one_drawing(
    explain: Command, picture: Path, tmp_path: Path
) -> None:
    done = explain(picture, "--json")
    row = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(row) == FIELDS
    assert (row["path"], row["status"], row["label"]) == (str(picture), "ok", "odd")
    assert (row["method"], row["agreement"], row["share_in_face"]) == ("grad-cam", None, None)
    assert row["file"] == str(tmp_path / "why" / "000001-00.png")
    assert [view["source"] for view in row["views"]] == ["full_frame"]
    x, y = row["peak"]
    assert 0 <= x <= 40
    assert 0 <= y <= 40
    with Image.open(row["file"]) as drawing:
        assert drawing.width > drawing.height > 400
        assert len(np.unique(np.asarray(drawing).reshape(-1, 3), axis=0)) > 1000


def test_errors_are_rows_in_order_without_a_drawing(
    explain: Command, picture: Path, tmp_path: Path
) -> None:
    done = explain(tmp_path / "none.png", picture, "--json")
    error, row = json.loads(done.stdout)
    assert done.returncode == 3
    assert list(error) == list(row) == FIELDS
    assert (error["status"], error["file"], error["views"]) == ("error", None, [])
    assert error["error"].endswith("no such file. Check the path.")
    assert [path.name for path in (tmp_path / "why").iterdir()] == ["000002-00.png"]


def test_url_is_fetched_within_the_limits_that_are_given(explain: Command) -> None:
    url = "http://127.0.0.1:9/x.png"
    refused = json.loads(explain(url, "--json").stdout)
    assert refused["error"].endswith(
        "Give --allow-private if it may be fetched from your own network."
    )
    allowed = json.loads(explain(url, "--json", "--allow-private", "--timeout", "5").stdout)
    assert "the connection failed" in allowed["error"]


def test_line_for_people_says_where_and_which_file(explain: Command, picture: Path) -> None:
    done = explain(picture)
    assert done.stdout.startswith(f"{picture}: odd 0.")
    assert " (Grad-CAM): " in done.stdout
    assert done.stdout.endswith("000001-00.png\n")
    assert "most at " in done.stdout or "no place speaks for it" in done.stdout


def test_line_for_people_keeps_the_answer_apart_from_what_is_explained(
    explain: Command, picture: Path
) -> None:
    row = json.loads(explain(picture, "--json").stdout)
    other = next(name for name in ("odd", "plain") if name != row["answer"])
    probability = json.loads(explain(picture, "--json", "--label", other).stdout)["probability"]
    line = explain(picture, "--label", other).stdout
    assert line.startswith(f"{picture}: {row['answer']} {1 - probability:.3f}")
    assert f"; for {other!r} ({probability:.3f}), " in line


@pytest.mark.parametrize(
    ("peak", "words"),
    [
        ((12.4, 30.0), "most at 12,30 ("),
        ((-4.0, 30.0), "most beside the picture, in what fills the square ("),
        ((12.4, 40.5), "most beside the picture, in what fills the square ("),
        (None, "no place speaks for it ("),
    ],
)
def test_place_is_told_only_within_the_picture(
    peak: tuple[float, float] | None, words: str
) -> None:
    prediction = Prediction("a.png", "ok", label="odd", score=0.9, probabilities={"odd": 0.9})
    crops = Crops(np.zeros((1, 8, 8, 3), np.uint8), PLAN, Detection(40, 20, ()))
    heat = make_heat(0, crops.pixels[0], PLAN.cuts[0], np.ones((8, 8), np.float32))
    explanation = Explanation(Looked(prediction, (crops,)), "odd", (heat,), "grad-cam")
    row = {**explanation_row(explanation, 0, "why.png"), "peak": peak}
    assert words in explanation_line(row, explanation)


def test_occlusion_and_check(explain: Command, picture: Path) -> None:
    by_covering = json.loads(explain(picture, "--json", "--method", "occlusion").stdout)
    assert by_covering["method"] == "occlusion"
    checked = json.loads(explain(picture, "--json", "--check").stdout)
    assert -1 <= checked["agreement"] <= 1
    assert checked["views"][0]["agreement"] == checked["agreement"]
    assert "with occlusion)" in explain(picture, "--check").stdout


def test_piped_picture_is_explained_like_its_file(explain: Command, picture: Path) -> None:
    piped = json.loads(explain("-", "--json", stdin=picture.read_bytes()).stdout)
    named = json.loads(explain(picture, "--json").stdout)
    assert Path(piped["file"]).name == "000001-stdin.png"
    assert {**piped, "path": "", "file": ""} == {**named, "path": "", "file": ""}


def test_class_to_explain_may_be_named(explain: Command, picture: Path) -> None:
    row = json.loads(explain(picture, "--json", "--label", "plain").stdout)
    other = json.loads(explain(picture, "--json").stdout)
    assert row["label"] == "plain"
    assert row["probability"] == pytest.approx(1 - other["probability"])


def test_unknown_class_is_told(explain: Command, picture: Path) -> None:
    done = explain(picture, "--label", "cat")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: Cannot explain the class 'cat': the model knows odd, plain. Name one of these.\n"
    )


def test_drawings_are_not_put_among_the_inputs(
    command: Command, tiny_set: Path, tiny_runs: Path
) -> None:
    done = command("explain", tiny_set, "--runs", tiny_runs, "-o", tiny_set / "odd")
    assert done.returncode == 1
    assert f"it lies in {str(tiny_set)!r}, an input" in done.stderr
