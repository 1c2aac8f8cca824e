"""Crop many pictures: in input order, over several processes, with a summary of the work done."""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from roi_cls.cache.builder import CropBuilder, DetectorOpener
from roi_cls.cache.pool import WorkerPool
from roi_cls.cache.record import CropRecord, CropResult
from roi_cls.cache.store import CropCache
from roi_cls.roi import CropParams
from roi_cls.roi.params import MAX_PIXELS

WORTH_WORKERS = 64
"""Fewer pictures than this are cropped in this process: starting another takes 1 to 2 s."""


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How crops are built; nothing here changes a pixel."""

    cache: Path
    """Folder of the crop cache."""
    workers: int | None = None
    """Processes that decode and detect; 0: this one; None: one per core where it is worth it."""
    max_pixels: int = MAX_PIXELS
    """Pictures with more pixels are refused before they are decoded."""

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 0:
            raise ValueError(f"workers must not be negative, got {self.workers}")
        if self.max_pixels < 1:
            raise ValueError(f"max_pixels must be at least 1, got {self.max_pixels}")

    def worker_count(self, pictures: int) -> int:
        """Return how many processes to use for so many pictures that are not in the cache."""
        if self.workers is not None:
            return self.workers
        return _available_cores() if pictures >= WORTH_WORKERS else 0


def build_crops(
    paths: Sequence[Path],
    params: CropParams,
    open_detector: DetectorOpener,
    options: BuildOptions,
) -> Iterator[CropResult]:
    """Yield one result per path, in order; what the cache holds is not done again.

    Args:
        paths: Pictures; none is left out, an unreadable one gives a row with its error.
        params: The recipe.
        open_detector: Makes a detector in whichever process needs one; picklable.
        options: Cache folder, processes, limits.

    Raises:
        CacheError, StorageError, DetectorModelError: The run cannot go on; finished crops are kept.
    """
    with open_builder(params, open_detector, options) as builder:
        known = {i: found for i, path in enumerate(paths) if (found := builder.find(path))}
        missing = [path for i, path in enumerate(paths) if i not in known]
        with contextlib.ExitStack() as stack:
            results = _build_missing(missing, builder, params, open_detector, options, stack)
            for i in range(len(paths)):
                yield known.pop(i) if i in known else next(results)


def _build_missing(
    paths: Sequence[Path],
    builder: CropBuilder,
    params: CropParams,
    open_detector: DetectorOpener,
    options: BuildOptions,
    stack: contextlib.ExitStack,
) -> Iterator[CropResult]:
    workers = options.worker_count(len(paths))
    if workers == 0:
        return map(builder.build, paths)
    pool: WorkerPool[Path, CropResult] = WorkerPool(
        workers,
        partial(_open_work, params, open_detector, options),
        partial(_died, params.digest),
    )
    stack.callback(pool.close)
    return pool.map(paths)


@contextlib.contextmanager
def open_builder(
    params: CropParams, open_detector: DetectorOpener, options: BuildOptions
) -> Iterator[CropBuilder]:
    """Give a builder on the cache of ``options``; both are closed at the end."""
    with (
        CropCache(options.cache) as cache,
        CropBuilder(cache, params, open_detector, options.max_pixels) as builder,
    ):
        yield builder


@contextlib.contextmanager
def _open_work(
    params: CropParams, open_detector: DetectorOpener, options: BuildOptions
) -> Iterator[Callable[[Path], CropResult]]:
    import cv2

    cv2.setNumThreads(1)  # the processes share the cores already
    with open_builder(params, open_detector, options) as builder:
        yield builder.build


def _died(recipe: str, path: Path, exit_code: int | None) -> CropResult:
    remedy = "The picture may be made to crash decoders; remove it or convert it to PNG."
    if exit_code == -9:  # SIGKILL, which no decoder sends
        remedy = "Memory may have run out: run again with fewer --workers."
    error = (
        f"Cannot crop {str(path)!r}: the process that decoded it died (exit code {exit_code}). "
        f"{remedy}"
    )
    return CropResult(CropRecord(path, "error", error, recipe=recipe))


def _available_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(slots=True)
class CropSummary:
    """Counts over one call; ``add`` takes each result."""

    images: int = 0
    errors: int = 0
    detected: int = 0
    """Pictures on which the detector really ran."""
    cropped: int = 0
    """Pictures from which a crop was really cut."""
    reused: int = 0
    """Pictures for which the cache held everything."""
    sources: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    started: float = field(default_factory=time.monotonic)

    def add(self, result: CropResult) -> None:
        """Count one result."""
        record = result.record
        self.images += 1
        self.errors += record.status == "error"
        self.detected += result.detected
        self.cropped += result.cropped
        self.reused += record.status == "ok" and not (result.detected or result.cropped)
        if record.source:
            self.sources[record.source] += 1
        if record.reason:
            self.reasons[record.reason] += 1

    def to_dict(self) -> dict[str, Any]:
        """Return the fields of ``roi-cls crops --json``."""
        seconds = time.monotonic() - self.started
        return {
            "images": self.images,
            "face": self.sources["face"],
            "full_frame": self.sources["full_frame"],
            "reasons": dict(sorted(self.reasons.items())),
            "errors": self.errors,
            "detected": self.detected,
            "cropped": self.cropped,
            "reused": self.reused,
            "seconds": round(seconds, 3),
            "images_per_second": round(self.images / seconds, 1) if seconds else 0.0,
        }
