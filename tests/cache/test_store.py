"""Crops and detections are kept under their content and recipe, exact or absent."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from roi_cls.atomic import STALE_AFTER_S
from roi_cls.cache.store import CropCache
from roi_cls.errors import StorageError
from roi_cls.roi import Box, CropParams, Detection, Face

PARAMS = CropParams(size_px=16)
PIXELS = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
DETECTION = Detection(30, 40, (Face(Box(1, 2, 3.1, 4.7), 1 / 3, ((0.1, 0.2),) * 6, "full"),))
SHA = "ab" + "0" * 62


def entries(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix in (".npy", ".json"))


def test_what_was_kept_is_read_back_bit_for_bit(tmp_path: Path) -> None:
    with CropCache(tmp_path) as cache:
        cache.write_detection(PARAMS, SHA, DETECTION)
        cache.write_crop(PARAMS, SHA, PIXELS)
    with CropCache(tmp_path) as cache:
        assert cache.read_detection(PARAMS, SHA) == DETECTION
        assert cache.has_crop(PARAMS, SHA)
        pixels = cache.read_crop(PARAMS, SHA)
    assert pixels is not None
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, PIXELS)


def test_what_was_not_kept_is_absent(tmp_path: Path) -> None:
    with CropCache(tmp_path) as cache:
        assert cache.read_detection(PARAMS, SHA) is None
        assert cache.read_crop(PARAMS, SHA) is None
        assert not cache.has_crop(PARAMS, SHA)


def test_another_recipe_shares_the_detection_and_not_the_crop(tmp_path: Path) -> None:
    other = replace(PARAMS, margin=0.5)
    with CropCache(tmp_path) as cache:
        cache.write_detection(PARAMS, SHA, DETECTION)
        cache.write_crop(PARAMS, SHA, PIXELS)
        assert cache.read_detection(other, SHA) == DETECTION
        assert cache.read_crop(other, SHA) is None
        assert cache.read_detection(replace(PARAMS, min_score=0.7), SHA) is None


def test_flipped_bit_makes_an_entry_absent(tmp_path: Path) -> None:
    with CropCache(tmp_path) as cache:
        cache.write_detection(PARAMS, SHA, DETECTION)
        cache.write_crop(PARAMS, SHA, PIXELS)
        for path in entries(tmp_path):
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
        assert cache.read_detection(PARAMS, SHA) is None
        assert cache.read_crop(PARAMS, SHA) is None


def test_folder_of_crops_says_its_recipe(tmp_path: Path) -> None:
    with CropCache(tmp_path) as cache:
        cache.write_crop(PARAMS, SHA, PIXELS)
    (path,) = tmp_path.rglob("recipe.json")
    assert path.parent.name == PARAMS.digest[:16]
    assert CropParams.from_dict(json.loads(path.read_text())) == PARAMS


def test_same_entry_written_twice_is_the_same_bytes(tmp_path: Path) -> None:
    contents = []
    for name in "ab":
        with CropCache(tmp_path / name) as cache:
            cache.write_detection(PARAMS, SHA, DETECTION)
            cache.write_crop(PARAMS, SHA, PIXELS)
        contents.append([path.read_bytes() for path in entries(tmp_path / name)])
    assert contents[0] == contents[1]
    assert len(contents[0]) == 3


def test_what_a_killed_process_left_is_removed_after_a_day(tmp_path: Path) -> None:
    drafts = tmp_path / "v1" / "drafts"
    drafts.mkdir(parents=True)
    for name, age in ((".tmp-old", STALE_AFTER_S + 60), (".tmp-new", 60)):
        (drafts / name).touch()
        os.utime(drafts / name, (time.time() - age,) * 2)
    CropCache(tmp_path).close()
    assert [path.name for path in drafts.iterdir()] == [".tmp-new"]


def test_cache_folder_that_is_a_file_is_told_when_written(tmp_path: Path) -> None:
    (tmp_path / "crops").touch()
    with CropCache(tmp_path / "crops") as cache:
        assert cache.read_crop(PARAMS, SHA) is None
        with pytest.raises(StorageError, match=r"^Cannot write '.*crops/v1/detections/"):
            cache.write_detection(PARAMS, SHA, DETECTION)
