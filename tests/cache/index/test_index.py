"""The index knows unchanged files again; without it nothing is lost but time."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from roi_cls.cache import index as index_module
from roi_cls.cache.database import AT_ONCE
from roi_cls.cache.index import CropIndex, check_index, find_index, forget_recipe
from roi_cls.cache.options import Shard
from roi_cls.cache.record import CropRecord, CropResult, FileStamp, ok_record, read_stamp
from roi_cls.roi import Box, CropParams, Detection, Face, plan_crop
from tests.helpers.pictures import LONG_AGO

PARAMS = CropParams(size_px=16, min_face_px=4)
POINTS = ((10.1, 12.2), (20.3, 14.4)) * 3
SEEN = Detection(30, 40, (Face(Box(5, 5, 25.5, 25), 1 / 3, POINTS, "short"),), "short")

OpenIndex = Callable[[], CropIndex]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "index.sqlite"


@pytest.fixture
def open_index(database: Path) -> Iterator[OpenIndex]:
    """Open the index as another process would; all are closed at the end."""
    opened: list[CropIndex] = []

    def open_index() -> CropIndex:
        opened.append(CropIndex(database, PARAMS))
        return opened[-1]

    yield open_index
    for index in opened:
        index.close()


@pytest.fixture
def index(open_index: OpenIndex) -> CropIndex:
    return open_index()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    path.write_bytes(b"content")
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def row_of(path: Path, params: CropParams = PARAMS, seen: Detection = SEEN) -> CropRecord:
    sha256 = os.fsencode(path).hex()[-64:].rjust(64, "0")
    return ok_record(path, sha256, seen, plan_crop(seen, params), params)


def remember(index: CropIndex, path: Path) -> CropRecord:
    row = row_of(path)
    index.remember(CropResult(row, stamp=read_stamp(path)))
    index.flush()
    return row


def find(index: CropIndex, path: Path) -> CropRecord | None:
    stamp = read_stamp(path)
    assert stamp
    return index.find([path], [stamp])[0]


def test_unchanged_file_is_known_to_the_next_process_with_its_whole_row(
    index: CropIndex, open_index: OpenIndex, picture: Path
) -> None:
    row = remember(index, picture)
    assert find(open_index(), picture) == row


@pytest.mark.parametrize(
    "params",
    [
        replace(PARAMS, face="all"),
        replace(PARAMS, min_score=0.9),
        replace(PARAMS, min_score=0.9, fallback="skip"),
        replace(PARAMS, align=True, border="constant", resampling="lanczos"),
        replace(PARAMS, crop="full", full_frame="squash"),
    ],
)
def test_row_of_any_recipe_is_exact(database: Path, picture: Path, params: CropParams) -> None:
    seen = Detection(30, 40, (*SEEN.faces, replace(SEEN.faces[0], score=0.6)), "tiles")
    row = row_of(picture, params, seen)
    with CropIndex(database, params) as index:
        index.remember(CropResult(row, stamp=read_stamp(picture)))
        assert find(index, picture) is None  # not written yet
    with CropIndex(database, params) as index:
        found = find(index, picture)
    assert found == row
    assert found is not None
    assert found.cuts == row.cuts


def test_rows_of_two_recipes_are_two(database: Path, picture: Path) -> None:
    with CropIndex(database, PARAMS) as index:
        row = remember(index, picture)
    other = replace(PARAMS, margin=1.0)
    with CropIndex(database, other) as index:
        assert find(index, picture) is None
        index.remember(CropResult(row_of(picture, other), stamp=read_stamp(picture)))
    with CropIndex(database, PARAMS) as index:
        assert find(index, picture) == row


def test_relative_and_absolute_path_are_one(
    index: CropIndex, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = remember(index, picture)
    monkeypatch.chdir(picture.parent)
    assert find(index, Path("a.png")) == replace(row, path=Path("a.png"))


def test_name_that_is_no_text_is_known(index: CropIndex, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff'\n.png")
    path.write_bytes(b"content")
    os.utime(path, (LONG_AGO, LONG_AGO))
    row = remember(index, path)
    assert find(index, path) == row


def test_rows_come_in_the_order_of_the_paths(index: CropIndex, picture: Path) -> None:
    stamp = FileStamp(7, LONG_AGO, LONG_AGO)
    paths = [picture.with_name(f"{i}") for i in range(AT_ONCE)]
    for path in paths[::2]:
        index.remember(CropResult(row_of(path), stamp=stamp))
    index.flush()
    found = index.find([*paths[1:], paths[0]], [stamp] * AT_ONCE)
    assert found == [row_of(path) if i % 2 else None for i, path in enumerate(paths[1:])] + [
        row_of(paths[0])
    ]
    assert index.find([], []) == []


@pytest.mark.parametrize("change", ["size", "time", "path"])
def test_changed_file_is_not_known(index: CropIndex, picture: Path, change: str) -> None:
    remember(index, picture)
    if change == "size":
        picture.write_bytes(b"longer content")
        os.utime(picture, (LONG_AGO, LONG_AGO))
    elif change == "time":
        os.utime(picture, (LONG_AGO, LONG_AGO + 1))
    else:
        picture = picture.rename(picture.with_name("b.png"))
    assert find(index, picture) is None


def test_file_replaced_by_one_of_the_same_size_and_time_is_not_known(
    index: CropIndex, picture: Path
) -> None:
    remember(index, picture)
    other = picture.with_name("other.png")
    other.write_bytes(b"CONTENT")
    os.utime(other, (LONG_AGO, LONG_AGO))
    other.replace(picture)
    assert find(index, picture) is None


def test_touched_file_is_known_by_its_new_time(index: CropIndex, picture: Path) -> None:
    remember(index, picture)
    os.utime(picture, (LONG_AGO + 9, LONG_AGO + 9))
    row = remember(index, picture)
    assert find(index, picture) == row


@pytest.mark.parametrize(
    "result",
    [
        CropResult(row_of(Path("a"))),  # not trusted to stay as it is
        CropResult(CropRecord(Path("a"), "error", "no", "5" * 64), stamp=FileStamp(1, 2, 3)),
        CropResult(CropRecord(Path("a"), "error", "no"), stamp=FileStamp(1, 2, 3)),
    ],
    ids=["too new", "no picture", "unreadable"],
)
def test_what_is_tried_again_every_time_is_not_remembered(
    index: CropIndex, database: Path, result: CropResult
) -> None:
    index.remember(result)
    index.flush()
    connection = sqlite3.connect(database)
    assert connection.execute("SELECT COUNT(*) FROM contents").fetchone() == (0,)
    assert connection.execute("SELECT COUNT(*) FROM rows").fetchone() == (0,)
    connection.close()


def test_rows_are_written_batch_by_batch(
    index: CropIndex, open_index: OpenIndex, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "_BATCH", 2)
    stamp = read_stamp(picture)
    for name in ("a.png", "b.png", "c.png"):
        index.remember(CropResult(row_of(picture.with_name(name)), stamp=stamp))
    assert stamp
    found = open_index().find([picture.with_name(f"{name}.png") for name in "abc"], [stamp] * 3)
    assert [row is not None for row in found] == [True, True, False]


def test_forgotten_recipe_leaves_the_others(database: Path, picture: Path) -> None:
    other = replace(PARAMS, margin=1.0)
    for params in (PARAMS, other):
        with CropIndex(database, params) as index:
            index.remember(CropResult(row_of(picture, params), stamp=read_stamp(picture)))
    forget_recipe(database, PARAMS.digest[:16])
    for params, is_known in ((PARAMS, False), (other, True)):
        with CropIndex(database, params) as index:
            assert (find(index, picture) is not None) is is_known
    assert check_index(database)


@pytest.mark.parametrize(
    ("shard", "name"), [(None, "index.sqlite"), (Shard(3, 8), "index-3-of-8.sqlite")]
)
def test_every_shard_has_an_index_of_its_own(shard: Shard | None, name: str) -> None:
    assert find_index(Path("cache"), shard) == Path("cache", "v2", name)
