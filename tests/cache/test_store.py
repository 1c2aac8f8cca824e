"""Crops and detections are kept under content and recipe: read bit for bit, or absent."""

import errno
import io
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from roi_cls.base.atomic import STALE_AFTER_S
from roi_cls.base.errors import CacheError, StorageError
from roi_cls.base.location import as_path
from roi_cls.cache.store import (
    CROP_SUFFIX,
    FORMAT,
    CropStore,
    decode_crops,
    encode_crops,
    read_entry,
    write_entry,
)
from roi_cls.roi import Box, CropParams, Detection, Face
from roi_cls.roi.image import Image

PARAMS = CropParams(size_px=18)  # 54 bytes a row: a BMP pads it
PIXELS = np.random.default_rng(0).integers(0, 256, (2, 18, 18, 3), np.uint8)
FACE = Face(Box(1, 2, 3.1, 4.7), 1 / 3, ((0.1, 0.2),) * 6, "full")
DETECTION = Detection(30, 40, (FACE,), "full")
SHA = "ab" + "0" * 62


def entries(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix in (".bmp", ".json"))


def test_what_was_kept_is_read_back_bit_for_bit(tmp_path: Path) -> None:
    store = CropStore(tmp_path, PARAMS)
    store.write_detection(SHA, DETECTION)
    store.write_crop(SHA, PIXELS)
    store = CropStore(tmp_path, PARAMS)
    assert store.read_detection(SHA) == DETECTION
    assert store.has_crop(SHA)
    pixels = store.read_crop(SHA)
    assert pixels is not None
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, PIXELS)


def test_what_was_not_kept_is_absent(tmp_path: Path) -> None:
    store = CropStore(tmp_path, PARAMS)
    assert store.read_detection(SHA) is None
    assert store.read_crop(SHA) is None
    assert not store.has_crop(SHA)
    assert list(tmp_path.iterdir()) == []  # looking makes no folder


def test_another_recipe_shares_the_detection_and_not_the_crop(tmp_path: Path) -> None:
    store = CropStore(tmp_path, PARAMS)
    store.write_detection(SHA, DETECTION)
    store.write_crop(SHA, PIXELS)
    other = CropStore(tmp_path, replace(PARAMS, margin=0.5))
    assert other.read_detection(SHA) == DETECTION
    assert other.read_crop(SHA) is None
    assert CropStore(tmp_path, replace(PARAMS, min_score=0.7)).read_detection(SHA) is None


@pytest.mark.parametrize("place", [0, 1, 2, 30, 53, 54, 500, -80, -74, -73, -40, -1])
def test_flipped_bit_makes_an_entry_absent(tmp_path: Path, place: int) -> None:
    store = CropStore(tmp_path, PARAMS)
    store.write_detection(SHA, DETECTION)
    store.write_crop(SHA, PIXELS)
    for path in entries(tmp_path):
        content = bytearray(path.read_bytes())
        content[place % len(content)] ^= 1
        path.write_bytes(content)
    assert store.read_detection(SHA) is None
    assert store.read_crop(SHA) is None
    assert store.has_crop(SHA)  # it was not read


def test_folder_of_crops_says_its_recipe(tmp_path: Path) -> None:
    CropStore(tmp_path, PARAMS).write_crop(SHA, PIXELS)
    (path,) = tmp_path.rglob("recipe.json")
    assert path.parent.name == PARAMS.digest[:16]
    assert CropParams.from_dict(json.loads(path.read_text())) == PARAMS


def test_use_is_noted_where_there_is_something_to_use(tmp_path: Path) -> None:
    store = CropStore(tmp_path, PARAMS)
    store.mark_used()
    assert list(tmp_path.iterdir()) == []
    store.write_crop(SHA, PIXELS)
    (path,) = tmp_path.rglob("recipe.json")
    os.utime(path, (1, 1))
    store.mark_used()
    assert path.stat().st_mtime > time.time() - 60


def test_same_entry_written_twice_is_the_same_bytes(tmp_path: Path) -> None:
    contents = []
    for name in "ab":
        store = CropStore(tmp_path / name, PARAMS)
        store.write_detection(SHA, DETECTION)
        store.write_crop(SHA, PIXELS)
        contents.append([path.read_bytes() for path in entries(tmp_path / name)])
    assert contents[0] == contents[1]
    assert len(contents[0]) == 3


def test_what_a_killed_process_left_is_removed_after_a_day(tmp_path: Path) -> None:
    drafts = tmp_path / FORMAT / "drafts"
    drafts.mkdir(parents=True)
    for name, age in ((".tmp-old", STALE_AFTER_S + 60), (".tmp-new", 60)):
        (drafts / name).touch()
        os.utime(drafts / name, (time.time() - age,) * 2)
    CropStore(tmp_path, PARAMS)
    assert [path.name for path in drafts.iterdir()] == [".tmp-new"]


