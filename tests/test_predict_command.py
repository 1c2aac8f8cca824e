"""``roi-cls predict``: a truthful row per input, in order, in each of its forms."""

import csv
import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from roi_cls import predicting
from roi_cls.classifier.predict import Prediction
from roi_cls.classifier.run_folder import RunFolder
from roi_cls.cli import main
from roi_cls.predicting import (
    PredictJob,
    format_predictions,
    predict_and_print,
    prediction_line,
)
from roi_cls.roi.params import MAX_PIXELS

Command = Callable[..., CompletedProcess[str]]
FIELDS = [
    *("path", "status", "error", "label", "score", "probabilities", "unsure"),
    *("source", "reason", "box", "face_score", "faces", "per_face"),
]
OK = Prediction(
    path="a.png",
    status="ok",
    label="odd",
    score=0.75,
    probabilities={"odd": 0.75, "plain": 0.25},
    source="full_frame",
)
FACE = Prediction(
    path="b.png",
    status="ok",
    label="plain",
    score=0.5,
    probabilities={"odd": 0.5, "plain": 0.5},
    unsure=True,
    source="face",
    box=(1.2, 2.0, 30.6, 40.0),
    face_score=0.912,
    faces=2,
)
BAD = Prediction("c.png", "error", "Cannot read 'c.png': no such file. Check the path.")


@pytest.fixture
def picture(tiny_set: Path) -> Path:
    return tiny_set / "odd" / "00.png"


@pytest.fixture
def mixed(tmp_path: Path, picture: Path) -> list[Path]:
    """Readable, unreadable, readable, missing: in this order."""
    text = tmp_path / "text.png"
    text.write_text("no picture")
    return [picture, text, picture.parent / "04.png", tmp_path / "missing.png"]


@pytest.fixture
def predict(command: Command, tiny_runs: Path) -> Command:
    def run(*arguments: object, stdin: bytes = b"") -> CompletedProcess[str]:
        places = ["--runs", tiny_runs, "--run", "tiny", "--device", "cpu"]
        return command("predict", *arguments, *places, stdin=stdin)

    return run


def test_one_picture_as_json_is_one_object_with_the_fields_of_the_contract(
    predict: Command, picture: Path
) -> None:
    done = predict(picture, "--json")
    row = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(row) == FIELDS
    assert row["path"] == str(picture)
    assert (row["status"], row["error"], row["source"]) == ("ok", None, "full_frame")
    assert sum(row["probabilities"].values()) == pytest.approx(1)
    assert row["score"] == row["probabilities"][row["label"]]


def test_rows_keep_the_order_of_the_inputs_errors_among_them(
    predict: Command, mixed: list[Path]
) -> None:
    done = predict(*mixed, "--json")
    rows = json.loads(done.stdout)
    assert done.returncode == 3
    assert [row["path"] for row in rows] == list(map(str, mixed))
    assert [row["status"] for row in rows] == ["ok", "error", "ok", "error"]
    assert [list(row) for row in rows] == [FIELDS] * 4
    assert rows[1]["label"] is rows[1]["score"] is rows[1]["probabilities"] is None
    assert rows[3]["error"] == f"Cannot read {str(mixed[3])!r}: no such file. Check the path."


def test_json_lines_and_table_say_the_same_as_json(predict: Command, mixed: list[Path]) -> None:
    expected = json.loads(predict(*mixed, "--json").stdout)
    lines = predict(*mixed, "--jsonl")
    assert [json.loads(line) for line in lines.stdout.splitlines()] == expected
    table = predict(*mixed, "--csv")
    rows = list(csv.DictReader(io.StringIO(table.stdout)))
    assert (lines.returncode, table.returncode) == (3, 3)
    assert [list(row) for row in rows] == [FIELDS] * 4
    assert [row["path"] for row in rows] == [row["path"] for row in expected]
    assert [row["label"] for row in rows] == [row["label"] or "" for row in expected]
    assert json.loads(rows[0]["probabilities"]) == expected[0]["probabilities"]


