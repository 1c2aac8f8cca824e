"""What learns, and from what: the losses, then one optimiser step after the other.

A step computes a batch, makes the loss small, and moves the weights and their running average.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from roi_cls.base.torchvision import ensure_torchvision
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.models.device import Backend
from roi_cls.classifier.models.saved import Tensors
from roi_cls.classifier.models.score import in_batches
from roi_cls.classifier.training.batches import Batch, BatchSource
from roi_cls.classifier.training.checkpoint import (
    Checkpoint,
    Progress,
    optimiser_tensors,
    restore_model,
    restore_optimiser,
)
from roi_cls.classifier.training.distributed import World, share_batch_norms, synchronise
from roi_cls.classifier.training.optimiser import (
    freeze_for,
    make_optimiser,
    norms_for,
    set_rate,
    set_train_mode,
)

ensure_torchvision()

from timm.utils import ModelEmaV3  # type: ignore[attr-defined]  # not re-exported  # noqa: E402  (timm imports torchvision)

_EVIDENCE_WEIGHT = 3.0
"""Of a place with evidence against one without: most of a crop has none."""


class Loss(nn.Module):
    """The sum of the pictures' losses.

    A sum, because the step that calls it divides by the pictures of all its batches and processes:
    then neither accumulation nor a second GPU changes what is learned.
    """

    _weights: Tensor
    _prior: Tensor

    def __init__(self, config: TrainConfig, frequencies: NDArray[np.float64]) -> None:
        """Take the settings, and the (K,) numbers of pictures of each class in an epoch."""
        super().__init__()
        classes = len(frequencies)
        shares = np.maximum(frequencies, 1) / frequencies.sum()
        # Inverse to the classes' frequencies, of mean 1 over the pictures.
        weights = 1 / (classes * shares) if config.imbalance == "weights" else np.ones(classes)
        # Menon et al. 2021, "Long-tail learning via logit adjustment": the loss sees the logits
        # with the classes' shares added, so that the logits themselves come out as if balanced.
        adjusts = config.imbalance == "logit_adjustment"
        prior = np.log(shares) if adjusts else np.zeros(classes)
        self.register_buffer("_weights", torch.tensor(weights, dtype=torch.float32))
        self.register_buffer("_prior", torch.tensor(prior, dtype=torch.float32))
        self._smoothing = config.label_smoothing
        self._gamma = config.focal_gamma

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the summed loss of (B, K) logits for (B, K) shares of the classes."""
        log_shares = functional.log_softmax(logits.float() + self._prior, dim=1)
        targets = targets * (1 - self._smoothing) + self._smoothing / targets.shape[1]
        losses = -targets * self._weights * log_shares
        if self._gamma:
            # Lin et al. 2017, "Focal Loss for Dense Object Detection". The base is kept above 0,
            # where the power of a gamma below 1 has no finite slope.
            losses = losses * (1 - log_shares.exp()).clamp(min=1e-6) ** self._gamma
        return losses.sum()


def evidence_loss(places: Tensor, evidence: Tensor) -> Tensor:
    """Return the summed loss of the local logits; a picture without known evidence adds nothing.

    Args:
        places: (B, h, w) logits of the target's evidence at each place.
        evidence: (B, H, W) its share there, 0 to 1; NaN where it is unknown.
    """
    size = (places.shape[-2], places.shape[-1])
    wanted = functional.adaptive_avg_pool2d(evidence.unsqueeze(1), size).squeeze(1)
    is_known = wanted.isfinite().flatten(1).all(dim=1)
    weight = torch.full((), _EVIDENCE_WEIGHT, device=places.device)
    losses = functional.binary_cross_entropy_with_logits(
        places.float(), wanted.nan_to_num(), reduction="none", pos_weight=weight
    )
    return (losses.flatten(1).mean(dim=1) * is_known).sum()


def class_frequencies(
    labels: NDArray[np.int64], classes: int, target: int, self_blend: float
) -> NDArray[np.float64]:
    """Return how many pictures of each class an epoch shows: blended ones count as the target."""
    counts = np.bincount(labels, minlength=classes).astype(np.float64)
    blended = self_blend * (counts.sum() - counts[target])
    others = np.arange(classes) != target
    counts[others] *= 1 - self_blend
    counts[target] += blended
    return counts


