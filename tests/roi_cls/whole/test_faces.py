"""Which faces count, over all commands: skipped pictures, every face, and the runs they make."""

import csv
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
from PIL import Image

from roi_cls.classifier.runs.folder import RunFolder
from tests.helpers.pictures import save

Command = Callable[..., CompletedProcess[str]]
COLOURS = {"odd": (200, 40, 40), "plain": (40, 40, 200)}
TRAINING = [
    *("--min-face", "8", "--size", "32", "--model", "test_efficientnet", "--weights", "none"),
    "--no-near-duplicates",  # the drawn pictures look alike
    *("--epochs", "1", "--device", "cpu", "--workers", "0"),
]

pytestmark = pytest.mark.usefixtures("white_faces")


def draw(path: Path, faces: list[tuple[str, int]], seed: int = 0) -> Path:
    """Draw tiles of 64 px of a class's noisy colour side by side, each with a face of so many px.

    A face of 0 px is none.
    """
    random = np.random.default_rng(seed)
    tiles = []
    for name, side in faces:
        tile = np.array(COLOURS[name]) + random.integers(-30, 31, (64, 64, 3))
        start = 32 - side // 2
        tile[start : start + side, start : start + side] = 255
        tiles.append(tile.astype(np.uint8))
    return save(path, np.concatenate(tiles, axis=1))


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 pictures in two class folders, of each class every sixth without a face; read only."""
    folder = tmp_path_factory.mktemp("labelled") / "set"
    for i in range(24):
        name = "plain" if i % 2 else "odd"
        draw(folder / name / f"{i:02}.png", [(name, 0 if i // 2 % 6 == 5 else 24)], seed=i)
    return folder


@pytest.fixture(scope="module")
def trained(
    command: Command, labelled: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[str], CompletedProcess[str]]:
    """Options that name a finished run on faces, made with --fallback skip, and how it was made."""
    folder = tmp_path_factory.mktemp("trained")
    places = ["--run", "faces", "--runs", str(folder / "runs")]
    cache = ["--cache", str(folder / "cache")]
    done = command("train", labelled, *TRAINING, "--fallback", "skip", *places, *cache)
    assert done.returncode == 0, done.stderr
    return places, done


@pytest.fixture(scope="module")
def predict(command: Command, trained: tuple[list[str], object]) -> Command:
    def run(*arguments: object) -> CompletedProcess[str]:
        return command("predict", *arguments, *trained[0], "--device", "cpu")

    return run


@pytest.fixture
def mixed(tmp_path: Path) -> list[Path]:
    """No face, one face, three faces with the middle one largest, a file that is no picture."""
    paths = [
        draw(tmp_path / "0.png", [("odd", 0)], 90),
        draw(tmp_path / "1.png", [("odd", 24)], 91),
        draw(tmp_path / "2.png", [("plain", 20), ("odd", 30), ("plain", 26)], 92),
        tmp_path / "3.png",
    ]
    paths[3].write_text("no picture")
    return paths


def crops(command: Command, *arguments: object) -> tuple[int, dict[str, Any]]:
    done = command("crops", *arguments, "--workers", "0", "--min-face", "8", "--json")
    return done.returncode, json.loads(done.stdout)


def test_picture_without_a_face_is_skipped_and_is_no_error(
    command: Command, mixed: list[Path], tmp_path: Path
) -> None:
    manifest = tmp_path / "rows.jsonl"
    words = [*mixed[:3], "--fallback", "skip", "--cache", tmp_path / "c", "--manifest", manifest]
    code, summary = crops(command, *words)
    assert code == 0
    assert (summary["images"], summary["face"], summary["full_frame"]) == (3, 2, 0)
    assert (summary["skipped"], summary["reasons"]) == (1, {"no_face": 1})
    assert (summary["errors"], summary["steps"]) == (0, {"short": 2, "turned": 1})
    assert (summary["detected"], summary["cropped"], summary["reused"]) == (3, 2, 0)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert [row["status"] for row in rows] == ["skipped", "ok", "ok"]
    assert (rows[0]["reason"], rows[0]["source"], rows[0]["region"]) == ("no_face", None, None)
    assert rows[0]["error"] is None
    code, summary = crops(command, *words)
    assert (code, summary["skipped"], summary["reused"], summary["detected"]) == (0, 1, 3, 0)
    assert [json.loads(line) for line in manifest.read_text().splitlines()] == rows


def test_skipped_pictures_are_counted_for_people(
    command: Command, mixed: list[Path], tmp_path: Path
) -> None:
    words = ["--fallback", "skip", "--cache", tmp_path / "c", "--min-face", "8", "--workers", "0"]
    done = command("crops", *mixed[:3], *words)
    assert done.stdout.splitlines()[:2] == [
        "3 pictures: 2 face crops, 1 skipped (1 because no face was found), 0 errors",
        "last step the detector needed: short range 2, turned frame 1",
    ]


def test_nothing_but_skipped_pictures_is_no_error(
    command: Command, mixed: list[Path], tmp_path: Path
) -> None:
    words = ["--fallback", "skip", "--cache", tmp_path / "c", "--contact-sheet", tmp_path / "s.png"]
    code, summary = crops(command, mixed[0], *words)
    assert (code, summary["skipped"], summary["cropped"]) == (0, 1, 0)
    with Image.open(tmp_path / "s.png") as page:
        assert page.width == 1600
    assert crops(command, mixed[0], *words)[1]["reused"] == 1


def test_skip_takes_the_detections_of_another_fallback(
    command: Command, mixed: list[Path], tmp_path: Path
) -> None:
    cache = ["--cache", tmp_path / "c"]
    crops(command, *mixed[:3], *cache)
    summary = crops(command, *mixed[:3], *cache, "--fallback", "skip")[1]
    assert (summary["detected"], summary["cropped"], summary["skipped"]) == (0, 2, 1)


def test_picture_without_a_face_may_be_an_error(
    command: Command, mixed: list[Path], tmp_path: Path
) -> None:
    words = [*mixed[:2], "--fallback", "error", "--cache", tmp_path / "c", "--workers", "0"]
    done = command("crops", *words, "--min-face", "8")
    assert done.returncode == 3
    assert done.stderr == (
        f"error: Cannot crop {str(mixed[0])!r}: No face was found (min_score 0.5, min_face 8 px). "
        "Lower the threshold or use --fallback full.\n"
    )


def test_training_leaves_skipped_pictures_out_and_says_so(
    labelled: Path, trained: tuple[list[str], CompletedProcess[str]]
) -> None:
    places, done = trained
    assert "Left out: 4 pictures without a face (--fallback skip).\n" in done.stderr
    run = RunFolder(Path(places[3]) / "faces")
    rows = [json.loads(line) for line in run.crops.read_text().splitlines()]
    assert [row["status"] for row in rows].count("skipped") == 4
    with run.validation_scores.open() as file:
        scored = {row["path"] for row in csv.DictReader(file)}
    skipped = {Path(row["path"]).relative_to(labelled).as_posix() for row in rows
               if row["status"] == "skipped"}  # fmt: skip
    assert scored
    assert scored.isdisjoint(skipped)


def test_evaluation_counts_skipped_pictures(
    command: Command, tmp_path: Path, trained: tuple[list[str], object]
) -> None:
    for i in range(6):
        name = "plain" if i % 2 else "odd"
        draw(tmp_path / "new" / name / f"{i}.png", [(name, 0 if i >= 4 else 24)], seed=50 + i)
    words = ["evaluate", tmp_path / "new", *trained[0], "--cache", tmp_path / "c", "--workers", "0"]
    done = command(*words, "--device", "cpu", "--full")
    assert done.returncode == 0, done.stderr
    assert "4 pictures scored, 0 unreadable and not scored.\n" in done.stdout
    assert "2 pictures without a face skipped, as the recipe says.\n" in done.stdout
    values = json.loads(command(*words, "--device", "cpu", "--json").stdout)
    names = ("version", "images", "skipped", "errors")
    assert tuple(values[name] for name in names) == (3, 4, 2, 0)
    assert "2 pictures without a face skipped, as the recipe says." in values["verdict"]


def test_evaluation_of_nothing_but_skipped_pictures_is_told(
    command: Command, tmp_path: Path, trained: tuple[list[str], object]
) -> None:
    paths = [draw(tmp_path / "new" / n / "0.png", [(n, 0)], seed=i) for i, n in enumerate(COLOURS)]
    words = ["evaluate", tmp_path / "new", *trained[0], "--cache", tmp_path / "c", "--workers", "0"]
    done = command(*words, "--device", "cpu")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(
        "error: Cannot load crops: none of the 2 pictures could be cropped, first: "
        f"{str(paths[0])!r} has no face and the recipe skips such pictures. "
        "`roi-cls crops PATH --manifest rows.csv` lists them all.\n"
    )


def test_prediction_of_a_skipped_picture_is_a_row_in_every_form(
    predict: Command, mixed: list[Path]
) -> None:
    done = predict(*mixed, "--json")
    assert done.returncode == 3  # for the last one, which is no picture
    rows = json.loads(done.stdout)
    assert [row["status"] for row in rows] == ["skipped", "ok", "ok", "error"]
    filled = {key: value for key, value in rows[0].items() if value not in (None, False, 0)}
    assert filled == {"path": str(mixed[0]), "status": "skipped", "reason": "no_face"}
    table = list(csv.DictReader(io.StringIO(predict(*mixed, "--csv").stdout)))
    assert [row["status"] for row in table] == ["skipped", "ok", "ok", "error"]
    assert (table[0]["label"], table[0]["reason"]) == ("", "no_face")
    lines = predict(*mixed).stdout.splitlines()
    assert lines[0] == f"{mixed[0]}: skipped: no face was found"
    assert predict(mixed[0]).returncode == 0


def test_run_with_skipped_pictures_is_verified(
    command: Command, trained: tuple[list[str], object]
) -> None:
    done = command("verify", "faces", *trained[0][2:], "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Run 'faces' predicts as it was trained: ")


def test_learned_picture_that_has_no_face_any_more_is_told(
    command: Command, labelled: Path, trained: tuple[list[str], object], tmp_path: Path
) -> None:
    run = RunFolder(Path(trained[0][3]) / "faces")
    with run.validation_scores.open() as file:
        names = [row["path"] for row in csv.DictReader(file)]
    moved = tmp_path / "moved"
    shutil.copytree(labelled, moved)
    draw(moved / names[0], [("odd", 0)])
    done = command("verify", "faces", *trained[0][2:], "--device", "cpu", "--data", moved)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: Cannot verify run 'faces': 1 of {len(names)} validation pictures cannot be "
        f"predicted, first: {str(moved / names[0])!r} is skipped, as it has no face. If the data "
        "set moved, name its folder with --data.\n"
    )


@pytest.mark.parametrize(("aggregate", "combine"), [("max", np.max), ("mean", np.mean)])
def test_every_face_is_scored_and_the_answer_is_exactly_their_aggregate(
    predict: Command, mixed: list[Path], aggregate: str, combine: Callable[[list[float]], float]
) -> None:
    words = ["--face", "all", "--aggregate", aggregate, "--json"]
    row = json.loads(predict(mixed[2], *words).stdout)
    faces = row["per_face"]
    boxes = [face["box"] for face in faces]
    assert boxes == [[81, 17, 111, 47], [147, 19, 173, 45], [22, 22, 42, 42]]  # largest first
    assert [face["face_score"] for face in faces] == pytest.approx([0.85, 0.8, 0.9])
    assert row["faces"] == 3
    for face in faces:
        assert list(face) == ["box", "face_score", "label", "score", "probabilities", "roll"]
        assert face["score"] == face["probabilities"][face["label"]]
    odd = [face["probabilities"]["odd"] for face in faces]
    assert len(set(odd)) == 3
    assert row["probabilities"]["odd"] == combine(odd)
    assert sum(row["probabilities"].values()) == pytest.approx(1)
    deciding = faces[int(np.argmax(odd)) if aggregate == "max" else 0]
    assert (row["box"], row["face_score"]) == (deciding["box"], deciding["face_score"])
    assert row["score"] == row["probabilities"][row["label"]]
    if aggregate == "max":
        assert {key: row[key] for key in deciding} == deciding


def test_one_face_of_all_equals_the_plain_answer(predict: Command, mixed: list[Path]) -> None:
    plain, every = (
        json.loads(predict(mixed[1], *words, "--json").stdout) for words in ((), ("--face", "all"))
    )
    assert plain.pop("per_face") is None
    (face,) = every.pop("per_face")
    assert every == plain
    assert face == {key: plain[key] for key in face}


def test_every_face_without_a_face_is_what_the_fallback_says(
    command: Command, labelled: Path, mixed: list[Path], tmp_path: Path
) -> None:
    places = ["--run", "full", "--runs", tmp_path / "runs"]
    done = command("train", labelled, *TRAINING, *places, "--cache", tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    assert "Left out" not in done.stderr
    words = [mixed[0], *places, "--device", "cpu", "--json"]
    plain, every = (
        json.loads(command("predict", *words, *more).stdout) for more in ((), ("--face", "all"))
    )
    assert every == plain
    assert (plain["source"], plain["reason"], plain["per_face"]) == ("full_frame", "no_face", None)


def test_batches_do_not_mix_the_faces_of_pictures(predict: Command, mixed: list[Path]) -> None:
    words = [*mixed, mixed[2], mixed[0], mixed[1], "--face", "all", "--json"]
    one, many = (json.loads(predict(*words, "--batch", n).stdout) for n in (1, 32))
    assert [row["status"] for row in one] == [row["status"] for row in many]
    for alone, among in zip(one, many, strict=True):
        assert alone["box"] == among["box"]
        assert (alone["probabilities"] or {}) == pytest.approx(
            among["probabilities"] or {}, abs=1e-5
        )
        for face, other in zip(alone["per_face"] or (), among["per_face"] or (), strict=True):
            assert face["box"] == other["box"]
            assert face["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)
    assert many[2]["probabilities"] == pytest.approx(many[4]["probabilities"], abs=1e-6)


@pytest.mark.parametrize(
    ("choice", "left"), [(None, 81), ("largest", 81), ("confident", 22), ("central", 81)]
)
def test_face_at_prediction_goes_before_the_runs(
    predict: Command, mixed: list[Path], choice: str | None, left: float
) -> None:
    words = ["--face", choice] if choice else []
    row = json.loads(predict(mixed[2], *words, "--json").stdout)
    assert (row["box"][0], row["faces"], row["per_face"]) == (left, 3, None)


def test_per_face_is_json_in_the_table(predict: Command, mixed: list[Path]) -> None:
    words = [*mixed[1:3], "--face", "all"]
    rows = json.loads(predict(*words, "--json").stdout)
    table = list(csv.DictReader(io.StringIO(predict(*words, "--csv").stdout)))
    assert [json.loads(row["per_face"]) for row in table] == [row["per_face"] for row in rows]
    line = predict(*words).stdout.splitlines()[1]
    assert line.endswith(", 3 faces seen)")


def test_aggregate_without_every_face_is_refused(predict: Command, mixed: list[Path]) -> None:
    done = predict(mixed[1], "--aggregate", "mean")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--aggregate mean is for --face all: give both" in done.stderr


def test_face_of_a_run_on_whole_pictures_is_refused(
    command: Command, tiny_runs: Path, mixed: list[Path]
) -> None:
    done = command("predict", mixed[1], "--run", "tiny", "--runs", tiny_runs, "--face", "all")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: Cannot choose a face (--face all): 'tiny' was trained on whole pictures and "
        "looks for no face. Leave --face out, or name another --run.\n"
    )


def test_training_on_every_face_is_refused_before_any_picture_is_cropped(
    command: Command, labelled: Path, tmp_path: Path
) -> None:
    places = ["--runs", tmp_path / "runs", "--cache", tmp_path / "cache"]
    done = command("train", labelled, *TRAINING, "--face", "all", *places)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: Cannot train with --face all: a label belongs to a picture, not to each of its "
        "faces. Train with another --face; `roi-cls predict --face all` then scores every face.\n"
    )
    assert os.listdir(tmp_path) == []
