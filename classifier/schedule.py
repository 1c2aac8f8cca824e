"""How the learning rate moves within a phase. Knows numbers only."""

from __future__ import annotations

import math

from roi_cls.classifier.config import ScheduleName

PLATEAU_EPOCHS = 3
"""Epochs without a better metric after which a ``plateau`` rate is halved."""


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


def is_plateau(epoch: int, best_epoch: int, phase_start: int) -> bool:
    """Whether the rate is reduced after ``epoch``: again after every few epochs without a better.

    All three are counted from 0; epochs of the phase before do not count.
    """
    stale = epoch - max(best_epoch, phase_start)
    return stale > 0 and stale % PLATEAU_EPOCHS == 0


def _passed(progress: float, parts: int) -> int:
    """Return how many of equal parts are over; the last one never is."""
    # A step that should be the first of a part may lie below it by a rounding error.
    return min(parts - 1, int(progress * parts + 1e-9))
