"""One picture through the cache: nothing is done twice or believed stale; failures are told."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from roi_cls.base.errors import CacheError, ImageReadError, StorageError
from roi_cls.cache import builder as builder_module
from roi_cls.cache.builder import CropBuilder, recut
from roi_cls.cache.record import CropRecord, CropResult, read_stamp
from roi_cls.roi import CropParams, Detection
from roi_cls.roi.crop import make_crops
from roi_cls.roi.image import read_bytes
from roi_cls.roi.picture import Picture
from tests.helpers.fakes import FakeDetector
from tests.helpers.pictures import LONG_AGO, save_plain
from tests.helpers.stored import damage, stored_crops

if TYPE_CHECKING:
    from tests.cache.conftest import Build, OpenBuilder


PARAMS = CropParams(size_px=16, min_face_px=4)


def work(result: CropResult) -> tuple[bool, bool]:
    return result.detected, result.cropped


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
    assert len(stored_crops(tmp_path)) == 1
    largest = build(picture).record
    with open_builder() as builder:
        assert np.array_equal(builder.load(largest), both[:1])


def test_skipped_picture_has_a_row_and_no_entry(
    build: Build, tmp_path: Path, open_builder: OpenBuilder
) -> None:
    path = save_plain(tmp_path / "black.png", (0, 0, 0))
    first, second = (build(path, fallback="skip") for _ in range(2))
    assert (first.record.status, first.record.reason, first.record.error) == (
        "skipped", "no_face", None,
    )  # fmt: skip
    assert (work(first), work(second)) == ((True, False), (False, False))
    assert first.stamp  # it can be remembered
    assert stored_crops(tmp_path) == []
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
    (entry,) = stored_crops(tmp_path)
    content = entry.read_bytes()
    damage(tmp_path / "cache")
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
    damage(tmp_path / "cache")
    again = build(picture)
    assert work(again) == (False, True)
    assert again.record == record


def test_file_too_new_to_be_trusted_has_no_stamp(build: Build, picture: Path) -> None:
    os.utime(picture)
    result = build(picture)
    assert (result.record.status, result.stamp) == ("ok", None)


def test_crop_whose_picture_changed_cannot_be_made_again(
    build: Build, picture: Path, tmp_path: Path, open_builder: OpenBuilder
) -> None:
    record = build(picture).record
    damage(tmp_path / "cache")
    picture.write_bytes(picture.read_bytes() + b"more")
    with open_builder() as builder:
        with pytest.raises(CacheError) as caught:
            builder.load(record)
        assert str(caught.value) == (
            f"Cannot make the crop of {str(picture)!r} again: the file has changed meanwhile. "
            "Run the command once more."
        )
        picture.unlink()
        with pytest.raises(ImageReadError, match="no such file"):
            builder.load(record)


def test_row_in_error_has_no_crop_to_load(open_builder: OpenBuilder) -> None:
    record = CropRecord(Path("a.png"), "error", "it is empty")
    with (
        open_builder() as builder,
        pytest.raises(ValueError, match=r"there is no crop of a\.png: it is empty"),
    ):
        builder.load(record)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.png", "Cannot read '{}': no such file. Check the path."),
        ("folder", "Cannot read '{}': it is a folder. Give the files in it."),
        ("nul\0.png", "Cannot read '{}': embedded null byte. Check the path and the disk."),
    ],
)
def test_unreadable_path_is_a_row_with_its_error(
    build: Build, tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "folder").mkdir()
    record = build(tmp_path / name).record
    assert record.status == "error"
    assert record.error == message.format(str(tmp_path / name).replace("\0", "\\x00"))
    assert record.sha256 is None


def test_file_that_is_no_picture_is_a_row_with_its_digest(build: Build, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("no picture")
    record = build(path).record
    assert (record.status, record.source, record.recipe) == ("error", None, PARAMS.digest)
    assert record.sha256 is not None
    assert record.error is not None
    assert record.error.startswith(f"Cannot read {str(path)!r}: ")


def test_forbidden_fallback_is_a_row_that_names_the_picture(build: Build, tmp_path: Path) -> None:
    path = save_plain(tmp_path / "black.png", (0, 0, 0))
    first, second = (build(path, fallback="error") for _ in range(2))
    assert first.record.error == (
        f"Cannot crop {str(path)!r}: No face was found (min_score 0.5, min_face 4 px). "
        "Lower the threshold or use --fallback full."
    )
    assert first.record == second.record
    assert (work(first), work(second)) == ((True, False), (False, False))


def test_file_replaced_while_it_is_read_is_read_again(
    build: Build, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = read_bytes
    state = SimpleNamespace(reads=0)

    def read_and_replace(path: Path) -> bytes:
        data = read(path)
        state.reads += 1
        if state.reads == 1:
            path.write_bytes(data + b"more")
        return data

    monkeypatch.setattr(builder_module, "read_bytes", read_and_replace)
    result = build(picture)
    assert state.reads == 2
    monkeypatch.undo()
    assert result.record.sha256 == build(picture).record.sha256


def test_file_that_changes_all_the_time_is_a_row_in_error(
    build: Build, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = read_bytes

    def read_and_grow(path: Path) -> bytes:
        data = read(path)
        path.write_bytes(data + b"more")
        return data

    monkeypatch.setattr(builder_module, "read_bytes", read_and_grow)
    assert build(picture).record.error == (
        f"Cannot read {str(picture)!r}: it changes while it is read. Wait until it is written."
    )


def test_file_replaced_by_one_of_its_size_and_time_while_it_is_read_is_read_again(
    build: Build, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, other, whole = read_bytes, picture.with_name("other.png"), picture.read_bytes()
    for path, end in ((picture, b"!"), (other, b"?")):  # what follows the pixels
        path.write_bytes(whole + end)
        os.utime(path, (LONG_AGO, LONG_AGO))
    content = other.read_bytes()

    def read_and_replace(path: Path) -> bytes:
        data = read(path)
        if other.exists():
            other.replace(path)  # as an archive is unpacked over it
        return data

    monkeypatch.setattr(builder_module, "read_bytes", read_and_replace)
    result = build(picture)
    assert result.record.sha256 == hashlib.sha256(content).hexdigest()
    assert result.stamp == read_stamp(picture)


def test_file_deleted_while_it_is_read_is_a_row_in_error(
    build: Build, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = read_bytes

    def read_and_delete(path: Path) -> bytes:
        data = read(path)
        path.unlink()
        return data

    monkeypatch.setattr(builder_module, "read_bytes", read_and_delete)
    assert build(picture).record.error == (
        f"Cannot read {str(picture)!r}: no such file. Check the path."
    )


def test_file_that_was_new_when_read_is_not_trusted_after_slow_work(
    build: Build, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [LONG_AGO * 10**9 + 10**9]
    monkeypatch.setattr(builder_module.CropBuilder, "_detect", _slow(now))
    monkeypatch.setattr(time, "time_ns", lambda: now[0])
    assert build(picture).stamp is None
    assert read_stamp(picture) is not None  # by now


def _slow(now: list[int]) -> Callable[[CropBuilder, Picture], Detection]:
    def detect(_: CropBuilder, picture: Picture) -> Detection:
        now[0] += 60 * 10**9
        return Detection(picture.height, picture.width, ())

    return detect


def test_full_disk_ends_the_run(
    build: Build, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(StorageError, match="the disk is full"):
            build(picture)
    assert work(build(picture)) == (True, True)


def test_cache_that_may_only_be_read_gives_what_it_holds(
    build: Build, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = build(picture).record

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    for name in ("replace", "mkdir", "unlink", "open"):
        monkeypatch.setattr(os, name, refuse)
    result = build(picture)
    assert work(result) == (False, False)
    assert result.record == record
    monkeypatch.undo()


def test_damaged_picture_is_in_error_or_read_and_marked(
    picture: Path, build: Build, open_builder: OpenBuilder
) -> None:
    cut = picture.read_bytes()[:-12]
    picture.write_bytes(cut)
    reason = f"it is cut off after {len(cut)} bytes"
    read = build(picture, damaged="read")
    assert (read.record.status, read.record.damaged) == ("ok", reason)
    assert (read.detected, read.cropped) == (True, True)
    again = build(picture, damaged="read")  # by detection and crop alone
    assert (again.record, again.detected, again.cropped) == (read.record, False, False)
    with open_builder(damaged="read") as builder:
        np.testing.assert_array_equal(recut(read.record), builder.load(read.record))
    refused = build(picture).record
    assert (refused.status, refused.damaged) == ("error", reason)
    whole = build(picture, crop="full", damaged="read").record
    assert (whole.source, whole.damaged) == ("full_frame", reason)
    assert CropRecord.from_dict(picture, read.record.to_dict()) == read.record


def test_whole_picture_is_cropped_the_same_either_way(picture: Path, build: Build) -> None:
    record = build(picture).record
    other = build(picture, damaged="read").record
    assert replace(other, recipe=record.recipe) == record
