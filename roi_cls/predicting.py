"""The work behind ``roi-cls predict``: pictures in, rows out, in one of four forms."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TextIO

import typer

from roi_cls.atomic import open_atomically, telling_storage
from roi_cls.classifier.config import Aggregate, Device
from roi_cls.classifier.predict import Prediction, Predictor, Source
from roi_cls.classifier.run_folder import RunFolder
from roi_cls.console import Advance, progress, show
from roi_cls.errors import StorageError
from roi_cls.inputs import STDIN, check_not_input, expand_paths, is_pattern, is_table, read_stdin
from roi_cls.json_text import to_json
from roi_cls.location import as_path
from roi_cls.roi import REASON_TEXT
from roi_cls.roi.params import FaceChoice

_ERRORS = "surrogateescape"  # file names may be any bytes
Form = Literal["text", "json", "jsonl", "csv"]


@dataclass(frozen=True, slots=True)
class PredictJob:
    """What to predict, with what, and in which form to tell it."""

    inputs: Sequence[str]
    run: RunFolder
    form: Form
    output: Path | None
    """Where the rows go; None: stdout."""
    batch_size: int
    device: Device
    detector_model: Path | None
    max_pixels: int
    face: FaceChoice | None = None
    """Which face is looked at; None: the one the run was trained on."""
    aggregate: Aggregate = "max"
    """How several faces make one answer."""


def predict_and_print(job: PredictJob) -> int:
    """Predict, print the rows, return how many are in error.

    Raises:
        RoiClsError: The run cannot be used, or an input names no picture.
        typer.BadParameter: Faces are to be aggregated, and not all are looked at.
    """
    if job.aggregate != "max" and job.face != "all":
        raise typer.BadParameter(f"--aggregate {job.aggregate} is for --face all: give both")
    pictures = list(named_pictures(job.inputs))  # what names nothing is told before the model loads
    if job.output:
        check_not_input(job.output, [as_path(source.path) for source in pictures])
    errors = 0

    def count(predictions: Iterable[Prediction], advance: Advance) -> Iterator[Prediction]:
        nonlocal errors
        for done, prediction in enumerate(predictions, 1):
            errors += prediction.status == "error"
            advance(done, len(pictures), "")
            yield prediction

    predictor = Predictor(
        job.run,
        device=job.device,
        detector_model=job.detector_model,
        max_pixels=job.max_pixels,
        face=job.face,
        aggregate=job.aggregate,
    )
    single = len(job.inputs) == 1 and _is_one_picture(job.inputs[0])
    with predictor, _open_output(job.output) as file, _progress(file) as advance:
        predictions = count(predictor.predict(pictures, job.batch_size), advance)
        for line in format_predictions(predictions, job.form, single=single):
            if file is sys.stdout:
                show(line)
            else:
                print(line, file=file, flush=True)
    return errors


def _is_one_picture(text: str) -> bool:
    path = as_path(text)
    return text == STDIN or not (path.is_dir() or is_table(path) or is_pattern(text))


@contextlib.contextmanager
def _progress(file: TextIO) -> Iterator[Advance]:
    if file.isatty():  # the rows themselves show how far it is, and a bar would tear them
        yield lambda done, total, note: None
    else:
        with progress("Predicting") as advance:
            yield advance


@contextlib.contextmanager
def _open_output(path: Path | None) -> Iterator[TextIO]:
    """Give the file to write to; at ``path`` there is all or what was there before."""
    if path is None:
        yield sys.stdout
        return
    if path.is_dir():
        raise StorageError(path, "it is a folder")
    if path.exists() and not path.is_file():  # a pipe or a device is written to as it is
        with telling_storage(path), path.open("w", encoding="utf-8", errors=_ERRORS) as stream:
            yield stream
        return
    with open_atomically(path) as file, telling_storage(path):
        text = io.TextIOWrapper(file, encoding="utf-8", errors=_ERRORS)
        try:
            yield text
        finally:
            text.detach()  # flushes, and leaves the file open to whoever opened it


def named_pictures(inputs: Sequence[str]) -> Iterator[Source]:
    """Yield the pictures that the inputs name, in order; ``-`` is standard input."""
    for text in inputs:
        if text == STDIN:
            yield Source(STDIN, read_stdin())
        else:
            yield from (Source(str(path)) for path in expand_paths([text]))


def format_predictions(
    predictions: Iterable[Prediction], form: Form, *, single: bool
) -> Iterator[str]:
    """Yield lines as the predictions come; ``json`` alone waits for all of them.

    Args:
        predictions: Rows in input order.
        form: ``text`` for people, ``json``, ``jsonl`` or ``csv``.
        single: One picture was named by itself: JSON is then an object, not a list.
    """
    if form == "json":
        rows = [prediction.to_dict() for prediction in predictions]
        yield to_json(rows[0] if single else rows, indent=2)
    elif form == "jsonl":
        for prediction in predictions:
            yield to_json(prediction.to_dict())
    elif form == "csv":
        yield from _csv_lines(predictions)
    else:
        yield from map(prediction_line, predictions)


def prediction_line(prediction: Prediction) -> str:
    """Return the answer for people: label, probability, and what was looked at."""
    path = prediction.path if prediction.path.isprintable() else repr(prediction.path)
    if prediction.status == "error":
        return f"{path}: error: {prediction.error}"
    if prediction.status == "skipped":
        return f"{path}: skipped{_why(prediction)}"
    return (
        f"{path}: {prediction.label} {prediction.score:.3f}"
        f"{' (unsure)' if prediction.unsure else ''} ({_looked_at(prediction)})"
    )


def _looked_at(prediction: Prediction) -> str:
    if prediction.box is None:
        return f"full frame{_why(prediction)}"
    left, top, right, bottom = (round(value) for value in prediction.box)
    others = f", {prediction.faces} faces seen" if prediction.faces > 1 else ""
    return f"face at {left},{top}-{right},{bottom}, found with {prediction.face_score:.2f}{others}"


def _why(prediction: Prediction) -> str:
    reason = prediction.reason
    return f": {REASON_TEXT[reason]}" if reason else ""  # type: ignore[index]  # a reason's name


def _csv_lines(predictions: Iterable[Prediction]) -> Iterator[str]:
    header: list[str] = []
    for prediction in predictions:
        row = {
            name: json.dumps(value) if isinstance(value, dict | tuple) else value
            for name, value in prediction.to_dict().items()
        }
        if not header:
            header = list(row)
            yield _csv_line(header)
        yield _csv_line([row[name] for name in header])


def _csv_line(values: Sequence[object]) -> str:
    buffer = io.StringIO()
    end = "\r\n"  # before Python 3.13 only these characters, within a value, make it quoted
    csv.writer(buffer, lineterminator=end).writerow(values)
    return buffer.getvalue().removesuffix(end)
