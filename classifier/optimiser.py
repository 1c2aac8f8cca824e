"""Which parameters learn, how fast, and when: phases, AdamW groups, the cosine schedule."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import nn

from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.model import heads


def freeze_for(model: nn.Module, blocks: int | None) -> None:
    """Let the head and the last ``blocks`` blocks learn, the rest not.

    Args:
        model: A timm model.
        blocks: 0: the head alone; None: everything.
    """
    names = _learning_names(model, blocks)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(names is None or name in names)


def set_train_mode(model: nn.Module) -> None:
    """Put the model into training, but frozen modules into evaluation.

    A frozen batch norm that went on averaging would change what the frozen weights compute.
    """
    model.train()
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()  # with all below it: also a batch norm without weights of its own


def make_optimiser(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.AdamW:
    """Return AdamW over what learns; biases and norms (one axis) are not decayed."""
    learning = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in learning if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=lr)


def cosine_rate(step: int, steps: int, warmup: int) -> float:
    """Return the share of the peak rate at ``step`` of ``steps``: linear rise, then half a cosine.

    Loshchilov and Hutter 2017, "SGDR: Stochastic Gradient Descent with Warm Restarts", without
    restarts.
    """
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def phase_of(config: TrainConfig, epoch: int) -> tuple[int, int]:
    """Return the first epoch of the phase that ``epoch`` lies in, and the first after it."""
    if epoch < config.first_phase:
        return 0, config.first_phase
    return config.first_phase, config.epochs


def _learning_names(model: nn.Module, blocks: int | None) -> set[str] | None:
    if blocks is None:
        return None
    from timm.models import group_parameters

    matcher = cast(Any, model).group_matcher(coarse=False)
    groups = cast(dict[int, list[str]], group_parameters(model, matcher))
    classifier = {name for name, _ in _head_parameters(model)}
    ordered = [set(groups[key]) for key in sorted(groups)]
    body = [names for names in ordered if not names & classifier]
    # What shares the head's group, like the norm before it in a ConvNeXt, is not a block.
    beside = [names for names in ordered if names & classifier]
    return classifier.union(*body[-blocks:], *beside) if blocks else classifier


def _head_parameters(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    head = {id(p) for part in heads(model) for p in part.parameters()}
    return [(name, p) for name, p in model.named_parameters() if id(p) in head]
