"""Crops and detections are kept under their content and recipe, exact or absent."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from roi_cls.base.atomic import STALE_AFTER_S
from roi_cls.base.errors import StorageError
from roi_cls.cache.store import FORMAT, CropStore
from roi_cls.roi import Box, CropParams, Detection, Face

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
