"""How fast pictures become crops: ratios to decoding alone, a plain loop, and autocrop.

    .venv/bin/python -m benchmarks.crops.speed [--pictures 400] [--rounds 3] [--real FOLDER]

All sides run in turns on the same machine and the same pictures, read from the page cache. A rate
is counted after a side's processes have started; what starting costs is told apart.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from benchmarks.machine import describe_machine
from benchmarks.portraits import SIDE_PX, write_portraits, write_real
from roi_cls.base.machine import keep_freed_memory
from roi_cls.base.pool import WorkerPool
from roi_cls.cache.build import build_crops
from roi_cls.cache.options import BuildOptions
from roi_cls.roi import CropParams
from roi_cls.roi.detection.models import resolve_models
from roi_cls.roi.recipe import open_recipe

STARTED_AFTER = 48
"""Pictures after which every process of a side is at work."""
LEAST_PICTURES = 4 * STARTED_AFTER
"""Results come in bursts, in the order of the pictures: the rate of fewer says little."""


@dataclass(frozen=True, slots=True)
class Timing:
    """One side in one round."""

    per_second: float
    """Pictures, once started."""
    start_s: float
    """From the call to the first pictures, less their share of the work."""


def time_results(results: Iterable[object], count: int) -> Timing:
    """Return the rate at which results come, after ``STARTED_AFTER`` of them."""
    begin = started = end = time.perf_counter()
    done = 0
    for _ in results:
        end = time.perf_counter()  # of the last result, before processes are ended
        done += 1
        if done == STARTED_AFTER:
            started = end
    if done != count:
        raise RuntimeError(f"{done} results for {count} pictures")
    rate = (count - STARTED_AFTER) / (end - started)
    return Timing(rate, max(0.0, started - begin - STARTED_AFTER / rate))


def decode(path: Path) -> int:
    """Decode one picture in full, as the limit; return its height."""
    picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR_RGB)
    if picture is None:
        raise RuntimeError(f"cannot decode {path}")
    return int(picture.shape[0])


@contextmanager
def _decoding(keeps_memory: bool) -> Iterator[Callable[[Path], int]]:
    cv2.setNumThreads(1)
    if keeps_memory:
        keep_freed_memory()
    yield decode


def decode_alone(paths: list[Path], workers: int, keeps_memory: bool) -> Timing:
    """Read and decode every picture in so many processes.

    Args:
        paths: Pictures.
        workers: Processes.
        keeps_memory: With the allocator set as our own processes set it; else as it comes.
    """
    make_work = partial(_decoding, keeps_memory)
    pool: WorkerPool[Path, int] = WorkerPool(workers, make_work, lambda path, code: 0)
    try:
        return time_results(pool.map(paths), len(paths))
    finally:
        pool.close()


def crop_cold(paths: list[Path], workers: int, params: CropParams, space: Path) -> Timing:
    """Crop every picture into an empty cache."""
    recipe = open_recipe(params)
    params, open_detector = recipe.params, recipe.open_detector
    options = BuildOptions(Path(tempfile.mkdtemp(dir=space)), workers)
    return time_results(build_crops(paths, params, open_detector, options), len(paths))


def plain_loop(paths: list[Path], space: Path) -> Timing:
    """Decode, detect, resize, save as PNG; one picture after the other in one process."""
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    (model,) = resolve_models("short")
    options = vision.FaceDetectorOptions(
        base_options=BaseOptions(model_asset_buffer=model.path.read_bytes())
    )

    def crop(detector: vision.FaceDetector, path: Path, folder: Path) -> bool:
        picture = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=picture)
        found = detector.detect(image).detections
        if found:
            box = found[0].bounding_box
            left, top = max(0, box.origin_x), max(0, box.origin_y)
            picture = picture[top : top + box.height, left : left + box.width]
        crop = cv2.resize(picture, (224, 224), interpolation=cv2.INTER_AREA)
        return cv2.imwrite(str(folder / f"{path.stem}.png"), cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))

    folder = Path(tempfile.mkdtemp(dir=space))
    with vision.FaceDetector.create_from_options(options) as detector:
        return time_results((crop(detector, path, folder) for path in paths), len(paths))


def autocrop(paths: list[Path]) -> float | None:
    """Return pictures per second of autocrop's command; None: it is not installed.

    Since version 2 it takes one picture: its start is paid for each, as its users pay it.
    """
    command = shutil.which("autocrop")
    if command is None:
        return None
    few = paths[:24]
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        for path in few:
            arguments = [str(path), "-o", folder, "-w", "224", "-H", "224"]
            # Exit code 1 or so where it finds no face: that is an answer, too.
            subprocess.run([command, *arguments], capture_output=True, stdin=subprocess.DEVNULL)
        return len(few) / (time.perf_counter() - begin)


def measure(paths: list[Path], rounds: int, workers: int, space: Path) -> dict[str, float]:
    """Return the rates and ratios of one format; ratios are medians over rounds.

    Nothing in ``space`` is deleted meanwhile: for a minute ext4 looks at every inode that became
    free, and creating a file then takes 0.6 ms in place of 0.02.
    """
    params = CropParams()
    sides: dict[str, Callable[[], Timing]] = {
        "decode": partial(decode_alone, paths, workers, False),
        "decode_tuned": partial(decode_alone, paths, workers, True),
        "cold": partial(crop_cold, paths, workers, params, space),
        "plain": partial(plain_loop, paths, space),
    }
    timings: dict[str, list[Timing]] = {name: [] for name in sides}
    for turn in range(rounds):
        order = list(sides) if turn % 2 == 0 else list(reversed(sides))
        for name in order:
            timings[name].append(sides[name]())
            print(f"  {name:<13} {timings[name][-1].per_second:8.1f} pictures/s", file=sys.stderr)

    def ratio(one: str, other: str) -> float:
        pairs = zip(timings[one], timings[other], strict=True)
        return statistics.median(a.per_second / b.per_second for a, b in pairs)

    rates = {
        f"{name}_per_second": statistics.median(t.per_second for t in values)
        for name, values in timings.items()
    }
    starts = {
        f"{name}_start_s": statistics.median(t.start_s for t in values)
        for name, values in timings.items()
    }
    other = autocrop(paths)
    return {
        **rates,
        **starts,
        "cold_to_decode": ratio("cold", "decode"),
        "cold_to_decode_tuned": ratio("cold", "decode_tuned"),
        "cold_to_plain": ratio("cold", "plain"),
        **({} if other is None else {"autocrop_per_second": other}),
    }


def measure_formats(
    portraits: dict[str, list[Path]], rounds: int, workers: int, space: Path
) -> dict[str, dict[str, float]]:
    """Return what ``measure`` says of each format, and print it."""
    results = {}
    for kind, paths in portraits.items():
        print(f"{kind}:", file=sys.stderr)
        results[kind] = measure(paths, rounds, workers, space)
        print(f"\n{kind}, {len(paths)} portraits of {SIDE_PX} px; {workers} processes")
        for name, value in results[kind].items():
            print(f"  {name:<20} {value:10.2f}")
    return results


def main() -> None:
    """Measure both formats, print the figures, and write them as JSON where that is asked for."""
    parser = argparse.ArgumentParser(description="Compare cropping with decoding and a plain loop.")
    parser.add_argument("--pictures", type=int, default=400, help="portraits of each format")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="processes of each side but plain")
    parser.add_argument("--folder", type=Path, default=Path("artifacts/bench/portraits"))
    parser.add_argument("--real", type=Path, help="folder of real portraits, measured, too")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args()
    sets = {"drawn": write_portraits(options.folder, options.pictures)}
    if options.real:
        sets["real"] = write_real(options.real, options.folder / "real", options.pictures)
    counts = {name: len(portraits["png"]) for name, portraits in sets.items()}
    for name, count in counts.items():
        if count < LEAST_PICTURES:
            parser.error(f"{count} {name} portraits are too few; give at least {LEAST_PICTURES}")
    machine = describe_machine()
    print(machine)
    with tempfile.TemporaryDirectory() as space:
        results = {
            name: {
                "pictures": counts[name],
                "formats": measure_formats(portraits, options.rounds, options.workers, Path(space)),
            }
            for name, portraits in sets.items()
        }
    if options.json:
        facts = {"machine": machine, "workers": options.workers}
        figures = facts | results.pop("drawn") | results  # of the real ones, under their name
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    # Workers import what they are to do: of this module by its name, not of the program.
    from benchmarks.crops import speed

    speed.main()
