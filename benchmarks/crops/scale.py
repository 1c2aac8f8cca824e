"""What a million and a billion pictures cost, from measured figures: the tables of docs/scale.md.

    .venv/bin/python -m benchmarks.crops.scale [--results FILE] [--size 224]

Rates come from ``results.json``: {"speed": what speed.py wrote, "warm": what warm.py wrote}. Bytes
are measured here: portraits are cropped into an empty cache, and their rows are put into an index
under many other paths, since a database of few rows says little about one of many. Everything
beyond that is a multiplication, and is told as such.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.portraits import write_portraits
from roi_cls.cache.build import build_crops
from roi_cls.cache.index import CropIndex
from roi_cls.cache.options import BuildOptions
from roi_cls.cache.record import CropResult, FileStamp
from roi_cls.roi import CropParams
from roi_cls.roi.recipe import open_recipe

ROWS = 50_000
"""Rows put into an index to measure it: with fewer, what SQLite begins with would count."""
COUNTS = {"10^6": 10**6, "10^8": 10**8, "10^9": 10**9}


@dataclass(frozen=True, slots=True)
class Bytes:
    """What one picture leaves, in bytes."""

    crop: float
    crop_on_disk: float
    """In whole blocks of this file system."""
    detection: float
    detection_on_disk: float
    row: float
    """Of the index, with its share of the tree; for paths of 64 characters."""


def measure_bytes(params: CropParams, pictures: int, folder: Path) -> Bytes:
    """Crop portraits into an empty cache and return the means of what they left."""
    paths = write_portraits(folder, pictures)["jpg"]
    recipe = open_recipe(params)
    params, open_detector = recipe.params, recipe.open_detector
    with tempfile.TemporaryDirectory() as name:
        cache = Path(name)
        results = list(build_crops(paths, params, open_detector, BuildOptions(cache, workers=0)))
        crops = list(cache.glob("*/crops/*/*/*"))
        detections = list(cache.glob("*/detections/*/*/*.json"))
        return Bytes(
            *_mean_bytes(crops), *_mean_bytes(detections), _row_bytes(results, params, cache)
        )


def _mean_bytes(files: Iterable[Path]) -> tuple[float, float]:
    """Return the mean length and the mean space taken."""
    status = [file.stat() for file in files]
    used = [getattr(one, "st_blocks", one.st_size / 512) * 512 for one in status]
    return sum(one.st_size for one in status) / len(status), sum(used) / len(status)


def _row_bytes(results: list[CropResult], params: CropParams, folder: Path) -> float:
    """Return the length of an index of ``ROWS`` pictures of unlike content, per row."""
    randomly = random.Random(0)
    path = folder / "rows.sqlite"
    with CropIndex(path, params) as index:
        for i in range(ROWS):
            record = replace(
                results[i % len(results)].record,
                path=Path(f"/data/pictures/{i // 1000:012}/{i:032}.jpg"),  # 64 characters
                sha256=randomly.randbytes(32).hex(),
            )
            stamp = FileStamp(300_000 + i, 10**18 + i, 10**18 + i)
            index.remember(CropResult(record, stamp=stamp))
    return path.stat().st_size / ROWS


def time_table(results: dict[str, dict[str, object]]) -> str:
    """Return the hours that decoding, detecting and cutting take, and looking again."""
    speed = _Figures(results["speed"])
    lines = [
        "| | pictures/s and core | core hours | on 2 cores | on 1,000 cores |",
        "|---|---:|---:|---:|---:|",
    ]
    rates = {
        f"{kind}, new": speed.number("formats", kind, "cold_per_second") / speed.number("workers")
        for kind in speed.names("formats")
    }
    for name, rate in rates.items():
        for count_name, count in COUNTS.items():
            hours = count / rate / 3600
            lines.append(
                f"| {count_name} {name} | {rate:.1f} | {hours:,.0f} | {_duration(hours / 2)} | "
                f"{_duration(hours / 1000)} |"
            )
    known = _Figures(results["warm"]).number("known_per_second")
    for count_name, count in COUNTS.items():
        hours = count / known / 3600
        lines.append(
            f"| {count_name} unchanged | {known:,.0f} | {hours:,.2f} | one process each: "
            f"{_duration(hours / 2)} | {_duration(hours / 1000)} |"
        )
    return "\n".join(lines)


def storage_table(size: Bytes) -> str:
    """Return what the crops, the detections and the index take."""
    lines = [
        f"| | per picture | on disk | {' | '.join(COUNTS)} | 10^9 in 1,000 shards |",
        f"|---|---:|---:|{'---:|' * len(COUNTS)}---:|",
    ]
    parts = {
        "crops": (size.crop, size.crop_on_disk),
        "detections": (size.detection, size.detection_on_disk),
        "index": (size.row, size.row),
    }
    lengths, spaces = zip(*parts.values(), strict=True)
    parts["together"] = (sum(lengths), sum(spaces))
    for name, (length, used) in parts.items():
        amounts = " | ".join(_amount(used * count) for count in COUNTS.values())
        lines.append(
            f"| {name} | {length:,.0f} B | {used:,.0f} B | {amounts} "
            f"| {_amount(used * 10**6)} each |"
        )
    return "\n".join(lines)


class _Figures:
    """Numbers in what a benchmark wrote, found by their names."""

    def __init__(self, values: object) -> None:
        self._values = values

    def number(self, *names: str) -> float:
        value = self._at(names)
        if not isinstance(value, int | float):
            raise SystemExit(f"No number at {'.'.join(names)} in the results: run `make bench`.")
        return float(value)

    def names(self, *names: str) -> list[str]:
        value = self._at(names)
        return list(value) if isinstance(value, dict) else []

    def _at(self, names: Iterable[str]) -> object:
        value = self._values
        for name in names:
            value = value.get(name) if isinstance(value, dict) else None
        return value


def _duration(hours: float) -> str:
    if hours >= 48:
        return f"{hours / 24:,.0f} days"
    if hours >= 1:
        return f"{hours:.1f} h"
    return f"{hours * 60:.0f} min" if hours * 60 >= 2 else f"{hours * 3600:.0f} s"


def _amount(size: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Tell what very many pictures cost.")
    parser.add_argument("--results", type=Path, default=Path("benchmarks/crops/results.json"))
    parser.add_argument("--size", type=int, default=CropParams().size_px, help="side of a crop, px")
    parser.add_argument("--pictures", type=int, default=64, help="portraits to measure bytes on")
    parser.add_argument("--folder", type=Path, default=Path("artifacts/bench/portraits"))
    options = parser.parse_args()
    params = CropParams(size_px=options.size)
    size = measure_bytes(params, options.pictures, options.folder)
    if options.results.exists():
        results = json.loads(options.results.read_text())
        print(f"{results['speed']['machine']}; portraits of 1024 px\n")
        print(time_table(results))
    else:
        print(f"No {options.results}: `make bench` writes it; storage alone follows.")
    print(f"\nCrops of {options.size} px\n\n{storage_table(size)}")


if __name__ == "__main__":
    main()
