"""Where predictions go: stdout, a file that appears whole, a pipe or device written as it is."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from roi_cls.base.atomic import open_atomically, telling_storage
from roi_cls.base.errors import StorageError
from roi_cls.classifier.inference.prediction import Prediction
from roi_cls.console import show
from roi_cls.prediction_parquet import check_parquet, write_parquet
from roi_cls.prediction_rows import Form, format_predictions

_ERRORS = "surrogateescape"  # file names may be any bytes


def check_output(path: Path | None, form: Form) -> None:
    """Refuse an output that cannot be written, before the work is done.

    Raises:
        StorageError: The path is a folder.
        DataError: The form's package is not installed.
    """
    if path is not None and path.is_dir():
        raise StorageError(path, "it is a folder")
    if form == "parquet":
        check_parquet()


def write_predictions(
    predictions: Iterable[Prediction],
    form: Form,
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
            write_parquet(file, path, predictions, labels)
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


def rows_are_seen(path: Path | None) -> bool:
    """Whether the rows come on a screen: they show how far it is, and a bar would tear them."""
    return path is None and sys.stdout.isatty()
