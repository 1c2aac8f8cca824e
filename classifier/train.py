"""The training loop: two phases, the best epoch by validation, resumable after each epoch."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score
from torch import nn

from roi_cls.atomic import write_atomically
from roi_cls.classifier.batch import (
    Augmenter,
    Normalisation,
    balanced_rows,
    in_batches,
    pick_pixels,
    shuffled_rows,
)
from roi_cls.classifier.checkpoint import (
    Progress,
    load_checkpoint,
    restore_model,
    restore_optimiser,
    save_checkpoint,
    save_weights,
)
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.device import Backend
from roi_cls.classifier.optimiser import (
    cosine_rate,
    freeze_for,
    make_optimiser,
    phase_of,
    set_train_mode,
)
from roi_cls.classifier.score import compute_logits, to_probabilities
from roi_cls.data.crops import CropArray
from roi_cls.errors import TrainingError


@dataclass(frozen=True, slots=True)
class EpochReport:
    """One line of ``metrics.jsonl``."""

    epoch: int
    """Counted from 1."""
    phase: str
    """``head``: only the head learns; ``all``: the backbone, or its last blocks, too."""
    lr: float
    """At the epoch's last step."""
    train_loss: float
    """Mean over the steps, with class weights and augmentation."""
    validation_loss: float
    """Mean cross-entropy, nats, plain."""
    average_precision: float
    """Of the target, on validation."""
    roc_auc: float
    """Of the target against the rest, on validation."""
    best: bool
    """Whether it was the best epoch so far."""
    seconds: float
    images_per_second: float
    """Training crops per second of the training part of the epoch."""


@dataclass(frozen=True, slots=True)
class TrainFiles:
    """Where a run keeps what training writes."""

    metrics: Path
    checkpoint: Path
    best: Path


Observer = Callable[[int, int], None]
"""Called with (crops done, crops in the epoch) after each step."""