def test_cache_folder_that_is_a_file_is_told_when_written(tmp_path: Path) -> None:
    (tmp_path / "crops").touch()
    store = CropStore(tmp_path / "crops", PARAMS)
    assert store.read_crop(SHA) is None
    with pytest.raises(StorageError, match=r"^Cannot write '.*crops/v2/detections/"):
        store.write_detection(SHA, DETECTION)


KEEP_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@KEEP_FOLDER
@given(st.binary(max_size=300))
def test_payload_is_read_back_exactly(tmp_path: Path, payload: bytes) -> None:
    write_entry(tmp_path / "entry", payload)
    assert read_entry(tmp_path / "entry") == payload


@KEEP_FOLDER
@given(st.binary(max_size=60), st.data())
def test_any_changed_bit_makes_it_absent(
    tmp_path: Path, payload: bytes, data: st.DataObject
) -> None:
    path = tmp_path / "entry"
    write_entry(path, payload)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    assert read_entry(path) is None


@KEEP_FOLDER
@given(st.binary(max_size=60), st.data())
def test_any_cut_makes_it_absent(tmp_path: Path, payload: bytes, data: st.DataObject) -> None:
    path = tmp_path / "entry"
    write_entry(path, payload)
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    assert read_entry(path) is None


def test_missing_entry_is_absent(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert read_entry(tmp_path / "missing") is None
    assert read_entry(tmp_path / "file" / "below") is None


def test_unreadable_entry_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "entry"

    def refuse(_: Path) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(CacheError) as caught:
        read_entry(path)
    assert str(caught.value) == (
        f"Cannot read the cache entry {str(path)!r}: Permission denied. "
        "Check its permissions or choose another folder with --cache DIR."
    )


def test_remote_entry_is_read_back_or_absent() -> None:
    folder = as_path("memory://test-entry")
    write_entry(folder / "entry", b"payload", folder / "drafts")
    assert read_entry(folder / "entry") == b"payload"
    (folder / "entry").write_bytes(b"payload")
    assert read_entry(folder / "entry") is None
    assert read_entry(folder / "missing") is None


def test_remote_entry_that_cannot_be_reached_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    path = as_path("memory://test-entry/unreachable")

    def fail(*_: object, **__: object) -> bytes:
        raise EOFError("the connection was closed")  # as clients do: no OSError

    monkeypatch.setattr(MemoryFileSystem, "open", fail)
    with pytest.raises(CacheError) as caught:
        read_entry(path)
    assert str(caught.value) == (
        "Cannot read the cache entry 'memory://test-entry/unreachable': the connection was "
        "closed. Check its permissions or choose another folder with --cache DIR."
    )


def test_unwritable_entry_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"^Cannot write "):
        write_entry(tmp_path / "file" / "below", b"payload")


def draw_noise(count: int, size_px: int, seed: int = 0) -> Image:
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (count, size_px, size_px, 3), np.uint8)


@given(st.integers(1, 6), st.integers(8, 70), st.integers(0, 2**32))
def test_crops_of_any_number_and_size_come_back_bit_for_bit(
    count: int, size_px: int, seed: int
) -> None:
    pixels = draw_noise(count, size_px, seed)
    again = decode_crops(encode_crops(pixels))
    assert again.dtype == np.uint8
    assert again.flags.c_contiguous
    assert np.array_equal(again, pixels)


@pytest.mark.parametrize("size_px", [223, 224, 225, 1001])
def test_usual_sizes_come_back_also_where_rows_are_padded(size_px: int) -> None:
    pixels = draw_noise(2, size_px)
    assert np.array_equal(decode_crops(encode_crops(pixels)), pixels)


def test_same_crops_are_the_same_bytes() -> None:
    assert encode_crops(draw_noise(2, 9)) == encode_crops(draw_noise(2, 9))


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("size_px", [16, 33, 34, 35])
def test_other_programs_open_the_entry_as_it_lies_on_the_disk(
    tmp_path: Path, count: int, size_px: int
) -> None:
    path, pixels = tmp_path / f"crop{CROP_SUFFIX}", draw_noise(count, size_px)
    write_entry(path, encode_crops(pixels))  # its checksum follows the picture
    with PillowImage.open(path) as picture:
        assert picture.format == "BMP"
        shown = np.array(picture.convert("RGB"))
    assert np.array_equal(shown, pixels.reshape(-1, size_px, 3))


def _encode_oblong() -> bytes:
    buffer = io.BytesIO()
    PillowImage.new("RGB", (4, 6)).save(buffer, "BMP")
    return buffer.getvalue()


@pytest.mark.parametrize("data", [b"no picture", encode_crops(draw_noise(1, 8))[:60],
                                  _encode_oblong()])  # fmt: skip
def test_what_is_no_column_of_squares_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^no column of square crops$"):
        decode_crops(data)
