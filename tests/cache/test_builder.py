"""One picture through the cache: nothing is done twice, and nothing stale is believed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from roi_cls.cache.record import CropResult
from roi_cls.roi import CropParams
from roi_cls.roi.crop import make_crop
from roi_cls.roi.image import read_image

if TYPE_CHECKING:
    from tests.cache.conftest import Build, FakeDetector, OpenBuilder

PARAMS = CropParams(size_px=16, min_face_px=4)
LONG_AGO = 1_600_000_000  # seconds since 1970


def work(result: CropResult) -> tuple[bool, bool]:
    return result.detected, result.cropped


def damage(folder: Path, pattern: str) -> None:
    (path,) = folder.rglob(pattern)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def test_second_build_does_nothing(build: Build, picture: Path) -> None:
    first, second = build(picture), build(picture)
    assert (work(first), work(second)) == ((True, True), (False, False))
    assert first.record == second.record
    assert (first.record.status, first.record.box) == ("ok", (5, 5, 25, 25))


@pytest.mark.parametrize("move", ["touch", "rename", "copy"])
def test_touched_moved_or_copied_file_recomputes_nothing(
    build: Build, picture: Path, move: str
) -> None:
    build(picture)
    if move == "touch":
        os.utime(picture, (LONG_AGO + 9, LONG_AGO + 9))
    elif move == "rename":
        picture = picture.rename(picture.with_name("b.png"))
    else:
        picture = Path(shutil.copy(picture, picture.with_name("b.png")))
    assert work(build(picture)) == (False, False)


def test_changed_byte_recomputes_also_at_the_same_size_and_time(
    build: Build, picture: Path
) -> None:
    sha256 = build(picture).record.sha256
    content = bytearray(picture.read_bytes()) + b"!"
    picture.write_bytes(content)
    build(picture)
    picture.write_bytes(content[:-1] + b"?")
    os.utime(picture, (LONG_AGO, LONG_AGO))
    result = build(picture)
    assert work(result) == (True, True)
    assert result.record.sha256 != sha256


def test_changed_margin_recomputes_crop_not_detection(build: Build, picture: Path) -> None:
    build(picture)
    assert work(build(picture, margin=0.9)) == (False, True)


def test_changed_score_recomputes_both(build: Build, picture: Path) -> None:
    build(picture)
    assert work(build(picture, min_score=0.4)) == (True, True)


def test_full_recipe_opens_no_detector(build: Build, picture: Path, detector: FakeDetector) -> None:
    result = build(picture, crop="full")
    assert work(result) == (False, True)
    assert (result.record.source, result.record.reason) == ("full_frame", None)
    assert detector.calls == 0


def test_damaged_detection_is_made_again(build: Build, picture: Path, tmp_path: Path) -> None:
    record = build(picture).record
    damage(tmp_path / "cache", "detections/*/*/*.json")
    again = build(picture)
    assert work(again) == (True, False)
    assert again.record == record


def test_damaged_crop_is_cut_again_bit_for_bit(
    build: Build, picture: Path, tmp_path: Path, detector: FakeDetector, open_builder: OpenBuilder
) -> None:
    record = build(picture).record
    damage(tmp_path / "cache", "*.npy")
    expected = make_crop(read_image(picture), PARAMS, detector).pixels
    with open_builder() as builder:
        assert np.array_equal(builder.load(record), expected)
        picture.unlink()
        assert np.array_equal(builder.load(record), expected)  # it was kept again
    assert detector.calls == 2  # the builder's and the one expected


@pytest.mark.parametrize("content", [None, b"garbage" * 999])
def test_lost_index_costs_hashes_only(
    build: Build, picture: Path, tmp_path: Path, content: bytes | None, open_builder: OpenBuilder
) -> None:
    build(picture)
    for path in (tmp_path / "cache" / "v1").glob("index.sqlite*"):
        path.unlink()
    if content:
        (tmp_path / "cache" / "v1" / "index.sqlite").write_bytes(content)
    assert work(build(picture)) == (False, False)
    with open_builder() as builder:
        assert builder.find(picture) is not None  # remembered again
