"""Predictions as text in each form, as they come, and as a Parquet table, all or nothing."""

import csv
import io
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from roi_cls.base.errors import DataError
from roi_cls.base.rows import ROWS_AT_ONCE
from roi_cls.classifier.inference.prediction import Prediction
from roi_cls.commands.predict.output import (
    FIELDS,
    RowForm,
    check_output,
    format_predictions,
    write_predictions,
)
from roi_cls.console.words import prediction_line

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
LITTLE = replace(OK, score=0.148, probabilities={"odd": 0.148, "plain": 0.852}, threshold=0.1241)
MUCH = replace(
    OK, label="plain", score=0.4, probabilities={"odd": 0.6, "plain": 0.4}, threshold=0.7
)
BAD = Prediction("c.png", "error", "Cannot read 'c.png': no such file. Check the path.")


@pytest.mark.parametrize(
    ("prediction", "line"),
    [
        (OK, "a.png: odd 0.750 (full frame)"),
        (FACE, "b.png: plain 0.500 (unsure) (face at 1,2-31,40, found with 0.91, 2 faces seen)"),
        (BAD, "c.png: error: Cannot read 'c.png': no such file. Check the path."),
        (
            Prediction("d.png", "skipped", reason="too_small"),
            "d.png: skipped: every face is too small",
        ),
        (replace(OK, time_s=1.5), "a.png at 1.5 s: odd 0.750 (full frame)"),
        (replace(OK, source=None, frames=1), "a.png: odd 0.750 (1 frame)"),
        (replace(OK, time_s=0.5, frames=7), "a.png: odd 0.750 (highest at 0.5 s of 7 frames)"),
        (replace(OK, threshold=0.3), "a.png: odd 0.750 (full frame)"),
        (LITTLE, "a.png: odd 0.148, threshold 0.124 (full frame)"),
        (replace(LITTLE, unsure=True), "a.png: odd 0.148, threshold 0.124 (unsure) (full frame)"),
        (MUCH, "a.png: plain 0.400, threshold for odd 0.700 (full frame)"),
        (replace(FACE, threshold=0.51), prediction_line(FACE)),  # as probable as the other
        (replace(LITTLE, threshold=None), "a.png: odd 0.148 (full frame)"),
    ],
    ids=[
        *("full frame", "face", "error", "skipped", "frame", "mean", "highest"),
        *("probable", "below one half", "unsure there", "the other", "a tie", "no threshold"),
    ],
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

    forms: tuple[RowForm, ...] = ("text", "jsonl")
    for form in forms:
        assert "a.png" in next(format_predictions(slowly(), form, single=False))


def test_no_rows_are_an_empty_list_and_an_empty_table() -> None:
    assert list(format_predictions([], "json", single=False)) == ["[]"]
    assert list(format_predictions([], "csv", single=False)) == []


def test_json_is_one_text_of_all_rows_and_holds_no_more_than_two() -> None:
    taken = 0

    def rows() -> Iterator[Prediction]:
        nonlocal taken
        for i in range(100):
            taken += 1
            yield replace(OK, path=f"{i}.png")

    parts = []
    for part in format_predictions(rows(), "json", single=False):
        parts.append(part)
        assert taken <= len(parts) + 1
    expected = [replace(OK, path=f"{i}.png").to_dict() for i in range(100)]
    assert "\n".join(parts) == json.dumps(expected, indent=2)


@pytest.mark.parametrize("frames", [None, 3])
def test_json_of_one_picture_is_an_object_and_of_a_video_a_list(frames: int | None) -> None:
    text = "\n".join(format_predictions([replace(OK, frames=frames)], "json", single=True))
    row = replace(OK, frames=frames).to_dict()
    assert json.loads(text) == (row if frames is None else [row])


def test_table_has_each_field_and_values_as_json() -> None:
    lines = "\n".join(format_predictions([FACE, BAD], "csv", single=False))
    first, second = csv.DictReader(io.StringIO(lines))
    assert tuple(first) == FIELDS == tuple(FACE.to_dict())
    assert json.loads(first["box"]) == [1.2, 2.0, 30.6, 40.0]
    assert json.loads(first["probabilities"]) == FACE.probabilities
    assert (second["label"], second["error"]) == ("", BAD.error)


def test_parquet_is_no_text() -> None:
    with pytest.raises(ValueError, match="'parquet' is no text"):
        next(format_predictions([OK], "parquet", single=False))


parquet = pytest.importorskip("pyarrow.parquet", reason="the extra parquet is not installed")

LABELS = ("odd", "plain")
PART = {"box": (1.0, 2.0, 3.0, 4.0), "face_score": 0.9, "roll": -7.5, "label": "odd", "score": 0.6}
ROW = Prediction(
    "a.png", "ok", None, "odd", 0.6, {"odd": 0.6, "plain": 0.4}, True, "face", None,
    (1.0, 2.0, 3.0, 4.0), 0.9, 2, ({**PART, "probabilities": {"odd": 0.6, "plain": 0.4}},), 1.5, 3,
    0.4, roll=-7.5,
)  # fmt: skip


def write(path: Path, rows: list[Prediction]) -> None:
    write_predictions(rows, "parquet", path, single=False, labels=LABELS)


def test_every_field_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    bad = Prediction("\udcff.png", "error", "Cannot read '\udcff.png'.")
    write(path, [ROW, bad])
    first, second = parquet.read_table(path).to_pylist()
    box = [1.0, 2.0, 3.0, 4.0]
    (face,) = first["per_face"]
    assert first == {**ROW.to_dict(), "box": box, "per_face": [{**face, "box": box}]}
    assert face["probabilities"] == {"odd": 0.6, "plain": 0.4}
    assert (second["path"], second["label"], second["frames"]) == (r"\udcff.png", None, None)


def test_many_rows_are_written_in_groups(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write(path, [ROW] * (ROWS_AT_ONCE + 1))
    table = parquet.ParquetFile(path)
    assert (table.num_row_groups, table.metadata.num_rows) == (2, ROWS_AT_ONCE + 1)


def test_no_rows_are_an_empty_table(tmp_path: Path) -> None:
    write(tmp_path / "rows.parquet", [])
    table = parquet.read_table(tmp_path / "rows.parquet")
    assert (table.num_rows, table.column_names) == (0, list(ROW.to_dict()))


def test_failure_leaves_no_file(tmp_path: Path) -> None:
    def rows() -> object:
        yield ROW
        raise DataError("No more.")

    with pytest.raises(DataError, match=r"No more\."):
        write(tmp_path / "rows.parquet", rows())  # type: ignore[arg-type]  # any iterable will do
    assert list(tmp_path.iterdir()) == []


def test_missing_package_is_told_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(DataError) as caught:
        check_output(Path("rows.parquet"), "parquet")
    assert str(caught.value).startswith("Cannot write Parquet: ")
    assert str(caught.value).endswith(
        "Install it with pip install 'roi-cls[parquet]', or use --jsonl or --csv."
    )
