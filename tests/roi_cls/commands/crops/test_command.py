"""``roi-cls crops``: what is done once is not done again, and the summary says what was done."""

import csv
import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

from roi_cls.base.errors import StorageError
from roi_cls.commands.crops.run import summary_text
from roi_cls.roi.detection import models
from roi_cls.roi.detection.models import DetectorModel
from tests.helpers.fakes import replace_mediapipe, see_centre, unless_black
from tests.helpers.pictures import noise, save
from tests.helpers.stored import stored_crops

Command = Callable[..., CompletedProcess[str]]
Crops = Callable[..., tuple[int, dict[str, Any]]]
SUMMARY = [
    *("images", "face", "full_frame", "reasons", "errors", "skipped", "damaged", "steps"),
    *("detected", "cropped", "reused", "seconds", "images_per_second"),
]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four pictures of 64 px, the last one black."""
    folder = tmp_path / "photos"
    for i in range(4):
        save(folder / f"{i}.png", noise(64, 64, 3, low=1, seed=i) * np.uint8(i < 3))
    return folder


@pytest.fixture
def crops(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Crops:
    """Run ``roi-cls crops --json`` with the fake detector in one process."""
    model = DetectorModel("short", tmp_path / "model.tflite", "0" * 64)
    replace_mediapipe(monkeypatch, unless_black(see_centre), (model,))

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
    assert work(crops(photos, "--margin", "0.1")[1]) == (0, 0, 4)


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
        "Use one of .jsonl, .csv, .parquet.\n"
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


def test_pictures_are_known_by_content_and_the_rest_is_counted(
    command: Command, tmp_path: Path, photos: Path
) -> None:
    for name in ("x.jpg_large", "noext", "photo.png?w=200"):
        shutil.copyfile(photos / "0.png", photos / name)
    (photos / "notes.txt").write_text("hello")
    (photos / "#recycle").mkdir()
    shutil.copyfile(photos / "0.png", photos / "#recycle" / "old.png")
    done = command("crops", photos, "--crop", "full", "--cache", tmp_path / "c", "--workers", "0")
    assert (done.returncode, done.stdout.splitlines()[0][:11]) == (0, "7 pictures:")
    assert done.stderr == "Passed over: 1 folder '#recycle', 1 .txt.\n"


def test_name_like_a_pattern_that_is_not_there_is_a_row(
    command: Command, tmp_path: Path, photos: Path
) -> None:
    places = ["--crop", "full", "--cache", tmp_path / "c", "--workers", "0"]
    done = command("crops", photos / "0.png", "missing[1].jpg", *places)
    assert (done.returncode, done.stdout.splitlines()[0]) == (
        3,
        "2 pictures: 0 face crops, 1 full frame, 1 error",
    )
    assert done.stderr == ("error: Cannot read 'missing[1].jpg': no such file. Check the path.\n")
    alone = command("crops", "missing[1].jpg", *places)
    assert (alone.returncode, alone.stdout) == (1, "")
    assert "nothing matches 'missing[1].jpg'" in alone.stderr


def test_summary_counts_one_thing_in_the_singular() -> None:
    summary = {
        **dict.fromkeys(("detected", "cropped", "reused"), 1),
        **dict.fromkeys(("images", "face", "full_frame", "errors"), 1),
        "reasons": {"no_face": 1},
        "skipped": 0,
        "damaged": 0,
        "steps": {"short": 9, "full": 8, "tiles": 7, "yunet": 6, "turned": 5},
        "seconds": 2.04,
        "images_per_second": 0.5,
    }
    assert summary_text(summary) == (
        "1 picture: 1 face crop, 1 full frame (1 because no face was found), 1 error\n"
        "last step the detector needed: short range 9, full range 8, tiles 7, YuNet 6, "
        "turned frame 5\n"
        "detected 1, cropped 1, reused 1 in 2.0 s (0.5 pictures/s)"
    )
    told = "1 damaged picture (--manifest says why, --damaged read takes what can be read)"
    assert summary_text({**summary, "damaged": 1}).splitlines()[1] == told


def test_damaged_picture_is_counted_and_read_where_it_is_asked_for(
    crops: Crops, photos: Path, tmp_path: Path
) -> None:
    cut = photos / "1.png"
    cut.write_bytes(cut.read_bytes()[:-12])
    reason = f"it is cut off after {cut.stat().st_size} bytes"
    code, summary = crops(photos)
    assert (code, summary["errors"], summary["damaged"]) == (3, 1, 1)
    manifest = tmp_path / "rows.csv"
    code, summary = crops(photos, "--damaged", "read", "--manifest", manifest)
    assert (code, summary["errors"], summary["damaged"]) == (0, 0, 1)
    with manifest.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["damaged"] for row in rows] == ["", reason, "", ""]


def test_full_disk_stops_with_a_remedy_and_what_is_finished_is_kept(
    crops: Crops, command: Command, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.replace
    moved: list[str] = []

    def fill_up(source: str, target: Path) -> None:
        if len(moved) == 6:  # the cache's mark, the recipe, two pictures' detections and crops
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(source, target)
        moved.append(str(target))

    monkeypatch.setattr(os, "replace", fill_up)
    places = ["--cache", tmp_path / "cache", "--workers", "0", "--size", "32"]
    done = command("crops", photos, *places, "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert "the disk is full" in done.stderr
    assert "--cache DIR" in done.stderr
    assert done.stderr.count("\n") == 1
    monkeypatch.setattr(os, "replace", real)
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


def shard_rows(manifest: Path) -> list[str]:
    return [json.loads(line)["path"] for line in manifest.read_text().splitlines()]


def test_shards_are_disjoint_and_complete_and_write_an_index_each(
    crops: Crops, photos: Path, tmp_path: Path
) -> None:
    seen: list[str] = []
    for i in (1, 2, 3):
        manifest = tmp_path / f"{i}.jsonl"
        code, summary = crops(photos, "--shard", f"{i}/3", "--manifest", manifest)
        rows = shard_rows(manifest)
        assert (code, summary["images"], summary["cropped"]) == (0, len(rows), len(rows))
        assert rows == sorted(rows)  # in input order
        seen += rows
    assert sorted(seen) == [str(photos / f"{i}.png") for i in range(4)]
    indexes = sorted(path.name for path in (tmp_path / "cache" / "v2").glob("index*.sqlite"))
    assert indexes == [f"index-{i}-of-3.sqlite" for i in (1, 2, 3)]


@pytest.mark.parametrize("later", [(), ("--shard", "1/1")], ids=["whole", "other shards"])
def test_crops_of_shards_are_found_by_a_later_run(
    crops: Crops, photos: Path, later: tuple[str, ...]
) -> None:
    for i in (1, 2):
        crops(photos, "--shard", f"{i}/2")
    for _ in range(2):  # the first reads the files, as no index knows them; the second none
        assert work(crops(photos, *later)[1]) == (0, 0, 4)


def test_shard_runs_again_from_its_own_index(crops: Crops, photos: Path) -> None:
    parts = [crops(photos, "--shard", f"{i}/2")[1]["images"] for i in (1, 2)]
    assert sum(parts) == 4
    for i, count in zip((1, 2), parts, strict=True):
        assert work(crops(photos, "--shard", f"{i}/2")[1]) == (0, 0, count)


def test_shard_without_pictures_is_done(
    crops: Crops, command: Command, photos: Path, tmp_path: Path
) -> None:
    manifest, sheet = tmp_path / "rows.csv", tmp_path / "sheet.png"
    words = ["--shard", "7/9000", "--manifest", manifest, "--contact-sheet", sheet]
    done = command("crops", photos, *words, "--cache", tmp_path / "c", "--workers", "0")
    assert done.returncode == 0
    assert done.stdout.startswith("0 pictures: 0 face crops, 0 full frames, 0 errors\n")
    assert done.stderr.startswith(
        "Shard 7/9000 has nothing to do: all of the 4 pictures are in other shards.\n"
    )
    assert manifest.read_text().startswith("path,status,")
    assert sheet.exists()


@pytest.mark.parametrize("text", ["3", "0/4", "5/4", "a/b"])
def test_bad_shard_is_refused_before_the_work(
    command: Command, photos: Path, tmp_path: Path, text: str
) -> None:
    done = command("crops", photos, "--shard", text, "--cache", tmp_path / "cache")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--shard: a shard is i/n with 1 <= i <= n, such as 1/8, got " in done.stderr
    assert text in done.stderr
    assert not (tmp_path / "cache").exists()


def test_failed_run_leaves_the_old_manifest(
    crops: Crops, command: Command, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = tmp_path / "rows.jsonl"
    manifest.write_text("old")

    def fill_up(source: str, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    places = ["--cache", tmp_path / "cache", "--workers", "0", "--manifest", manifest]
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fill_up)
        done = command("crops", photos, *places)
    assert (done.returncode, done.stdout) == (1, "")
    assert "the disk is full" in done.stderr
    assert str(tmp_path / "cache") in done.stderr  # that is what was full
    assert manifest.read_text() == "old"
    assert not list(tmp_path.glob(".tmp-*"))


def test_manifests_of_all_forms_hold_the_same_rows(
    crops: Crops, photos: Path, tmp_path: Path
) -> None:
    (photos / "2.png").write_text("no picture")
    for form in ("jsonl", "csv", "parquet"):
        crops(photos, "--manifest", tmp_path / f"rows.{form}")
    lines = (tmp_path / "rows.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert parquet.read_table(tmp_path / "rows.parquet").to_pylist() == rows
    with (tmp_path / "rows.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [list(row) for row in table] == [list(row) for row in rows]
    for flat, row in zip(table, rows, strict=True):
        for name, value in row.items():
            if value is None or value == []:
                assert flat[name] == ""
            elif isinstance(value, str):
                assert flat[name] == value
            else:
                assert json.loads(flat[name]) == value


@pytest.mark.slow
def test_shards_run_at_once_on_one_cache(command: Command, photos: Path, tmp_path: Path) -> None:
    places = ["--cache", str(tmp_path / "cache"), "--workers", "0", "--crop", "full", "--json"]
    words = [sys.executable, "-m", "roi_cls", "crops", str(photos), *places, "--shard"]
    running = [
        subprocess.Popen([*words, f"{i}/3"], stdout=subprocess.PIPE, text=True) for i in (1, 2, 3)
    ]
    summaries = [json.loads(process.communicate()[0]) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert sum(summary["cropped"] for summary in summaries) == 4
    whole = json.loads(command("crops", photos, *places).stdout)
    assert (whole["images"], whole["cropped"], whole["reused"]) == (4, 0, 4)


def test_cache_below_the_pictures_is_not_cropped_itself(command: Command, photos: Path) -> None:
    store = photos / "store"
    words = ["crops", photos, "--crop", "full", "--size", "16", "--workers", "0", "--cache", store]
    images = [json.loads(command(*words, "--json").stdout)["images"] for _ in range(2)]
    assert images == [4, 4]
    assert len(stored_crops(store)) == 4


@pytest.mark.parametrize("option", ["--manifest", "--contact-sheet"])
def test_output_over_an_input_is_refused_before_the_work(
    command: Command, photos: Path, tmp_path: Path, option: str
) -> None:
    source = tmp_path / ("list.csv" if option == "--manifest" else "a.jpg")
    if option == "--manifest":
        source.write_text(f"path\n{photos / '0.png'}\n")
    else:
        shutil.copy(photos / "0.png", source)
    before = source.read_bytes()
    done = command("crops", source, option, source, "--cache", tmp_path / "c", "--crop", "full")
    assert done.returncode == 1
    assert "which would be lost" in done.stderr
    assert source.read_bytes() == before
    assert not (tmp_path / "c").exists()


def test_table_of_labels_is_not_replaced_by_a_manifest(
    command: Command, photos: Path, tmp_path: Path
) -> None:
    labels = photos / "labels.csv"
    labels.write_text("path,label\n0.png,clean\n")
    done = command("crops", photos / "0.png", "--manifest", labels, "--cache", tmp_path / "c")
    assert (done.returncode, done.stderr) == (
        1,
        f"error: Cannot write the manifest {str(labels)!r}: there is another table of that name, "
        "perhaps of labels, which would be lost. Choose another name.\n",
    )


def test_limit_of_pixels_holds_for_what_is_kept_too(crops: Crops, photos: Path) -> None:
    crops(photos)
    code, summary = crops(photos, "--max-pixels", "1000")
    assert (code, summary["errors"], summary["reused"]) == (3, 4, 0)
    assert crops(photos)[1]["reused"] == 4
