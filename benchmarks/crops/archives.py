"""Crops of the same pictures as files, in a zip, in a tar, in a tar.gz and in a Parquet table.

    python -m benchmarks.crops.archives [--pictures N] [--size PX] [--workers N] [--rounds N]

All sides run in turns, in one call, each with an empty cache and then again, unchanged. Small
pictures, since of large ones reading is a smaller part. What is counted is the processor's time, of
all processes, of the best round: other work on the machine only adds to it.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import tarfile
import tempfile
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import cv2
import pyarrow
from pyarrow import parquet

from benchmarks.portraits import JPEG_QUALITY, draw_portrait
from roi_cls.cache.build import build_crops
from roi_cls.cache.options import BuildOptions
from roi_cls.data.archives import find_members
from roi_cls.roi import CropParams
from roi_cls.roi.image import read_bytes
from roi_cls.roi.recipe import OpenedRecipe, open_recipe

DRAWN = 50
"""Different portraits; more pictures are these with other noise, since drawing takes long."""
SETTLE_S = 2.5  # a file as new as this is not trusted to stay as it is


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description="Compare archives with files.")
    parser.add_argument("--pictures", type=int, default=500, help="how many")
    parser.add_argument("--size", type=int, default=256, help="side of a picture in pixels")
    parser.add_argument("--workers", type=int, default=0, help="processes; 0: this one")
    parser.add_argument("--rounds", type=int, default=3, help="how often each side runs")
    options = parser.parse_args()
    recipe = open_recipe(CropParams())
    with tempfile.TemporaryDirectory() as folder:
        sides = write_sides(Path(folder), dict(draw(options.pictures, options.size)))
        time.sleep(SETTLE_S)
        costs: dict[str, list[tuple[float, ...]]] = defaultdict(list)
        for _ in range(options.rounds):
            for name, source in sides.items():
                with tempfile.TemporaryDirectory() as cache:
                    how = BuildOptions(Path(cache), options.workers)
                    reading = measure(source, lambda paths: all(map(read_bytes, paths)))
                    new = measure(source, partial(crop, recipe, how))
                    known = measure(source, partial(crop, recipe, how))
                    costs[name].append((reading, new, known))
    sys.stdout.write(render(costs, options.pictures))


def draw(count: int, size_px: int) -> Iterator[tuple[str, bytes]]:
    """Yield names and JPEGs, each different."""
    portraits = [
        cv2.resize(draw_portrait(i), (size_px, size_px), interpolation=cv2.INTER_AREA)
        for i in range(min(DRAWN, count))
    ]
    for i in range(count):
        image = portraits[i % DRAWN].copy()
        image[0, : 8 * 32 : 8] ^= 255 * ((i >> 5) & 1)
        image[-1, i % size_px] ^= 255
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        data = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))[1].tobytes()
        yield f"{i:06d}.jpg", data + b"%d" % i  # bytes after a JPEG's end change no pixel


def write_sides(folder: Path, pictures: Mapping[str, bytes]) -> dict[str, Path]:
    """Write the pictures in every form; return where each lies."""
    sides = {name: folder / name for name in ("files", "a.zip", "a.tar", "a.tar.gz", "a.parquet")}
    sides["files"].mkdir()
    for name, data in pictures.items():
        (sides["files"] / name).write_bytes(data)
    with zipfile.ZipFile(sides["a.zip"], "w") as packed:
        for name, data in pictures.items():
            packed.writestr(name, data)
    write_tar(sides["a.tar"], pictures)
    write_tar(sides["a.tar.gz"], pictures)
    column = pyarrow.array([{"bytes": data, "path": name} for name, data in pictures.items()])
    parquet.write_table(pyarrow.table({"image": column}), sides["a.parquet"], row_group_size=100)
    return sides


def write_tar(path: Path, pictures: Mapping[str, bytes]) -> None:
    """Write a tar archive, compressed where its name says so."""
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        for name, data in pictures.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def measure(source: Path, work: Callable[[Sequence[Path]], object]) -> float:
    """Return the processor's milliseconds per picture, listing them included."""
    start = processor_s()
    if source.is_dir():
        paths = sorted(source.iterdir())
    else:
        paths = [source / name for name in find_members(source).names]
    work(paths)
    return 1000 * (processor_s() - start) / len(paths)


def crop(recipe: OpenedRecipe, how: BuildOptions, paths: Sequence[Path]) -> None:
    """Crop the pictures; exit where one is in error."""
    for one in build_crops(paths, recipe.params, recipe.open_detector, how):
        if one.record.status == "error":
            sys.exit(f"A picture is in error: {one.record.error}")


def processor_s() -> float:
    """Return the processor's seconds, of this process and of those that have ended below it."""
    return time.process_time() + sum(os.times()[2:4])


def render(costs: Mapping[str, Sequence[tuple[float, ...]]], pictures: int) -> str:
    """Return the best rounds as a Markdown table, and their ratios to those of files."""
    best = {
        name: [min(column) for column in zip(*rounds, strict=True)]
        for name, rounds in costs.items()
    }
    lines = [
        f"{pictures} pictures; milliseconds of one core per picture, and ratios to files.",
        "",
        "| | reading alone | | new | | unchanged | |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, row in best.items():
        cells = [f"{ms:.2f} | {ms / base:.2f}" for ms, base in zip(row, best["files"], strict=True)]
        lines.append(f"| {name.removeprefix('a.')} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