@pytest.mark.parametrize("form", [(), ("--json",), ("--jsonl",), ("--csv",)], ids=str)
def test_output_file_holds_what_stdout_would(
    predict: Command, mixed: list[Path], tmp_path: Path, form: tuple[str, ...]
) -> None:
    target = tmp_path / "new" / "rows.txt"
    done = predict(*mixed, *form, "-o", target)
    assert (done.returncode, done.stdout) == (3, "")
    assert target.read_text(encoding="utf-8") == predict(*mixed, *form).stdout
    assert os.listdir(target.parent) == ["rows.txt"]


def test_failed_command_leaves_the_old_output_as_it_was(
    predict: Command, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> Any:
        yield "half a row"
        raise OSError(28, "No space left on device")

    target = tmp_path / "rows.csv"
    target.write_text("old")
    monkeypatch.setattr(predicting, "format_predictions", fail)
    done = predict(picture, "--csv", "-o", target)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: Cannot write {str(target)!r}: the disk is full. Free space or give another "
        "folder (for crops with --cache DIR), then run the same command again: what is finished "
        "is kept.\n"
    )
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["rows.csv"]


def test_device_as_output_is_written_not_replaced(predict: Command, picture: Path) -> None:
    assert predict(picture, "-o", "/dev/null").returncode == 0
    assert Path("/dev/null").is_char_device()


def test_folder_as_output_is_refused(predict: Command, picture: Path, tmp_path: Path) -> None:
    done = predict(picture, "-o", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: Cannot write {str(tmp_path)!r}: it is a folder. ")


def test_output_into_a_folder_that_cannot_be_made_is_told(
    predict: Command, picture: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    target = tmp_path / "file" / "rows.csv"
    done = predict(picture, "-o", target)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: Cannot write {str(target)!r}: ")
    assert "Free space or give another folder" in done.stderr


@pytest.mark.parametrize("kind", ["folder", "pattern", "two files"])
def test_more_than_one_name_as_json_is_a_list(predict: Command, picture: Path, kind: str) -> None:
    folder = picture.parent
    inputs = {"folder": [folder], "pattern": [folder / "*.png"], "two files": [picture] * 2}[kind]
    rows = json.loads(predict(*inputs, "--json").stdout)
    assert len(rows) == {"folder": 10, "pattern": 10, "two files": 2}[kind]


def test_picture_called_like_a_pattern_is_one_object(
    predict: Command, picture: Path, tmp_path: Path
) -> None:
    odd = tmp_path / "x[1].png"
    odd.write_bytes(picture.read_bytes())
    assert json.loads(predict(odd, "--json").stdout)["path"] == str(odd)


def test_piped_picture_is_predicted_like_its_file(predict: Command, picture: Path) -> None:
    piped = json.loads(predict("-", "--json", stdin=picture.read_bytes()).stdout)
    named = json.loads(predict(picture, "--json").stdout)
    assert piped == {**named, "path": "-"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "it is empty (0 bytes)"), (b"no picture", "it is not a picture")],
    ids=["empty", "text"],
)
def test_piped_bytes_that_are_no_picture_are_a_row(
    predict: Command, data: bytes, reason: str
) -> None:
    done = predict("-", "--json", stdin=data)
    row = json.loads(done.stdout)
    assert (done.returncode, row["path"], row["status"]) == (3, "-", "error")
    assert row["error"].startswith(f"Cannot read '-': {reason}")


