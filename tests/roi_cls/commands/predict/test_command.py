"""``roi-cls predict``: a truthful row per input, in order, in each of its forms."""

import csv
import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from roi_cls.base.errors import BundleError
from roi_cls.cli import main
from roi_cls.commands.predict import output, run
from roi_cls.commands.predict.run import PredictJob, predict_and_print
from roi_cls.data.sample import LabelSet
from tests.helpers.pictures import noise, save_clip
from tests.helpers.stored import PREDICTION_FIELDS

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture
def picture(tiny_set: Path) -> Path:
    return tiny_set / "odd" / "00.png"


@pytest.fixture
def mixed(tmp_path: Path, picture: Path) -> list[Path]:
    """Readable, unreadable, readable, missing: in this order."""
    text = tmp_path / "text.png"
    text.write_text("no picture")
    return [picture, text, picture.parent / "04.png", tmp_path / "missing.png"]


def test_one_picture_as_json_is_one_object_with_the_fields_of_the_contract(
    predict: Command, picture: Path
) -> None:
    done = predict(picture, "--json")
    row = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(row) == PREDICTION_FIELDS
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
    assert [list(row) for row in rows] == [PREDICTION_FIELDS] * 4
    assert rows[1]["label"] is rows[1]["score"] is rows[1]["probabilities"] is None
    assert rows[1]["threshold"] is None
    assert rows[3]["error"] == f"Cannot read {str(mixed[3])!r}: no such file. Check the path."


def test_json_lines_and_table_say_the_same_as_json(predict: Command, mixed: list[Path]) -> None:
    expected = json.loads(predict(*mixed, "--json").stdout)
    lines = predict(*mixed, "--jsonl")
    assert [json.loads(line) for line in lines.stdout.splitlines()] == expected
    table = predict(*mixed, "--csv")
    rows = list(csv.DictReader(io.StringIO(table.stdout)))
    assert (lines.returncode, table.returncode) == (3, 3)
    assert [list(row) for row in rows] == [PREDICTION_FIELDS] * 4
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
    assert done.stderr == f"Saved 4 rows, 2 of them in error, in {target}\n"
    assert target.read_text(encoding="utf-8") == predict(*mixed, *form).stdout
    assert os.listdir(target.parent) == ["rows.txt"]


