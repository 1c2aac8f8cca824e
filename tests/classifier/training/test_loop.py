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
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from roi_cls.base.errors import TrainingError
from roi_cls.classifier.config import Imbalance, Metric, TrainConfig
from roi_cls.classifier.models.device import Backend, choose_backend
from roi_cls.classifier.models.timm_model import create_model
from roi_cls.classifier.runs.bundle import Normalisation
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.training.batches import Batch, BatchSource
from roi_cls.classifier.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from roi_cls.classifier.training.distributed import World
from roi_cls.classifier.training.job import EpochReport
from roi_cls.classifier.training.learner import Learner, Loss
from roi_cls.classifier.training.loop import ENOUGH_TO_CHOOSE, Trainer, settle_metric

SCALE = Normalisation((0.5,) * 3, (0.5,) * 3)
CONFIG = TrainConfig(
    metric="average_precision",
    imbalance="weights",
    label_smoothing=0,
    ema=0,
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


class _Crops:
    """Noisy crops, class i bright in channel i; noise of its own in each training batch."""

    def __init__(self, counts: tuple[int, ...], seed: int = 0, noise: float = 0.0) -> None:
        random = np.random.default_rng(seed)
        self.labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
        pixels = random.integers(0, 80, (len(self.labels), 32, 32, 3))
        pixels[np.arange(len(self.labels)), :, :, self.labels] += 120
        crops = torch.from_numpy(pixels.astype(np.uint8)).permute(0, 3, 1, 2)
        self.inputs = SCALE.apply(crops, torch.device("cpu"))
        self.targets = torch.eye(len(counts))[torch.from_numpy(self.labels)]
        self.noise = noise

    def __len__(self) -> int:
        return len(self.labels)

    def train_batch(self, rows: NDArray[np.int64]) -> Batch:
        """Return the rows, with noise from torch's global generator."""
        inputs = self.inputs[torch.from_numpy(rows)]
        changed = inputs + self.noise * torch.randn_like(inputs) if self.noise else inputs
        return Batch(changed, self.targets[torch.from_numpy(rows)])

    def plain_inputs(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Return the rows as they are."""
        return self.inputs[torch.from_numpy(rows)]


def _toy(counts: tuple[int, ...], seed: int = 0, noise: float = 0.0) -> _Crops:
    return _Crops(counts, seed, noise)


def _trainer(folder: Path, classes: int = 2, **changes: Any) -> Trainer:
    config = replace(CONFIG, **changes)
    torch.manual_seed(0)
    model = create_model(config.model, "none", classes, 32)
    return _trainer_of(model, folder, config)


def _trainer_of(model: nn.Module, folder: Path, config: TrainConfig) -> Trainer:
    folder.mkdir(exist_ok=True)
    return Trainer(config, model, choose_backend("cpu", "fp32"), RunFolder(folder))


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


def test_each_epoch_tells_the_share_of_right_answers(tmp_path: Path) -> None:
    toy = _toy((4, 8))
    trainer = _trainer(tmp_path, epochs=2, metric="last")
    trainer.run(toy, toy, 0)
    with torch.inference_mode():
        answers = trainer.model.eval()(toy.inputs).argmax(dim=1).numpy()
    first, last = (row["micro_f1"] for row in _lines(tmp_path))
    assert 0 <= first <= 1
    assert last == pytest.approx(float((answers == toy.labels).mean()))


def _scripted(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch, values: list[float]
) -> list[dict[str, torch.Tensor]]:
    """Let epoch i have ``values[i]`` as each metric; return the weights after each epoch."""
    states: list[dict[str, torch.Tensor]] = []

    def validate(validation: BatchSource, target_index: int) -> dict[str, float]:
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


def test_last_epoch_is_kept_where_none_is_to_be_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = _trainer(tmp_path, metric="last")
    states = _scripted(trainer, monkeypatch, [0.2, 0.9, 0.3, 0.1])
    toy = _toy((4, 4))
    trainer.run(toy, toy, 0)
    assert all(value.equal(states[3][name]) for name, value in trainer.model.state_dict().items())
    assert not any(row["best"] for row in _lines(tmp_path))


def test_a_plateau_of_the_loss_lowers_the_rate_where_the_last_epoch_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = _trainer(tmp_path, epochs=6, metric="last", schedule="plateau", patience=1)
    _scripted(trainer, monkeypatch, [0.9, *[0.5] * 5])
    toy = _toy((4, 4))
    trainer.run(toy, toy, 0)
    rates = [row["lr"] for row in _lines(tmp_path)]
    assert len(rates) == 6  # no patience ends it
    assert rates[-1] == pytest.approx(0.5 * rates[0])


@pytest.mark.parametrize(
    ("metric", "targets", "others", "settled"),
    [
        ("auto", ENOUGH_TO_CHOOSE, 64, "average_precision"),
        ("auto", ENOUGH_TO_CHOOSE - 1, 64, "last"),
        ("auto", 64, ENOUGH_TO_CHOOSE - 1, "last"),
        ("loss", 1, 1, "loss"),
    ],
)
def test_few_pictures_of_a_side_choose_no_epoch(
    metric: Metric, targets: int, others: int, settled: Metric
) -> None:
    assert settle_metric(metric, np.arange(targets + others) < targets) == settled


@pytest.mark.parametrize(("patience", "epochs"), [(1, 3), (2, 4), (0, 6)])
def test_training_stops_after_the_patience(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience: int, epochs: int
) -> None:
    trainer = _trainer(tmp_path, epochs=6, patience=patience)
    states = _scripted(trainer, monkeypatch, [0.5, 0.6, 0.4, 0.4, 0.4, 0.4])
    toy = _toy((4, 4))
    trainer.run(toy, toy, 0)
    assert len(states) == epochs


def test_patience_begins_anew_with_the_second_phase(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = _trainer(tmp_path, epochs=8, head_epochs=3, patience=2)
    states = _scripted(trainer, monkeypatch, [0.9, *[0.5] * 7])
    toy = _toy((4, 4))
    trainer.run(toy, toy, 0)
    assert [row["phase"] for row in _lines(tmp_path)] == [*["head"] * 3, "all", "all"]
    assert len(states) == 5


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


class _StopError(Exception):
    pass


@pytest.mark.parametrize("stop_after", [1, 2, 3])
@pytest.mark.parametrize(
    ("lost", "more"),
    [
        ("nothing", {}),
        ("metrics", {"ema": 0.9}),
        ("half a line", {"optimiser": "sgd", "schedule": "plateau", "layer_decay": 0.8}),
    ],
)
def test_resumed_training_equals_uninterrupted_training(
    tmp_path: Path, stop_after: int, lost: str, more: dict[str, Any]
) -> None:
    train, validation = _toy((9, 8), noise=0.5), _toy((4, 4), seed=1)
    settings: dict[str, Any] = {"head_epochs": 2, "drop_rate": 0.3, "warmup_epochs": 1.0}
    settings |= more
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
    bad = _Bad(_trainer(tmp_path).model, value, in_training=in_training)
    trainer = _trainer_of(bad, tmp_path, CONFIG)
    toy = _toy((4, 4))
    with pytest.raises(TrainingError) as caught:
        trainer.run(toy, toy, 0)
    message = str(caught.value)
    assert message.startswith(f"Cannot go on: the {what} is ")
    assert message.endswith(" in epoch 1. Lower --lr or use --precision fp32.")
    assert not (tmp_path / "checkpoint.safetensors").exists()


@pytest.mark.parametrize(
    ("room", "remedy"),
    [
        (
            5,
            "4 would fit: use --batch-size 4 --accumulate 2, which learns alike, or smaller crops "
            "or a smaller model.",
        ),
        (0, "Not even one crop fits: use smaller crops (--size) or a smaller --model."),
    ],
)
def test_small_memory_names_the_batch_that_would_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, remedy: str
) -> None:
    trainer = _trainer(tmp_path)
    forward = trainer.model.forward

    def fail(images: torch.Tensor) -> torch.Tensor:
        if len(images) > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        logits: torch.Tensor = forward(images)
        return logits

    monkeypatch.setattr(trainer.model, "forward", fail)
    toy = _toy((4, 4))
    with pytest.raises(TrainingError) as caught:
        trainer.run(toy, toy, 0)
    assert str(caught.value) == (
        f"Cannot train with batches of 8: the CPU's memory is too small. {remedy}"
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


def test_validation_sees_plain_inputs_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = _trainer(tmp_path, epochs=1)
    validation = _toy((4, 4), seed=1)
    monkeypatch.setattr(validation, "train_batch", lambda rows: pytest.fail("changed"))
    seen: list[int] = []
    plain = validation.plain_inputs

    def spy(rows: NDArray[np.int64]) -> torch.Tensor:
        seen.extend(rows)
        return plain(rows)

    monkeypatch.setattr(validation, "plain_inputs", spy)
    trainer.run(_toy((4, 4)), validation, 0)
    assert seen == list(range(8))


@pytest.mark.parametrize("imbalance", ["weights", "logit_adjustment", "none"])
def test_accumulated_batches_learn_what_one_large_batch_learns(
    tmp_path: Path, imbalance: Imbalance
) -> None:
    train = _toy((19, 7))  # the last step has fewer rows, its last batch fewer still
    states = []
    for name, size, accumulate in (("large", 12, 1), ("small", 4, 3), ("other", 6, 2)):
        # A network without batch norms: those see each batch by itself.
        trainer = _trainer(
            tmp_path / name,
            model="test_vit",
            optimiser="sgd",
            imbalance=imbalance,
            batch_size=size,
            accumulate=accumulate,
            epochs=2,
        )
        trainer.run(train, train, 0)
        assert trainer.steps == 2 * 3
        states.append(_state(trainer))
    for state in states[1:]:
        for name, value in states[0].items():
            torch.testing.assert_close(state[name], value, atol=1e-5, rtol=0)


def test_average_of_the_weights_is_judged_and_kept(tmp_path: Path) -> None:
    train = _toy((9, 8))
    trainer = _trainer(tmp_path, ema=0.9, epochs=1, batch_size=4)
    trainer.run(train, train, 0)
    learner = trainer._learner
    assert trainer.model is not learner.model
    kept = load_file(tmp_path / "best.safetensors")
    assert all(kept[name].equal(value) for name, value in _state(trainer).items())
    assert not kept["conv_stem.weight"].equal(learner.model.state_dict()["conv_stem.weight"])
    (row,) = _lines(tmp_path)
    model = trainer.model.eval()
    with torch.inference_mode():
        loss = functional.cross_entropy(model(train.inputs), torch.from_numpy(train.labels))
    assert row["validation_loss"] == pytest.approx(float(loss), abs=1e-6)


def test_rate_is_halved_on_a_plateau(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = _trainer(tmp_path, epochs=9, patience=0, schedule="plateau", lr=0.01)
    _scripted(trainer, monkeypatch, [0.5, 0.6, 0.4, 0.4, 0.4, 0.7, 0.1, 0.1, 0.1])
    toy = _toy((4, 4))
    trainer.run(toy, toy, 0)
    rates = [row["lr"] for row in _lines(tmp_path)]
    assert rates == pytest.approx([0.01] * 5 + [0.005] * 4)


def test_local_evidence_is_learned(tmp_path: Path) -> None:
    """A model that answers with a map in training is taught where the evidence is, too."""
    torch.manual_seed(0)
    model = _Map()
    config = replace(CONFIG, epochs=8, optimiser="adam", lr=0.1, imbalance="none")
    source = _Marked()
    trainer = _trainer_of(model, tmp_path, config)
    trainer.run(source, source, 0)
    with torch.inference_mode():
        _, places = trainer.model.train()(source.inputs)
    marked = source.evidence[0] > 0
    assert float(places[:4][:, marked].min()) > float(places[:4][:, ~marked].max())


class _Map(nn.Module):
    """Logits from a map of local ones, which training also sees."""

    def __init__(self) -> None:
        super().__init__()
        self.local = nn.Conv2d(3, 1, 1)

    def forward(self, images: torch.Tensor) -> Any:
        """Return (B, 2) logits; in training also the (B, h, w) map."""
        places = self.local(images)[:, 0]
        strongest = places.flatten(1).amax(1)
        logits = torch.stack([strongest, torch.zeros_like(strongest)], dim=1)
        return (logits, places) if self.training else logits


class _Marked(_Crops):
    """Crops of class 0 with a red corner, whose place is known of some; others plain."""

    def __init__(self) -> None:
        super().__init__((4, 4))
        self.inputs = torch.zeros(8, 3, 8, 8)
        self.inputs[:4, 0, :3, :3] = 1
        self.evidence = torch.zeros(8, 8, 8)
        self.evidence[:4, :3, :3] = 1
        self.evidence[3] = float("nan")

    def train_batch(self, rows: NDArray[np.int64]) -> Batch:
        """Return the rows with their evidence."""
        batch = super().train_batch(rows)
        return replace(batch, evidence=self.evidence[torch.from_numpy(rows)])


def test_settings_left_to_the_machine_must_be_settled_first(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path, batch_size="auto")
    toy = _toy((4, 4))
    with pytest.raises(ValueError, match="batch_size must be a number where training begins"):
        trainer.run(toy, toy, 0)


def test_loss_scale_of_fp16_is_resumed(tmp_path: Path) -> None:
    half = Backend(torch.device("cpu"), torch.float16)
    config = replace(CONFIG, epochs=2)
    files = RunFolder(tmp_path)
    toy = _toy((4, 4))
    learner = Learner(config, create_model(config.model, "none", 2, 32), half, World())
    learner._scaler = torch.amp.GradScaler("cpu", init_scale=2.0**7, growth_interval=1)
    loss = Loss(config, np.array([4.0, 4.0]))
    learner.step(toy, np.arange(8), loss)
    save_checkpoint(files.checkpoint, learner.checkpoint(Progress(1, 0, 0.5), {}))
    other = Learner(config, create_model(config.model, "none", 2, 32), half, World())
    other.restore(load_checkpoint(files.checkpoint), is_head=False)
    assert other._scaler.get_scale() == 2.0**8


def test_whole_batches_alone_are_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def compiled(network: nn.Module, dynamic: bool) -> Callable[[torch.Tensor], Any]:
        def compute(images: torch.Tensor) -> Any:
            seen.append(len(images))
            return network(images)

        return compute

    monkeypatch.setattr(torch, "compile", compiled)
    toy = _toy((10, 9))
    _trainer(tmp_path, compile=True, epochs=1).run(toy, toy, 0)
    assert seen == [8, 8]
