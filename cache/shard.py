"""A deterministic part of the pictures, for schedulers that start many runs."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Shard:
    """The ``number``-th of ``count`` parts, counted from 1.

    A picture's part follows from its path as it is named, so every picture is in exactly one part,
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
        """Whether the picture belongs to this part."""
        digest = hashlib.sha256(os.fsencode(str(path))).digest()
        return int.from_bytes(digest[:8]) % self.count == self.number - 1
