"""Systems measured side by side: the value of ``results.json``, and its Markdown and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from roi_cls.base.rows import markdown_table
from roi_cls.classifier.config import DEFAULT_MODEL
from roi_cls.classifier.metrics.interval import CONFIDENCE, format_number
from roi_cls.classifier.metrics.seeds import COMPARED, SystemMetrics

COMPARISON_VERSION = 1
"""Raised when the written form changes."""
_TITLES = {
    "accuracy": "accuracy",
    "micro_f1": "micro F1",
    "macro_f1": "macro F1",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "roc_auc": "ROC-AUC",
    "average_precision": "PR-AUC",
    "balanced_accuracy": "balanced accuracy",
    "mcc": "MCC",
}
_RANKING = ("roc_auc", "average_precision", "f1", "precision", "recall")
_DECISIONS = ("accuracy", "micro_f1", "macro_f1", "balanced_accuracy", "mcc")
_NONE = "-"


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
    """What training started from: a package, ``hub``, ``random``, or a file's name."""
    seeds: int = 1
    """Models trained alike but for the seed."""
    parameters: int | None = None
    """Numbers in the model, or in all members of an ensemble."""
    train_seconds: float | None = None
    """From the crops to the finished model, mean over seeds."""
    ms_per_picture: float | None = None
    """Of the model alone, on a crop that is ready; in the batches that prediction uses."""
    stands_in_for: tuple[str, ...] = ()
    """The backbones that the recipe names, whose weights could not be had: ``DEFAULT_MODEL`` was
    trained in their place."""

    def to_dict(self) -> dict[str, Any]:
        """Return strict JSON values."""
        return {
            "name": self.name,
            "description": self.description,
            "status": "ok" if self.metrics else "not run",
            "reason": self.reason or None,
            "weights": self.weights or None,
            "seeds": self.seeds,
            "metrics": _metrics_to_dict(self.metrics),
            "parameters": self.parameters,
            "train_seconds": self.train_seconds,
            "ms_per_picture": self.ms_per_picture,
            "stands_in_for": list(self.stands_in_for),
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
            "majority": _metrics_to_dict(self.majority),
            "results": [result.to_dict() for result in self.results],
        }


def _metrics_to_dict(metrics: SystemMetrics | None) -> dict[str, Any] | None:
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


def to_markdown(comparison: Comparison, title: str = "Comparison") -> str:
    """Return a page: what was compared, the metrics in two tables, what each system cost."""
    parts = [
        f"# {title}",
        _describe(comparison),
        f"## Finding {comparison.target!r}",
        _metrics_table(comparison, _RANKING),
        "## All classes, by decisions",
        _metrics_table(comparison, _DECISIONS),
        "## Costs",
        _costs_table(comparison),
        *_stand_ins(comparison),
        *_not_run(comparison),
        "## How to read this",
        _legend(comparison),
    ]
    return "\n\n".join(parts) + "\n"


def _describe(comparison: Comparison) -> str:
    parts = [
        f"{name}: {sum(counts.values())} ({', '.join(f'{n} {c}' for c, n in counts.items())})"
        for name, counts in comparison.counts.items()
    ]
    budget = "; ".join(f"{name.replace('_', ' ')} {value}" for name, value in _told(comparison))
    return (
        f"Pictures, the same for every system: {'; '.join(parts)}.\n"
        f"In common: {budget}. Split {comparison.data_digest[:12]}."
    )


def _told(comparison: Comparison) -> list[tuple[str, object]]:
    return [(name, value) for name, value in comparison.budget.items() if value is not None]


def _metrics_table(comparison: Comparison, names: Sequence[str]) -> str:
    rows = [(_baseline_name(comparison), comparison.majority)]
    shown = [*rows, *((_marked(result), result.metrics) for result in comparison.results)]
    return markdown_table(
        ["system", *(_TITLES[name] for name in names)],
        [[name, *(estimate_text(metrics, one) for one in names)] for name, metrics in shown],
    )


def _marked(result: SystemResult) -> str:
    """Return the system's name, with a star where it is not trained with its own backbone."""
    return f"{result.name} \\*" if result.stands_in_for else result.name


def metric_title(name: str) -> str:
    """Return what a metric is called in a table."""
    return _TITLES[name]


