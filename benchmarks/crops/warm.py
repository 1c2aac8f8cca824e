"""How fast unchanged pictures are known again, and in how much memory.

    .venv/bin/python -m benchmarks.crops.warm [--pictures 100000] [--json FILE]

The limit is looking at every file once (stat), in the same run. The pictures are links to some
hundred drawn faces, so that every row has a face with its keypoints.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import time
from pathlib import Path

import cv2

from benchmarks.machine import describe_machine
from roi_cls.cache.build import build_crops
from roi_cls.cache.options import BuildOptions
from roi_cls.data.demo.picture import draw_picture
from roi_cls.roi import CropParams
from roi_cls.roi.recipe import open_recipe

FACES = 500
ROUNDS = 5


def make_pictures(folder: Path, count: int) -> list[Path]:
    """Write the faces and link them under so many names, unless they are there."""
    (folder / "faces").mkdir(parents=True, exist_ok=True)
    (folder / "links").mkdir(exist_ok=True)
    faces = [folder / "faces" / f"{i:04}.jpg" for i in range(FACES)]
    for i, path in enumerate(faces):
        if not path.exists():
            picture = cv2.cvtColor(draw_picture(1, i, None), cv2.COLOR_RGB2BGR)
            cv2.imwrite(str(path), cv2.resize(picture, (320, 224), interpolation=cv2.INTER_AREA))
    links = [folder / "links" / f"{i:07}.jpg" for i in range(count)]
    for i, link in enumerate(links):
        if not link.exists():
            os.link(faces[i % FACES], link)
    return links


def peak_mb() -> float:
    """Return the largest memory this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def main() -> None:
    """Crop, look again in turns with stat, print the figures."""
    parser = argparse.ArgumentParser(description="Measure how fast known pictures are known again.")
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=Path("artifacts/bench/warm"))
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args()
    paths = make_pictures(options.folder, options.pictures)
    recipe = open_recipe(CropParams(size_px=64))
    params, open_detector = recipe.params, recipe.open_detector
    build = BuildOptions(options.folder / "cache")
    before = peak_mb()
    for _ in build_crops(paths, params, open_detector, build):
        pass
    rates, stats = [], []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        for path in paths:
            os.stat(path)
        stats.append(len(paths) / (time.perf_counter() - begin))
        begin = time.perf_counter()
        results = build_crops(paths, params, open_detector, build)
        known = sum(not (r.cropped or r.detected) and r.record.status == "ok" for r in results)
        rates.append(len(paths) / (time.perf_counter() - begin))
        if known != len(paths):
            raise RuntimeError(f"{len(paths) - known} pictures were not known")
    figures = {
        "machine": describe_machine(),
        "pictures": len(paths),
        "known_per_second": statistics.median(rates),
        "stat_per_second": statistics.median(stats),
        "memory_mb": peak_mb() - before,
    }
    for name, value in figures.items():
        print(f"{name:<18} {value if isinstance(value, str) else round(value, 1)}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
