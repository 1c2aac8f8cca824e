"""Predictions as a Parquet table, written part by part. Needs the extra ``parquet``."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from roi_cls.base.errors import DataError
from roi_cls.base.rows import open_table
from roi_cls.classifier.inference.prediction import Prediction
from roi_cls.prediction_rows import FIELDS


def check_parquet() -> None:
    """Refuse Parquet where it cannot be written, before the work is done.

    Raises:
        DataError: pyarrow is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: F401  (whether it is there is asked)
    except ImportError as error:
        raise DataError(
            f"Cannot write Parquet: {error}. Install it with pip install 'roi-cls[parquet]', or "
            "use --jsonl or --csv."
        ) from error


def write_parquet(
    file: io.BufferedWriter, path: Path, predictions: Iterable[Prediction], labels: Sequence[str]
) -> None:
    """Write the rows to ``file``, which is to become ``path``.

    Probabilities are a structure with a field for each label. A path that is no text (bytes that
    are not UTF-8) is escaped.

    Raises:
        StorageError: The file cannot be written.
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
    types = {
        **dict.fromkeys(("score", "face_score", "time_s"), number),
        **dict.fromkeys(("faces", "frames"), whole),
        "probabilities": probabilities,
        "unsure": pyarrow.bool_(),
        "box": box,
        "per_face": pyarrow.list_(pyarrow.struct([("box", box), ("face_score", number), *verdict])),
    }
    return pyarrow.schema([(name, types.get(name, text)) for name in FIELDS])
