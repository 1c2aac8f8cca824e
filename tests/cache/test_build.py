"""Many pictures: one truthful row each, in order; what is known is not done again."""

import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from roi_cls.base.closing import Closing
from roi_cls.base.errors import StorageError
from roi_cls.cache.build import LocalEngine, build_crops, find_rows
from roi_cls.cache.index import CropIndex, find_index
from roi_cls.cache.lease import claim
from roi_cls.cache.options import BuildOptions, Shard
from roi_cls.cache.record import CropRecord, CropResult
from roi_cls.cache.store import FORMAT, CropStore
from roi_cls.cache.summary import CropSummary
from roi_cls.roi import Box, CropParams, Detection, Face
from roi_cls.roi.picture import Picture

PARAMS = CropParams(size_px=16, min_face_px=4)
FULL = CropParams(crop="full", size_px=16)
FACE = Face(Box(5, 5, 25, 25), 0.9, ((10.0, 12.0), (20.0, 14.0)) * 3, "short")
LONG_AGO = 1_600_000_000  # seconds since 1970


class FakeDetector(Closing):
    """Sees one face, except in black pictures; dies of blue ones."""

    def detect(self, picture: Picture) -> Detection:
        """Return the face or none."""
        image = picture.pixels()
        if image[..., 2].min() == 255 and not image[..., 0].any():
            os._exit(9)
        faces = (FACE,) if image.any() else ()
        return Detection(picture.height, picture.width, faces, "short" if faces else "tiles")

    def close(self) -> None:
        """Do nothing."""


def _no_detector() -> FakeDetector:
    raise AssertionError("there is nothing to detect")


