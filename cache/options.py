"""How crops are built: where, by whom, of which part, within which limits. Changes no pixel."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from roi_cls.base.machine import available_cores
from roi_cls.roi.archives.opening import find_place
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


@dataclass(frozen=True, slots=True)
class Shard:
    """The ``number``-th of ``count`` parts, counted from 1.

    A picture's part follows from its path as it is named, that of a picture in an archive from the
    archive's, which is so read by one process alone. So every picture is in exactly one part,
    also when pictures are added while other parts run; the parts are about equal.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise ValueError(
                f"a shard is i/n with 1 <= i <= n, such as 1/8, got {self.number}/{self.count}"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the shard that ``text`` names, such as ``3/8``.

        Raises:
            ValueError: It is not of that form.
        """
        number, slash, count = text.partition("/")
        if not slash or not (number.isdecimal() and count.isdecimal()):
            raise ValueError(f"a shard is i/n with 1 <= i <= n, such as 1/8, got {text!r}")
        return cls(int(number), int(count))

    def holds(self, path: Path) -> bool:
        """Whether the picture belongs to this part; what lies in an archive goes with it."""
        place = find_place(path)
        named = place.archive if place else path
        digest = hashlib.sha256(os.fsencode(str(named))).digest()
        return int.from_bytes(digest[:8]) % self.count == self.number - 1
