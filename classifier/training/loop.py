"""The training loop: two phases, the best epoch by validation, resumable after each epoch.

``Course`` knows the epochs, whatever learns in them; ``Trainer`` lets a network learn.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score
from torch import nn

from roi_cls.base.atomic import write_atomically
from roi_cls.base.errors import TrainingError
from roi_cls.classifier.config import BATCH_SIZE, Metric, TrainConfig
from roi_cls.classifier.metrics.decision import to_probabilities
from roi_cls.classifier.models.device import Backend
from roi_cls.classifier.models.saved import save_weights
from roi_cls.classifier.models.score import balanced_rows, in_batches, shuffled_rows
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.training.batches import BatchSource
from roi_cls.classifier.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from roi_cls.classifier.training.distributed import World, current_world
from roi_cls.classifier.training.job import EpochReport, OnStep
from roi_cls.classifier.training.learner import Learner, Loss, batch_size, class_frequencies
from roi_cls.classifier.training.optimiser import is_plateau, phase_of, rate_share
from roi_cls.classifier.training.settle import telling_what_fits

ENOUGH_TO_CHOOSE = 30
"""Validation pictures of the target, and as many others, from which an epoch is chosen by them. By
twelve, the fourth of twelve epochs was the best; on other pictures it was far from that."""
_CHECK_STEPS = 50
"""Between two looks at the loss within an epoch: each makes a GPU wait."""


def settle_metric(metric: Metric, is_target: NDArray[np.bool_]) -> Metric:
    """Return what chooses the epoch on these validation pictures; never ``auto``."""
    if metric != "auto":
        return metric
    fewest = min(int(is_target.sum()), int((~is_target).sum()))
    return "average_precision" if fewest >= ENOUGH_TO_CHOOSE else "last"


class Course:
    """The epochs of a run: how many are done, which was the best, whether there is another.

    Each has a line in ``metrics.jsonl``; the weights of the best one are kept in a file. Of several
    processes the first one writes.
    """

    def __init__(self, config: TrainConfig, run: RunFolder, world: World) -> None:
        if config.metric == "auto":
            raise ValueError("metric must be settled where training begins, got 'auto'")
        self._config, self._run, self._world = config, run, world
        self._metric = config.metric
        self.progress = Progress()

    @property
    def is_finished(self) -> bool:
        """Whether the epochs or the patience are used up."""
        progress, config = self.progress, self._config
        # Patience begins anew with the second phase: a good epoch of the head must not end it.
        stale = progress.epoch - max(progress.best_epoch + 1, config.first_phase)
        in_second_phase = progress.epoch > config.first_phase
        may_stop = bool(config.patience) and self._metric != "last"
        out_of_patience = may_stop and in_second_phase and stale >= config.patience
        return progress.epoch >= config.epochs or out_of_patience

    def begin(self) -> None:
        """Begin with the first epoch, without a line."""
        if self._world.is_first:
            write_atomically(self._run.metrics, b"")

    def go_on(self, progress: Progress) -> None:
        """Go on after the epochs of a checkpoint, with their lines alone."""
        self.progress = progress
        if self._world.is_first:
            # A line may have been written without its checkpoint, whole or in part.
            kept = self._run.metrics.read_bytes() if self._run.metrics.exists() else b""
            lines = kept.splitlines(keepends=True)
            write_atomically(self._run.metrics, b"".join(lines[: progress.epoch]))

    def is_best(self, scores: Mapping[str, float]) -> bool:
        """Whether an epoch with these measures is the best so far; by ``last`` none is."""
        return self._metric != "last" and self._is_better(scores)

    def _is_better(self, scores: Mapping[str, Any]) -> bool:
        # Easy data reach the highest average precision early; the loss tells who is surer.
        best = (self.progress.best_value, -self.progress.best_loss)
        return (self._value(scores), -float(scores["validation_loss"])) > best

    def keep(self, report: EpochReport, model: nn.Module, steps: int) -> None:
        """Count the epoch, write its line and, if they may be the ones to keep, the weights."""
        progress = replace(self.progress, epoch=report.epoch, steps=steps)
        if self._is_better(asdict(report)):
            value = self._value(asdict(report))
            progress = replace(
                progress,
                best_epoch=report.epoch - 1,
                best_value=value,
                best_loss=report.validation_loss,
            )
        start, _ = phase_of(self._config, report.epoch - 1)
        if is_plateau(report.epoch - 1, progress.best_epoch, start):
            progress = replace(progress, reductions=progress.reductions + 1)
        self.progress = progress
        if self._world.is_first:
            with self._run.metrics.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(asdict(report)) + "\n")
            if report.best or self._metric == "last":
                save_weights(self._run.best, model)

    def load_best(self, model: nn.Module) -> None:
        """Give the model the weights of the best epoch.

        Raises:
            TrainingError: They are missing or damaged.
        """
        self._world.wait()  # until the first process has written them
        try:
            model.load_state_dict(load_file(str(self._run.best)))
        except (OSError, RuntimeError, SafetensorError) as error:
            raise TrainingError(
                f"Cannot finish: the weights of the best epoch, {str(self._run.best)!r}, are "
                "missing or damaged. Delete the run's folder and train again."
            ) from error

    def _value(self, scores: Mapping[str, Any]) -> float:
        """Return what chooses the best epoch; higher is better."""
        if self._metric in ("loss", "last"):
            return -float(scores["validation_loss"])
        return float(scores[self._metric])


def _score_source(
    model: nn.Module, source: BatchSource, backend: Backend, world: World, size: int
) -> NDArray[np.float32]:
    """Return the (N, K) logits of the source's pictures, unchanged, each process doing a share.

    ``size`` pictures are scored at once.
    """
    model.eval()
    share = world.share(np.arange(len(source)))
    logits: list[torch.Tensor] = []
    with torch.inference_mode(), backend.autocast():
        for start in range(0, len(share), size):
            inputs = source.plain_inputs(share[start : start + size])
            logits.append(model(inputs).float())
    own = torch.cat(logits).cpu().numpy() if logits else np.empty((0, 0), np.float32)
    return world.join_shares(own, len(source))


def measure_validation(
    logits: NDArray[np.float32], labels: NDArray[np.int64], target_index: int
) -> dict[str, float]:
    """Return what an epoch is judged by: loss, average precision and ROC-AUC of the target."""
    probabilities = to_probabilities(logits)
    is_target, scores = labels == target_index, probabilities[:, target_index]
    classes = range(probabilities.shape[1])
    return {
        "validation_loss": float(log_loss(labels, probabilities, labels=classes)),
        "average_precision": float(average_precision_score(is_target, scores)),
        "roc_auc": float(roc_auc_score(is_target, scores)),
    }


class Trainer:
    """Trains one model. Use ``run``; the best weights end up in ``model``."""

    def __init__(
        self, config: TrainConfig, model: nn.Module, backend: Backend, run: RunFolder
    ) -> None:
        """Take a model and settings in which nothing is left open.

        The batch size is a number, see ``settle``, and the metric not ``auto``, see
        ``settle_metric``.
        """
        self._config = config
        self._backend = backend
        self._run = run
        self._world = current_world()
        self._learner = Learner(config, model, backend, self._world)
        self._course = Course(config, run, self._world)

    @property
    def model(self) -> nn.Module:
        """The model; after ``run``, with the weights of the best epoch."""
        return self._learner.judged

    @property
    def steps(self) -> int:
        """Optimiser steps done."""
        return self._learner.steps

    def run(
        self,
        train: BatchSource,
        validation: BatchSource,
        target_index: int,
        on_step: OnStep = lambda done, total: None,
        on_epoch: Callable[[EpochReport], None] = lambda report: None,
    ) -> None:
        """Train until the epochs or the patience are used up, from the checkpoint if there is one.

        Raises:
            TrainingError: The loss stopped being a number, the memory is too small, or the
                checkpoint is damaged.
        """
        self._resume()
        while not self._course.is_finished:
            report = self._epoch(train, validation, target_index, on_step)
            self._course.keep(report, self.model, self.steps)
            self._keep_state()
            on_epoch(report)
        self._course.load_best(self.model)

    def _epoch(
        self, train: BatchSource, validation: BatchSource, target_index: int, on_step: OnStep
    ) -> EpochReport:
        epoch = self._course.progress.epoch
        if epoch and epoch == self._config.first_phase:
            self._learner.begin_phase(is_head=False)
            self._course.progress = replace(self._course.progress, reductions=0)
        # Seeded by the epoch, so that a resumed run draws what an uninterrupted one draws; each
        # process draws its own.
        torch.manual_seed(self._seed + self._world.rank * 1_000_003)
        started = time.monotonic()
        train_loss, lr = self._learn(train, target_index, on_step)
        learned = time.monotonic()
        scores = self._validate(validation, target_index)
        return EpochReport(
            epoch=epoch + 1,
            phase="head" if epoch < self._config.first_phase else "all",
            lr=lr,
            train_loss=train_loss,
            **scores,
            best=self._course.is_best(scores),
            seconds=round(time.monotonic() - started, 3),
            images_per_second=round(len(train) / (learned - started), 1),
        )

    @property
    def _seed(self) -> int:
        return self._config.seed * 100_003 + self._course.progress.epoch

    def _resume(self) -> None:
        if not self._run.checkpoint.exists():
            self._course.begin()
            return
        checkpoint = load_checkpoint(self._run.checkpoint)
        is_head = checkpoint.progress.epoch - 1 < self._config.first_phase
        self._learner.restore(checkpoint, is_head=is_head)
        self._course.go_on(checkpoint.progress)

    def _learn(self, train: BatchSource, target_index: int, on_step: OnStep) -> tuple[float, float]:
        """Train for one epoch; return the mean loss and the last learning rate."""
        config = self._config
        loss = self._loss(train.labels, target_index)
        rows = self._draw_rows(train.labels)
        groups = list(in_batches(rows, batch_size(config) * config.accumulate))
        self._learner.train_mode()
        size = batch_size(config), config.accumulate
        total, done, lr = torch.zeros((), device=self._backend.device), 0, 0.0
        for i, group in enumerate(groups):
            lr = self._rate(i, len(groups))
            self._learner.set_rate(lr)
            with telling_what_fits(self._learner.model, train, *size, self._backend):
                total += self._learner.step(train, group, loss)
            done += len(group)
            if i % _CHECK_STEPS == _CHECK_STEPS - 1:
                self._check_finite(float(total), "loss")
            on_step(done, len(train))
        mean = float(self._world.sum(total)) / len(train)
        self._check_finite(mean, "loss")
        return mean, lr

    def _rate(self, step: int, steps: int) -> float:
        """Return the learning rate at a step of this epoch."""
        config, epoch = self._config, self._course.progress.epoch
        start, end = phase_of(config, epoch)
        is_head = epoch < config.first_phase
        share = rate_share(
            config.schedule,
            (epoch - start) * steps + step,
            (end - start) * steps,
            warmup=0 if is_head else round(config.warmup * steps),
            reductions=self._course.progress.reductions,
        )
        return share * (config.head_lr if is_head else config.lr)

    def _loss(self, labels: NDArray[np.int64], target_index: int) -> Loss:
        classes = int(labels.max()) + 1  # none is absent: training/data.py refuses that
        config = self._config
        counts = class_frequencies(labels, classes, target_index, config.self_blend)
        return Loss(config, counts).to(self._backend.device)

    def _check_finite(self, value: float, what: str) -> None:
        if not math.isfinite(value):
            raise TrainingError(
                f"Cannot go on: the {what} is {value} in epoch {self._course.progress.epoch + 1}. "
                "Lower --lr or use --precision fp32."
            )

    def _validate(self, validation: BatchSource, target_index: int) -> dict[str, float]:
        # Small batches leave a GPU idle; what a step has room for, scoring has.
        is_cpu = self._backend.device.type == "cpu"
        size = BATCH_SIZE if is_cpu else max(BATCH_SIZE, batch_size(self._config))
        logits = _score_source(self.model, validation, self._backend, self._world, size)
        self._check_finite(float(np.abs(logits).max()), "largest validation logit")
        micro_f1 = float((logits.argmax(axis=1) == validation.labels).mean())
        return measure_validation(logits, validation.labels, target_index) | {"micro_f1": micro_f1}

    def _keep_state(self) -> None:
        """Write, last of an epoch, the state to go on from."""
        if self._world.is_first:
            config, progress = self._config, self._course.progress
            choices = {"batch_size": config.batch_size, "precision": config.precision}
            save_checkpoint(self._run.checkpoint, self._learner.checkpoint(progress, choices))

    def _draw_rows(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        generator = torch.Generator().manual_seed(self._seed)
        if self._config.imbalance == "sampling":
            return balanced_rows(labels, generator)
        return shuffled_rows(len(labels), generator)
