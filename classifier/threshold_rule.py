"""What a threshold is chosen for, as a word of the command line. Imports nothing heavy.

``f1`` the best F1 of the target · ``recall>=0.8`` the best precision among those that find that
share of the target · ``precision>=0.95`` the best recall among those whose alarms are right that
often · ``cost:10:1`` the least cost, where a missed target costs 10 and a false alarm 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

_FORMS = "f1, recall>=0.8, precision>=0.95 or cost:10:1 (a missed target : a false alarm)"


@dataclass(frozen=True, slots=True)
class ThresholdRule:
    """A parsed rule; ``str`` gives its word."""

    kind: Literal["f1", "recall", "precision", "cost"] = "f1"
    share: float = 1.0
    """Of ``recall`` and ``precision``: what is to be reached, above 0 to 1."""
    miss: float = 1.0
    """Of ``cost``: what a picture of the target that is not found costs."""
    alarm: float = 1.0
    """Of ``cost``: what another picture that is called the target costs."""

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"{self.kind} must be above 0 and at most 1, got {self.share:g}")
        if not all(math.isfinite(cost) and cost > 0 for cost in (self.miss, self.alarm)):
            raise ValueError(f"costs must be above 0, got {self.miss:g} and {self.alarm:g}")

    def __str__(self) -> str:
        if self.kind == "f1":
            return "f1"
        if self.kind == "cost":
            return f"cost:{self.miss:g}:{self.alarm:g}"
        return f"{self.kind}>={self.share:g}"


def parse_rule(text: str) -> ThresholdRule:
    """Return the rule that a word stands for, whatever its case and spaces.

    Raises:
        ValueError: It is no such word; the message names all forms.
    """
    word = "".join(text.lower().split())
    try:
        if word == "f1":
            return ThresholdRule()
        if word.startswith("recall>="):
            return ThresholdRule("recall", share=float(word.removeprefix("recall>=")))
        if word.startswith("precision>="):
            return ThresholdRule("precision", share=float(word.removeprefix("precision>=")))
        if word.startswith("cost:"):
            miss, alarm = word.removeprefix("cost:").split(":")
            return ThresholdRule("cost", miss=float(miss), alarm=float(alarm))
    except ValueError as error:
        raise ValueError(f"threshold_rule must be {_FORMS}, got {text!r}: {error}") from error
    raise ValueError(f"threshold_rule must be {_FORMS}, got {text!r}")