def estimate_text(metrics: SystemMetrics | None, name: str) -> str:
    """Return a metric as ``0.71 [0.60, 0.80]``, without brackets where it is exact."""
    if metrics is None:
        return _NONE
    estimate = metrics.estimates[name]
    if estimate.is_defined and estimate.low == estimate.high:
        return format_number(estimate.value)
    return str(estimate)


def _baseline_name(comparison: Comparison) -> str:
    return f"always {comparison.majority_label}"


def _costs_table(comparison: Comparison) -> str:
    header = ["system", "weights", "parameters", "training", "ms per picture"]
    has_spread = any(r.metrics and r.metrics.spread for r in comparison.results)
    if has_spread:
        header += ["seeds", "ROC-AUC, SD of seeds"]
    rows = []
    for result in comparison.results:
        row = [_marked(result), *_cost_cells(result)]
        if has_spread:
            row += [str(result.seeds), _spread_text(result.metrics)]
        rows.append(row)
    return markdown_table(header, rows, left=2)


def _cost_cells(result: SystemResult) -> list[str]:
    millions = None if result.parameters is None else f"{result.parameters / 1e6:.2f} M"
    seconds = None if result.train_seconds is None else f"{result.train_seconds:.0f} s"
    speed = None if result.ms_per_picture is None else f"{result.ms_per_picture:.1f}"
    return [cell or _NONE for cell in (result.weights, millions, seconds, speed)]


def _spread_text(metrics: SystemMetrics | None) -> str:
    spread = metrics.spread.get("roc_auc") if metrics else None
    return _NONE if spread is None or math.isnan(spread) else f"{spread:.3f}"


def _stand_ins(comparison: Comparison) -> list[str]:
    starred = [result for result in comparison.results if result.stands_in_for]
    if not starred:
        return []
    own = ", ".join(f"{one.name} ({', '.join(one.stands_in_for)})" for one in starred)
    return [
        f"\\* {DEFAULT_MODEL} stands in for a backbone whose weights could not be had: {own}. "
        "The row tells nothing of that backbone."
    ]


def _not_run(comparison: Comparison) -> list[str]:
    if not comparison.not_run:
        return []
    lines = [f"- `{result.name}`: {result.reason}" for result in comparison.not_run]
    return ["## Not run", "\n".join(lines)]


def _legend(comparison: Comparison) -> str:
    several = any(result.seeds > 1 for result in comparison.results)
    mean = (
        " A value is the mean over the seeds, its interval that of this mean: of other test "
        "pictures, with the same models."
        if several
        else ""
    )
    return (
        f"In brackets: {CONFIDENCE:.0%} intervals.{mean} PR-AUC is the average precision; by "
        "chance it is the target's share. ROC-AUC and PR-AUC come from scores, never from "
        "decisions. "
        "Thresholds were chosen without the test pictures. Parameters count all members of an "
        "ensemble; milliseconds are the model's alone, on crops that are ready, in batches of 32."
    )


def to_csv(comparison: Comparison) -> str:
    """Return a line per system, the baseline first, with every number in full."""
    metric_columns = [
        f"{name}{end}" for name in COMPARED for end in ("", "_low", "_high", "_seed_sd")
    ]
    plain = ("status", "reason", "weights", "seeds")
    costs = ("parameters", "train_seconds", "ms_per_picture", "stands_in_for")
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["name", *plain, *metric_columns, *costs])
    writer.writerow(
        [
            _baseline_name(comparison),
            "ok",
            "",
            "",
            "",
            *_numbers(comparison.majority),
            *[""] * len(costs),
        ]
    )
    for result in comparison.results:
        values = result.to_dict()
        values["stands_in_for"] = " ".join(result.stands_in_for)
        cells = [values[name] for name in (*plain, *costs)]
        shown = ["" if cell is None else cell for cell in cells]
        row = [result.name, *shown[: len(plain)], *_numbers(result.metrics), *shown[len(plain) :]]
        writer.writerow(row)
    return stream.getvalue()


def _numbers(metrics: SystemMetrics | None) -> list[str]:
    cells = []
    for name in COMPARED:
        if metrics is None:
            cells += [""] * 4
            continue
        one = metrics.estimates[name]
        numbers = (one.value, one.low, one.high, metrics.spread.get(name, math.nan))
        cells += ["" if math.isnan(number) else repr(float(number)) for number in numbers]
    return cells
