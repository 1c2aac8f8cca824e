"""An autoencoder, fitted to the pictures that are not of the target; its error becomes a score."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, replace

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import nn

from roi_cls.base.errors import TrainingError
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.models.autoencoder import AutoencoderNetwork
from roi_cls.classifier.models.device import Backend
from roi_cls.classifier.models.score import compute_outputs, in_batches, pick_pixels, shuffled_rows
from roi_cls.classifier.models.timm_model import normalisation
from roi_cls.classifier.runs.bundle import Normalisation
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.training.data import TrainingData
from roi_cls.classifier.training.distributed import current_world
from roi_cls.classifier.training.job import EpochReport, Observers, OnStep
from roi_cls.classifier.training.loop import Course, measure_validation
from roi_cls.classifier.training.optimiser import norms_for, rate_share, set_rate

SIDE_PX = 128
"""Pixels at most that are reconstructed: what is finer is noise to it."""
_LEAST_SLOPE = 1e-3  # of the logit by the log error, where the error tells nothing


def fit_autoencoder(
    config: TrainConfig, data: TrainingData, backend: Backend, run: RunFolder, observers: Observers
) -> nn.Module:
    """Return an autoencoder of the pictures that are not of the target, with its score scaled.

    Validation pictures choose the epoch, by the error on those not of the target, and the slope
    from error to logit. An interrupted run begins anew: it takes a minute.

    Raises:
        TrainingError: There are not two classes.
    """
    if len(data.labels.names) != 2:
        raise TrainingError(
            f"Cannot train an autoencoder for {len(data.labels.names)} classes: it tells what it "
            "has learned from what it has not. Use --method network."
        )
    size_px = data.train.pixels.shape[-2]
    network = AutoencoderNetwork(
        min(SIDE_PX, max(16, size_px // 16 * 16)),
        data.labels.target_index,
        len(data.train.by_view),
    ).to(backend.device)
    exact = Backend(backend.device, torch.float32)
    observers.on_start(exact, sum(p.numel() for p in network.parameters()))
    fitting = _Fitting(config, data, network, exact, observers.on_step)
    # One phase; whatever the settings choose a network's epoch by, an autoencoder's is the error's.
    course = Course(replace(config, head_epochs=0, metric="loss"), run, current_world())
    course.begin()
    while not course.is_finished:
        report = fitting.learn(course.progress.epoch + 1)
        report = replace(report, best=course.is_best(asdict(report)))
        course.keep(report, network, steps=0)
        observers.on_epoch(report)
    course.load_best(network)
    errors, is_target = fitting.validate()
    if not scale_score(network, errors, is_target):
        observers.on_note(
            "warning: on validation the pictures of the target are reconstructed no worse "
            "than the others; the anomaly score tells nothing here."
        )
    return network.eval()


class _Fitting:
    """The steps and the validation of one autoencoder."""

    def __init__(
        self,
        config: TrainConfig,
        data: TrainingData,
        network: AutoencoderNetwork,
        backend: Backend,
        on_step: OnStep,
    ) -> None:
        self._config, self._data, self._network = config, data, network
        self._exact, self._on_step = backend, on_step
        self._scale = Normalisation(*normalisation(network))
        self._optimiser = torch.optim.Adam(network.parameters(), config.lr)
        self._target = data.labels.target_index
        self._rows = np.flatnonzero(data.train.labels != self._target)
        self._size = 32 if config.batch_size == "auto" else config.batch_size

    def learn(self, epoch: int) -> EpochReport:
        """Train for an epoch, counted from 1, and validate; whether it is the best is left open."""
        started = time.monotonic()
        train_loss, lr = self._step_through(epoch)
        learned = time.monotonic()
        errors, is_target = self.validate()
        if not np.isfinite(np.log(errors)).all():
            raise TrainingError(
                f"Cannot go on: the reconstruction error is no number in epoch {epoch}. Lower --lr."
            )
        logits = np.zeros((len(errors), 2), np.float32)
        logits[:, self._target] = np.log(errors)
        scores = measure_validation(logits, self._data.validation.labels, self._target)
        return EpochReport(
            epoch=epoch,
            phase="all",
            lr=lr,
            train_loss=train_loss,
            **{**scores, "validation_loss": float(errors[~is_target].mean())},
            best=False,
            seconds=round(time.monotonic() - started, 3),
            images_per_second=round(len(self._rows) / (learned - started), 1),
        )

    def validate(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the (N,) errors of the validation pictures, and which are of the target."""
        network, validation = self._network.eval(), self._data.validation
        errors = compute_outputs(network.errors, validation.pixels, self._scale, self._exact)
        return errors, np.asarray(validation.labels == self._target, np.bool_)

    def _step_through(self, epoch: int) -> tuple[float, float]:
        """Learn every picture once; return the mean error and the last learning rate."""
        network = self._network.train()
        batches = list(self._batches(epoch))
        losses: list[torch.Tensor] = []  # read at the end: each look makes a GPU wait
        done, lr = 0, 0.0
        for i, rows in enumerate(batches):
            step, steps = (epoch - 1) * len(batches) + i, self._config.epochs * len(batches)
            lr = self._config.lr * rate_share(self._config.schedule, step, steps)
            set_rate(self._optimiser, lr)
            pixels = pick_pixels(self._data.train.pixels, rows)
            images = self._scale.apply(pixels, self._exact.device)
            with norms_for(network, len(images)), self._exact.autocast():
                loss = network.errors(images).mean()
            self._optimiser.zero_grad(set_to_none=True)
            with self._exact.rounding():
                loss.backward()  # type: ignore[no-untyped-call]  # torch's stubs
            self._optimiser.step()
            losses.append(loss.detach())
            done += len(rows)
            self._on_step(done, len(self._rows))
        found = zip(torch.stack(losses).tolist(), batches, strict=True)
        return sum(loss * len(rows) for loss, rows in found) / len(self._rows), lr

    def _batches(self, epoch: int) -> Iterator[NDArray[np.int64]]:
        generator = torch.Generator().manual_seed(self._config.seed * 100_003 + epoch)
        order = self._rows[shuffled_rows(len(self._rows), generator)]
        return in_batches(order, self._size)


def scale_score(
    network: AutoencoderNetwork, errors: NDArray[np.float32], is_target: NDArray[np.bool_]
) -> bool:
    """Set the slope and the shift from log error to logit by logistic regression on validation.

    More error is never less suspicious: where the data say otherwise, the slope is next to none,
    and False is returned.
    """
    logs = np.log(errors.astype(np.float64))
    centre, spread = logs.mean(), max(float(logs.std()), 1e-9)
    found = LogisticRegression().fit(((logs - centre) / spread)[:, None], is_target)
    slope = float(found.coef_[0, 0]) / spread
    rises = slope > _LEAST_SLOPE
    slope = slope if rises else _LEAST_SLOPE
    # With this slope, the shift at which the mean probability is the share of targets.
    share = float(np.clip(is_target.mean(), 1e-6, 1 - 1e-6))
    shift = float(found.intercept_[0]) - slope * centre if rises else math.log(share / (1 - share))
    network.slope.fill_(slope)
    network.shift.fill_(shift)
    return rises