def test_failed_command_leaves_the_old_output_as_it_was(
    predict: Command, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> Any:
        yield "half a row"
        raise BundleError("Cannot go on.")

    target = tmp_path / "rows.csv"
    target.write_text("old")
    monkeypatch.setattr(output, "format_predictions", fail)
    done = predict(picture, "--csv", "-o", target)
    assert (done.returncode, done.stderr) == (1, "error: Cannot go on.\n")
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["rows.csv"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a full disk at hand")
def test_full_disk_is_told(predict: Command, picture: Path) -> None:
    done = predict(picture, "-o", "/dev/full")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: Cannot write '/dev/full': the disk is full. Free space or give another "
        "folder (for crops with --cache DIR), then run the same command again: what is finished "
        "is kept.\n"
    )


def test_device_as_output_is_written_not_replaced(predict: Command, picture: Path) -> None:
    done = predict(picture, "-o", "/dev/null")
    assert (done.returncode, done.stderr) == (0, "")  # nothing is kept there
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
    assert "Not a directory. Give another folder " in done.stderr


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
    [
        (b"", "it is empty (0 bytes)"),
        (b"\0\1", "it is not a picture"),
        (b"<html>", "it is an HTML page"),
    ],
    ids=["empty", "bytes", "page"],
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


def test_rows_on_a_terminal_have_no_bar_among_them(
    picture: Path, tiny_runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "stderr", screen)
    job = PredictJob([str(picture)], [tiny_runs / "tiny"], device="cpu")
    assert predict_and_print(job) == 0
    engine, row = screen.getvalue().splitlines()
    assert engine.startswith("Computing with torch on cpu (fp32): ")
    assert row.startswith(f"{picture}: ")
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


def test_list_is_predicted_line_by_line(
    predict: Command, mixed: list[Path], tmp_path: Path
) -> None:
    expected = json.loads(predict(*mixed, "--json").stdout)
    names = tmp_path / "names.txt"
    names.write_text("# mine\n" + "\n".join(map(str, mixed)))
    by_file = predict(names, "--json")
    by_pipe = predict("-", "--json", stdin=names.read_bytes())
    assert (by_file.returncode, by_pipe.returncode) == (3, 3)
    assert json.loads(by_file.stdout) == json.loads(by_pipe.stdout) == expected


def test_list_of_one_line_is_a_list(predict: Command, picture: Path) -> None:
    rows = json.loads(predict("-", "--json", stdin=f"{picture}\n".encode()).stdout)
    assert [row["path"] for row in rows] == [str(picture)]


@pytest.mark.parametrize(
    ("suffix", "form"), [(".json", "--json"), (".NDJSON", "--jsonl"), (".csv", "--csv")]
)
def test_suffix_of_the_output_says_the_form(
    predict: Command, mixed: list[Path], tmp_path: Path, suffix: str, form: str
) -> None:
    target = tmp_path / f"rows{suffix}"
    predict(*mixed, "-o", target)
    assert target.read_text(encoding="utf-8") == predict(*mixed, form).stdout
    predict(*mixed, "--jsonl", "-o", target)
    assert target.read_text(encoding="utf-8") == predict(*mixed, "--jsonl").stdout


def test_parquet_holds_what_json_does(predict: Command, mixed: list[Path], tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    target = tmp_path / "rows.parquet"
    done = predict(*mixed, "--parquet", "-o", target)
    assert (done.returncode, done.stdout) == (3, "")
    assert parquet.read_table(target).to_pylist() == json.loads(predict(*mixed, "--json").stdout)


def test_threshold_and_abstention_are_the_callers_to_choose(
    predict: Command, picture: Path
) -> None:
    row = json.loads(predict(picture, "--json").stdout)
    target = row["probabilities"]["odd"]
    for threshold, label in ((target - 0.001, "odd"), (target + 0.001, "plain")):
        options = ("--threshold", threshold, "--abstain", 0)
        answer = json.loads(predict(picture, "--json", *options).stdout)
        assert (answer["label"], answer["probabilities"]) == (label, row["probabilities"])
        assert answer["score"] == row["probabilities"][label]
        assert answer["threshold"] == threshold
        assert not answer["unsure"]
    wide = ("--threshold", target + 0.001, "--abstain", 0.01)
    assert json.loads(predict(picture, "--json", *wide).stdout)["unsure"]


def test_runtime_that_cannot_be_had_is_told(predict: Command, picture: Path) -> None:
    done = predict(picture, "--runtime", "onnx")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: Cannot predict with --runtime onnx: run 'tiny' has no model.onnx (`roi-cls export "
        "--run tiny` adds it, if the model can be exported). Or leave --runtime out: torch "
        "predicts.\n"
    )


def test_threshold_for_many_classes_is_wrong_usage(
    predict: Command, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_three(*_: object, **__: object) -> Any:
        return SimpleNamespace(
            name="three",
            engine="",
            scorer=SimpleNamespace(bundle=SimpleNamespace(labels=LabelSet(("a", "b", "c"), "a"))),
        )

    monkeypatch.setattr(run, "open_scorer", open_three)
    done = predict(picture, "--threshold", "0.3")
    assert done.returncode == 2
    assert (
        "--threshold 0.3 is for two classes: 'three' tells 3 apart and answers the most probable"
    ) in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--parquet"], "--parquet needs a file to write to: give -o FILE"),
        (["--every", "5"], "--every: '5' is no distance between frames; write it like 0.5s or 10f"),
        (["--max-bytes", "big"], "'big' is no size"),
        (["--aggregate", "mean"], "--aggregate mean is for --face all: give both"),
        (["--model", "m.onnx"], "--run and --model exclude each other"),
        (["--threshold", "1.5"], "Invalid value for '--threshold'"),
        (["--timeout", "0"], "Invalid value for '--timeout'"),
        (["--timeout", "inf"], "Invalid value for '--timeout'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_told(
    predict: Command, picture: Path, arguments: list[str], message: str
) -> None:
    done = predict(picture, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in " ".join(done.stderr.replace("│", " ").split())


def test_two_runs_are_averaged(
    command: Command, picture: Path, tiny_runs: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny_runs / "tiny", other)
    one = json.loads(command("predict", picture, "--json", "--run", tiny_runs / "tiny").stdout)
    done = command(
        "predict", picture, "--json", "--run", tiny_runs / "tiny", "--run", other, "--device", "cpu"
    )
    both = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert both["probabilities"] == pytest.approx(one["probabilities"])
    assert both["threshold"] == pytest.approx(one["threshold"])


def test_half_precision_is_told_and_is_near(predict: Command, picture: Path) -> None:
    full = json.loads(predict(picture, "--json").stdout)
    done = predict(picture, "--json", "--half")
    assert done.stderr == "Computing in half precision: probabilities may be off by 0.01.\n"
    half = json.loads(done.stdout)
    assert half["probabilities"] == pytest.approx(full["probabilities"], abs=0.02)


def test_workers_change_nothing(predict: Command, mixed: list[Path]) -> None:
    rows = json.loads(predict(*mixed, "--json", "--workers", 0).stdout)
    assert json.loads(predict(*mixed, "--json", "--workers", 1).stdout) == rows


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A video of a second, the left of it lit in the second half."""
    frames = noise(10, 48, 64, 3, high=80)
    frames[:, :24] += (12 * np.arange(10, dtype=np.uint8))[:, None, None, None]
    return save_clip(tmp_path / "clips" / "clip.avi", frames)


def test_video_has_a_row_per_frame_and_one_for_all(
    predict: Command, clip: Path, picture: Path
) -> None:
    done = predict(picture, clip, clip, picture, "--json", "--every", "0.4s")
    rows = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    expected = [(None, None), *[(0.0, None), (0.4, None), (0.8, None), (None, 3)] * 2, (None, None)]
    assert [(row["time_s"], row["frames"]) for row in rows] == expected
    assert {row["path"] for row in rows[1:9]} == {str(clip)}
    assert rows[1:5] == rows[5:9]
    mean = np.mean([row["probabilities"]["odd"] for row in rows[1:4]])
    assert rows[4]["probabilities"]["odd"] == pytest.approx(mean)
    assert rows[4]["score"] == rows[4]["probabilities"][rows[4]["label"]]


def test_video_may_be_answered_by_its_highest_frame(predict: Command, clip: Path) -> None:
    done = predict(clip, "--json", "--every", "1f", "--video-aggregate", "max")
    *frames, whole = json.loads(done.stdout)
    highest = max(frames, key=lambda row: row["probabilities"]["odd"])
    assert len(frames) == 10
    assert whole == {**highest, "frames": 10}


def test_frames_are_predicted_like_pictures_of_them(
    predict: Command, clip: Path, tmp_path: Path
) -> None:
    video = cv2.VideoCapture(str(clip))
    paths: list[Path] = []
    while (frame := video.read()[1]) is not None:
        paths.append(tmp_path / f"{len(paths)}.png")
        cv2.imwrite(str(paths[-1]), frame)
    *frames, _ = json.loads(predict(clip, "--json", "--every", "1f").stdout)
    pictures = json.loads(predict(*paths, "--json").stdout)
    assert len(frames) == len(pictures) == 10
    for frame, picture in zip(frames, pictures, strict=True):
        assert frame["probabilities"] == pytest.approx(picture["probabilities"], abs=1e-6)


def test_piped_video_is_predicted_like_its_file(predict: Command, clip: Path) -> None:
    by_file = json.loads(predict(clip, "--json").stdout)
    by_pipe = json.loads(predict("-", "--json", stdin=clip.read_bytes()).stdout)
    assert by_pipe == [{**row, "path": "-"} for row in by_file]


def test_unreadable_video_is_one_row_and_others_go_on(
    predict: Command, clip: Path, picture: Path
) -> None:
    data = clip.read_bytes()
    (clip.parent / "a.mp4").write_bytes(b"\0\0\0\x1cftypisom" + bytes(100))
    (clip.parent / "b.avi").write_bytes(data[: len(data) * 2 // 3])
    (clip.parent / "c.png").write_bytes(picture.read_bytes())
    done = predict(clip.parent, "--jsonl", "--every", "5f")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 3
    told = [(Path(row["path"]).name, row["status"], row["frames"]) for row in rows]
    assert told == [
        ("a.mp4", "error", None),
        *[("b.avi", "ok", None)] * 2,
        ("b.avi", "error", None),
        ("b.avi", "ok", 2),
        ("c.png", "ok", None),
        *[("clip.avi", "ok", None)] * 2,
        ("clip.avi", "ok", 2),
    ]
    assert "its video cannot be decoded" in rows[0]["error"]
    assert "KB are missing at its end. Remove it" in rows[3]["error"]


def test_crops_and_drawings_are_kept_by_row(
    predict: Command, mixed: list[Path], clip: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "kept"
    done = predict(
        *mixed, clip, "--every", "5f", "--save-crops", folder / "crops", "--draw", folder / "drawn"
    )
    assert done.returncode == 3
    names = ["000001-00", "000003-04", "000005-clip-0s", "000006-clip-0.5s"]
    assert sorted(os.listdir(folder / "crops")) == [f"{name}.png" for name in names]
    assert sorted(os.listdir(folder / "drawn")) == [f"{name}.jpg" for name in names]
    crop = cv2.imread(str(folder / "crops" / "000001-00.png"))
    assert crop is not None
    assert crop.shape == (32, 32, 3)


def test_pictures_are_not_written_into_an_input(
    predict: Command, tiny_set: Path, tmp_path: Path
) -> None:
    inputs = tmp_path / "inputs"
    shutil.copytree(tiny_set / "odd", inputs)
    for option in ("--draw", "--save-crops"):
        done = predict(inputs, option, inputs / "deep")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            f"error: Cannot write pictures to {str(inputs / 'deep')!r}: it lies in "
            f"{str(inputs)!r}, an input, and they would be found there the next time. "
            "Choose another folder.\n"
        )


def test_output_over_the_list_is_refused(predict: Command, picture: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text(f"{picture}\n")
    for target in (names, picture):
        done = predict(names, "-o", target)
        assert done.returncode == 1
        assert f"Cannot write {str(target)!r}: it is one of the inputs" in done.stderr


def test_damaged_picture_is_answered_where_it_is_asked_for(
    predict: Command, picture: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.png"
    cut.write_bytes(picture.read_bytes()[:-12])
    reason = f"it is cut off after {cut.stat().st_size} bytes"
    row = json.loads(predict(cut, "--json").stdout)
    assert (row["status"], row["damaged"]) == ("error", reason)
    row = json.loads(predict(cut, "--json", "--damaged", "read").stdout)
    assert (row["status"], row["damaged"]) == ("ok", reason)
    line = predict(cut, "--damaged", "read").stdout
    assert line.endswith("(full frame, damaged, read in part)\n")
