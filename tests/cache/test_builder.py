"""One picture through the cache: nothing is done twice, and nothing stale is believed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from roi_cls.cache.record import CropResult, read_stamp
from roi_cls.roi import CropParams
from roi_cls.roi.crop import make_crops
from roi_cls.roi.picture import Picture

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
    assert first.stamp == second.stamp == read_stamp(picture)


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


def test_crop_read_back_is_the_crop_just_made(
    build: Build, picture: Path, detector: FakeDetector, open_builder: OpenBuilder
) -> None:
    record = build(picture).record
    expected = make_crops(Picture(picture.read_bytes(), picture), PARAMS, detector).pixels
    picture.unlink()  # it is not needed any more
    with open_builder() as builder:
        assert np.array_equal(builder.load(record), expected)


def test_all_faces_are_kept_in_one_entry(
    build: Build, picture: Path, tmp_path: Path, open_builder: OpenBuilder
) -> None:
    record = build(picture, face="all").record
    assert (record.faces, len(record.more)) == (2, 1)
    with open_builder(face="all") as builder:
        both = builder.load(record)
    assert both.shape == (2, 16, 16, 3)
    assert len(list(tmp_path.rglob("*.bmp"))) == 1
    largest = build(picture).record
    with open_builder() as builder:
        assert np.array_equal(builder.load(largest), both[:1])


def test_skipped_picture_has_a_row_and_no_entry(
    build: Build, tmp_path: Path, open_builder: OpenBuilder
) -> None:
    path = tmp_path / "black.png"
    cv2.imwrite(str(path), np.zeros((30, 40, 3), np.uint8))
    os.utime(path, (LONG_AGO, LONG_AGO))
    first, second = (build(path, fallback="skip") for _ in range(2))
    assert (first.record.status, first.record.reason, first.record.error) == (
        "skipped", "no_face", None,
    )  # fmt: skip
    assert (work(first), work(second)) == ((True, False), (False, False))
    assert first.stamp  # it can be remembered
    assert list(tmp_path.rglob("*.bmp")) == []
    with (
        open_builder(fallback="skip") as builder,
        pytest.raises(ValueError, match=r"there is no crop of .*black\.png: no_face"),
    ):
        builder.load(first.record)


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
    (entry,) = (tmp_path / "cache").rglob("*.bmp")
    content = entry.read_bytes()
    damage(tmp_path / "cache", "*.bmp")
    expected = make_crops(Picture(picture.read_bytes(), picture), PARAMS, detector).pixels
    with open_builder() as builder:
        assert np.array_equal(builder.load(record), expected)
        picture.unlink()
        assert np.array_equal(builder.load(record), expected)  # it was kept again
    assert entry.read_bytes() == content
    assert detector.calls == 2  # the builder's and the one expected


def test_damaged_crop_is_cut_again_when_its_picture_is_built(
    build: Build, picture: Path, tmp_path: Path
) -> None:
    record = build(picture).record
    damage(tmp_path / "cache", "*.bmp")
    again = build(picture)
    assert work(again) == (False, True)
    assert again.record == record


def test_file_too_new_to_be_trusted_has_no_stamp(build: Build, picture: Path) -> None:
    os.utime(picture)
    result = build(picture)
    assert (result.record.status, result.stamp) == ("ok", None)
