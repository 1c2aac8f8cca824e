"""The anomaly score: it rises with the error, learns without targets, and is kept whole."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from roi_cls.base.errors import TrainingError
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.models.autoencoder import AutoencoderNetwork
from roi_cls.classifier.models.device import choose_backend
from roi_cls.classifier.models.saved import load_model
from roi_cls.classifier.models.score import compute_logits
from roi_cls.classifier.runs.bundle import Normalisation, load_bundle
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.training.data import TrainingData
from roi_cls.classifier.training.job import EpochReport, Observers, TrainJob
from roi_cls.classifier.training.methods.autoencoder import fit_autoencoder, scale_score
from roi_cls.classifier.training.run import train_run
from roi_cls.data.crops import CropArray
from roi_cls.data.sample import LabelSet
from roi_cls.data.split import Split

MakeJob = Callable[..., TrainJob]
CPU = choose_backend("cpu", "fp32")
SCALE = Normalisation((0.5,) * 3, (0.5,) * 3)
CONFIG = TrainConfig(method="autoencoder", epochs=10, batch_size=8, lr=3e-3, patience=0)


def _crops(count: int, side: int = 32, views: int = 1) -> CropArray:
    """Smooth colour ramps; every fourth, the target (class 0), has a noisy patch."""
    random = np.random.default_rng(count)
    ramp = np.linspace(60, 180, side)[None, :, None] + np.zeros((side, side, 3))
    pixels = np.stack([ramp + random.integers(-40, 40, 3) for _ in range(count * views)])
    labels = np.ones(count, np.int64)
    labels[::4] = 0
    for i in np.flatnonzero(np.repeat(labels, views) == 0):
        pixels[i, 8:24, 8:24] += random.integers(-90, 90, (16, 16, 3))
    pixels = np.clip(pixels, 0, 255).astype(np.uint8)
    shape = (count, views, side, side, 3) if views > 1 else (count, side, side, 3)
    return CropArray(pixels.reshape(shape), labels, (None,) * count)  # type: ignore[arg-type]  # rows play no part


def _data(views: int = 1) -> TrainingData:
    return TrainingData(
        labels=LabelSet(("odd", "plain"), "odd"),
        train=_crops(48, views=views),
        validation=_crops(24, views=views),
        split=Split((), (), ()),
        digest="",
        records=(),
        recipes=(),
        source=Path("set"),
    )


def _files(folder: Path) -> RunFolder:
    return RunFolder(folder)


@pytest.mark.parametrize("views", [1, 2])
def test_what_was_not_learned_scores_higher(tmp_path: Path, views: int) -> None:
    data = _data(views)
    reports: list[EpochReport] = []
    torch.manual_seed(0)
    fitted = fit_autoencoder(
        CONFIG, data, CPU, _files(tmp_path), Observers(on_epoch=reports.append)
    )
    logits = compute_logits(fitted, data.validation.pixels, SCALE, CPU)
    scores, is_target = logits[:, 0], data.validation.labels == 0
    assert (logits[:, 1] == 0).all()
    assert scores[is_target].min() > scores[~is_target].max()
    # Scaled by logistic regression: probabilities fit how many targets there are.
    assert np.mean(1 / (1 + np.exp(-scores))) == pytest.approx(0.25, abs=0.02)
    assert reports[-1].train_loss < reports[0].train_loss / 2
    assert [
        json.loads(line)["epoch"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()
    ] == [*range(1, 11)]
    losses = [report.validation_loss for report in reports]
    assert [r.best for r in reports] == [
        x < min([*losses[:i], np.inf]) for i, x in enumerate(losses)
    ]


def test_targets_are_not_learned_from(tmp_path: Path) -> None:
    data = _data()
    spoiled = data.train.pixels.copy()
    spoiled[data.train.labels == 0] = 0
    other = replace(data, train=replace(data.train, pixels=spoiled))
    states = []
    for each, folder in ((data, tmp_path / "a"), (other, tmp_path / "b")):
        folder.mkdir()
        torch.manual_seed(0)
        config = replace(CONFIG, epochs=2)
        fitted = fit_autoencoder(config, each, CPU, _files(folder), Observers())
        states.append(fitted.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_best_epoch_by_validation_is_kept_and_patience_ends(tmp_path: Path) -> None:
    reports: list[EpochReport] = []
    torch.manual_seed(0)
    data = _data()
    # At so high a rate the loss jumps about.
    config = replace(CONFIG, lr=0.3, epochs=40, patience=2)
    fitted = fit_autoencoder(
        config, data, CPU, _files(tmp_path), Observers(on_epoch=reports.append)
    )
    best = max(report.epoch for report in reports if report.best)
    assert len(reports) == best + 2 < 40
    network = fitted
    assert isinstance(network, AutoencoderNetwork)
    plain = data.validation.pixels[data.validation.labels == 1]
    images = SCALE.apply(torch.from_numpy(plain).permute(0, 3, 1, 2), torch.device("cpu"))
    with torch.no_grad():
        error = float(network.errors(images).mean())
    assert error == pytest.approx(reports[best - 1].validation_loss, rel=1e-4)


def test_training_that_diverges_is_told(tmp_path: Path) -> None:
    config = replace(CONFIG, lr=1e30, epochs=3)
    with pytest.raises(TrainingError, match=r"error is no number in epoch \d\. Lower --lr\."):
        fit_autoencoder(config, _data(), CPU, _files(tmp_path), Observers())


def test_score_never_falls_with_the_error() -> None:
    network = AutoencoderNetwork(16, 0)
    errors = np.linspace(0.1, 1, 20, dtype=np.float32)
    assert scale_score(network, errors, errors > 0.6)
    assert float(network.slope) > 1
    assert not scale_score(network, errors, errors < 0.3)
    assert float(network.slope) == pytest.approx(1e-3)
    share = torch.sigmoid(network.slope * torch.from_numpy(errors).log() + network.shift)
    assert float(share.mean()) == pytest.approx((errors < 0.3).mean(), abs=0.01)


def test_run_is_a_bundle_that_scores_alike(
    toy_set: Path, make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job(toy_set, tmp_path / "run", method="autoencoder", epochs=3)
    assert train_run(job, Observers()).trained
    bundle = load_bundle(job.run.path)
    assert bundle.model == "autoencoder"
    assert bundle.network == {"kind": "autoencoder", "side": 32, "target_index": 1, "views": 1}
    assert bundle.labels.target_index == 1
    images = torch.randn(3, 3, 32, 32)
    network = load_model(job.run.path, bundle)
    with torch.no_grad():
        assert network(images).shape == (3, 2)


def test_three_classes_are_refused(tmp_path: Path) -> None:
    data = replace(_data(), labels=LabelSet(("a", "b", "c"), "a"))
    with pytest.raises(TrainingError) as caught:
        fit_autoencoder(CONFIG, data, CPU, _files(tmp_path), Observers())
    assert str(caught.value) == (
        "Cannot train an autoencoder for 3 classes: it tells what it has learned from what it has "
        "not. Use --method network."
    )
