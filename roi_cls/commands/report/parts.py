"""What a report is made of: tables, figures, pictures, and what is missing. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from roi_cls.classifier.metrics.interval import Estimate

Cell = str | int | Estimate | None
"""Of a table; None is shown as a dash."""
GalleryForm = Literal["explained", "plain", "small"]
"""With what spoke for a class; without; only with what is needed in a contact sheet."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a header row; the first cell of each row names it."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    words: frozenset[int] = frozenset()
    """Columns after the first that hold words and not numbers."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure, and what it says in words and numbers."""

    name: str
    """Unlike any other's on the page."""
    title: str
    alt: str
    """What is to be seen, in a sentence."""
    svg: str
    """An ``<svg>`` element."""
    numbers: Table
    """The same as a table."""
    remark: str = ""
    """How to read it."""


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture in the page."""

    data: str
    """As a ``data:`` address."""
    alt: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Card:
    """A picture of the data with what is known of it."""

    path: str
    label: str
    answer: str
    probability: float
    """Of the answer."""
    margin: float
    """How sure the answer is."""
    kind: str
    """``right``, ``missed``, ``false_alarm`` or ``mixed_up``."""
    source: str
    """What was looked at, in words."""
    unsure: bool = False
    crop: Shot | None = None
    heats: tuple[Shot, ...] = ()
    """The crop of each view with what spoke for a class."""
    frame: Shot | None = None
    """The whole picture with the same."""
    problem: str = ""
    """Why it is not shown."""


@dataclass(frozen=True, slots=True)
class Gallery:
    """Cards under a heading."""

    name: str
    title: str
    remark: str
    cards: tuple[Card, ...]
    form: GalleryForm


@dataclass(frozen=True, slots=True)
class Missing:
    """A part that the report cannot have, why, and what to do about it."""

    text: str
    remedy: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True)
class Key:
    """A number that counts, with its interval and what it is to be compared with."""

    title: str
    estimate: Estimate
    against: str
    """What it is compared with, in words."""
    baseline: float | None = None
    """The same as a number; None: there is none to compare with."""
