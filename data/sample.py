"""One picture and what is known about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SplitName = Literal["train", "validation", "test"]


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture file with its class, its part of the data, and its group, where they are known."""

    path: Path
    label: str | None = None
    """Class name, e.g. ``artefact``; None: unlabelled."""
    split: SplitName | None = None
    """The part it was given to by the data set; None: to be decided."""
    group: str | None = None
    """Pictures of one group (one person, one video) never stand on two sides of a split."""
