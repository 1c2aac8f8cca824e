"""Predictions as text in the forms that ``roi-cls predict`` prints, as they come.

Knows rows, no file: ``prediction_output`` writes them.
"""

from __future__ import annotations

import csv
import io
import json
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from typing import Literal

from roi_cls.base.rows import to_json
from roi_cls.classifier.inference.prediction import Prediction
from roi_cls.recipe_text import count_text
from roi_cls.roi import REASON_TEXT

Form = Literal["text", "json", "jsonl", "csv", "parquet"]
SUFFIX_FORMS: dict[str, Form] = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
}
"""The form of an output file, by its suffix; of any other suffix it is text."""
FIELDS = tuple(field.name for field in fields(Prediction))


def format_predictions(
    predictions: Iterable[Prediction], form: Form, *, single: bool
) -> Iterator[str]:
    """Yield text to print as the predictions come, each a line, or several of JSON.

    Args:
        predictions: Rows in input order.
        form: ``text`` for people, ``json``, ``jsonl`` or ``csv``.
        single: One picture was named by itself: JSON is then an object, not a list.
    """
    if form == "json":
        yield from _json_parts(predictions, single)
    elif form == "jsonl":
        for prediction in predictions:
            yield to_json(prediction.to_dict())
    elif form == "csv":
        yield from _csv_lines(predictions)
    elif form == "text":
        yield from map(prediction_line, predictions)
    else:
        raise ValueError(f"{form!r} is no text")


def prediction_line(prediction: Prediction) -> str:
    """Return the answer for people: label, probability, and what was looked at."""
    name = _printable(prediction.path)
    if prediction.time_s is not None and prediction.frames is None:
        name += f" at {prediction.time_s:g} s"
    if prediction.status == "error":
        return f"{name}: error: {_printable(prediction.error or '')}"
    if prediction.status == "skipped":
        return f"{name}: skipped: {looked_at_text(prediction)}"
    return f"{name}: {verdict_text(prediction)} ({looked_at_text(prediction)})"


def verdict_text(prediction: Prediction) -> str:
    """Return label and probability of an answer."""
    return f"{prediction.label} {prediction.score:.3f}{' (unsure)' if prediction.unsure else ''}"


def looked_at_text(prediction: Prediction) -> str:
    """Return what was looked at: a face, the full frame and why, a video's frames."""
    if prediction.frames is not None:
        at = "" if prediction.time_s is None else f"highest at {prediction.time_s:g} s of "
        return f"{at}{count_text(prediction.frames, 'frame')}"
    reason = next((text for name, text in REASON_TEXT.items() if name == prediction.reason), "")
    if prediction.box is None:
        what = "full frame" if prediction.status == "ok" else ""
        return ": ".join(filter(None, (what, reason)))
    left, top, right, bottom = (round(value) for value in prediction.box)
    others = f", {prediction.faces} faces seen" if prediction.faces > 1 else ""
    return f"face at {left},{top}-{right},{bottom}, found with {prediction.face_score:.2f}{others}"


def _printable(text: str) -> str:
    return text if text.isprintable() else repr(text)


def _json_parts(predictions: Iterable[Prediction], single: bool) -> Iterator[str]:
    """Yield what makes up one JSON text, with no more than a row of it in memory."""
    rows = iter(predictions)
    first = next(rows, None)
    if first is None:
        yield "[]"
    elif single and first.time_s is None and first.frames is None:
        yield to_json(first.to_dict(), indent=2)
    else:
        yield "["
        ahead = next(rows, None)
        row: Prediction | None = first
        while row is not None:
            text = textwrap.indent(to_json(row.to_dict(), indent=2), "  ")
            yield text if ahead is None else f"{text},"
            row, ahead = ahead, next(rows, None)
        yield "]"


def _csv_lines(predictions: Iterable[Prediction]) -> Iterator[str]:
    for number, prediction in enumerate(predictions):
        if not number:
            yield _csv_line(FIELDS)
        row = prediction.to_dict()
        yield _csv_line([_csv_value(row[name]) for name in FIELDS])


def _csv_value(value: object) -> object:
    return json.dumps(value) if isinstance(value, dict | tuple) else value


def _csv_line(values: Sequence[object]) -> str:
    buffer = io.StringIO()
    end = "\r\n"  # before Python 3.13 only these characters, within a value, make it quoted
    csv.writer(buffer, lineterminator=end).writerow(values)
    return buffer.getvalue().removesuffix(end)
