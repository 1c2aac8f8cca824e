"""The manifest holds every row, in order, whatever the pictures are called."""

import csv
import errno
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from roi_cls.base.errors import CacheError, DataError, StorageError
from roi_cls.cache.manifest import check_manifest_path, open_manifest
from roi_cls.cache.record import RECORD_FIELDS, CropRecord, FaceCut

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
    model="short",
    step="full",
    region=(0.0, 1.0, 4.75, 5.75),
    angle=-3.5,
    more=(
        FaceCut((1.0, 2.0, 3.0, 4.0), 1 / 3, ((0.1, 0.2),), "full", (1.5, 2.5, 3.5, 4.5), 2.5, 177),
    ),
    size_px=16,
    border="replicate",
    resampling="area",
    recipe="r" * 64,
    roll=-3.5,
)
SKIPPED = CropRecord(Path("d.png"), "skipped", sha256="6" * 64, reason="low_score", face_score=0.25)
FALLBACK = CropRecord(Path("b.png"), "ok", source="full_frame", reason="no_face")
ERROR = CropRecord(Path("c.png"), "error", 'Cannot read "c.png": it\nis, empty.')
NAMES = ["é 猫.png", 'q"uo\'te,;.png', "line\nfeed.png", "carriage\rreturn.png", " .png",
         "=1+1.png", os.fsdecode(b"\xff\xfe.png")]  # fmt: skip
FORMS = (".jsonl", ".csv", ".parquet")
ROWS = [OK, FALLBACK, ERROR, SKIPPED, OK, *(CropRecord(Path(name), "ok") for name in NAMES)]


def write_manifest(path: Path, rows: list[CropRecord]) -> None:
    with open_manifest(path) as add:
        for row in rows:
            add(row)


def plain(rows: list[CropRecord]) -> list[dict[str, Any]]:
    """Return the rows as JSON has them."""
    return [json.loads(json.dumps(row.to_dict())) for row in rows]


def read_parquet(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return rows


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def read_jsonl(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def test_json_lines_hold_every_row_in_order(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_manifest(path, ROWS)
    assert read_jsonl(path) == plain(ROWS)
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
    assert (float(rows[0]["roll"]), int(rows[0]["height"])) == (-3.5, 30)
    assert (rows[1]["box"], rows[1]["reason"], rows[1]["sha256"]) == ("", "no_face", "")
    assert json.loads(rows[0]["more"]) == plain([OK])[0]["more"]
    assert (rows[3]["status"], rows[3]["face_score"], rows[3]["more"]) == ("skipped", "0.25", "")
    assert list(rows[0]) == list(OK.to_dict())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/")), max_size=5
    )
)
def test_any_names_survive_every_form(tmp_path: Path, names: list[str]) -> None:
    rows = [CropRecord(Path(name), "error", name) for name in names]
    for form in FORMS:
        write_manifest(tmp_path / f"rows{form}", rows)
    expected = [str(row.path) for row in rows]
    assert [row["path"] for row in read_parquet(tmp_path / "rows.parquet")] == expected
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
        "Use one of .jsonl, .csv, .parquet."
    )
    with pytest.raises(CacheError):
        write_manifest(Path(name), [])
    assert not Path(name).exists()


def test_manifest_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").mkdir()
    with pytest.raises(StorageError, match=r"^Cannot write '.*rows.csv': it is a folder\. "):
        write_manifest(tmp_path / "rows.csv", ROWS)


def test_parquet_holds_every_row_in_order(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_manifest(path, ROWS)
    expected = plain(ROWS)
    expected[-1]["path"] = r"\udcff\udcfe.png"  # no text: escaped
    assert read_parquet(path) == expected
    assert parquet.read_schema(path).names == list(RECORD_FIELDS)


def test_parquet_rows_are_read_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_manifest(path, ROWS[:5])
    read = [CropRecord.from_dict(Path(row["path"]), row) for row in read_parquet(path)]
    assert read == ROWS[:5]


def test_parquet_without_rows_has_its_columns(tmp_path: Path) -> None:
    write_manifest(tmp_path / "rows.parquet", [])
    assert parquet.read_schema(tmp_path / "rows.parquet").names == list(RECORD_FIELDS)
    assert read_parquet(tmp_path / "rows.parquet") == []


def test_parquet_without_its_package_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(CacheError) as caught:
        write_manifest(tmp_path / "rows.parquet", ROWS)
    assert str(caught.value) == (
        "Cannot write a Parquet manifest: import of pyarrow halted; None in sys.modules. Install "
        "it with pip install 'roi-cls[parquet]', or use .jsonl or .csv."
    )
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("error", [DataError("told"), OSError("unrelated"), KeyboardInterrupt()])
def test_run_that_fails_leaves_the_old_manifest_and_its_own_error(
    tmp_path: Path, form: str, error: BaseException
) -> None:
    path = tmp_path / f"rows{form}"
    path.write_bytes(b"path,status\n")

    def fail() -> None:
        with open_manifest(path) as add:
            add(OK)
            raise error

    with pytest.raises(type(error)) as caught:
        fail()
    assert caught.value is error  # not told as a fault of the manifest
    assert path.read_bytes() == b"path,status\n"
    assert os.listdir(tmp_path) == [path.name]


class FullDisk(io.BytesIO):
    """A file on a disk that has room for so many bytes."""

    room = 0

    def write(self, data: Any) -> int:
        """Write, or raise."""
        if self.tell() + len(data) > self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("room", [0, 600, 3000])
def test_full_disk_is_told_and_leaves_the_old_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, room: int
) -> None:
    path = tmp_path / f"rows{form}"
    path.write_bytes(b"path,status\n")

    def open_small(handle: int, mode: str) -> FullDisk:
        os.close(handle)
        file = FullDisk()
        file.room = room
        return file

    monkeypatch.setattr(os, "fdopen", open_small)
    with pytest.raises(StorageError) as caught:
        write_manifest(path, ROWS * 20)
    assert str(caught.value).startswith(f"Cannot write {str(path)!r}: the disk is full. ")
    assert path.read_bytes() == b"path,status\n"
    assert os.listdir(tmp_path) == [path.name]


_STREAM = """
import resource, sys
from pathlib import Path
from roi_cls.cache.manifest import open_manifest
from roi_cls.cache.record import CropRecord

def row(i):
    points = tuple((float(i), float(j)) for j in range(6))
    return CropRecord(Path(f"folder/{i:08}.png"), "ok", None, f"{i:064x}", 448, 640, "face", None,
        (1.5, 2.5, 3.5, 4.5), 0.9, 1, points, "short", "short", (1.0, 2.0, 3.0, 4.0), 0.0, (), 224,
        "replicate", "area", "r" * 64)

with open_manifest(Path(sys.argv[1])) as add:
    for i in range(5000):
        add(row(i))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for i in range(20000):
        add(row(i))
unit = 1024 if sys.platform == "darwin" else 1  # bytes there, kB elsewhere
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // unit)
"""


@pytest.mark.parametrize("form", FORMS)
def test_20_000_rows_take_no_more_memory_than_5_000(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"rows{form}"
    words = [sys.executable, "-c", _STREAM, str(path)]
    grown_kb = int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    count: Callable[[], int] = {
        ".jsonl": lambda: len(read_jsonl(path)),
        ".csv": lambda: len(read_csv(path)),
        ".parquet": lambda: len(read_parquet(path)),
    }[form]
    assert count() == 25_000
    assert grown_kb < 8_000  # of 20,000 rows, kept, 60,000 or so
