"""Shared by the classifier's tests: toy pictures, jobs on them, a trained run, a face finder."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from roi_cls.cache.options import BuildOptions
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.training.job import Observers, TrainJob
from roi_cls.classifier.training.run import train_run
from roi_cls.data.split import SplitParams
from roi_cls.roi import CropParams
from tests.helpers.fakes import FakeDetector, replace_mediapipe, see_centre, undraw_curves

COLOURS = {"blue": (40, 40, 200), "red": (200, 40, 40), "green": (40, 200, 40)}
FAST = TrainConfig(
    model="test_efficientnet",
    weights="none",
    epochs=2,
    batch_size=8,
    lr=3e-3,
    warmup_epochs=0,
    drop_rate=0,
    imbalance="weights",
    label_smoothing=0,
    ema=0,
    augmentation="none",
    metric="average_precision",
    device="cpu",
    precision="fp32",
)
"""Learns red from blue in two epochs."""

MakeJob = Callable[..., TrainJob]
DrawSet = Callable[..., Path]


@pytest.fixture(autouse=True)
def _undrawn_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the figures of runs, but for those of fixtures that several tests share."""
    undraw_curves(monkeypatch)


@pytest.fixture
def central_face(monkeypatch: pytest.MonkeyPatch) -> FakeDetector:
    """Let training and prediction see a face in the middle of every picture, by no model."""
    return replace_mediapipe(monkeypatch, see_centre)


@pytest.fixture(scope="session")
def draw_set() -> DrawSet:
    """Draw pictures of one noisy colour per class: ``draw_set(folder, red=9, blue=9)``."""

    def draw(folder: Path, seed: int = 0, side: int = 24, **counts: int) -> Path:
        random = np.random.default_rng(seed)
        for name, count in counts.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                noise = random.integers(-40, 41, (side, side, 3))
                pixels = np.clip(np.array(COLOURS[name]) + noise, 0, 255).astype(np.uint8)
                PillowImage.fromarray(pixels).save(folder / name / f"{i:02}.png")
        return folder

    return draw


@pytest.fixture(scope="session")
def make_job() -> MakeJob:
    """Make a quick training job; keywords replace fields of the job or of its settings."""

    def make(source: Path, run: Path, **changes: Any) -> TrainJob:
        config = {k: changes.pop(k) for k in tuple(changes) if hasattr(FAST, k)}
        return TrainJob(
            source=source,
            run=RunFolder(run),
            config=replace(FAST, **config),
            crop=changes.pop("crop", CropParams(crop="full", size_px=32)),
            split=changes.pop("split", SplitParams(validation_share=0.3)),
            options=BuildOptions(run.parent / "cache", workers=0),
            **changes,
        )

    return make


@pytest.fixture(scope="session")
def toy_set(tmp_path_factory: pytest.TempPathFactory, draw_set: DrawSet) -> Path:
    """15 red and 21 blue pictures of 24 px in class folders; read only."""
    return draw_set(tmp_path_factory.mktemp("toy") / "set", red=15, blue=21)


@pytest.fixture(scope="session")
def exported_run(
    toy_set: Path, make_job: MakeJob, tmp_path_factory: pytest.TempPathFactory
) -> RunFolder:
    """A finished run on ``toy_set`` that ended with its ONNX file; read only."""
    job = make_job(toy_set, tmp_path_factory.mktemp("toy-runs") / "exported", export=True)
    assert train_run(job, Observers()).trained
    return job.run


@pytest.fixture(scope="session")
def toy_run(
    toy_set: Path, make_job: MakeJob, tmp_path_factory: pytest.TempPathFactory
) -> RunFolder:
    """A finished run on ``toy_set`` that looks for ``red``; read only."""
    job = make_job(toy_set, tmp_path_factory.mktemp("toy-runs") / "toy")
    assert train_run(job, Observers()).trained
    return job.run
