"""How well near-duplicates are told from pictures that only resemble each other.

    python -m benchmarks.duplicates FOLDER... [--changed 300] [--largest 3000]

Of up to --changed pictures of a folder, changed copies are made: those are the pairs to be found.
All pairs among up to --largest of its own pictures are the ones to be left alone; the closest are
named, since some sets hold duplicates of their own. Prints Markdown: duplicates.md.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe_machine
from roi_cls.data.near import (
    HASHES,
    Fingerprint,
    find_candidates,
    find_near_duplicates,
    measure_likeness,
    take_fingerprint,
)
from roi_cls.data.walk import find_pictures
from roi_cls.roi.image import Image, read_image
from roi_cls.roi.picture import Picture

DISTANCES = (4, 6, 8, 10, 12, 14, 16)
LIKENESSES = (0.8, 0.84, 0.88, 0.9, 0.92, 0.94)
CHOSEN = 10
"""The distance of the second table's columns and of its row of pairs."""
SHOWN = 5


def _save(quality: int) -> Callable[[Image, np.random.Generator], Image]:
    def change(image: Image, _: np.random.Generator) -> Image:
        encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB), np.uint8)

    return change


def _resize(factor: float) -> Callable[[Image, np.random.Generator], Image]:
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC

    def change(image: Image, _: np.random.Generator) -> Image:
        return np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=way))

    return change


def _trim(share: float) -> Callable[[Image, np.random.Generator], Image]:
    def change(image: Image, rng: np.random.Generator) -> Image:
        height, width = (round(side * (1 - share)) for side in image.shape[:2])
        top = int(rng.integers(image.shape[0] - height + 1))
        left = int(rng.integers(image.shape[1] - width + 1))
        return np.ascontiguousarray(image[top : top + height, left : left + width])

    return change


def _light(gain: float, offset: float) -> Callable[[Image, np.random.Generator], Image]:
    return lambda image, _: np.clip(image * gain + offset, 0, 255).astype(np.uint8)


def _mark(image: Image, _: np.random.Generator) -> Image:
    height, width = image.shape[:2]
    place, thickness = (int(width * 0.6), int(height * 0.95)), max(1, width // 300)
    white = (255, 255, 255)
    font = cv2.FONT_HERSHEY_SIMPLEX
    return np.asarray(
        cv2.putText(image.copy(), "sample", place, font, width / 600, white, thickness)
    )


def _mirror(image: Image, _: np.random.Generator) -> Image:
    return np.ascontiguousarray(image[:, ::-1])


CHANGES: dict[str, Callable[[Image, np.random.Generator], Image]] = {
    "JPEG, quality 90": _save(90),
    "JPEG, quality 50": _save(50),
    "JPEG, quality 20": _save(20),
    "half the size": _resize(0.5),
    "3/4 of the size": _resize(0.75),
    "1.5 times the size": _resize(1.5),
    "trimmed by 2 %": _trim(0.02),
    "trimmed by 4 %": _trim(0.04),
    "trimmed by 8 %": _trim(0.08),
    "brighter by a fifth": _light(1.2, 10),
    "darker by a quarter": _light(0.75, -5),
    "a word in the corner": _mark,
    "mirrored": _mirror,
}


def closest(one: Fingerprint, other: Fingerprint) -> int:
    """Return the smallest distance of two pictures' hashes, as the search compares them."""
    pairs = [(one.hashes[i], other.hashes[0]) for i in range(HASHES)]
    pairs += [(one.hashes[0], other.hashes[i]) for i in range(HASHES)]
    return min(int(np.bitwise_count(a ^ b)) for a, b in pairs)


def likeness(one: Fingerprint, other: Fingerprint) -> float:
    """Return how much two pictures are alike, one of them perhaps mirrored."""
    mirrored = np.ascontiguousarray(one.grey[:, ::-1])
    return max(measure_likeness(grey, other.grey) for grey in (one.grey, mirrored))


def measure_copies(paths: Sequence[Path]) -> dict[str, NDArray[np.float64]]:
    """Return, for each change, (distance, likeness) of every picture and its changed copy."""
    rng = np.random.default_rng(0)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in CHANGES}
    for path in paths:
        image = read_image(path)
        original = take_fingerprint(Picture.of(image))
        for name, change in CHANGES.items():
            copy = take_fingerprint(Picture.of(change(image, rng)))
            found[name].append((closest(original, copy), likeness(original, copy)))
    return {name: np.array(values) for name, values in found.items()}


