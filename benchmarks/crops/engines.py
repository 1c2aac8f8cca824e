"""Many small pictures through Ray's two workers, and through two processes of `--shard`.

    .venv/bin/python -m benchmarks.crops.engines [--count 100000] [--json FILE]

Pictures of 64 px whose crop is the full frame: next to nothing is computed, so the engines' own
cost is as large a share as it can be. Both sides begin with an empty cache, one after the other.
The memory is the driver's own share, looked at after a quarter of the time and at nine tenths.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import psutil

from benchmarks.machine import describe_machine

SIDE_PX, FOLDER_OF, LOOK_S = 64, 1000, 0.5
CROPS = ("crops", "--crop", "full", "--size", "64")
SIDES: dict[str, tuple[tuple[str, ...], ...]] = {
    "ray": (("--engine", "ray", "--workers", "2"),),
    "shards": (("--shard", "1/2", "--workers", "0"), ("--shard", "2/2", "--workers", "0")),
}


@dataclass(slots=True)
class Driver:
    """One command, and what its own process holds of the memory meanwhile."""

    process: subprocess.Popen[bytes]
    rows: Path
    memory: list[float] = field(default_factory=list)
    """MB of the proportional set, at each look."""

    def look(self) -> None:
        """Keep what is there now; nothing once the process has ended."""
        try:
            share = psutil.Process(self.process.pid).memory_full_info().pss / 1e6
        except psutil.Error:
            return
        if share:  # else it is ending
            self.memory.append(share)

    def memory_at(self, share: float) -> float:
        """Return the MB when that share of the time had passed."""
        return self.memory[int(share * (len(self.memory) - 1))]


def write_pictures(folder: Path, count: int) -> None:
    """Write so many JPEGs of noise, each another."""
    random = np.random.default_rng(0)
    for i in range(count):
        place = folder / f"{i // FOLDER_OF:04d}"
        place.mkdir(parents=True, exist_ok=True)
        coarse = random.integers(0, 256, (8, 8, 3)).astype(np.uint8)
        picture = cv2.resize(coarse, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(place / f"{i}.jpg"), picture)


def run_side(folder: Path, space: Path, side: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return the seconds of all commands of a side together, and the drivers' memory."""
    space.mkdir()
    begin, drivers = time.perf_counter(), []
    for number, options in enumerate(side):
        rows = space / f"rows-{number}.jsonl"
        words = [*CROPS, str(folder), *options, "--cache", str(space), "--manifest", str(rows)]
        process = subprocess.Popen(
            [sys.executable, "-m", "roi_cls", *words],
            stdout=subprocess.DEVNULL,
        )
        drivers.append(Driver(process, rows))
    while any(driver.process.poll() is None for driver in drivers):
        for driver in drivers:
            driver.look()
        time.sleep(LOOK_S)
    seconds = time.perf_counter() - begin
    if any(driver.process.returncode for driver in drivers):
        raise RuntimeError(f"a command of {side} failed")
    done = sum(sum(1 for _ in driver.rows.open()) for driver in drivers)
    return {
        "seconds": round(seconds, 1),
        "rows": done,
        "memory_mb_at_a_quarter": round(max(each.memory_at(0.25) for each in drivers), 1),
        "memory_mb_at_nine_tenths": round(max(each.memory_at(0.9) for each in drivers), 1),
    }


def main() -> None:
    """Run both sides, print what they took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, object] = {"machine": describe_machine(), "count": options.count}
    with tempfile.TemporaryDirectory() as space:
        folder = Path(space) / "pictures"
        write_pictures(folder, options.count)
        sides = {name: run_side(folder, Path(space) / name, side) for name, side in SIDES.items()}
    found.update(sides, ratio=round(sides["ray"]["seconds"] / sides["shards"]["seconds"], 3))
    text = json.dumps(found, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
