"""The loop on crops in memory: it learns, keeps the best, resumes alike, and tells what failed."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from roi_cls.cache import CropRecord
from roi_cls.classifier import train as train_module
from roi_cls.classifier.batch import Normalisation
from roi_cls.classifier.config import Metric, TrainConfig
from roi_cls.classifier.device import choose_backend
from roi_cls.classifier.model import create_model
from roi_cls.classifier.score import compute_logits
from roi_cls.classifier.train import EpochReport, Trainer, TrainFiles
from roi_cls.data.crops import CropArray
from roi_cls.errors import TrainingError

SCALE = Normalisation((0.5,) * 3, (0.5,) * 3)
CONFIG = TrainConfig(
    model="test_efficientnet",
    weights="none",
    epochs=4,
    batch_size=8,
    lr=3e-3,
    warmup_epochs=0,
    drop_rate=0,
    augmentation="none",
    device="cpu",
    precision="fp32",
)


def _toy(counts: tuple[int, ...], seed: int = 0) -> CropArray:
    """Return noisy crops, class i bright in channel i."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    pixels = random.integers(0, 80, (len(labels), 32, 32, 3))
    pixels[np.arange(len(labels)), :, :, labels] += 120
    records = tuple(CropRecord(Path(f"{i}.png"), "ok") for i in range(len(labels)))
    return CropArray(pixels.astype(np.uint8), labels.astype(np.int64), records)


def _trainer(folder: Path, classes: int = 2, **changes: Any) -> Trainer:
    config = replace(CONFIG, **changes)
    torch.manual_seed(0)
    model = create_model(config.model, "none", classes, 32)
    folder.mkdir(exist_ok=True)
    names = ("metrics.jsonl", "checkpoint.safetensors", "best.safetensors")
    files = TrainFiles(*(folder / name for name in names))
    return Trainer(config, model, SCALE, choose_backend("cpu", "fp32"), files)


def _state(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def _lines(folder: Path) -> list[dict[str, Any]]:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not strict JSON")

    text = (folder / "metrics.jsonl").read_text()
    rows = [json.loads(line, parse_constant=refuse) for line in text.splitlines()]
    return [{k: v for k, v in row.items() if "second" not in k} for row in rows]


@pytest.mark.parametrize(("counts", "target"), [((16, 16), 0), ((16, 16), 1), ((9, 9, 12), 2)])
def test_separable_classes_are_learned_whichever_is_the_target(
    tmp_path: Path, counts: tuple[int, ...], target: int
) -> None:
    trainer = _trainer(tmp_path, len(counts))
    steps: list[tuple[int, int]] = []
    reports: list[EpochReport] = []
    validation = _toy(tuple(4 for _ in counts), seed=1)
    trainer.run(_toy(counts), validation, target, lambda *step: steps.append(step), reports.append)
    assert max(report.roc_auc for report in reports) == 1.0
    assert max(report.average_precision for report in reports) == 1.0
    total = sum(counts)
    assert steps[-1] == (total, total)
    assert [report.epoch for report in reports] == [1, 2, 3, 4]
    rows = _lines(tmp_path)
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert rows[0].keys() >= {"phase", "lr", "train_loss", "validation_loss", "best"}


def _scripted(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch, values: list[float]
) -> list[dict[str, torch.Tensor]]:
    """Let epoch i have ``values[i]`` as each metric; return the weights after each epoch."""
    states: list[dict[str, torch.Tensor]] = []

    def validate(validation: CropArray, target_index: int) -> dict[str, float]:
        value = values[len(states)]
        states.append(_state(trainer))
        return {"validation_loss": -value, "average_precision": value, "roc_auc": value}

    monkeypatch.setattr(trainer, "_validate", validate)
    return states


@pytest.mark.parametrize("metric", ["average_precision", "roc_auc", "loss"])
def test_best_epoch_is_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric: Metric
) -> None:
    trainer = _trainer(tmp_path, metric=metric)
    states = _scripted(trainer, monkeypatch, [0.2, 0.9, 0.9, 0.1])
    toy = _toy((4, 4))
    trainer.run(toy, toy, 0)
    assert [row["best"] for row in _lines(tmp_path)] == [True, True, False, False]
    assert all(value.equal(states[1][name]) for name, value in trainer.model.state_dict().items())


@pytest.mark.parametrize(("patience", "epochs"), [(1, 3), (2, 4), (0, 6)])
def test_training_stops_after_the_patience(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience: int, epochs: int
) -> None:
    trainer = _trainer(tmp_path, epochs=6, patience=patience)
    states = _scripted(trainer, monkeypatch, [0.5, 0.6, 0.4, 0.4, 0.4, 0.4])
    toy = _toy((4, 4))
    trainer.run(toy, toy, 0)
    assert len(states) == epochs


def test_head_phase_comes_first_and_spares_the_backbone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = _trainer(tmp_path, epochs=3, head_epochs=2, patience=1, head_lr=0.1)
    start = _state(trainer)
    states = _scripted(trainer, monkeypatch, [0.5, 0.4, 0.6])
    toy = _toy((6, 5))
    trainer.run(toy, toy, 0)
    body = [name for name in start if "classifier" not in name]
    assert all(states[1][name].equal(start[name]) for name in body)
    assert not states[1]["classifier.weight"].equal(start["classifier.weight"])
    assert not all(states[2][name].equal(start[name]) for name in body)
    assert [row["phase"] for row in _lines(tmp_path)] == ["head", "head", "all"]


