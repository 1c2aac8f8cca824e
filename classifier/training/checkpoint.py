"""Training state on disk, to go on after an interrupt. Safetensors: reading it runs no code."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from roi_cls.base.atomic import write_atomically
from roi_cls.base.errors import TrainingError
from roi_cls.classifier.models.saved import Tensors, to_plain


@dataclass(frozen=True, slots=True)
class Progress:
    """Where training stands after an epoch."""

    epoch: int = 0
    """Epochs done."""
    best_epoch: int = -1
    """Of the best validation metric, where the last epoch is kept of the lowest validation loss;
    counted from 0; -1: none yet."""
    best_value: float = -math.inf
    """The metric there; higher is better."""
    best_loss: float = math.inf
    """The validation loss there: of epochs with equal metrics, the lower is better."""
    steps: int = 0
    """Optimiser steps done."""
    reductions: int = 0
    """How often a plateau has halved the rate in this phase."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All that decides how training goes on."""

    progress: Progress
    parts: Mapping[str, Tensors]
    """Named tensors by what they belong to: ``model``, ``optimiser``, ``average``."""
    scaler: Mapping[str, Any] = field(default_factory=dict)
    """Of fp16's loss scale."""
    choices: Mapping[str, Any] = field(default_factory=dict)
    """Settings that were left to the machine, as it chose them."""


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write all of it as one file, atomically."""
    tensors = {
        f"{part}.{name}": value
        for part, values in checkpoint.parts.items()
        for name, value in values.items()
    }
    facts = {
        "progress": asdict(checkpoint.progress),
        "scaler": dict(checkpoint.scaler),
        "choices": dict(checkpoint.choices),
    }
    write_atomically(path, save(to_plain(tensors), {"facts": json.dumps(facts)}))


def load_checkpoint(path: Path) -> Checkpoint:
    """Return what ``save_checkpoint`` wrote.

    Raises:
        TrainingError: The file is damaged.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            facts = json.loads(file.metadata()["facts"])
            progress = Progress(**facts["progress"])
            scaler, choices = facts["scaler"], facts["choices"]
            parts: dict[str, Tensors] = {}
            for key in file.keys():  # noqa: SIM118  (no dict: it cannot be iterated)
                part, _, name = key.partition(".")
                parts.setdefault(part, {})[name] = file.get_tensor(key)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise TrainingError(
            f"Cannot resume from {str(path)!r}: the file is damaged. "
            "Delete the run's folder, or train under another --run NAME."
        ) from error
    return Checkpoint(progress, parts, scaler, choices)


def restore_model(model: nn.Module, tensors: Tensors) -> None:
    """Load the model's part of a checkpoint.

    Raises:
        TrainingError: It belongs to another model.
    """
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise TrainingError(
            "Cannot resume: the checkpoint belongs to another model. "
            "Delete the run's folder, or train under another --run NAME."
        ) from error


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> Tensors:
    """Return an optimiser's state as named tensors, ``PARAMETER.FIELD``."""
    return {
        f"{place}.{name}": torch.as_tensor(value)
        for place, state in optimiser.state_dict()["state"].items()
        for name, value in state.items()
        if value is not None
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Load what ``optimiser_tensors`` returned; nothing where the optimiser had made no step."""
    states: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        place, _, field_name = name.partition(".")
        states.setdefault(int(place), {})[field_name] = value
    if states:
        frame = optimiser.state_dict()
        optimiser.load_state_dict({**frame, "state": states})
        for parameter, state in optimiser.state.items():
            _lay_out(state, like=parameter)


def _lay_out(state: dict[str, Any], like: torch.Tensor) -> None:
    """Give a parameter's state its order of axes, which a file does not keep.

    A GPU updates all parameters at once, but only where these orders agree: else one by one.
    """
    for name, value in state.items():
        if torch.is_tensor(value) and value.shape == like.shape:
            state[name] = torch.empty_like(like, dtype=value.dtype).copy_(value)
