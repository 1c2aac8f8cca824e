"""Predictions as they are put out: text, JSON, CSV or Parquet, to stdout, a file or a pipe.

A file appears whole; a pipe or device is written as rows come. Parquet needs the extra ``parquet``.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, TextIO

from roi_cls.base.atomic import open_atomically, telling_storage
from roi_cls.base.errors import DataError, StorageError
from roi_cls.base.rows import open_table, to_json
from roi_cls.classifier.inference.prediction import Prediction
from roi_cls.console.terminal import show
from roi_cls.console.words import prediction_line

RowForm = Literal["text", "json", "jsonl", "csv", "parquet"]
SUFFIX_FORMS: dict[str, RowForm] = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
}
"""The form of an output file, by its suffix; of any other suffix it is text."""
FIELDS = tuple(field.name for field in fields(Prediction))
_ERRORS = "surrogateescape"  # file names may be any bytes


def check_output(path: Path | None, form: RowForm) -> None:
    """Refuse an output that cannot be written, before the work is done.

    Raises:
        StorageError: The path is a folder.
        DataError: The form's package is not installed.
    """
    if path is not None and path.is_dir():
        raise StorageError(path, "it is a folder")
    if form == "parquet":
        _check_parquet()


def _check_parquet() -> None:
    try:
        import pyarrow.parquet  # noqa: F401  (whether it is there is asked)
    except ImportError as error:
        raise DataError(
            f"Cannot write Parquet: {error}. Install it with pip install 'roi-cls[parquet]', or "
            "use --jsonl or --csv."
        ) from error


def rows_are_seen(path: Path | None) -> bool:
    """Whether the rows come on a screen: they show how far it is, and a bar would tear them."""
    return path is None and sys.stdout.isatty()


def write_predictions(
    predictions: Iterable[Prediction],
    form: RowForm,
    path: Path | None,
    *,
    single: bool,
    labels: Sequence[str],
) -> None:
    """Write the rows as they come; at ``path`` there is all in the end, or what was there before.

    Args:
        predictions: Rows in input order.
        form: See ``format_predictions``; ``parquet`` only to a path.
        path: A file, a pipe or a device; None: stdout.
        single: See ``format_predictions``.
        labels: The model's, in its order.

    Raises:
        StorageError: It cannot be written.
    """
    if form == "parquet":
        if path is None:
            raise ValueError("Parquet is no text: it needs a path")
        with open_atomically(path) as file:
            _write_parquet(file, path, predictions, labels)
        return
    lines = format_predictions(predictions, form, single=single)
    if path is None:
        for line in lines:
            show(line)
        return
    with _open_text(path) as stream:
        for line in lines:
            with telling_storage(path):
                stream.write(line + "\n")
                stream.flush()


@contextlib.contextmanager
def _open_text(path: Path) -> Iterator[TextIO]:
    with open_atomically(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", errors=_ERRORS)
        try:
            yield text
        finally:
            with telling_storage(path):
                text.detach()  # flushes, and leaves the file open to whoever opened it


def format_predictions(
    predictions: Iterable[Prediction], form: RowForm, *, single: bool
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


def _write_parquet(
    file: io.BufferedWriter, path: Path, predictions: Iterable[Prediction], labels: Sequence[str]
) -> None:
    """Write the rows to ``file``, which is to become ``path``.

    Probabilities are a structure with a field for each label. A path that is no text (bytes that
    are not UTF-8) is escaped.
    """
    import pyarrow

    with open_table(file, path, _schema(pyarrow, labels)) as add:
        for prediction in predictions:
            add(prediction.to_dict())


def _schema(pyarrow: Any, labels: Sequence[str]) -> Any:
    text, number, whole = pyarrow.string(), pyarrow.float64(), pyarrow.int64()
    probabilities = pyarrow.struct([(label, number) for label in labels])
    verdict = [("label", text), ("score", number), ("probabilities", probabilities)]
    box = pyarrow.list_(number)
    face = [("box", box), ("face_score", number), *verdict, ("roll", number)]
    types = {
        **dict.fromkeys(("score", "face_score", "time_s", "threshold", "roll"), number),
        **dict.fromkeys(("faces", "frames"), whole),
        "probabilities": probabilities,
        "unsure": pyarrow.bool_(),
        "box": box,
        "per_face": pyarrow.list_(pyarrow.struct(face)),
    }
    return pyarrow.schema([(name, types.get(name, text)) for name in FIELDS])
