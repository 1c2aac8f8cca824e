"""Predictions become text in each form, as they come."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from roi_cls.classifier.inference.prediction import Prediction
from roi_cls.commands.predict.output import FIELDS, RowForm, format_predictions
from roi_cls.console.verdict import prediction_line

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
    ],
    ids=["full frame", "face", "error", "skipped", "frame", "mean", "highest"],
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
