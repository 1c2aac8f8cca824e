"""Training state on disk, to go on after an interrupt. Safetensors: reading it runs no code."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from roi_cls.atomic import write_atomically
from roi_cls.errors import TrainingError


@dataclass(frozen=True, slots=True)
class Progress:
    """Where training stands after an epoch."""

    epoch: int
    """Epochs done."""
    best_epoch: int
    """Of the best validation metric, counted from 0; -1: none yet."""
    best_value: float
    """The metric there; higher is better."""
    best_loss: float = math.inf
    """The validation loss there: of epochs with equal metrics, the lower is better."""


def save_weights(path: Path, model: nn.Module) -> None:
    """Write the model's state dict, atomically."""
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    write_atomically(path, save(state, {"format": "pt"}))


def save_checkpoint(
    path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, progress: Progress
) -> None:
    """Write model, optimiser and progress as one file, atomically."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for place, state in optimiser.state_dict()["state"].items():
        for name, value in state.items():
            tensors[f"optimiser.{place}.{name}"] = torch.as_tensor(value)
    facts = {
        "epoch": progress.epoch,
        "best_epoch": progress.best_epoch,
        "best_value": progress.best_value,
        "best_loss": progress.best_loss,
    }
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    write_atomically(path, save(plain, {"progress": json.dumps(facts)}))


def load_checkpoint(path: Path) -> tuple[Progress, dict[str, torch.Tensor]]:
    """Return what ``save_checkpoint`` wrote: the progress and the named tensors.

    Raises:
        TrainingError: The file is damaged.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            progress = Progress(**json.loads(file.metadata()["progress"]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no dict: it cannot be iterated)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise TrainingError(
            f"Cannot resume from {str(path)!r}: the file is damaged. "
            "Delete the run's folder, or train under another --run NAME."
        ) from error
    return progress, tensors


def restore_model(model: nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    """Load the model's part of a checkpoint.

    Raises:
        TrainingError: It belongs to another model.
    """
    prefix = "model."
    state = {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)}
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise TrainingError(
            "Cannot resume: the checkpoint belongs to another model. "
            "Delete the run's folder, or train under another --run NAME."
        ) from error


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """Load the optimiser's part of a checkpoint; none of it where a phase begins anew."""
    states: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "optimiser":
            place, _, field = rest.partition(".")
            states.setdefault(int(place), {})[field] = value
    if states:
        frame = optimiser.state_dict()
        optimiser.load_state_dict({**frame, "state": states})
