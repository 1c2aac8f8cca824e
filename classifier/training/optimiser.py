"""Which parameters learn, when, and how fast: phases, optimisers, the course of the rate."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import nn

from roi_cls.classifier.config import ScheduleName, TrainConfig
from roi_cls.classifier.models.timm_model import heads

PLATEAU_EPOCHS = 3
"""Epochs without a better metric after which a ``plateau`` rate is halved."""
_MOMENTUM = 0.9  # of SGD


def phase_of(config: TrainConfig, epoch: int) -> tuple[int, int]:
    """Return the first epoch of the phase that ``epoch`` lies in, and the first after it."""
    if epoch < config.first_phase:
        return 0, config.first_phase
    return config.first_phase, config.epochs


def freeze_for(model: nn.Module, blocks: int | None) -> None:
    """Let the head and the last ``blocks`` blocks learn, the rest not.

    Args:
        model: A timm model.
        blocks: 0: the head alone; None: everything.
    """
    names = _learning_names(model, blocks)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(names is None or name in names)


def _learning_names(model: nn.Module, blocks: int | None) -> set[str] | None:
    if blocks is None:
        return None
    from timm.models import group_parameters

    classifier = {name for name, _ in _head_parameters(model)}
    if not blocks:
        return classifier
    matcher = cast(Any, model).group_matcher(coarse=False)
    groups = cast(dict[int, list[str]], group_parameters(model, matcher))
    ordered = [set(groups[key]) for key in sorted(groups)]
    body = [names for names in ordered if not names & classifier]
    # What shares the head's group, like the norm before it in a ConvNeXt, is not a block.
    beside = [names for names in ordered if names & classifier]
    return classifier.union(*body[-blocks:], *beside)


def _head_parameters(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    head = {id(p) for part in heads(model) for p in part.parameters()}
    return [(name, p) for name, p in model.named_parameters() if id(p) in head]


def set_train_mode(model: nn.Module) -> None:
    """Put the model into training, but frozen modules into evaluation.

    A frozen batch norm that went on averaging would change what the frozen weights compute.
    """
    model.train()
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()  # with all below it: also a batch norm without weights of its own


def has_batch_norms(model: nn.Module) -> bool:
    """Whether the model normalises by the other pictures of a batch."""
    return any(map(_normalises_alone, model.modules()))


@contextlib.contextmanager
def norms_for(model: nn.Module, crops: int) -> Iterator[None]:
    """Let batch norms learn a batch of so many crops in a block.

    Of one crop there are no statistics, and where its maps are single points torch refuses it: the
    norms then use their averages, as in prediction, and leave them as they are.
    """
    if crops > 1:
        yield
        return
    resting = [each for each in model.modules() if each.training and _normalises_alone(each)]
    for norm in resting:
        norm.eval()
    try:
        yield
    finally:
        for norm in resting:
            norm.train()


def _normalises_alone(module: nn.Module) -> bool:
    """Whether it is a batch norm that sees the batch of this process alone."""
    return isinstance(module, nn.modules.batchnorm._BatchNorm) and not isinstance(
        module, nn.SyncBatchNorm
    )


def make_optimiser(model: nn.Module, config: TrainConfig, lr: float) -> torch.optim.Optimizer:
    """Return the optimiser over what learns; biases and norms (one axis) are not decayed."""
    groups = _groups(model, config)
    match config.optimiser:
        case "adamw":
            return torch.optim.AdamW(groups, lr=lr)
        case "adam":
            return torch.optim.Adam(groups, lr=lr)
        case "sgd":
            return torch.optim.SGD(groups, lr=lr, momentum=_MOMENTUM, nesterov=True)


def _groups(model: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Return what learns in groups: by decay and, with ``layer_decay``, by depth.

    Those by depth have ``lr_scale``, their share of the head's rate: Clark et al. 2020, "ELECTRA".
    """
    from timm import optim

    decay = config.weight_decay
    if config.layer_decay < 1:
        groups = optim.param_groups_layer_decay(model, decay, layer_decay=config.layer_decay)  # type: ignore[attr-defined]  # not re-exported
    else:
        # What decays comes first: a checkpoint names an optimiser's state by its place.
        groups = optim.param_groups_weight_decay(model, decay)[::-1]  # type: ignore[attr-defined]  # not re-exported
    return [group for group in groups if group["params"]]


def set_rate(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Set the rate of the head's group; groups below it follow by their shares."""
    for group in optimiser.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)


def rate_share(
    schedule: ScheduleName, step: int, steps: int, warmup: int = 0, reductions: int = 0
) -> float:
    """Return the share of the peak rate at a step: a linear rise, then the schedule's way down.

    Args:
        schedule: Its name; see ``TrainConfig``.
        step: Counted from 0 at the beginning of the phase.
        steps: Of the whole phase.
        warmup: Steps of the rise.
        reductions: How often a plateau was met so far in the phase.
    """
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    match schedule:
        case "cosine":
            # Loshchilov and Hutter 2017, "SGDR", without restarts.
            return 0.5 * (1 + math.cos(math.pi * progress))
        case "step":
            return 0.1 ** _passed(progress, 3)
        case "halving":
            return 0.5 ** _passed(progress, 5)
        case "plateau":
            return 0.5**reductions
        case "constant":
            return 1.0


def _passed(progress: float, parts: int) -> int:
    """Return how many of equal parts are over; the last one never is."""
    # A step that should be the first of a part may lie below it by a rounding error.
    return min(parts - 1, int(progress * parts + 1e-9))


def is_plateau(epoch: int, best_epoch: int, phase_start: int) -> bool:
    """Whether the rate is reduced after ``epoch``: again after every few epochs without a better.

    All three are counted from 0; epochs of the phase before do not count.
    """
    stale = epoch - max(best_epoch, phase_start)
    return stale > 0 and stale % PLATEAU_EPOCHS == 0
