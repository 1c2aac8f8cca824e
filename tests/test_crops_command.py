"""``roi-cls crops``: what is done once is not done again, and the summary says what was done."""

import csv
import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from roi_cls.cropping import summary_text
from roi_cls.errors import StorageError
from roi_cls.roi import KEYPOINT_NAMES, Box, CropParams, Detection, Face, mediapipe_detector, models
from roi_cls.roi.image import Image
from roi_cls.roi.models import DetectorModel

Command = Callable[..., CompletedProcess[str]]
Crops = Callable[..., tuple[int, dict[str, Any]]]
SUMMARY = [
    *("images", "face", "full_frame", "reasons", "errors", "detected", "cropped", "reused"),
    *("seconds", "images_per_second"),
]
HOURS_AGO = 1_700_000_000  # s; a file as new as this second is not trusted to stay as it is


class FakeDetector:
    """Sees a face in the middle of every picture that is not black."""

    def __init__(self, models: object, params: CropParams) -> None:
        pass

    def detect(self, image: Image) -> Detection:
        """Return the middle quarter as a face."""
        height, width = image.shape[:2]
        box = Box(width * 0.25, height * 0.25, width * 0.75, height * 0.75)
        face = Face(box, 0.9, ((0.0, 0.0),) * len(KEYPOINT_NAMES), "short")
        return Detection(height, width, (face,) if image.any() else ())

    def close(self) -> None:
        """Free nothing."""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four pictures of 64 px, the last one black."""
    folder = tmp_path / "photos"
    folder.mkdir()
    random = np.random.default_rng(1)
    for i in range(4):
        pixels = random.integers(1, 255, (64, 64, 3), dtype=np.uint8) * np.uint8(i < 3)
        Pillow.fromarray(pixels).save(folder / f"{i}.png")
        os.utime(folder / f"{i}.png", (HOURS_AGO, HOURS_AGO))
    return folder


@pytest.fixture
def crops(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Crops:
    """Run ``roi-cls crops --json`` with the fake detector in one process."""
    model = DetectorModel("short", tmp_path / "model.tflite", "0" * 64)
    monkeypatch.setattr(models, "resolve_models", lambda *given, **options: (model,))
    monkeypatch.setattr(mediapipe_detector, "MediapipeDetector", FakeDetector)

    def run(*arguments: object) -> tuple[int, dict[str, Any]]:
        places = ["--cache", tmp_path / "cache", "--workers", "0", "--size", "32", "--json"]
        done = command("crops", *arguments, *places)
        return done.returncode, json.loads(done.stdout)

    return run


def work(summary: dict[str, Any]) -> tuple[int, int, int]:
    return summary["detected"], summary["cropped"], summary["reused"]


def test_summary_has_the_fields_of_the_contract(crops: Crops, photos: Path) -> None:
    code, summary = crops(photos)
    assert code == 0
    assert list(summary) == SUMMARY
    assert (summary["images"], summary["face"], summary["full_frame"]) == (4, 3, 1)
    assert (summary["reasons"], summary["errors"]) == ({"no_face": 1}, 0)
    assert work(summary) == (4, 4, 0)


def test_second_call_does_nothing(crops: Crops, photos: Path) -> None:
    crops(photos)
    assert work(crops(photos)[1]) == (0, 0, 4)


def test_touched_file_is_not_done_again(crops: Crops, photos: Path) -> None:
    crops(photos)
    (photos / "1.png").touch()
    assert work(crops(photos)[1]) == (0, 0, 4)


def test_moved_file_is_not_done_again(crops: Crops, photos: Path) -> None:
    crops(photos)
    shutil.move(photos, photos.with_name("elsewhere"))
    assert work(crops(photos.with_name("elsewhere"))[1]) == (0, 0, 4)


def test_changed_byte_recomputes_exactly_that_file(crops: Crops, photos: Path) -> None:
    crops(photos)
    with (photos / "1.png").open("ab") as file:
        file.write(b"\0")
    assert work(crops(photos)[1]) == (1, 1, 3)


def test_changed_margin_recomputes_crop_not_detection(crops: Crops, photos: Path) -> None:
    crops(photos)
    assert work(crops(photos, "--margin", "0.8")[1]) == (0, 4, 0)
    assert work(crops(photos, "--margin", "0.3")[1]) == (0, 0, 4)


def test_whole_pictures_need_no_detector(
    command: Command, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "resolve_models", lambda *given, **options: 1 / 0)
    done = command("crops", photos, "--crop", "full", "--cache", tmp_path / "c", "--workers", "0")
    assert done.returncode == 0
    assert done.stdout.startswith("4 pictures: 0 face crops, 4 full frames, 0 errors\n")


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_manifest_has_a_row_per_input_in_order(
    crops: Crops, photos: Path, tmp_path: Path, suffix: str
) -> None:
    (photos / "2.png").write_text("no picture")
    manifest = tmp_path / f"rows{suffix}"
    code, summary = crops(
        photos / "3.png", photos / "2.png", photos / "0.png", "--manifest", manifest
    )
    assert (code, summary["errors"]) == (3, 1)
    with manifest.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file)) if suffix == ".csv" else list(map(json.loads, file))
    assert [Path(row["path"]).name for row in rows] == ["3.png", "2.png", "0.png"]
    assert [row["status"] for row in rows] == ["ok", "error", "ok"]


def test_manifest_of_an_unknown_form_is_refused_before_the_work(
    command: Command, photos: Path, tmp_path: Path
) -> None:
    target, cache = tmp_path / "rows.xls", tmp_path / "cache"
    done = command("crops", photos, "--manifest", target, "--cache", cache)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: Cannot write the manifest {str(target)!r}: its suffix names no known form. "
        "Use one of .jsonl, .csv.\n"
    )
    assert not cache.exists()


def test_folder_as_manifest_is_refused_before_the_work(
    command: Command, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").mkdir()
    places = ["--manifest", tmp_path / "rows.csv", "--cache", tmp_path / "cache"]
    done = command("crops", photos, *places)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"Cannot write {str(tmp_path / 'rows.csv')!r}: it is a folder. " in done.stderr
    assert not (tmp_path / "cache").exists()


def test_first_errors_are_named_and_the_rest_counted(command: Command, tmp_path: Path) -> None:
    names = [tmp_path / f"{i}.png" for i in range(8)]
    done = command("crops", *names, "--crop", "full", "--cache", tmp_path / "c", "--workers", "0")
    assert done.returncode == 3
    assert done.stderr.splitlines() == [
        *(f"error: Cannot read {str(name)!r}: no such file. Check the path." for name in names[:5]),
        "… and 3 more; --manifest rows.csv lists every picture.",
    ]
    assert done.stdout.startswith("8 pictures: 0 face crops, 0 full frames, 8 errors\n")


def test_summary_counts_one_thing_in_the_singular() -> None:
    summary = {
        **dict.fromkeys(("detected", "cropped", "reused"), 1),
        **dict.fromkeys(("images", "face", "full_frame", "errors"), 1),
        "reasons": {"no_face": 1},
        "seconds": 2.04,
        "images_per_second": 0.5,
    }
    assert summary_text(summary) == (
        "1 picture: 1 face crop, 1 full frame (1 because no face was found), 1 error\n"
        "detected 1, cropped 1, reused 1 in 2.0 s (0.5 pictures/s)"
    )


def test_full_disk_stops_with_a_remedy_and_what_is_finished_is_kept(
    crops: Crops, command: Command, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.replace
    moved: list[str] = []

    def fill_up(source: str, target: Path) -> None:
        if len(moved) == 5:  # the recipe, then a detection and a crop of two pictures
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        moved.append(str(target))
        real(source, target)

    monkeypatch.setattr("roi_cls.atomic.os.replace", fill_up)
    places = ["--cache", tmp_path / "cache", "--workers", "0", "--size", "32"]
    done = command("crops", photos, *places, "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert "the disk is full" in done.stderr
    assert "--cache DIR" in done.stderr
    assert done.stderr.count("\n") == 1
    monkeypatch.setattr("roi_cls.atomic.os.replace", real)
    assert not list(tmp_path.rglob(".tmp-*"))
    assert work(crops(photos)[1]) == (2, 2, 2)


def test_storage_error_names_the_way_out() -> None:
    assert str(StorageError("x", "the disk is full")) == (
        "Cannot write 'x': the disk is full. Free space or give another folder (for crops with "
        "--cache DIR), then run the same command again: what is finished is kept."
    )


def test_places_may_come_from_the_environment(
    command: Command, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROI_CLS_CACHE", str(tmp_path / "mine"))
    monkeypatch.setenv("ROI_CLS_WORKERS", "0")
    monkeypatch.setenv("ROI_CLS_MAX_PIXELS", "100")
    done = command("crops", photos, "--crop", "full", "--json")
    assert (done.returncode, json.loads(done.stdout)["errors"]) == (3, 4)
    assert "over the limit of 100" in done.stderr
    assert (tmp_path / "mine").is_dir()
