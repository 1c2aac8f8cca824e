"""What a training epoch costs beside its arithmetic, and against timm's training.

    make bench-train    or    .venv/bin/python -m benchmarks.training.run [--rounds 5] [--quick]

All sides run in turns; a ratio is the median over rounds of two times of the same round. ``one
batch`` is the same training step over one batch that lies ready on the device.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu.chips import find_chip
from benchmarks.machine import describe_machine
from benchmarks.training.sides import (
    Side,
    draw_crops,
    our_sides,
    plain_steps,
    timm_side,
    write_pictures,
)
from roi_cls.base.machine import keep_all_memory
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.models.device import FORMATS, Backend, choose_backend
from roi_cls.classifier.models.timm_model import create_model
from roi_cls.classifier.training.settle import fastest_format


@dataclass(frozen=True, slots=True)
class Case:
    """A model at a size."""

    model: str
    size_px: int
    batch: int
    steps: int
    """In an epoch."""


def time_in_turns(sides: Mapping[str, Side], rounds: int, device: torch.device) -> dict[str, Any]:
    """Return the seconds of each side's epochs, after one that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(-1, rounds):
        order = list(sides) if turn % 2 == 0 else list(reversed(list(sides)))
        for name in order:
            begin = time.perf_counter()
            sides[name]()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if turn >= 0:
                times[name].append(time.perf_counter() - begin)
    return times


def ratio(times: Mapping[str, list[float]], one: str, other: str) -> float:
    """Return how many times as long one side takes as the other."""
    return statistics.median(a / b for a, b in zip(times[one], times[other], strict=True))


def measure_epochs(case: Case, backend: Backend, rounds: int, workers: int) -> dict[str, Any]:
    """Return times of an epoch on each side, and their ratios to ours."""
    config = TrainConfig(model=case.model, weights="none", batch_size=case.batch)
    crops = draw_crops(case.batch * case.steps, case.size_px)
    sides = our_sides(config, crops, backend, case.batch)
    with tempfile.TemporaryDirectory() as space:
        write_pictures(crops, Path(space))
        with timm_side(
            case.model, case.size_px, Path(space), backend, case.batch, workers
        ) as timm_epoch:
            times = time_in_turns({**sides, "timm's training": timm_epoch}, rounds, backend.device)
    return {
        "images_per_second": {
            name: len(crops.labels) / statistics.median(each) for name, each in times.items()
        },
        "epoch_to_one_batch": ratio(times, "roi-cls", "one batch"),
        "crop_by_crop_to_one_batch": ratio(times, "crop by crop", "one batch"),
        "timm_to_epoch": ratio(times, "timm's training", "roi-cls"),
        "spread": max(times["one batch"]) / min(times["one batch"]),
    }


def measure_formats(case: Case, device: torch.device, rounds: int) -> dict[str, float]:
    """Return steps per second of number formats and orders of axes, relative to fp32's."""
    names = ("fp32", "bf16")
    sides = {
        f"{name}{' channels last' if last else ''}": plain_steps(
            case.model,
            case.size_px,
            Backend(device, FORMATS[name]),
            case.batch,
            max(1, case.steps // 4),
            channels_last=last,
        )
        for name in names
        for last in (False, True)
    }
    times = time_in_turns(sides, rounds, device)
    return {name: ratio(times, "fp32", name) for name in sides}


def count_flops(case: Case) -> int:
    """Return the operations of one forward and backward pass over a picture."""
    model = create_model(case.model, "none", 2, case.size_px, 0.2, None)
    with FlopCounterMode(display=False) as counter:
        model(torch.randn(2, 3, case.size_px, case.size_px)).sum().backward()
    return int(counter.get_total_flops()) // 2


def measure(case: Case, device: torch.device, rounds: int, workers: int) -> dict[str, Any]:
    """Return all figures of a case."""
    model = create_model(case.model, "none", 2, case.size_px, 0.2, None).to(device)
    sample = torch.randn(case.batch, 3, case.size_px, case.size_px, device=device)
    backend = Backend(device, fastest_format(model, sample, device))
    print(f"{case.model}, {case.size_px} px, {backend.name} …", file=sys.stderr)
    figures = measure_epochs(case, backend, rounds, workers)
    figures["flops_per_second"] = count_flops(case) * figures["images_per_second"]["roi-cls"]
    peak = find_peak(backend)
    if peak is not None:
        figures["share_of_peak"] = figures["flops_per_second"] / peak
    return {
        "model": case.model,
        "size_px": case.size_px,
        "batch": case.batch,
        "backend": backend.name,
        **figures,
        "formats_to_fp32": measure_formats(case, device, rounds),
    }


def find_peak(backend: Backend) -> float | None:
    """Return the most FLOP/s that the chip can do in 16 bits; None: unknown, or in 32 bits."""
    if backend.device.type != "cuda" or backend.format == torch.float32:
        return None
    chip = find_chip(backend.name)
    return chip.flops if chip else None


def render(results: Mapping[str, Any]) -> str:
    """Return the figures as Markdown."""
    cases = results["cases"]
    heads = [f"{case['model']}, {case['size_px']} px, {case['backend']}" for case in cases]
    rows = [
        ("an epoch : the same steps on one batch", "epoch_to_one_batch", "{:.3f}"),
        (
            "changed crop by crop : one batch",
            "crop_by_crop_to_one_batch",
            "{:.3f}",
        ),
        ("timm's training : ours, time", "timm_to_epoch", "{:.2f}"),
        ("slowest : fastest epoch on one batch (noise)", "spread", "{:.2f}"),
        ("FLOP/s", "flops_per_second", "{:.2e}"),
        ("share of the chip's peak", "share_of_peak", "{:.3f}"),
    ]
    lines = ["| | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(cases)]
    for side in cases[0]["images_per_second"]:
        values = (f"{case['images_per_second'][side]:.0f}" for case in cases)
        lines.append(f"| {side}, images/s | " + " | ".join(values) + " |")
    for what, key, form in rows:
        if any(key in case for case in cases):
            values = (form.format(case[key]) if key in case else "" for case in cases)
            lines.append(f"| {what} | " + " | ".join(values) + " |")
    for name in cases[0]["formats_to_fp32"]:
        values = (f"{case['formats_to_fp32'][name]:.2f}" for case in cases)
        lines.append(f"| speed in {name} : fp32 | " + " | ".join(values) + " |")
    note = f"{results['machine']}; {results['threads']} threads; {results['rounds']} rounds"
    return "\n".join([note, "", *lines])


def choose_cases(device: torch.device, *, is_quick: bool) -> list[Case]:
    """Return what is measured on a device."""
    if is_quick:
        return [Case("test_efficientnet", 32, 4, 3)]
    if device.type == "cuda":
        return [Case("efficientnet_b0", 224, 256, 40), Case("convnext_tiny", 224, 256, 20)]
    return [Case("test_efficientnet", 112, 32, 24), Case("mobilenetv2_100", 224, 32, 6)]


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table, and write it as JSON where that is asked for."""
    parser = argparse.ArgumentParser(description="Measure what a training epoch costs.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", type=int, default=2, help="processes of timm's loader")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--quick", action="store_true", help="a tiny case in one round, as a test")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args(arguments)
    keep_all_memory()
    device = choose_backend(options.device).device
    rounds = 1 if options.quick else options.rounds
    cases = choose_cases(device, is_quick=options.quick)
    results = {
        "machine": describe_machine(),
        "threads": torch.get_num_threads(),
        "rounds": rounds,
        "cases": [measure(case, device, rounds, options.workers) for case in cases],
    }
    print(render(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