class Learner:
    """A model with all that changes it: optimiser, loss scale, running average."""

    def __init__(self, config: TrainConfig, model: nn.Module, backend: Backend, world: World):
        device = backend.device
        model = share_batch_norms(model, device, world)
        self.model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack this form
        self._config, self._backend, self._world = config, backend, world
        # With few steps a plain average would stay near the start: its decay rises to the one set.
        self._average = (
            ModelEmaV3(self.model, decay=config.ema, use_warmup=True) if config.ema else None
        )
        self._scaler = torch.amp.GradScaler(device.type, enabled=backend.format == torch.float16)
        self.steps = 0
        self.begin_phase(is_head=config.first_phase > 0)

    @property
    def judged(self) -> nn.Module:
        """What is scored and kept: the average of the weights, or where there is none, these."""
        return self.model if self._average is None else cast(nn.Module, self._average.module)

    def begin_phase(self, *, is_head: bool) -> None:
        """Freeze what does not learn in the phase, and start an optimiser of the rest."""
        config = self._config
        freeze_for(self.model, 0 if is_head else config.unfreeze_blocks)
        lr = config.head_lr if is_head else config.lr
        self._optimiser = make_optimiser(self.model, config, lr)
        self._network = synchronise(self.model, self._backend.device, self._world)
        self._compiled: Callable[[torch.Tensor], Any] = self._network
        if config.compile:
            self._compiled = torch.compile(self._network, dynamic=False)

    def set_rate(self, lr: float) -> None:
        """Set the learning rate of the head; layers below follow."""
        set_rate(self._optimiser, lr)

    def train_mode(self) -> None:
        """Put what learns into training, what is frozen into evaluation."""
        set_train_mode(self.model)

    def step(self, source: BatchSource, rows: NDArray[np.int64], loss: Loss) -> torch.Tensor:
        """Learn the rows in one optimiser step; return the sum of this process's losses.

        The rows are computed a batch at a time, and of each batch a share by each process.
        """
        parts = list(in_batches(rows, batch_size(self._config)))
        self._optimiser.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self._backend.device)
        for i, part in enumerate(parts):
            share = self._world.share(part)
            # Processes wait for each other: one whose share is empty computes along for nothing.
            counts = float(len(share) > 0)
            with self._joining(is_last=i == len(parts) - 1):
                value = self._loss(source.train_batch(share if counts else part[:1]), loss) * counts
                mean = value * (self._world.size / len(rows))  # gradients are averaged over them
                with self._backend.rounding():
                    self._scaler.scale(mean).backward()  # type: ignore[no-untyped-call]  # torch's is
            total += value.detach()
        self._scaler.step(self._optimiser)
        self._scaler.update()
        self.steps += 1
        if self._average is not None:
            self._average.update(self.model, step=self.steps)
        return total

    def _loss(self, batch: Batch, loss: Loss) -> torch.Tensor:
        with norms_for(self.model, len(batch.inputs)), self._backend.autocast():
            # Compiling takes minutes: not also for the few crops that an epoch ends with.
            is_whole = len(batch.targets) == batch_size(self._config) // self._world.size
            output = (self._compiled if is_whole else self._network)(batch.inputs)
        logits, places = output if isinstance(output, tuple) else (output, None)
        value = loss(logits, batch.targets)
        if places is not None and batch.evidence is not None:
            value = value + evidence_loss(places, batch.evidence)
        return cast(torch.Tensor, value)

    @contextlib.contextmanager
    def _joining(self, *, is_last: bool) -> Iterator[None]:
        """Let gradients be averaged over the processes once, after the last of the batches."""
        network = self._network
        if is_last or not isinstance(network, nn.parallel.DistributedDataParallel):
            yield
        else:
            with network.no_sync():
                yield

    def checkpoint(self, progress: Progress, choices: dict[str, Any]) -> Checkpoint:
        """Return all that decides how learning goes on."""
        parts: dict[str, Tensors] = {
            "model": self.model.state_dict(),
            "optimiser": optimiser_tensors(self._optimiser),
        }
        if self._average is not None:
            parts["average"] = self._average.module.state_dict()
        return Checkpoint(progress, parts, self._scaler.state_dict(), choices)

    def restore(self, checkpoint: Checkpoint, *, is_head: bool) -> None:
        """Go back to a checkpoint, whose last epoch was in the first phase or not.

        Raises:
            TrainingError: It belongs to another model.
        """
        restore_model(self.model, checkpoint.parts.get("model", {}))
        if self._average is not None:
            restore_model(self._average.module, checkpoint.parts.get("average", {}))
        self.begin_phase(is_head=is_head)
        restore_optimiser(self._optimiser, checkpoint.parts.get("optimiser", {}))
        if checkpoint.scaler:
            self._scaler.load_state_dict(dict(checkpoint.scaler))
        self.steps = checkpoint.progress.steps


def batch_size(config: TrainConfig) -> int:
    """Return the settings' batch size, which must be a number by now: see ``settle``."""
    if config.batch_size == "auto":
        raise ValueError("batch_size must be a number where training begins, got 'auto'")
    return config.batch_size
