"""Who is told of what while a run goes on, and what an epoch's report says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from roi_cls.classifier.models.device import Backend
from roi_cls.classifier.training.data import OnCrop, TrainingData


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
    """Mean over the pictures, with class weights and augmentation."""
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
    micro_f1: float | None = None
    """Of the most probable classes, on validation: with one label per picture, the accuracy."""


Observer = Callable[[int, int], None]
"""Called with (crops done, crops in the epoch) after each step."""


@dataclass(frozen=True, slots=True)
class Observers:
    """Who is told of what, while a run goes on."""

    on_crop: OnCrop = lambda result, total: None
    on_data: Callable[[TrainingData], None] = lambda data: None
    """Called once with what is learned from, before a file of the run is written."""
    on_start: Callable[[Backend, int], None] = lambda backend, parameters: None
    """Called once with the number of parameters, before the work begins."""
    on_step: Observer = lambda done, total: None
    on_epoch: Callable[[EpochReport], None] = lambda report: None
    on_note: Callable[[str], None] = lambda text: None
    """Called with what the user should know and cannot see in the result."""
    on_fact: Callable[[str, Any], None] = lambda name, value: None
    """Called with what was decided or counted on the way, for the run's record; plain JSON."""
