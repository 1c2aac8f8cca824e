"""The manifest holds every row, in order, whatever the pictures are called."""

import csv
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roi_cls.cache.manifest import check_manifest_path, write_manifest
from roi_cls.cache.record import CropRecord
from roi_cls.errors import CacheError, StorageError

OK = CropRecord(
    Path("a b,c.png"),
    "ok",
    sha256="5" * 64,
    height=30,
    width=40,
    source="face",
    box=(1.5, 2.0, 3.25, 4.0),
    face_score=0.9,
    faces=2,
    keypoints=((1.0, 2.0), (3.0, 4.0)),
    region=(0.0, 1.0, 4.75, 5.75),
    angle=-3.5,
    recipe="r" * 64,
)
FALLBACK = CropRecord(Path("b.png"), "ok", source="full_frame", reason="no_face")
ERROR = CropRecord(Path("c.png"), "error", 'Cannot read "c.png": it\nis, empty.')
NAMES = ["é 猫.png", 'q"uo\'te,;.png', "line\nfeed.png", "carriage\rreturn.png", " .png",
         "=1+1.png", os.fsdecode(b"\xff\xfe.png")]  # fmt: skip
ROWS = [OK, FALLBACK, ERROR, OK, *(CropRecord(Path(name), "ok") for name in NAMES)]


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def read_jsonl(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def test_json_lines_hold_every_row_in_order(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_manifest(path, ROWS)
    plain = [json.loads(json.dumps(row.to_dict())) for row in ROWS]
    assert read_jsonl(path) == plain
    assert "é 猫.png".encode() in path.read_bytes()  # readable where it can be


def test_csv_holds_every_row_in_order(tmp_path: Path) -> None:
    path = tmp_path / "rows.CSV"
    write_manifest(path, ROWS)
    rows = read_csv(path)
    assert [row["path"] for row in rows] == [str(row.path) for row in ROWS]
    assert [row["status"] for row in rows] == [row.status for row in ROWS]
    assert rows[2]["error"] == ERROR.error
    assert json.loads(rows[0]["box"]) == [1.5, 2.0, 3.25, 4.0]
    assert json.loads(rows[0]["keypoints"]) == [[1.0, 2.0], [3.0, 4.0]]
    assert (float(rows[0]["angle"]), int(rows[0]["height"])) == (-3.5, 30)
    assert (rows[1]["box"], rows[1]["reason"], rows[1]["sha256"]) == ("", "no_face", "")
    assert list(rows[0]) == list(OK.to_dict())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/")), max_size=5
    )
)
def test_any_names_survive_both_forms(tmp_path: Path, names: list[str]) -> None:
    rows = [CropRecord(Path(name), "error", name) for name in names]
    write_manifest(tmp_path / "rows.jsonl", rows)
    write_manifest(tmp_path / "rows.csv", rows)
    expected = [str(row.path) for row in rows]
    assert [row["path"] for row in read_jsonl(tmp_path / "rows.jsonl")] == expected
    assert [row["path"] for row in read_csv(tmp_path / "rows.csv")] == expected


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv"])
def test_no_rows_make_an_empty_table(tmp_path: Path, name: str) -> None:
    write_manifest(tmp_path / "new" / name, [])
    header = ",".join(OK.to_dict()) + "\n" if name.endswith("csv") else ""
    assert (tmp_path / "new" / name).read_text() == header


@pytest.mark.parametrize("name", ["rows.txt", "rows", "rows.json"])
def test_unknown_suffix_is_refused_before_any_work(name: str) -> None:
    with pytest.raises(CacheError) as caught:
        check_manifest_path(Path(name))
    assert str(caught.value) == (
        f"Cannot write the manifest '{name}': its suffix names no known form. "
        "Use one of .jsonl, .csv."
    )
    with pytest.raises(CacheError):
        write_manifest(Path(name), [])


def test_manifest_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").mkdir()
    with pytest.raises(StorageError, match=r"^Cannot write '.*rows.csv': Is a directory\. "):
        write_manifest(tmp_path / "rows.csv", ROWS)
