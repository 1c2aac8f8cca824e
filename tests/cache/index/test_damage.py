"""The index is damaged: a row is the true one, or it is not known."""

import os
import random
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from roi_cls.cache.index import CropIndex, check_index
from roi_cls.cache.record import CropRecord, CropResult, FileStamp, ok_record
from roi_cls.roi import Box, CropParams, Detection, Face, plan_crop

PARAMS = CropParams(size_px=16, min_face_px=4)
ROWS = 24
POINTS = ((10.1, 12.2), (20.3, 14.4)) * 3
LONG_AGO_NS = 1_600_000_000 * 10**9


def make_row(i: int, params: CropParams = PARAMS) -> CropRecord:
    """Return a row of which every other differs."""
    face = Face(Box(5, 5, 25.5, 25 + i / 7), 1 / (i + 2), POINTS, "short")
    seen = Detection(30 + i, 40, (face,), "short")
    path = Path("pictures", f"{i}.png").absolute()
    return ok_record(path, f"{i * 7919 + 1:064x}", seen, plan_crop(seen, params), params)


def make_stamp(i: int) -> FileStamp:
    return FileStamp(100 + i, LONG_AGO_NS + i, LONG_AGO_NS + 2 * i)


TRUE = [make_row(i) for i in range(ROWS)]


def remember(index: CropIndex) -> None:
    for i, row in enumerate(TRUE):
        index.remember(CropResult(row, stamp=make_stamp(i)))
    index.flush()


def find(index: CropIndex) -> list[CropRecord | None]:
    return index.find([row.path for row in TRUE], [make_stamp(i) for i in range(ROWS)])


