"""Proof of a run: it passes after training, and fails for whatever changed since."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from roi_cls.base.errors import BundleError, VerificationError
from roi_cls.classifier.inference.loaded import LoadedModel
from roi_cls.classifier.inference.scorer import ROUNDING_TOLERANCE
from roi_cls.classifier.inference.verify import verify_run
from roi_cls.classifier.runs.bundle import write_config
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.training.job import Observers, TrainJob
from roi_cls.classifier.training.run import train_run
from roi_cls.data.table import read_split
from roi_cls.roi import CropParams

MakeJob = Callable[..., TrainJob]
DrawSet = Callable[..., Path]


@pytest.fixture
def run(tmp_path: Path, draw_set: DrawSet, make_job: MakeJob, central_face: object) -> RunFolder:
    """A run on faces, with its pictures in ``set`` beside it."""
    source = draw_set(tmp_path / "set", red=8, blue=8, side=64)
    crop = CropParams(margin=0.1, size_px=32, min_face_px=8)
    job = make_job(source, tmp_path / "run", crop=crop, epochs=1)
    train_run(job, Observers())
    return job.run


def _validation(run: RunFolder, root: Path) -> list[Path]:
    return [
        sample.path for sample in read_split(run.split, root)[0] if sample.split == "validation"
    ]


def _edit(run: RunFolder, change: Callable[[dict[str, Any]], object]) -> None:
    path = run.path / "config.json"
    config = json.loads(path.read_text())
    change(config["roi_cls"])
    write_config(run.path, config)


def test_run_predicts_as_it_was_trained(run: RunFolder, tmp_path: Path) -> None:
    proof = verify_run(run, device="cpu")
    assert proof.images == len(_validation(run, tmp_path / "set")) > 0
    assert proof.largest_difference <= ROUNDING_TOLERANCE


def test_moved_run_and_data_are_verified_where_they_lie(run: RunFolder, tmp_path: Path) -> None:
    moved = RunFolder(Path(shutil.move(run.path, tmp_path / "elsewhere" / "run")))
    shutil.move(tmp_path / "set", tmp_path / "data")
    with pytest.raises(VerificationError) as caught:
        verify_run(moved, device="cpu")
    message = str(caught.value)
    assert message.startswith("Cannot verify run 'run': 4 of 4 validation pictures cannot be ")
    assert str(tmp_path / "set" / "blue") in message
    assert message.endswith("If the data set moved, name its folder with --data.")
    assert verify_run(moved, source=tmp_path / "data", device="cpu").images == 4


def test_deleted_picture_is_told(run: RunFolder, tmp_path: Path) -> None:
    path = _validation(run, tmp_path / "set")[1]
    path.unlink()
    with pytest.raises(VerificationError) as caught:
        verify_run(run, device="cpu")
    message = str(caught.value)
    assert message.startswith(
        "Cannot verify run 'run': 1 of 4 validation pictures cannot be predicted, first: "
        f"Cannot read {str(path)!r}: "
    )


def test_changed_picture_is_told(run: RunFolder, tmp_path: Path) -> None:
    path = _validation(run, tmp_path / "set")[2]
    Image.fromarray(np.full((64, 64, 3), 255, np.uint8)).save(path)
    with pytest.raises(VerificationError) as caught:
        verify_run(run, device="cpu")
    message = str(caught.value)
    assert message.startswith(
        "Run 'run' does not predict as it was trained: the scores of 1 of 4 validation pictures "
        "differ, by up to "
    )
    assert f" in {str(path)!r}. A picture file or the crop recipe has changed since, or " in message
    assert message.endswith("restore it or train again.")


@pytest.mark.parametrize(
    "change",
    [
        lambda facts: facts["views"][0].update(margin=0.6),
        lambda facts: facts["normalisation"].update(mean=[0.1, 0.1, 0.1]),
        lambda facts: facts["labels"].reverse(),
        lambda facts: facts.update(temperature=3.0),
        lambda facts: facts.update(offsets=[0.5, 0.0]),
        lambda facts: facts.update(mirror=True),
    ],
    ids=["margin", "normalisation", "label order", "temperature", "offsets", "mirror"],
)
def test_changed_facts_are_told(run: RunFolder, change: Callable[[dict[str, Any]], object]) -> None:
    _edit(run, change)
    with pytest.raises(VerificationError, match="does not predict as it was trained"):
        verify_run(run, device="cpu")


def test_scores_that_are_no_numbers_never_pass(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(self: LoadedModel, pixels: Sequence[np.ndarray], batch_size: int) -> np.ndarray:
        return np.full((len(pixels[0]), 2), np.nan)

    monkeypatch.setattr(LoadedModel, "probabilities", lose)
    with pytest.raises(VerificationError, match="the scores of 4 of 4 validation pictures differ"):
        verify_run(run, device="cpu")


def test_lost_scores_are_told(run: RunFolder) -> None:
    run.validation_scores.unlink()
    with pytest.raises(BundleError, match="Cannot read the stored scores"):
        verify_run(run, device="cpu")
