"""Many pictures: one truthful row each, in order, and a summary that counts real work."""

import multiprocessing
import os
import sys
import tracemalloc
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from roi_cls.cache import build as build_module
from roi_cls.cache.build import WORTH_WORKERS, BuildOptions, CropSummary, build_crops
from roi_cls.cache.record import CropRecord, CropResult
from roi_cls.cache.store import CropCache
from roi_cls.roi import Box, CropParams, Detection, Face
from roi_cls.roi.image import Image

PARAMS = CropParams(size_px=16, min_face_px=4)
FULL = CropParams(crop="full", size_px=16)
FACE = Face(Box(5, 5, 25, 25), 0.9, ((10.0, 12.0), (20.0, 14.0)) * 3, "short")
LONG_AGO = 1_600_000_000  # seconds since 1970


class FakeDetector:
    """Sees one face, except in black pictures; dies of blue ones."""

    def detect(self, image: Image) -> Detection:
        """Return the face or none."""
        if image[..., 2].min() == 255 and not image[..., 0].any():
            os._exit(9)
        return Detection(image.shape[0], image.shape[1], (FACE,) if image.any() else ())

    def close(self) -> None:
        """Do nothing."""

    def __enter__(self) -> "FakeDetector":
        return self

    def __exit__(self, *_: object) -> None: ...


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
        "detected": 5, "cropped": 5, "reused": 1,
    }  # fmt: skip
    assert counts(run(pictures, options)) == expected
    again = {**expected, "detected": 0, "cropped": 0, "reused": 6}
    assert counts(run(pictures, options)) == again


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
        results = build_crops(pictures, PARAMS, FakeDetector, options)
        rows.append([result.record for result in results])
        trees.append(read_tree(options.cache))
    assert rows[0] == rows[1]
    assert trees[0] == trees[1]


def read_tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "index.sqlite" not in path.name
    }


@pytest.mark.usefixtures("importable")
def test_picture_that_kills_its_process_is_a_row_in_error(
    pictures: list[Path], tmp_path: Path
) -> None:
    blue = draw(tmp_path / "blue.png", (0, 0, 255))
    options = BuildOptions(tmp_path / "cache", workers=1)
    paths = [pictures[0], blue, pictures[2]]
    rows = [result.record for result in build_crops(paths, PARAMS, FakeDetector, options)]
    assert [row.status for row in rows] == ["ok", "error", "ok"]
    assert rows[1].error == (
        f"Cannot crop {str(blue)!r}: the process that decoded it died (exit code 9). "
        "The picture may be made to crash decoders; remove it or convert it to PNG."
    )


def test_process_killed_from_outside_points_to_memory() -> None:
    result = build_module._died("recipe", Path("a.png"), -9)
    assert result.record.error == (
        "Cannot crop 'a.png': the process that decoded it died (exit code -9). "
        "Memory may have run out: run again with fewer --workers."
    )
    assert (result.record.recipe, result.detected, result.cropped) == ("recipe", False, False)


@pytest.mark.usefixtures("importable")
def test_stopping_early_leaves_no_process(pictures: list[Path], tmp_path: Path) -> None:
    results = build_crops(pictures, PARAMS, FakeDetector, BuildOptions(tmp_path / "cache", 2))
    assert isinstance(results, Iterator)
    next(results)
    results.close()  # type: ignore[attr-defined]  # it is a generator
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    ("workers", "pictures", "expected"),
    [(0, 999, 0), (3, 1, 3), (None, WORTH_WORKERS - 1, 0), (None, WORTH_WORKERS, 5)],
)
def test_workers_are_started_where_they_are_worth_it(
    workers: int | None, pictures: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_module, "_available_cores", lambda: 5)
    assert BuildOptions(Path("cache"), workers).worker_count(pictures) == expected


def test_cores_are_those_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    assert build_module._available_cores() >= 1
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert build_module._available_cores() == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"workers": -1}, "workers must not be negative, got -1"),
        ({"max_pixels": 0}, "max_pixels must be at least 1, got 0"),
    ],
)
def test_options_out_of_range_are_refused(values: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BuildOptions(Path("cache"), **values)


def test_picture_over_the_limit_is_a_row_in_error(pictures: list[Path], tmp_path: Path) -> None:
    options = BuildOptions(tmp_path / "cache", workers=0, max_pixels=1000)
    (result,) = build_crops(pictures[:1], PARAMS, FakeDetector, options)
    assert result.record.status == "error"
    assert "1000" in (result.record.error or "")


def test_no_pictures_make_no_rows(options: BuildOptions) -> None:
    assert counts(run([], options))["images"] == 0


def test_summary_counts_every_reason() -> None:
    summary = CropSummary()
    for reason in ("too_small", "no_face", "no_face"):
        record = CropRecord(Path("a"), "ok", source="full_frame", reason=reason)
        summary.add(CropResult(record, detected=True, cropped=True))
    assert summary.to_dict()["reasons"] == {"no_face": 2, "too_small": 1}


def test_twenty_thousand_known_pictures_fit_into_memory(
    pictures: list[Path], options: BuildOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(pictures[:1], options)
    with CropCache(options.cache) as cache:
        sha256 = cache.index.find(pictures[0], pictures[0].stat())
        assert sha256
        monkeypatch.setattr(
            "roi_cls.cache.index.FileIndex.find", lambda *_: sha256
        )  # real files would take longer to make than to look up
        paths = [pictures[0]] * 1500
        tracemalloc.start()
        reused = sum(
            not result.cropped for result in build_crops(paths, PARAMS, FakeDetector, options)
        )
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert reused == 1500
    assert peak < 1500 * 5000  # 20,000 pictures in 100 MB


def test_partial_opener_is_as_good_as_a_class(pictures: list[Path], options: BuildOptions) -> None:
    results = build_crops(pictures[:1], FULL, partial(FakeDetector), options)
    assert [result.record.source for result in results] == ["full_frame"]
