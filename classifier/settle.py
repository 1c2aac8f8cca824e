"""What the settings leave to this machine: the number format, the batch size, the compiler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from roi_cls.classifier.batch_source import BatchSource
from roi_cls.classifier.checkpoint import load_checkpoint
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.distributed import current_world
from roi_cls.classifier.fastest_format import fastest_format
from roi_cls.classifier.fitting_batch import largest_batch
from roi_cls.classifier.models.device import FORMATS, Backend, choose_backend


def settle(
    config: TrainConfig,
    model: nn.Module,
    source: BatchSource,
    backend: Backend,
    checkpoint: Path,
    on_note: Callable[[str], None] = lambda text: None,
) -> tuple[TrainConfig, Backend]:
    """Return settings without ``auto``, and the backend that they mean.

    A resumed run keeps what it was begun with; of several processes the first one decides.

    Args:
        config: The settings.
        model: What is trained; it is left as it was.
        source: Its training pictures.
        backend: The device.
        checkpoint: Where the run goes on from, if it is there.
        on_note: Called where something asked for cannot be had, and training goes on without.

    Raises:
        TrainingError: The checkpoint is damaged.
    """
    world = current_world()
    choices: dict[str, Any] = {}
    if world.is_first:
        kept = load_checkpoint(checkpoint).choices if checkpoint.exists() else {}
        choices = dict(kept) or _choose(config, model, source, backend)
    choices = world.from_first(choices)
    if config.compile and (reason := _no_compiler(backend.device)):
        on_note(f"Cannot compile the model: {reason}. Training goes on without --compile.")
        choices["compile"] = False
    settled = replace(config, **choices)
    return settled, choose_backend(settled.device, settled.precision)


def _choose(
    config: TrainConfig, model: nn.Module, source: BatchSource, backend: Backend
) -> dict[str, Any]:
    if config.precision == "auto" and backend.device.type != "mps":
        sample = source.plain_inputs(np.arange(min(len(source), _sample_size(config))))
        dtype = fastest_format(model, sample, backend.device)
        backend = Backend(backend.device, dtype)
    size = config.batch_size
    return {
        "precision": next(name for name, dtype in FORMATS.items() if dtype == backend.format),
        "batch_size": largest_batch(model, source, backend) if size == "auto" else size,
    }


def _sample_size(config: TrainConfig) -> int:
    return 32 if config.batch_size == "auto" else config.batch_size


def _no_compiler(device: torch.device) -> str:
    """Return why torch.compile does not work here, or nothing."""
    try:
        torch.compile(_probe)(torch.ones(2, device=device))
    except (ImportError, OSError, RuntimeError) as error:  # what it raises derives from the last
        return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
    return ""


def _probe(values: torch.Tensor) -> torch.Tensor:
    return values.sin() + 1