class Trainer:
    """Trains one model on resident crops. Use ``run``; the best weights end up in the model."""

    def __init__(
        self,
        config: TrainConfig,
        model: nn.Module,
        normalisation: Normalisation,
        backend: Backend,
        files: TrainFiles,
    ) -> None:
        self._config = config
        self.model = model.to(backend.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack this form
        self._normalisation = normalisation
        self._backend = backend
        self._files = files
        self._augmenter = Augmenter(config.augmentation)
        self._scaler = torch.amp.GradScaler(
            backend.device.type, enabled=backend.format == torch.float16
        )
        self._optimiser = self._phase_optimiser(0)
        self._progress = Progress(0, -1, -math.inf)

    def run(
        self,
        train: CropArray,
        validation: CropArray,
        target_index: int,
        on_step: Observer = lambda done, total: None,
        on_epoch: Callable[[EpochReport], None] = lambda report: None,
    ) -> None:
        """Train until the epochs or the patience are used up, from the checkpoint if there is one.

        Raises:
            TrainingError: The loss stopped being a number, the memory is too small, or the
                checkpoint is damaged.
        """
        self._resume()
        while not self._is_finished():
            epoch = self._progress.epoch
            if epoch == phase_of(self._config, epoch)[0]:
                self._optimiser = self._phase_optimiser(epoch)
            # Seeded by the epoch, so that a resumed run draws what an uninterrupted one draws.
            torch.manual_seed(self._config.seed * 100_003 + epoch)
            started = time.monotonic()
            train_loss, lr = self._learn(train, on_step)
            learned = time.monotonic()
            scores = self._validate(validation, target_index)
            report = EpochReport(
                epoch=epoch + 1,
                phase="head" if epoch < self._config.first_phase else "all",
                lr=lr,
                train_loss=train_loss,
                **scores,
                best=self._is_best(scores),
                seconds=round(time.monotonic() - started, 3),
                images_per_second=round(len(train) / (learned - started), 1),
            )
            self._keep(report)
            on_epoch(report)
        self._load_best()

    def _is_finished(self) -> bool:
        progress, config = self._progress, self._config
        stale = progress.epoch - 1 - progress.best_epoch
        in_second_phase = progress.epoch > config.first_phase
        out_of_patience = bool(config.patience) and in_second_phase and stale >= config.patience
        return progress.epoch >= config.epochs or out_of_patience

    def _resume(self) -> None:
        if not self._files.checkpoint.exists():
            write_atomically(self._files.metrics, b"")
            return
        self._progress, tensors = load_checkpoint(self._files.checkpoint)
        restore_model(self.model, tensors)
        self._optimiser = self._phase_optimiser(self._progress.epoch - 1)
        restore_optimiser(self._optimiser, tensors)
        # A line may have been written without its checkpoint, whole or in part.
        kept = self._files.metrics.read_bytes() if self._files.metrics.exists() else b""
        lines = kept.splitlines(keepends=True)
        write_atomically(self._files.metrics, b"".join(lines[: self._progress.epoch]))

    def _phase_optimiser(self, epoch: int) -> torch.optim.AdamW:
        """Freeze what does not learn in the phase of ``epoch``; return an optimiser of the rest."""
        is_head = epoch < self._config.first_phase
        freeze_for(self.model, 0 if is_head else self._config.unfreeze_blocks)
        lr = self._config.head_lr if is_head else self._config.lr
        return make_optimiser(self.model, lr, self._config.weight_decay)

    def _learn(self, train: CropArray, on_step: Observer) -> tuple[float, float]:
        """Train for one epoch; return the mean loss and the last learning rate."""
        config = self._config
        epoch = self._progress.epoch
        weights = self._class_weights(train.labels)
        criterion = nn.CrossEntropyLoss(weights, label_smoothing=config.label_smoothing)
        batches = list(in_batches(self._draw_rows(train.labels, epoch), config.batch_size))
        start, end = phase_of(config, epoch)
        warmup = round(config.warmup * len(batches)) if epoch >= config.first_phase else 0
        peak = config.head_lr if epoch < config.first_phase else config.lr
        set_train_mode(self.model)
        total, done, lr = 0.0, 0, 0.0
        for i, rows in enumerate(batches):
            step = (epoch - start) * len(batches) + i
            lr = peak * cosine_rate(step, (end - start) * len(batches), warmup)
            for group in self._optimiser.param_groups:
                group["lr"] = lr
            total += self._step(train, rows, criterion) * len(rows)
            done += len(rows)
            on_step(done, len(train))
        return total / len(train), lr

    def _step(
        self, train: CropArray, rows: NDArray[np.int64], criterion: nn.CrossEntropyLoss
    ) -> float:
        device = self._backend.device
        pixels = self._augmenter.apply(pick_pixels(train.pixels, rows))
        labels = torch.from_numpy(train.labels[rows]).to(device)
        try:
            with self._backend.autocast():
                logits = self.model(self._normalisation.apply(pixels, device))
            loss = criterion(logits.float(), labels)
            self._optimiser.zero_grad(set_to_none=True)
            self._scaler.scale(loss).backward()
            self._scaler.step(self._optimiser)
            self._scaler.update()
        except torch.OutOfMemoryError as error:
            raise TrainingError(
                f"Cannot train with batches of {len(rows)}: the GPU's memory is too small. "
                f"Use --batch-size {max(1, len(rows) // 2)}, smaller crops or a smaller model."
            ) from error
        value = float(loss.detach())
        self._check_finite(value, "loss")
        return value

    def _check_finite(self, value: float, what: str) -> None:
        if not math.isfinite(value):
            raise TrainingError(
                f"Cannot go on: the {what} is {value} in epoch {self._progress.epoch + 1}. "
                "Lower --lr or use --precision fp32."
            )

    def _validate(self, validation: CropArray, target_index: int) -> dict[str, float]:
        logits = compute_logits(self.model, validation.pixels, self._normalisation, self._backend)
        self._check_finite(float(np.abs(logits).max()), "largest validation logit")
        probabilities = to_probabilities(logits, 1.0)
        is_target = validation.labels == target_index
        scores = probabilities[:, target_index]
        classes = range(probabilities.shape[1])
        return {
            "validation_loss": float(log_loss(validation.labels, probabilities, labels=classes)),
            "average_precision": float(average_precision_score(is_target, scores)),
            "roc_auc": float(roc_auc_score(is_target, scores)),
        }

    def _value(self, scores: dict[str, float]) -> float:
        """Return what chooses the best epoch; higher is better."""
        if self._config.metric == "loss":
            return -scores["validation_loss"]
        return scores[self._config.metric]

    def _is_best(self, scores: dict[str, float]) -> bool:
        # Easy data reach the highest average precision early; the loss tells who is surer.
        best = (self._progress.best_value, -self._progress.best_loss)
        return (self._value(scores), -scores["validation_loss"]) > best

    def _keep(self, report: EpochReport) -> None:
        """Write the epoch's line, the best weights and, last, the state to go on from."""
        with self._files.metrics.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(asdict(report)) + "\n")
        if report.best:
            save_weights(self._files.best, self.model)
            value, loss = self._value(asdict(report)), report.validation_loss
            self._progress = Progress(report.epoch, report.epoch - 1, value, loss)
        else:
            self._progress = replace(self._progress, epoch=report.epoch)
        save_checkpoint(self._files.checkpoint, self.model, self._optimiser, self._progress)

    def _draw_rows(self, labels: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        generator = torch.Generator().manual_seed(self._config.seed * 100_003 + epoch)
        if self._config.imbalance == "sampling":
            return balanced_rows(labels, generator)
        return shuffled_rows(len(labels), generator)

    def _class_weights(self, labels: NDArray[np.int64]) -> torch.Tensor | None:
        """Return weights inverse to the classes' frequencies, of mean 1 over the pictures."""
        if self._config.imbalance != "weights":
            return None
        counts = np.bincount(labels)  # train_run has made sure that no class is absent
        weights = len(labels) / (len(counts) * np.maximum(counts, 1))
        return torch.tensor(weights, dtype=torch.float32, device=self._backend.device)

    def _load_best(self) -> None:
        try:
            self.model.load_state_dict(load_file(str(self._files.best)))
        except (OSError, RuntimeError, SafetensorError) as error:
            raise TrainingError(
                f"Cannot finish: the weights of the best epoch, {str(self._files.best)!r}, are "
                "missing or damaged. Delete the run's folder and train again."
            ) from error