def draw(path: Path, colour: tuple[int, int, int]) -> Path:
    cv2.imwrite(str(path), np.full((30, 40, 3), colour[::-1], np.uint8))
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Eight files: faces, a black one, a missing one, a damaged one, one twice."""
    faces = [draw(tmp_path / f"{i}.png", (50 + i, 90, 90)) for i in range(4)]
    black = draw(tmp_path / "black.png", (0, 0, 0))
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(faces[0].read_bytes()[:40])
    return [faces[0], damaged, faces[1], black, tmp_path / "missing.png", *faces[2:], faces[0]]


@pytest.fixture
def options(tmp_path: Path) -> BuildOptions:
    return BuildOptions(tmp_path / "cache", workers=0)


def run(paths: list[Path], options: BuildOptions, params: CropParams = PARAMS) -> CropSummary:
    summary = CropSummary()
    for path, result in zip(paths, build_crops(paths, params, FakeDetector, options), strict=True):
        assert result.record.path == path
        summary.add(result)
    return summary


def rows_of(
    paths: list[Path], options: BuildOptions, params: CropParams = PARAMS
) -> list[CropRecord]:
    return [result.record for result in build_crops(paths, params, FakeDetector, options)]


def look_up(paths: list[Path], options: BuildOptions) -> list[CropRecord | None]:
    """Return what is known without reading a picture."""
    with CropIndex(find_index(options.cache, options.shard), PARAMS) as index:
        return find_rows(paths, index, CropStore(options.cache, PARAMS))


def counts(summary: CropSummary) -> dict[str, Any]:
    values = summary.to_dict()
    assert values.pop("seconds") >= 0
    assert values.pop("images_per_second") >= 0
    return values


def test_every_input_has_its_row_in_order_and_is_counted(
    pictures: list[Path], options: BuildOptions
) -> None:
    expected = {
        "images": 8, "face": 5, "full_frame": 1, "reasons": {"no_face": 1}, "errors": 2,
        "skipped": 0, "steps": {"short": 5, "tiles": 1}, "detected": 5, "cropped": 5, "reused": 1,
    }  # fmt: skip
    assert counts(run(pictures, options)) == expected
    again = {**expected, "detected": 0, "cropped": 0, "reused": 6}
    assert counts(run(pictures, options)) == again


def test_known_pictures_are_not_read_and_have_the_same_rows(
    pictures: list[Path], options: BuildOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    cold = rows_of(pictures, options)
    known = [pictures[i] for i in (0, 2, 3, 5, 6, 7)]
    monkeypatch.setattr("roi_cls.cache.builder.read_bytes", _no_detector)
    warm = list(build_crops(known, PARAMS, _no_detector, options))
    assert [result.record for result in warm] == [row for row in cold if row.status == "ok"]
    assert warm == [CropResult(row.record) for row in warm]  # nothing was done


def test_skipped_pictures_are_known_too(pictures: list[Path], options: BuildOptions) -> None:
    params = CropParams(size_px=16, min_face_px=4, fallback="skip")
    first, second = (run(pictures, options, params) for _ in range(2))
    assert (first.skipped, first.cropped, first.detected, first.errors) == (1, 4, 5, 2)
    assert (second.skipped, second.cropped, second.detected, second.reused) == (1, 0, 0, 6)


def test_one_changed_byte_recomputes_exactly_that_picture(
    pictures: list[Path], options: BuildOptions
) -> None:
    run(pictures, options)
    draw(pictures[2], (99, 99, 99))
    summary = run(pictures, options)
    assert (summary.detected, summary.cropped, summary.reused) == (1, 1, 5)


def test_changed_margin_crops_all_and_detects_none(
    pictures: list[Path], options: BuildOptions
) -> None:
    run(pictures, options)
    summary = run(pictures, options, CropParams(size_px=16, min_face_px=4, margin=1.0))
    assert (summary.detected, summary.cropped, summary.reused) == (0, 5, 1)


def test_blocks_change_nothing(
    pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = rows_of(pictures, BuildOptions(tmp_path / "whole", workers=0))
    monkeypatch.setattr(LocalEngine, "block", 3)
    options = BuildOptions(tmp_path / "parts", workers=0)
    assert rows_of(pictures, options) == whole
    assert rows_of(pictures, options) == whole
    assert read_tree(options.cache) == read_tree(tmp_path / "whole")


@pytest.mark.parametrize("content", [None, b"garbage" * 999])
def test_lost_index_is_made_anew_from_the_entries(
    pictures: list[Path], options: BuildOptions, content: bytes | None
) -> None:
    rows = rows_of(pictures, options)
    path = find_index(options.cache)
    path.unlink()
    if content:
        path.write_bytes(content)
    summary = run(pictures, options)
    assert (summary.detected, summary.cropped, summary.reused) == (0, 0, 6)
    known = look_up(pictures, options)
    assert known == [row if row.status == "ok" else None for row in rows]


@pytest.mark.parametrize("pattern", ["*.bmp", "crops"])
def test_lost_crops_are_cut_again_and_nothing_is_detected(
    pictures: list[Path], options: BuildOptions, pattern: str
) -> None:
    rows, tree = rows_of(pictures, options), read_tree(options.cache)
    for path in list(options.cache.rglob(pattern)):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    summary = run(pictures, options)
    assert (summary.detected, summary.cropped, summary.reused) == (0, 5, 1)
    assert rows_of(pictures, options) == rows
    assert read_tree(options.cache) == tree


def test_clock_set_back_distrusts_the_index_and_gives_the_same_rows(
    pictures: list[Path], options: BuildOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, tree = rows_of(pictures, options), read_tree(options.cache)
    assert look_up(pictures[:1], options) == rows[:1]
    monkeypatch.setattr("roi_cls.cache.record.time.time_ns", lambda: (LONG_AGO - 3600) * 10**9)
    assert look_up(pictures[:1], options) == [None]
    draw(pictures[2], (99, 99, 99))
    summary = run(pictures, options)
    assert (summary.detected, summary.cropped, summary.reused) == (1, 1, 5)
    monkeypatch.undo()
    assert rows_of(pictures, options)[2] != rows[2]
    assert tree.items() <= read_tree(options.cache).items()


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config) -> None:
    """Let the spawned workers import this file by its name."""
    monkeypatch.setattr("sys.path", [*sys.path, str(pytestconfig.rootpath)])


@pytest.mark.usefixtures("importable")
def test_workers_give_the_same_rows_and_the_same_files(
    pictures: list[Path], tmp_path: Path
) -> None:
    rows, trees = [], []
    for workers in (0, 2):
        options = BuildOptions(tmp_path / f"cache{workers}", workers)
        rows.append(rows_of(pictures, options))
        trees.append(read_tree(options.cache))
    assert rows[0] == rows[1]
    assert trees[0] == trees[1]


def read_tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "index" not in path.name
    }


@pytest.mark.usefixtures("importable")
def test_picture_that_kills_its_process_is_a_row_in_error_every_time(
    pictures: list[Path], tmp_path: Path
) -> None:
    blue = draw(tmp_path / "blue.png", (0, 0, 255))
    options = BuildOptions(tmp_path / "cache", workers=1)
    paths = [pictures[0], blue, pictures[2]]
    rows = rows_of(paths, options)
    assert [row.status for row in rows] == ["ok", "error", "ok"]
    assert rows[1].error == (
        f"Cannot crop {str(blue)!r}: the process that decoded it died (exit code 9). "
        "The picture may be made to crash decoders; remove it or convert it to PNG."
    )
    assert rows_of(paths, options) == rows


@pytest.mark.usefixtures("importable")
def test_stopping_early_leaves_no_process(pictures: list[Path], tmp_path: Path) -> None:
    results = build_crops(pictures, PARAMS, FakeDetector, BuildOptions(tmp_path / "cache", 2))
    assert isinstance(results, Iterator)
    next(results)
    results.close()  # type: ignore[attr-defined]  # it is a generator
    assert multiprocessing.active_children() == []


def test_what_was_done_before_stopping_is_remembered(
    pictures: list[Path], options: BuildOptions
) -> None:
    results = build_crops(pictures, PARAMS, FakeDetector, options)
    first = next(results)
    results.close()  # type: ignore[attr-defined]  # it is a generator
    assert look_up(pictures[:1], options) == [first.record]


def test_run_keeps_its_parts_from_being_pruned(pictures: list[Path], options: BuildOptions) -> None:
    results = build_crops(pictures, PARAMS, FakeDetector, options)
    next(results)
    for digest in (PARAMS.digest, PARAMS.detector_digest):
        with claim(options.cache / FORMAT, digest) as is_free:
            assert not is_free
    results.close()  # type: ignore[attr-defined]  # it is a generator
    with claim(options.cache / FORMAT, PARAMS.digest) as is_free:
        assert is_free


def test_shards_fill_one_cache_and_each_its_own_index(pictures: list[Path], tmp_path: Path) -> None:
    whole = BuildOptions(tmp_path / "whole", workers=0)
    rows = rows_of(pictures, whole)
    found: dict[Path, CropRecord] = {}
    for i in (1, 2):
        options = BuildOptions(tmp_path / "parts", workers=0, shard=Shard(i, 2))
        mine = [path for path in pictures if Shard(i, 2).holds(path)]
        found |= {row.path: row for row in rows_of(mine, options)}
        assert find_index(options.cache, options.shard).exists()
    assert [found[path] for path in pictures] == rows
    assert read_tree(tmp_path / "parts") == read_tree(whole.cache)
    assert not find_index(tmp_path / "parts").exists()


def test_cache_that_may_only_be_read_gives_known_rows_and_tells_of_new_pictures(
    shared_folder: Path, as_plain_user: Callable[[], None]
) -> None:
    paths = [draw(shared_folder / f"{i}.png", (50 + i, 90, 90)) for i in range(3)]
    options = BuildOptions(shared_folder / "cache", workers=0)
    rows = rows_of(paths[:2], options)
    make_read_only(options.cache)
    tree = read_tree(options.cache)
    as_plain_user()
    warm = list(build_crops(paths[:2], PARAMS, _no_detector, options))
    assert warm == [CropResult(row) for row in rows]  # from the index, nothing was done
    results = build_crops(paths, PARAMS, FakeDetector, options)
    assert [next(results).record for _ in rows] == rows
    with pytest.raises(StorageError) as caught:
        next(results)
    assert str(caught.value) == (
        f"Cannot write {str(caught.value.path)!r}: Permission denied. Free space or give another "
        "folder (for crops with --cache DIR), then run the same command again: what is finished "
        "is kept."
    )
    assert str(caught.value.path).startswith(f"{options.cache}/v2/detections/")
    assert read_tree(options.cache) == tree


def make_read_only(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)


def test_picture_over_the_limit_is_a_row_in_error(pictures: list[Path], tmp_path: Path) -> None:
    options = BuildOptions(tmp_path / "cache", workers=0, max_pixels=1000)
    (row,) = rows_of(pictures[:1], options)
    assert row.status == "error"
    assert "1000" in (row.error or "")


def test_no_pictures_make_no_rows(options: BuildOptions) -> None:
    assert counts(run([], options))["images"] == 0


def test_partial_opener_is_as_good_as_a_class(pictures: list[Path], options: BuildOptions) -> None:
    results = build_crops(pictures[:1], FULL, partial(FakeDetector), options)
    assert [result.record.source for result in results] == ["full_frame"]
