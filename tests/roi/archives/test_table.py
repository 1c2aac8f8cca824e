"""Parquet tables: which column holds the pictures, what rows are called, which class they have."""

import sys
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from roi_cls.roi.archives.archive import ArchiveError
from roi_cls.roi.archives.table import TableArchive
from tests.helpers.archives import make_table
from tests.helpers.pictures import encode, noise

MOST = 10**6
PICTURES = [encode(noise(8, 8, 3, seed=i)) for i in range(8)]


def opened(path: Path) -> TableArchive:
    return TableArchive(path.open("rb"))


def plain(path: Path, **columns: Any) -> TableArchive:
    """Open a table of these columns, which nothing is stated of."""
    parquet.write_table(pyarrow.table(columns), path)
    return opened(path)


def refusal(path: Path, **columns: Any) -> str:
    parquet.write_table(pyarrow.table(columns), path)
    with path.open("rb") as file, pytest.raises(ArchiveError) as caught:
        TableArchive(file)
    return f"{caught.value.reason}. {caught.value.remedy}"


def test_rows_are_read_in_any_order_across_groups(tmp_path: Path) -> None:
    with opened(make_table(tmp_path / "a.parquet", PICTURES)) as table:
        names = table.names()
        assert names == [f"000000{i}" for i in range(8)]
        for i in (0, 1, 7, 2, 3, 5):
            assert table.read(names[i], MOST) == PICTURES[i]


def test_only_the_column_of_pictures_is_read_and_one_group_is_held(tmp_path: Path) -> None:
    with opened(make_table(tmp_path / "a.parquet", PICTURES, [0] * 8)) as table:
        read: list[tuple[int, list[str]]] = []
        read_group = table._table.read_row_group

        def count(group: int, columns: list[str]) -> Any:
            read.append((group, columns))
            return read_group(group, columns=columns)

        table._table.read_row_group = count
        for name in table.names():
            table.read(name, MOST)
        assert read == [(i, ["image.bytes"]) for i in range(3)]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["x/b.jpg", "a.png", "c"], ["b.jpg", "a.png", "c"]),
        (["b.jpg", "b.jpg", "c.png"], ["0000000.jpg", "0000001.jpg", "0000002.png"]),
        (["b.jpg", None, ""], ["0000000.jpg", "0000001", "0000002"]),
    ],
)
def test_rows_are_called_as_their_pictures_where_each_has_a_name_of_its_own(
    tmp_path: Path, paths: list[str | None], names: list[str]
) -> None:
    with opened(make_table(tmp_path / "a.parquet", PICTURES[:3], paths=paths)) as table:
        assert table.names() == names


def test_classes_are_named_by_the_schema_and_minus_one_is_none(tmp_path: Path) -> None:
    path = make_table(
        tmp_path / "a.parquet", PICTURES[:4], [1, 0, -1, None], classes=["cat", "dog"]
    )
    with opened(path) as table:
        assert table.read_labels(["0000000", "0000001", "0000002", "0000003"]) == {
            "0000000": "dog",
            "0000001": "cat",
        }


@pytest.mark.parametrize(
    ("labels", "expected"), [(["x", "y"], ["x", "y"]), ([3, 4], ["3", "4"]), (None, [])]
)
def test_labels_without_names_are_taken_as_they_stand(
    tmp_path: Path, labels: list[Any] | None, expected: list[str]
) -> None:
    with opened(make_table(tmp_path / "a.parquet", PICTURES[:2], labels)) as table:
        assert list(table.read_labels(table.names()).values()) == expected


def test_plain_bytes_are_found_among_other_columns(tmp_path: Path) -> None:
    for kind in (pyarrow.binary(), pyarrow.large_binary()):
        columns = {
            "key": pyarrow.array([b"k1", b"k2"]),
            "jpg": pyarrow.array(PICTURES[:2], kind),
            "label": ["a", "b"],
        }
        with plain(tmp_path / "a.parquet", **columns) as table:
            assert table.read("0000001", MOST) == PICTURES[1]
            assert table.read_labels(["0000001"]) == {"0000001": "b"}


def test_a_table_without_one_column_of_pictures_is_refused_with_its_columns(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.parquet"
    assert refusal(path, text=["a"], number=[1]) == (
        "it has no column of pictures; its columns are text, number. "
        "Give a table with one column of pictures, as bytes or as {bytes, path}."
    )
    assert refusal(path, left=PICTURES[:1], right=PICTURES[:1]).startswith(
        "it has several columns of pictures: ['left', 'right']; its columns are left, right. "
    )


def test_a_row_without_bytes_or_with_too_many_is_refused(tmp_path: Path) -> None:
    with opened(make_table(tmp_path / "a.parquet", [PICTURES[0], None])) as table:
        with pytest.raises(ArchiveError, match="its row holds no bytes"):
            table.read("0000001", MOST)
        with pytest.raises(ArchiveError, match="over the limit of 9"):
            table.read("0000000", 9)


def test_a_group_that_arrow_cannot_hold_at_once_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise pyarrow.ArrowNotImplementedError("Nested data conversions not implemented")

    with opened(make_table(tmp_path / "a.parquet", PICTURES)) as table:
        monkeypatch.setattr(parquet.ParquetFile, "read_row_group", refuse)
        with pytest.raises(ArchiveError, match="over 2 GiB of pictures") as caught:
            table.read("0000000", MOST)
        assert caught.value.remedy == "Write the table with smaller groups of rows."


def test_a_damaged_group_leaves_the_others(tmp_path: Path) -> None:
    path = make_table(tmp_path / "a.parquet", PICTURES)
    data = path.read_bytes()
    at = data.index(PICTURES[0][:40]) if PICTURES[0][:40] in data else 60
    path.write_bytes(data[: at - 20] + bytes(60) + data[at + 40 :])
    with opened(path) as table:
        with pytest.raises(ArchiveError, match="its group of rows is damaged"):
            table.read("0000000", MOST)
        assert table.read("0000004", MOST) == PICTURES[4]


def test_without_pyarrow_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_table(tmp_path / "a.parquet", PICTURES)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with path.open("rb") as file, pytest.raises(ArchiveError) as caught:
        TableArchive(file)
    assert caught.value.reason == "it needs pyarrow, which is not installed"
    assert caught.value.remedy == "Run: pip install 'roi-cls[parquet]'"
