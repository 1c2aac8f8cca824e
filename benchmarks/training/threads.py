"""How torch's threads should wait for each other: on a quiet machine, and beside other work.

    .venv/bin/python -m benchmarks.training.threads [--rounds 3] [--json FILE]

Each side is a process of its own, since OpenMP reads its settings when torch is loaded: three
epochs of training steps with as many threads as there are cores, the last two counted. All sides
run in turns, first alone, then beside one busy process for each core.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.machine import describe_machine

SIDES = {
    "as OpenMP does": {},
    "spin 100,000 times": {"GOMP_SPINCOUNT": "100000"},
    "spin 10,000 times": {"GOMP_SPINCOUNT": "10000"},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
}
MODEL, SIZE_PX, BATCH, STEPS = "mobilenetv3_small_050", 112, 32, 12
_SETTINGS = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
_CHILD = "--child"


def train_here() -> None:
    """Print the pictures per second of training steps in this process."""
    import torch

    from benchmarks.training.sides import draw_crops, our_sides
    from roi_cls.classifier.config import TrainConfig
    from roi_cls.classifier.models.device import Backend

    config = TrainConfig(model=MODEL, weights="none", batch_size=BATCH)
    backend = Backend(torch.device("cpu"), torch.float32)
    epoch = our_sides(config, draw_crops(BATCH * STEPS, SIZE_PX), backend, BATCH)["roi-cls"]
    epoch()
    begin = time.perf_counter()
    epoch()
    epoch()
    print(2 * BATCH * STEPS / (time.perf_counter() - begin))


def measure(setting: dict[str, str]) -> float:
    """Return the pictures per second of a process with these settings."""
    environment = {name: value for name, value in os.environ.items() if name not in _SETTINGS}
    found = subprocess.run(
        [sys.executable, "-m", "benchmarks.training.threads", _CHILD],
        env={**environment, **setting},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(found.stdout)


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep that many processes busy meanwhile."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def measure_in_turns(rounds: int, others: int) -> dict[str, list[float]]:
    """Return each side's pictures per second in each round, beside that many busy processes."""
    speeds: dict[str, list[float]] = {name: [] for name in SIDES}
    for turn in range(rounds):
        for name in list(SIDES) if turn % 2 == 0 else reversed(list(SIDES)):
            with busy(others):
                speeds[name].append(measure(SIDES[name]))
    return speeds


def describe(speeds: dict[str, list[float]]) -> dict[str, object]:
    """Return medians, and ratios to what OpenMP does, each of two sides of one round."""
    usual = speeds[next(iter(SIDES))]
    return {
        name: {
            "pictures_per_s": [round(speed, 1) for speed in each],
            "median": round(statistics.median(each), 1),
            "ratio": round(statistics.median(a / b for a, b in zip(each, usual, strict=True)), 3),
        }
        for name, each in speeds.items()
    }


def main() -> None:
    """Measure all sides, quiet and busy, and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(_CHILD, action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.child:
        train_here()
        return
    cores = os.cpu_count() or 1
    found = {
        "machine": describe_machine(),
        "quiet": describe(measure_in_turns(options.rounds, 0)),
        "busy": describe(measure_in_turns(options.rounds, cores)),
    }
    text = json.dumps(found, indent=2)
    if options.json:
        options.json.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