@pytest.mark.parametrize(
    "name", ["ü ñ 顔.png", "two\nlines.png", "a\rb.png", 'quote".png', "tab\t,.png"]
)
def test_odd_name_comes_back_as_it_was(
    predict: Command, picture: Path, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(picture.read_bytes())
    assert json.loads(predict(path, "--json").stdout)["path"] == str(path)
    line = predict(path, "--jsonl").stdout
    assert json.loads(line)["path"] == str(path)
    assert line.count("\n") == 1
    (row,) = csv.DictReader(io.StringIO(predict(path, "--csv").stdout, newline=""))
    assert row["path"] == str(path)
    assert predict(path).stdout.count("\n") == 1


@pytest.mark.parametrize("form", ["--json", "--jsonl", "--csv"])
def test_name_that_is_no_unicode_comes_back_and_json_stays_utf8(
    picture: Path, tiny_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    path = os.fsencode(tmp_path) + b"/\xff.png"
    with open(path, "wb") as file:
        file.write(picture.read_bytes())
    stdout = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(stdout, encoding="utf-8"))
    monkeypatch.setattr(
        sys, "argv", ["roi-cls", "predict", os.fsdecode(path), "--runs", str(tiny_runs), form]
    )
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 0
    sys.stdout.flush()
    if form == "--csv":
        assert b"\n" + path + b"," in stdout.getvalue()
    else:
        assert os.fsencode(json.loads(stdout.getvalue().decode("utf-8"))["path"]) == path


def test_newest_run_is_used_and_named_on_stderr(
    command: Command, picture: Path, tiny_runs: Path
) -> None:
    done = command("predict", picture, "--runs", tiny_runs, "--json")
    assert done.returncode == 0
    assert done.stderr == f"Using run 'tiny', the newest in {tiny_runs}.\n"
    json.loads(done.stdout)


def test_run_may_be_named_by_its_folder(command: Command, picture: Path, tiny_runs: Path) -> None:
    done = command("predict", picture, "--run", tiny_runs / "tiny", "--runs", "nowhere")
    assert (done.returncode, done.stderr) == (0, "")


def test_batches_do_not_change_scores(predict: Command, picture: Path) -> None:
    folder = picture.parent
    one, many = (json.loads(predict(folder, "--json", "--batch", n).stdout) for n in (1, 4))
    assert [row["path"] for row in one] == [row["path"] for row in many]
    assert [row["score"] for row in one] == pytest.approx([row["score"] for row in many], abs=1e-5)


@pytest.mark.parametrize(
    ("prediction", "line"),
    [
        (OK, "a.png: odd 0.750 (full frame)"),
        (FACE, "b.png: plain 0.500 (unsure) (face at 1,2-31,40, found with 0.91, 2 faces seen)"),
        (BAD, "c.png: error: Cannot read 'c.png': no such file. Check the path."),
    ],
    ids=["full frame", "face", "error"],
)
def test_line_for_people(prediction: Prediction, line: str) -> None:
    assert prediction_line(prediction) == line


def test_name_that_is_no_unicode_is_spelled_out_for_people() -> None:
    assert prediction_line(replace(OK, path="\udcff.png")).startswith("'\\udcff.png': odd 0.750")


def test_line_says_why_the_full_frame_was_taken() -> None:
    assert prediction_line(replace(OK, reason="no_face")).startswith(
        "a.png: odd 0.750 (full frame: no face"
    )


def test_rows_come_as_they_are_made() -> None:
    def slowly() -> Any:
        yield OK
        raise AssertionError("asked for the second row before the first was printed")

    for form in ("text", "jsonl"):
        assert "a.png" in next(format_predictions(slowly(), form, single=False))


def test_no_rows_are_an_empty_list_and_an_empty_table() -> None:
    assert list(format_predictions([], "json", single=False)) == ["[]"]
    assert list(format_predictions([], "csv", single=False)) == []


def test_rows_on_a_terminal_have_no_bar_among_them(
    picture: Path, tiny_runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "stderr", screen)
    job = PredictJob(
        [str(picture)], RunFolder(tiny_runs / "tiny"), "text", None, 1, "cpu", None, MAX_PIXELS
    )
    assert predict_and_print(job) == 0
    assert screen.getvalue().startswith(f"{picture}: ")
    assert "Predicting" not in screen.getvalue()


def test_output_over_an_input_is_refused(
    command: Command, tiny_set: Path, tiny_runs: Path, tmp_path: Path
) -> None:
    picture = tmp_path / "a.png"
    shutil.copy(tiny_set / "plain" / "01.png", picture)
    before = picture.read_bytes()
    done = command("predict", picture, "--runs", tiny_runs, "-o", picture)
    assert done.returncode == 1
    assert (
        f"Cannot write {str(picture)!r}: it is one of the inputs, which would be lost. "
        "Choose another name."
    ) in done.stderr
    assert picture.read_bytes() == before