def count_known(index: CropIndex) -> int:
    """Return how many rows are known, after seeing that each is the true one."""
    found = find(index)
    assert all(row is None or row == true for row, true in zip(found, TRUE, strict=True))
    return sum(row is not None for row in found)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An index with the rows of two recipes."""
    path = tmp_path_factory.mktemp("whole") / "index.sqlite"
    other = replace(PARAMS, margin=1.0)
    for params in (other, PARAMS):
        with CropIndex(path, params) as index:
            for i in range(ROWS):
                index.remember(CropResult(make_row(i, params), stamp=make_stamp(i)))
    return path.read_bytes()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "index.sqlite"


def write_index(path: Path, content: bytes) -> None:
    for name in ("", "-wal", "-shm"):
        Path(f"{path}{name}").unlink(missing_ok=True)
    path.write_bytes(content)


def flip_bits(content: bytes, places: list[int], bit: int) -> bytes:
    damaged = bytearray(content)
    for place in places:
        damaged[place] ^= 1 << bit
    return bytes(damaged)


@pytest.mark.parametrize("start", range(4))
def test_flipped_bit_anywhere_never_gives_a_wrong_row(
    start: int, whole: bytes, database: Path
) -> None:
    # The whole header of the file, the beginnings of its pages, and a part of everything else.
    pages = [place for page in range(0, len(whole), 4096) for place in range(page, page + 12)]
    places = sorted({*range(100), *pages, *range(0, len(whole), 179)})[start::4]
    known = 0
    for place in places:
        write_index(database, flip_bits(whole, [place], place % 8))
        with CropIndex(database, PARAMS) as index:
            known += count_known(index)
            remember(index)
        with CropIndex(database, PARAMS) as index:
            count_known(index)
    assert known > 0.7 * ROWS * len(places)  # most damage costs one row or none


def test_many_flipped_bits_never_give_a_wrong_row(whole: bytes, database: Path) -> None:
    known = 0
    for seed in range(100):
        chosen = random.Random(seed)
        places = [chosen.randrange(len(whole)) for _ in range(8)]
        write_index(database, flip_bits(whole, places, seed % 8))
        with CropIndex(database, PARAMS) as index:
            known += count_known(index)
            remember(index)
        with CropIndex(database, PARAMS) as index:
            count_known(index)
    assert known


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 0.9, 0.99])
def test_index_cut_short_never_gives_a_wrong_row(
    share: float, whole: bytes, database: Path
) -> None:
    write_index(database, whole[: int(share * len(whole))])
    with CropIndex(database, PARAMS) as index:
        count_known(index)
        remember(index)
    with CropIndex(database, PARAMS) as index:
        assert count_known(index) == ROWS


def test_damaged_row_is_made_anew(whole: bytes, database: Path) -> None:
    place = whole.index(b'"face_score":') + 20
    write_index(database, flip_bits(whole, [place], 0))
    with CropIndex(database, PARAMS) as index:
        assert count_known(index) in (ROWS, ROWS - 1)  # of this recipe or of the other one
        remember(index)
    with CropIndex(database, PARAMS) as index:
        assert count_known(index) == ROWS


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE contents SET sha256 = (SELECT sha256 FROM contents ORDER BY path LIMIT 1)",
        "UPDATE contents SET mtime_ns = mtime_ns + 1",
        "UPDATE contents SET crc = 'x'",
        "UPDATE rows SET crc = NULL",
        "UPDATE rows SET row = 7",
        "UPDATE rows SET row = 'no json'",
        "UPDATE rows SET (row, crc) = (SELECT row, crc FROM rows LIMIT 1)",
        "UPDATE rows SET sha256 = substr(sha256, 1, 31) || x'99'; "
        "UPDATE contents SET sha256 = substr(sha256, 1, 31) || x'99'",
        "ALTER TABLE rows RENAME COLUMN row TO rox",
        "DROP TABLE rows",
    ],
)
def test_line_that_was_written_by_no_run_of_ours_is_unknown(
    whole: bytes, database: Path, change: str
) -> None:
    write_index(database, whole)
    connection = sqlite3.connect(database)
    with connection:
        for statement in change.split("; "):
            connection.execute(statement.replace("UPDATE rows", "UPDATE OR IGNORE rows"))
    connection.close()
    with CropIndex(database, PARAMS) as index:
        assert count_known(index) <= 1  # of a row put over all, the one it belongs to
        remember(index)
    with CropIndex(database, PARAMS) as index:
        assert count_known(index) == ROWS


@pytest.mark.parametrize("damaged", [b"PRIMARY \xcbEY (", b"PRIMARY XEY ("])
def test_damaged_schema_is_thrown_away(whole: bytes, database: Path, damaged: bytes) -> None:
    write_index(database, whole.replace(b"PRIMARY KEY (", damaged))
    assert not check_index(database)
    with CropIndex(database, PARAMS) as index:
        assert count_known(index) == 0
        remember(index)
    with CropIndex(database, PARAMS) as index:
        assert count_known(index) == ROWS


@pytest.mark.parametrize("content", [b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_garbage_is_thrown_away(database: Path, content: bytes) -> None:
    database.write_bytes(content)
    assert not check_index(database)
    with CropIndex(database, PARAMS) as index:
        assert count_known(index) == 0
        remember(index)
    with CropIndex(database, PARAMS) as index:
        assert count_known(index) == ROWS
    assert check_index(database)


def test_index_damaged_while_it_is_open_is_started_anew(whole: bytes, database: Path) -> None:
    write_index(database, whole)
    with CropIndex(database, PARAMS) as index:
        with database.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (len(whole) - 4096))
        assert count_known(index) == 0
        remember(index)
        assert count_known(index) == ROWS


def test_what_was_remembered_in_a_damaged_index_is_written_to_the_new_one(
    whole: bytes, database: Path
) -> None:
    write_index(database, whole)
    with CropIndex(database, PARAMS) as index:
        with database.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (len(whole) - 4096))
        remember(index)
    with CropIndex(database, PARAMS) as index:
        assert count_known(index) == ROWS


def _refuse(_: object) -> None:
    raise PermissionError


def test_index_that_stays_broken_is_kept_in_memory(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.write_bytes(b"garbage" * 1000)
    monkeypatch.setattr(os, "unlink", _refuse)
    with CropIndex(database, PARAMS) as index:
        remember(index)
        assert count_known(index) == ROWS
    assert database.read_bytes() == b"garbage" * 1000


@pytest.mark.parametrize("damage", [False, True])
def test_read_only_index_is_read(
    whole: bytes, shared_folder: Path, as_plain_user: Callable[[], None], damage: bool
) -> None:
    path = shared_folder / "index.sqlite"
    content = flip_bits(whole, list(range(4096, len(whole), 50)), 3) if damage else whole
    path.write_bytes(content)
    path.chmod(0o444)
    shared_folder.chmod(0o555)
    as_plain_user()
    with CropIndex(path, PARAMS) as index:
        known = count_known(index)
        remember(index)
    assert known < ROWS if damage else known == ROWS
    assert [file.name for file in shared_folder.iterdir()] == ["index.sqlite"]
    assert path.read_bytes() == content
