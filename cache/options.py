"""How crops are built: where, by whom, within which limits. Nothing here changes a pixel."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from roi_cls.cache.shard import Shard
from roi_cls.roi.image_header import MAX_PIXELS

WORTH_WORKERS = 64
"""Fewer pictures than this are cropped in this process: starting another takes 1 to 2 s."""
EngineName = Literal["local", "ray"]


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How crops are built."""

    cache: Path
    """Folder of the crop cache."""
    workers: int | None = None
    """Processes that decode and detect; 0: this one; None: one per core where it is worth it."""
    max_pixels: int = MAX_PIXELS
    """Pictures with more pixels are refused before they are decoded."""
    engine: EngineName = "local"
    """``local``: processes on this machine; ``ray``: a Ray cluster."""
    address: str | None = None
    """Of the Ray cluster; None: one is started on this machine."""
    shard: Shard | None = None
    """The part of the pictures this run takes: it writes an index of its own."""

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 0:
            raise ValueError(f"workers must not be negative, got {self.workers}")
        if self.max_pixels < 1:
            raise ValueError(f"max_pixels must be at least 1, got {self.max_pixels}")

    def worker_count(self, pictures: int) -> int:
        """Return how many processes to use for so many pictures that are not in the cache."""
        if self.workers is not None:
            return self.workers
        return available_cores() if pictures >= WORTH_WORKERS else 0


def available_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
