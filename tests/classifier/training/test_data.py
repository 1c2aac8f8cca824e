"""Preprocessing is blind to labels: who else carries a label changes no picture's tensor."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from roi_cls.cache.options import BuildOptions
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.runs.bundle import Normalisation
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.training.batches import PixelSource
from roi_cls.classifier.training.data import load_training_data
from roi_cls.classifier.training.job import TrainJob
from roi_cls.data.crops import CropArray, crop_views, load_views
from roi_cls.data.sample import Sample, SplitName
from roi_cls.data.split import SplitParams
from roi_cls.roi import CropParams
from tests.helpers.fakes import replace_mediapipe, see_centre
from tests.helpers.pictures import noise, save

PARTS: tuple[SplitName, ...] = ("train", "validation", "test")
NORMALISATION = Normalisation((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
CONFIG = TrainConfig(augmentation="strong", self_blend=0.5, mixup=0.4, imbalance="sampling")


@pytest.fixture(autouse=True)
def _portraits(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_mediapipe(monkeypatch, see_centre)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """60 pictures of noise, PNG and JPEG, in train, validation and test."""
    folder = tmp_path_factory.mktemp("blind")
    paths = [folder / f"{i:02}.{'png' if i % 3 else 'jpg'}" for i in range(60)]
    return [save(path, noise(64, 56, 3, seed=i)) for i, path in enumerate(paths)]


def label(paths: list[Path], seed: int) -> list[Sample]:
    """Give every third picture of each part the rare label, or, by the seed, others as many."""
    parts = [PARTS[i // 20] for i in range(60)]
    labels = [("rare" if i % 3 == 0 else "common") for i in range(60)]
    for start in range(0, 60, 20):
        order = np.random.default_rng(seed).permutation(20) if seed else range(20)
        labels[start : start + 20] = [labels[start + i] for i in order]
    return [Sample(*values) for values in zip(paths, labels, parts, strict=True)]


def prepare(samples: list[Sample], cache: Path, frame: bool = False) -> dict[str, CropArray]:
    """Return the crops of validation and test, made with nothing that an earlier call left."""
    job = TrainJob(
        samples[0].path.parent,
        RunFolder(cache / "run"),
        TrainConfig(frame=frame),
        CropParams(size_px=32),
        SplitParams(),
        BuildOptions(cache, workers=0),
        target="rare",
        samples=tuple(samples),
    )
    data = load_training_data(job)
    held = [sample for sample in data.split.samples if sample.split == "test"]
    rows = crop_views(held, data.recipes, job.options)
    test = load_views(held, rows, data.labels, data.recipes, job.options)
    return {"train": data.train, "validation": data.validation, "test": test}


def test_what_is_to_be_known_of_the_folder_is_told_before_the_work(tmp_path: Path) -> None:
    for i in range(12):
        save(tmp_path / f"set/{'ab'[i % 2]}/image_{i}_{i % 3 % 2}.png", noise(32, 32, 3, seed=i))
    (tmp_path / "set/notes.txt").write_text("hello")
    job = TrainJob(
        tmp_path / "set",
        RunFolder(tmp_path / "run"),
        TrainConfig(),
        CropParams(size_px=32, crop="full"),
        SplitParams(),
        BuildOptions(tmp_path / "crops", workers=0),
    )
    told: list[str] = []
    load_training_data(job, lambda result, total: told.append("crop"), told.append)
    first, second, *rest = told
    assert first == "Passed over: 1 .txt."
    assert second.startswith("warning: The labels are those of the folders, but for 12 of 12")
    assert set(rest) == {"crop"}


def inputs(crops: CropArray, config: TrainConfig, train: CropArray) -> NDArray[np.float32]:
    """Return the model's inputs after a training batch was drawn, as after an epoch."""
    torch.manual_seed(0)
    rows = np.arange(12)
    PixelSource(train, 2, NORMALISATION, torch.device("cpu"), config, 1).train_batch(rows)
    source = PixelSource(crops, 2, NORMALISATION, torch.device("cpu"), config, 1)
    return np.asarray(source.plain_inputs(np.arange(len(crops))).numpy())


@pytest.mark.parametrize("frame", [False, True], ids=["face", "face-and-frame"])
def test_permuted_labels_change_no_validation_or_test_tensor(
    tmp_path: Path, paths: list[Path], frame: bool
) -> None:
    config = replace(CONFIG, self_blend=0.0) if frame else CONFIG
    first = prepare(label(paths, 0), tmp_path / "0", frame)
    plain = replace(config, augmentation="none", self_blend=0.0, mixup=0.0)
    for seed in (1, 2):
        again = prepare(label(paths, seed), tmp_path / f"{seed}", frame)
        for part in ("validation", "test"):
            one, other = first[part], again[part]
            assert [r.path for r in one.records] == [r.path for r in other.records]
            assert not np.array_equal(one.labels, other.labels)  # else nothing was tried
            assert np.array_equal(one.pixels, other.pixels)
            tensors = [
                inputs(crops[part], settings, crops["train"])
                for crops, settings in itertools.product((first, again), (config, plain))
            ]
            assert all(np.array_equal(tensors[0], tensor) for tensor in tensors[1:])


def test_training_batches_do_depend_on_the_labels(tmp_path: Path, paths: list[Path]) -> None:
    # Self-blending goes by labels, and that is why it must stay out of the other parts.
    batches = []
    for seed in (0, 1):
        train = prepare(label(paths, seed), tmp_path / f"{seed}")["train"]
        torch.manual_seed(0)
        source = PixelSource(train, 2, NORMALISATION, torch.device("cpu"), CONFIG, 1)
        batches.append(source.train_batch(np.arange(20)).inputs.numpy())
    assert not np.array_equal(batches[0], batches[1])
