"""Crop many pictures, in input order: what is known is looked up, the rest goes to an engine.

What one call did is counted row by row.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, get_args

from roi_cls.base.closing import Closing
from roi_cls.base.pool import WorkerPool, in_worker
from roi_cls.cache.builder import CropWork, open_work
from roi_cls.cache.database import AT_ONCE
from roi_cls.cache.index import CropIndex, find_index
from roi_cls.cache.options import BuildOptions
from roi_cls.cache.record import CropRecord, CropResult, read_stamp
from roi_cls.cache.store import CropStore
from roi_cls.roi import CropParams
from roi_cls.roi.crop import DetectorOpener
from roi_cls.roi.face import Step
from roi_cls.roi.image_header import MAX_PIXELS


def build_crops(
    paths: Sequence[Path],
    params: CropParams,
    open_detector: DetectorOpener,
    options: BuildOptions,
) -> Iterator[CropResult]:
    """Yield one result per path, in order; what the cache holds is not done again.

    Memory does not grow with the number of pictures: they are taken block by block.

    Args:
        paths: Pictures; none is left out, an unreadable one gives a row with its error.
        params: The recipe.
        open_detector: Makes a detector in whichever process needs one; picklable.
        options: Cache folder, engine, processes, limits.

    Raises:
        CacheError, StorageError, DetectorModelError: The run cannot go on; finished crops are kept.
    """
    store = CropStore(options.cache, params)
    with (
        store.share(),
        CropIndex(find_index(options.cache, options.shard), params) as index,
        open_engine(params, open_detector, options) as engine,
    ):
        store.mark_used()
        for start in range(0, len(paths), engine.block):
            block = paths[start : start + engine.block]
            rows = find_rows(block, index, store, options.max_pixels)
            unknown = [path for path, row in zip(block, rows, strict=True) if row is None]
            results = engine.map(unknown)
            for row in rows:
                if row is not None:
                    yield CropResult(row)
                else:
                    result = next(results)
                    index.remember(result)
                    yield result


def find_rows(
    paths: Sequence[Path], index: CropIndex, store: CropStore, max_pixels: int = MAX_PIXELS
) -> list[CropRecord | None]:
    """Return the row of each unchanged file whose crop is kept, without reading the files."""
    rows: list[CropRecord | None] = [None] * len(paths)
    stamped = [(i, stamp) for i, path in enumerate(paths) if (stamp := read_stamp(path))]
    for start in range(0, len(stamped), AT_ONCE):
        part = stamped[start : start + AT_ONCE]
        found = index.find([paths[i] for i, _ in part], [stamp for _, stamp in part])
        for (i, _), row in zip(part, found, strict=True):
            if row is not None and _is_kept(row, store, max_pixels):
                rows[i] = row
    return rows


def _is_kept(row: CropRecord, store: CropStore, max_pixels: int) -> bool:
    if (row.height or 0) * (row.width or 0) > max_pixels:  # to be refused, as a new one would be
        return False
    return row.status == "skipped" or (row.sha256 is not None and store.has_crop(row.sha256))


@contextlib.contextmanager
def open_engine(
    params: CropParams, open_detector: DetectorOpener, options: BuildOptions
) -> Iterator[CropEngine]:
    """Give the engine that the options name; its processes end with the block."""
    make_work = partial(open_work, params, open_detector, options)
    if options.engine == "ray":
        from roi_cls.cache.ray_engine import open_ray

        with open_ray(
            partial(in_worker, make_work),
            partial(died, params.digest),
            options.cache,
            address=options.address,
            workers=options.workers,
        ) as engine:
            yield engine
        return
    with LocalEngine(make_work, params.digest, options) as local:
        yield local


class CropEngine(Protocol):
    """Crops pictures somewhere."""

    block: int
    """Pictures to be given at once, at most."""

    def map(self, paths: Sequence[Path]) -> Iterator[CropResult]:
        """Yield the result of each picture, in order."""


class LocalEngine(Closing):
    """This process, or worker processes that are started when first needed and then kept."""

    block = 8192

    def __init__(
        self, make_work: Callable[[], CropWork], recipe: str, options: BuildOptions
    ) -> None:
        self._make_work = make_work
        self._recipe = recipe
        self._options = options
        self._stack = contextlib.ExitStack()
        self._pool: WorkerPool[Path, CropResult] | None = None
        self._work: Callable[[Path], CropResult] | None = None

    def map(self, paths: Sequence[Path]) -> Iterator[CropResult]:
        """Yield the result of each picture, in order."""
        workers = self._options.worker_count(len(paths))
        if self._pool is None and workers:
            make_work = partial(in_worker, self._make_work)
            self._pool = WorkerPool(workers, make_work, partial(died, self._recipe))
            self._stack.callback(self._pool.close)
        if self._pool is not None:
            return self._pool.map(paths)
        if self._work is None:
            self._work = self._stack.enter_context(self._make_work())
        return map(self._work, paths)

    def close(self) -> None:
        """End the processes."""
        self._stack.close()


def died(recipe: str, path: Path, exit_code: int | None) -> CropResult:
    """Return the row of a picture during which a worker process ended."""
    return CropResult(CropRecord(path, "error", tell_death(str(path), exit_code), recipe=recipe))


def tell_death(path: str, exit_code: int | None) -> str:
    """Return what happened to a picture during which a worker process ended."""
    remedy = "The picture may be made to crash decoders; remove it or convert it to PNG."
    if exit_code == -9:  # SIGKILL, which no decoder sends
        remedy = "Memory may have run out: run again with fewer --workers."
    return (
        f"Cannot crop {path!r}: the process that decoded it died (exit code {exit_code}). {remedy}"
    )


@dataclass(slots=True)
class CropSummary:
    """Counts over one call; ``add`` takes each result."""

    images: int = 0
    errors: int = 0
    skipped: int = 0
    """Pictures without a face, where the recipe has no substitute."""
    damaged: int = 0
    """Pictures that are not whole: in error, or read in part where the recipe says so."""
    detected: int = 0
    """Pictures on which the detector really ran."""
    cropped: int = 0
    """Pictures from which a crop was really cut."""
    reused: int = 0
    """Pictures for which the cache held everything."""
    sources: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    """The last step the detector needed, now or when the picture was first seen."""
    started: float = field(default_factory=time.monotonic)

    def add(self, result: CropResult) -> None:
        """Count one result."""
        record = result.record
        self.images += 1
        self.errors += record.status == "error"
        self.skipped += record.status == "skipped"
        self.damaged += record.damaged is not None
        self.detected += result.detected
        self.cropped += result.cropped
        self.reused += record.status != "error" and not (result.detected or result.cropped)
        if record.source:
            self.sources[record.source] += 1
        if record.reason:
            self.reasons[record.reason] += 1
        if record.step:
            self.steps[record.step] += 1

    def to_dict(self) -> dict[str, Any]:
        """Return the fields of ``roi-cls crops --json``."""
        seconds = time.monotonic() - self.started
        return {
            "images": self.images,
            "face": self.sources["face"],
            "full_frame": self.sources["full_frame"],
            "reasons": dict(sorted(self.reasons.items())),
            "errors": self.errors,
            "skipped": self.skipped,
            "damaged": self.damaged,
            "steps": {step: self.steps[step] for step in get_args(Step) if self.steps[step]},
            "detected": self.detected,
            "cropped": self.cropped,
            "reused": self.reused,
            "seconds": round(seconds, 3),
            "images_per_second": round(self.images / seconds, 1) if seconds else 0.0,
        }