def measure_others(prints: Sequence[Fingerprint]) -> tuple[list[int], list[tuple[float, int, int]]]:
    """Return pairs within each distance, and (likeness, i, j) of those within ``CHOSEN``."""
    hashes = np.stack([p.hashes for p in prints])
    pairs = {(min(i, j), max(i, j)) for i, j, _ in find_candidates(hashes, DISTANCES[-1])}
    distances = {pair: closest(prints[pair[0]], prints[pair[1]]) for pair in pairs}
    counts = [sum(d <= limit for d in distances.values()) for limit in DISTANCES]
    near = [
        (likeness(prints[i], prints[j]), i, j) for (i, j), d in distances.items() if d <= CHOSEN
    ]
    return counts, sorted(near, reverse=True)


def report(folder: Path, changed: int, largest: int) -> None:
    """Measure one folder and print its tables."""
    paths = [folder / name for name in find_pictures(folder).names]
    random.Random(0).shuffle(paths)
    paths = paths[:largest]
    copies = measure_copies(paths[:changed])
    prints = [take_fingerprint(Picture.of(read_image(path))) for path in paths]
    counts, near = measure_others(prints)
    pairs = len(paths) * (len(paths) - 1) // 2
    print(f"## {folder.name}: {len(paths)} pictures, {min(changed, len(paths))} of them changed\n")
    print(
        "Share found, by the bits that hashes may differ in; pairs among the pictures themselves:\n"
    )
    _table("distance", [str(d) for d in DISTANCES])
    for name, values in copies.items():
        _row(name, [f"{100 * np.mean(values[:, 0] <= d):.0f} %" for d in DISTANCES])
    _row(f"**own pairs of {pairs}**", [str(count) for count in counts])
    print(f"\nShare found within distance {CHOSEN}, by the correlation asked for:\n")
    _table("correlation", [str(x) for x in LIKENESSES])
    for name, values in copies.items():
        hits = [(values[:, 0] <= CHOSEN) & (values[:, 1] >= x) for x in LIKENESSES]
        _row(name, [f"{100 * np.mean(hit):.0f} %" for hit in hits])
    _row(f"**own pairs of {pairs}**", [str(sum(v >= x for v, _, _ in near)) for x in LIKENESSES])
    print("\nIts own closest pairs:\n")
    for value, i, j in near[:SHOWN]:
        print(f"- {value:.3f} {paths[i].name}, {paths[j].name}")
    print()


def measure_speed(count: int) -> None:
    """Print how long unrelated pictures are compared."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, (count, HASHES), np.uint64)
    greys = rng.integers(0, 256, (count, 32, 32), np.uint8)
    prints = [Fingerprint(*pair) for pair in zip(hashes, greys, strict=True)]
    start, used = time.perf_counter(), time.process_time()
    find_near_duplicates(prints)
    seconds, used = time.perf_counter() - start, time.process_time() - used
    machine = describe_machine()
    print(
        f"{count} unrelated pictures: {seconds:.0f} s, {used:.0f} s of processor time ({machine})"
    )


def _table(first: str, columns: Sequence[str]) -> None:
    _row(first, columns)
    print("|---|" + "---:|" * len(columns))


def _row(name: str, cells: Sequence[str]) -> None:
    print(f"| {name} | " + " | ".join(cells) + " |")


def main() -> None:
    """Measure every folder, then the speed."""
    parser = argparse.ArgumentParser(description="Measure how near-duplicates are found.")
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--changed", type=int, default=300, help="pictures to change")
    parser.add_argument("--largest", type=int, default=3000, help="pictures to compare")
    options = parser.parse_args()
    for folder in options.folders:
        print(f"{folder} ...", file=sys.stderr)
        report(folder, options.changed, options.largest)
    measure_speed(100_000)


if __name__ == "__main__":
    main()
