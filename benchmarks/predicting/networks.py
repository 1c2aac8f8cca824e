"""Milliseconds of runs' networks per picture, by each way to compute them on a CPU.

    .venv/bin/python -m benchmarks.predicting.networks --run best --run first [--json FILE]

Crops are ready, batches have 32. ONNX Runtime where the run has its file, torch in fp32, and torch
with ``--half``; in turns, on one thread and on all. Everything that a score takes is in it: several
views, mirror images, several members.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.machine import describe_machine
from benchmarks.predicting.run import in_turns
from benchmarks.predicting.sides import limit_threads
from roi_cls.base.errors import RoiClsError
from roi_cls.base.machine import available_cores
from roi_cls.classifier.config import BATCH_SIZE, Runtime
from roi_cls.classifier.inference.scorer import Scorer, open_scorer
from roi_cls.classifier.runs.folder import find_run

WAYS: dict[str, tuple[Runtime, bool]] = {
    "onnx": ("onnx", False),
    "torch": ("torch", False),
    "half": ("torch", True),
}


def time_batch(scorer: Scorer, count: int) -> float:
    """Return milliseconds per picture of a batch of random crops."""
    rng = np.random.default_rng(0)
    crops = [
        rng.integers(0, 256, (BATCH_SIZE, view.size_px, view.size_px, 3), np.uint8)
        for view in scorer.views
    ]
    with limit_threads(count):
        begin = time.perf_counter()
        scorer.probabilities(crops)
        return 1000 * (time.perf_counter() - begin) / BATCH_SIZE


def open_sides(run: Path, count: int) -> dict[str, Callable[[], float]]:
    """Return what times each way that the run can be computed, on so many threads."""
    sides: dict[str, Callable[[], float]] = {}
    for name, (runtime, half) in WAYS.items():
        with limit_threads(count):
            try:
                scorer = open_scorer([run], "cpu", runtime=runtime, half=half).scorer
            except RoiClsError as error:
                print(f"{run.name}, {name}: {error}")
                continue
        sides[f"{name}, threads {count}"] = partial(time_batch, scorer, count)
    return sides


def measure(run: Path, rounds: int) -> dict[str, float]:
    """Return the medians of all ways, which take turns."""
    sides = {
        name: side
        for count in dict.fromkeys((1, available_cores()))
        for name, side in open_sides(run, count).items()
    }
    found = in_turns(sides, rounds + 1)  # the first round prepares what the others reuse
    return {name: statistics.median(times[1:]) for name, times in found.items()}


def main() -> None:
    """Measure each run, print the figures."""
    parser = argparse.ArgumentParser(description="Measure what networks cost per picture.")
    parser.add_argument("--run", action="append", required=True, help="folder; may come again")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args()
    figures: dict[str, object] = {"machine": describe_machine()}
    for name in options.run:
        run = find_run(name, Path("artifacts/runs")).path
        figures[run.name] = found = measure(run, options.rounds)
        for way, value in found.items():
            print(f"{run.name:<16} {way:<20} {value:8.1f} ms")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
