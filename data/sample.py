"""One picture and what is known about it; and the names of the classes, their order and target."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

from roi_cls.base.errors import DataError

SplitName = Literal["train", "validation", "test"]
SPLIT_NAMES: tuple[SplitName, ...] = get_args(SplitName)
"""The parts in their order: of pictures that are alike in two, those of the later part count."""


MOST_LISTED = 10
"""Classes that a sentence names: nobody reads a hundred."""


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


DEFAULT_LABEL_NAMES: Mapping[str, str] = MappingProxyType({"0": "artefact", "1": "artefactless"})
"""Label token of ``image_<index>_<label>.png`` to class name, where nothing else names them."""

_EXAMPLE = "Write it like --labels 0=artefact,1=artefactless."


def label_name(given: object) -> str:
    """Return the class name of a label as people or tables give it: without blanks around it.

    Those within stay. Empty: it names no class.
    """
    return str(given).strip()


def tell_same_labels(given: Iterable[str]) -> tuple[str, ...]:
    """Return a sentence about each class that several of the given labels name."""
    spellings: defaultdict[str, list[str]] = defaultdict(list)
    for text in sorted(set(given)):
        spellings[label_name(text)].append(text)
    return tuple(
        f"warning: {' and '.join(map(repr, several))} are one class: blanks around a label do not "
        "count."
        for several in spellings.values()
        if len(several) > 1
    )


@dataclass(frozen=True, slots=True)
class LabelSet:
    """The classes of a data set; a class's index is its place in a model's output."""

    names: tuple[str, ...]
    """Class names in index order: at least two, distinct, none empty."""
    target: str
    """The class that is looked for, e.g. ``artefact``: the positive one of every metric."""
    target_reason: str = "given"
    """Why this target, for display: ``given``, or ``rarest of 2 classes: 68 of 680``."""

    def __post_init__(self) -> None:
        if len(self.names) < 2 or len(set(self.names)) != len(self.names):
            raise ValueError(f"names must be at least two distinct classes, got {self.names}")
        if not all(self.names):
            raise ValueError(f"names must not be empty, got {self.names}")
        if self.target not in self.names:
            raise ValueError(f"target must be one of {self.names}, got {self.target!r}")

    def index(self, name: str) -> int:
        """Return the place of class ``name`` in ``names``.

        Raises:
            ValueError: No class has this name.
        """
        if name not in self.names:
            raise ValueError(f"label must be one of {self.names}, got {name!r}")
        return self.names.index(name)

    @property
    def target_index(self) -> int:
        """The place of ``target`` in ``names``."""
        return self.names.index(self.target)


def parse_label_names(text: str) -> dict[str, str]:
    """Return label token to class name, read from ``0=artefact,1=artefactless``.

    Several tokens may share a name: ``0=real,1=fake,2=fake`` makes two classes of three.

    Raises:
        DataError: A part is not TOKEN=NAME, or a token is named twice.
    """
    names: dict[str, str] = {}
    for part in text.split(","):
        token, equals, name = map(label_name, part.partition("="))
        if not (token and equals and name):
            raise DataError(f"Cannot use --labels {text!r}: {part!r} is not TOKEN=NAME. {_EXAMPLE}")
        if token in names:
            raise DataError(f"Cannot use --labels {text!r}: {token!r} is named twice. {_EXAMPLE}")
        names[token] = name
    return names


def choose_labels(samples: Iterable[Sample], target: str | None = None) -> LabelSet:
    """Return the classes of ``samples`` in natural order, and the one that is looked for.

    Without ``target`` it is the rarest class of the training part, which also holds the samples
    that are not split yet; with no training part, the rarest of all.

    Raises:
        DataError: Fewer than two classes, a class with no training picture, or an unknown target.
    """
    labelled = [sample for sample in samples if sample.label is not None]
    everywhere = _count(labelled)
    names = tuple(sorted(everywhere, key=_natural))
    if len(names) < 2:
        found = f"only the class {names[0]!r}" if names else "no label"
        raise DataError(
            f"Cannot choose classes: {found} was found in {len(labelled)} labelled pictures, and "
            "a classifier needs at least two. Give the folder that holds one folder per class, "
            "train/ and test/ with image_<index>_<label>.png, or a CSV with path,label."
        )
    target = None if target is None else label_name(target)
    if target is not None and target not in everywhere:
        raise DataError(
            f"Cannot look for {target!r}: the classes are {_listing(names)}. "
            "Name one of them with --target."
        )
    training = _count(s for s in labelled if s.split in (None, "train")) or everywhere
    absent = [name for name in names if name not in training]
    if absent:
        raise DataError(
            f"Cannot learn {_listing(absent)}: no training picture has this label, the training "
            f"part has {_listing(sorted(training, key=_natural))}. Spell the classes alike in "
            "every part, or add training pictures."
        )
    if target is not None:
        return LabelSet(names, target)
    return _rarest(names, training)


def check_same_labels(expected: LabelSet, samples: Iterable[Sample]) -> None:
    """Return if every label of ``samples`` is one of ``expected``; unlabelled samples pass.

    Raises:
        DataError: A label is not among the run's classes.
    """
    seen = sorted(_count(samples), key=_natural)
    strange = [name for name in seen if name not in expected.names]
    if strange:
        # No polarity is proposed: a copied guess would turn every number upside down.
        example = ",".join(f"{name}=CLASS" for name in strange[:5])
        raise DataError(
            f"Cannot compare labels: the pictures are labelled {_listing(seen)}, the model knows "
            f"{_listing(expected.names)}. Give the data that belong to this model, or say which "
            f"class is which with --labels, like --labels {example}."
        )


def _rarest(names: tuple[str, ...], counts: Mapping[str, int]) -> LabelSet:
    fewest = min(counts.values())
    rarest = [name for name in names if counts[name] == fewest]
    share = f"{fewest} of {sum(counts.values())}"
    if len(rarest) == 1:
        return LabelSet(names, rarest[0], f"rarest of {len(names)} classes: {share}")
    # A tie has no right answer, so the reason must show that the name's order decided.
    reason = f"first by name of {len(rarest)} equally rare classes: {share} each"
    return LabelSet(names, rarest[0], reason)


def _count(samples: Iterable[Sample]) -> Counter[str]:
    return Counter(sample.label for sample in samples if sample.label is not None)


def _natural(name: str) -> tuple[list[tuple[int, str]], str]:
    # Digits compare by length, then value: "9" before "10", and no int() of endless digits.
    pieces = re.split(r"([0-9]+)", name.casefold())
    key = [
        (len(piece.lstrip("0")), piece.lstrip("0")) if i % 2 else (0, piece)
        for i, piece in enumerate(pieces)
    ]
    return key, name


def _listing(names: Iterable[str]) -> str:
    return name_some([repr(name) for name in names])


def tell_extremes(counts: Mapping[str, int]) -> tuple[str, str]:
    """Return the smallest and the largest class, each like ``2 anna``; nothing where all are 0."""
    there = {label: count for label, count in counts.items() if count}
    if not there:
        return "", ""
    fewest, most = (pick(there, key=there.__getitem__) for pick in (min, max))
    return f"{there[fewest]} {fewest}", f"{there[most]} {most}"


def name_some(names: Sequence[str], most: int = MOST_LISTED) -> str:
    """Return the names one after another; of many the first ones, and how many more there are."""
    shown, left = ", ".join(names[:most]), len(names) - most
    return f"{shown} and {left} more" if left > 0 else shown
