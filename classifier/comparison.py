"""Systems measured side by side: the value that ``results.json`` and its tables are made from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from roi_cls.classifier.metrics.interval import CONFIDENCE
from roi_cls.classifier.metrics.seeds import COMPARED, SystemMetrics

COMPARISON_VERSION = 1
"""Raised when the written form changes."""


@dataclass(frozen=True, slots=True)
class SystemResult:
    """One system: how it fared and what it cost, or why there is nothing to tell."""

    name: str
    description: str = ""
    metrics: SystemMetrics | None = None
    """None: it could not be run."""
    reason: str = ""
    """Why it could not be run."""
    weights: str = ""
    """What training started from: ``hub``, ``random``, or a file's name."""
    seeds: int = 1
    """Models trained alike but for the seed."""
    parameters: int | None = None
    """Numbers in the model, or in all members of an ensemble."""
    train_seconds: float | None = None
    """From the crops to the finished model, mean over seeds."""
    ms_per_picture: float | None = None
    """Of the model alone, on a crop that is ready; in the batches that prediction uses."""

    def to_dict(self) -> dict[str, Any]:
        """Return strict JSON values."""
        return {
            "name": self.name,
            "description": self.description,
            "status": "ok" if self.metrics else "not run",
            "reason": self.reason or None,
            "weights": self.weights or None,
            "seeds": self.seeds,
            "metrics": metrics_to_dict(self.metrics),
            "parameters": self.parameters,
            "train_seconds": self.train_seconds,
            "ms_per_picture": self.ms_per_picture,
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """Systems trained and tested on the same pictures."""

    target: str
    """Class looked for."""
    majority_label: str
    """Class that the first row always answers."""
    counts: Mapping[str, Mapping[str, int]]
    """Pictures by part and class: what was learned from, chosen by and tested on."""
    data_digest: str
    """Names the split."""
    budget: Mapping[str, Any]
    """What all systems had in common: epochs at most, folds, seeds, device."""
    majority: SystemMetrics
    results: tuple[SystemResult, ...]
    """In the order asked for."""

    @property
    def test_images(self) -> int:
        """Pictures that every system was tested on."""
        return sum(self.counts["test"].values())

    @property
    def not_run(self) -> tuple[SystemResult, ...]:
        """The systems without a result."""
        return tuple(result for result in self.results if result.metrics is None)

    def to_dict(self) -> dict[str, Any]:
        """Return strict JSON values."""
        return {
            "version": COMPARISON_VERSION,
            "target": self.target,
            "majority_label": self.majority_label,
            "counts": {part: dict(found) for part, found in self.counts.items()},
            "data_digest": self.data_digest,
            "budget": dict(self.budget),
            "confidence": CONFIDENCE,
            "majority": metrics_to_dict(self.majority),
            "results": [result.to_dict() for result in self.results],
        }


def metrics_to_dict(metrics: SystemMetrics | None) -> dict[str, Any] | None:
    """Return each metric with its interval and, of several seeds, their spread."""
    if metrics is None:
        return None
    found: dict[str, Any] = {}
    for name in COMPARED:
        found[name] = metrics.estimates[name].to_dict()
        if metrics.spread:
            spread = metrics.spread[name]
            found[name]["seed_sd"] = spread if math.isfinite(spread) else None
    return found
