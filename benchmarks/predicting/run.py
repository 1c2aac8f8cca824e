"""How soon the first answer comes, and how many pictures a second after that.

    make bench-predict      or      .venv/bin/python -m benchmarks.predicting.run [--pictures 160]

Cold starts are processes of their own, beside ones that only import the libraries. Throughput is
that of ``Predictor``, beside each of its stages alone: decoding, detection with cutting, the model.
All sides run in turns in one run; ratios are medians over rounds. The weights are random: what is
in them does not change the time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.machine import describe_machine
from benchmarks.portraits import write_portraits
from benchmarks.predicting.cold_start import Start, cold_sides, time_command
from benchmarks.predicting.sides import export, make_run, stage_sides
from roi_cls.base.machine import available_cores
from roi_cls.classifier.config import BATCH_SIZE
from roi_cls.data.walk import find_pictures


def in_turns(sides: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Return what each side gave in each round; every second round goes backwards."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds):
        for name in list(sides) if turn % 2 == 0 else list(reversed(sides)):
            found[name].append(sides[name]())
            print(f"  {name:<34} {found[name][-1]:8.2f}", file=sys.stderr)
    return found


def measure_cold(run: Path, picture: Path, rounds: int) -> dict[str, float]:
    """Return seconds from start to exit, of the clock and of the processor, and ratios."""
    starts: dict[str, list[Start]] = {}
    commands = cold_sides(run, picture)
    sides = {name: _timed(command, starts, name) for name, command in commands}
    in_turns(sides, rounds)
    figures = {}
    for name, found in starts.items():
        figures[f"{name}_s"] = statistics.median(start.seconds for start in found)
        figures[f"{name}_processor_s"] = statistics.median(start.processor_s for start in found)
    for name, one, other in (
        ("predict_to_import", "predict", "import_torch_timm"),
        ("predict_torch_to_import", "predict_torch", "import_all"),
        ("predict_to_torch", "predict", "predict_torch"),
    ):
        both = list(zip(starts[one], starts[other], strict=True))
        figures[name] = statistics.median(a.seconds / b.seconds for a, b in both)
        figures[f"{name}_processor"] = statistics.median(
            a.processor_s / b.processor_s for a, b in both
        )
    return figures


def _timed(command: list[str], starts: dict[str, list[Start]], name: str) -> Callable[[], float]:
    def run() -> float:
        start = time_command(command)
        starts.setdefault(name, []).append(start)
        return start.seconds

    return run


def measure_rates(run: Path, paths: list[Path], rounds: int) -> dict[str, float]:
    """Return pictures per second of each side, and how near prediction comes to its stages.

    Beside one worker and one thread, each stage alone has what it has in the pipeline: a process,
    or a thread. Beside the whole machine, every stage alone has all of it, so that their sum is
    what can be reached: ``whole_to_possible`` is the rate times the stages' times together.
    """
    cores = available_cores()
    found = in_turns(stage_sides(run, paths, cores), rounds)
    figures = {f"{name}_per_second": statistics.median(rates) for name, rates in found.items()}
    stages = ("decode", "detect", "model")

    def ratio(share: str, pipeline: str, of: Callable[[list[float]], float]) -> float:
        alone = zip(*(found[f"{stage}_{share}"] for stage in stages), strict=True)
        pairs = zip(found[pipeline], alone, strict=True)
        return statistics.median(rate / of(list(rates)) for rate, rates in pairs)

    def possible(rates: list[float]) -> float:
        return 1 / sum(1 / rate for rate in rates)

    figures["share_to_slowest"] = ratio("share", "predict_share", min)
    figures["busy_share"] = ratio("share", "predict_whole", possible) / cores
    figures["predict_to_torch"] = statistics.median(
        own / torch
        for own, torch in zip(found["predict_whole"], found["predict_torch"], strict=True)
    )
    for pipeline in ("predict_here", "predict_whole"):
        figures[f"{pipeline}_to_slowest"] = ratio("whole", pipeline, min)
        figures[f"{pipeline}_to_possible"] = ratio("whole", pipeline, possible)
    return figures


def main() -> None:
    """Measure, print, and write the figures where that is asked for."""
    parser = argparse.ArgumentParser(description="Measure the start and the rate of prediction.")
    parser.add_argument(
        "--pictures",
        type=int,
        default=160,
        help="portraits of each format; the first and the last two batches are not counted",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="mobilenetv2_100", help="of timm, random weights")
    parser.add_argument("--photographs", type=Path, help="folder of yours to measure as well")
    parser.add_argument("--folder", type=Path, default=Path("artifacts/bench/portraits"))
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args()
    if options.pictures < 3 * BATCH_SIZE:  # they come twice, and four batches are not counted
        parser.error(f"--pictures must be at least {3 * BATCH_SIZE}, got {options.pictures}")
    pictures = write_portraits(options.folder, options.pictures)
    if options.photographs:
        names = find_pictures(options.photographs).names[: options.pictures]
        if len(names) < 3 * BATCH_SIZE:
            parser.error(f"{options.photographs} must hold at least {3 * BATCH_SIZE} pictures")
        pictures["photographs"] = [options.photographs / name for name in names]
    results: dict[str, object] = {
        "machine": describe_machine(),
        "model": options.model,
        "pictures": options.pictures,
    }
    with tempfile.TemporaryDirectory() as space:
        run = make_run(Path(space) / "run", options.model)
        export(run, pictures["png"][:BATCH_SIZE])
        parts = {"cold": measure_cold(run, pictures["png"][0], options.rounds)}
        for kind, paths in pictures.items():
            parts[kind] = measure_rates(run, paths, options.rounds)
    print(f"{results['machine']}; {options.model}; {options.pictures} portraits of 1024 px")
    for part, figures in parts.items():
        print(f"\n{part}")
        for name, value in figures.items():
            print(f"  {name:<44} {value:10.2f}")
    if options.json:
        options.json.write_text(json.dumps({**results, **parts}, indent=2) + "\n")


if __name__ == "__main__":
    main()