def test_rate_of_each_phase_follows_its_own_schedule(tmp_path: Path) -> None:
    trainer = _trainer(
        tmp_path, epochs=4, head_epochs=2, lr=0.002, head_lr=0.01, batch_size=4, warmup_epochs=1
    )
    toy = _toy((4, 4))  # two steps an epoch
    trainer.run(toy, toy, 0)
    half, late = (1 + math.cos(math.pi / 4)) / 2, (1 + math.cos(math.pi * 3 / 4)) / 2
    expected = [0.01 * half, 0.01 * late, 0.002, 0.002 * 0.5]
    assert [row["lr"] for row in _lines(tmp_path)] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("kind", "labels", "expected"),
    [
        ("weights", [0, 0, 0, 1], [4 / 6, 2.0]),
        ("weights", [0, 1, 2, 2], [4 / 3, 4 / 3, 2 / 3]),
        ("none", [0, 0, 1], None),
        ("sampling", [0, 0, 1], None),  # would count the rare class twice
    ],
)
def test_classes_weigh_inversely_to_their_frequency(
    tmp_path: Path, kind: str, labels: list[int], expected: list[float] | None
) -> None:
    trainer = _trainer(tmp_path, imbalance=kind)
    found = trainer._class_weights(np.array(labels))
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert found.tolist() == pytest.approx(expected)
        assert found[labels].mean().item() == pytest.approx(1)


class _StopError(Exception):
    pass


@pytest.mark.parametrize("stop_after", [1, 2, 3])
@pytest.mark.parametrize("lost", ["nothing", "metrics", "half a line"])
def test_resumed_training_equals_uninterrupted_training(
    tmp_path: Path, stop_after: int, lost: str
) -> None:
    train, validation = _toy((9, 8)), _toy((4, 4), seed=1)
    settings: dict[str, Any] = {
        "head_epochs": 2,
        "augmentation": "light",
        "drop_rate": 0.3,
        "warmup_epochs": 1.0,
    }
    whole = _trainer(tmp_path / "whole", **settings)
    whole.run(train, validation, 0)

    def stop(report: EpochReport) -> None:
        if report.epoch == stop_after:
            raise _StopError

    with pytest.raises(_StopError):
        _trainer(tmp_path / "cut", **settings).run(train, validation, 0, on_epoch=stop)
    metrics = tmp_path / "cut" / "metrics.jsonl"
    if lost == "metrics":
        metrics.unlink()
    elif lost == "half a line":
        with metrics.open("a") as file:
            file.write('{"epoch": 9, "ph')
    resumed = _trainer(tmp_path / "cut", **settings)
    resumed.run(train, validation, 0)
    expected = _state(whole)
    assert all(value.equal(expected[name]) for name, value in resumed.model.state_dict().items())
    rows = _lines(tmp_path / "whole")
    assert _lines(tmp_path / "cut") == (rows[stop_after:] if lost == "metrics" else rows)


def test_other_seed_draws_another_order(tmp_path: Path) -> None:
    train = _toy((9, 8))
    states: list[torch.Tensor] = []
    for seed in (0, 0, 1):
        trainer = _trainer(tmp_path / str(len(states)), seed=seed, epochs=1)
        trainer.run(train, train, 0)
        states.append(trainer.model.state_dict()["conv_stem.weight"])
    assert states[0].equal(states[1])
    assert not states[0].equal(states[2])


class _Bad(nn.Module):
    """Gives ``value`` in place of the logits, in training or in evaluation only."""

    def __init__(self, model: nn.Module, value: float, *, in_training: bool) -> None:
        super().__init__()
        self.model, self.value, self.in_training = model, value, in_training

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (B, K) logits."""
        logits: torch.Tensor = self.model(images)
        return logits * self.value if self.training == self.in_training else logits


@pytest.mark.parametrize(
    ("in_training", "what"), [(True, "loss"), (False, "largest validation logit")]
)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_loss_that_is_no_number_stops_training(
    tmp_path: Path, value: float, in_training: bool, what: str
) -> None:
    trainer = _trainer(tmp_path)
    trainer.model = _Bad(trainer.model, value, in_training=in_training)
    toy = _toy((4, 4))
    with pytest.raises(TrainingError) as caught:
        trainer.run(toy, toy, 0)
    message = str(caught.value)
    assert message.startswith(f"Cannot go on: the {what} is ")
    assert message.endswith(" in epoch 1. Lower --lr or use --precision fp32.")
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_small_memory_names_a_smaller_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    trainer = _trainer(tmp_path)
    monkeypatch.setattr(trainer.model, "forward", fail)
    toy = _toy((4, 4))
    with pytest.raises(TrainingError) as caught:
        trainer.run(toy, toy, 0)
    assert str(caught.value) == (
        "Cannot train with batches of 8: the GPU's memory is too small. "
        "Use --batch-size 4, smaller crops or a smaller model."
    )


@pytest.mark.parametrize(
    "damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"none")]
)
def test_lost_best_weights_are_told(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    toy = _toy((4, 4))
    _trainer(tmp_path, epochs=1).run(toy, toy, 0)
    best = tmp_path / "best.safetensors"
    damage(best)
    with pytest.raises(TrainingError) as caught:
        _trainer(tmp_path, epochs=1).run(toy, toy, 0)
    assert str(caught.value) == (
        f"Cannot finish: the weights of the best epoch, {str(best)!r}, are missing or damaged. "
        "Delete the run's folder and train again."
    )


def test_validation_sees_no_augmentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = _trainer(tmp_path, augmentation="strong", epochs=1)
    validation = _toy((4, 4), seed=1)
    seen: list[np.ndarray] = []

    def spy(model: nn.Module, pixels: np.ndarray, *rest: Any) -> np.ndarray:
        seen.append(pixels)
        return compute_logits(model, pixels, *rest)

    monkeypatch.setattr(train_module, "compute_logits", spy)
    trainer.run(_toy((4, 4)), validation, 0)
    assert len(seen) == 1
    assert seen[0] is validation.pixels
