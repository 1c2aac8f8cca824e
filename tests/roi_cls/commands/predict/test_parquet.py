"""Predictions as a Parquet table: every field, part by part, all or nothing."""

import sys
from pathlib import Path

import pytest

from roi_cls.base.errors import DataError
from roi_cls.base.rows import ROWS_AT_ONCE
from roi_cls.classifier.inference.prediction import Prediction
from roi_cls.commands.predict.output import check_output, write_predictions

parquet = pytest.importorskip("pyarrow.parquet", reason="the extra parquet is not installed")

LABELS = ("odd", "plain")
FACE = {"box": (1.0, 2.0, 3.0, 4.0), "face_score": 0.9, "label": "odd", "score": 0.6}
ROW = Prediction(
    "a.png", "ok", None, "odd", 0.6, {"odd": 0.6, "plain": 0.4}, True, "face", None,
    (1.0, 2.0, 3.0, 4.0), 0.9, 2, ({**FACE, "probabilities": {"odd": 0.6, "plain": 0.4}},), 1.5, 3,
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
