"""Data sets in archives, one or many, or in several folders: pictures, stated labels, parts.

A source is an archive (``photos.zip``, a folder in it), or a pattern of archives and folders
(``shards/train-{0000..0099}.tar``). Opens no picture.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from roi_cls.base.errors import DataError, ImageReadError
from roi_cls.data.sample import Sample, SplitName, label_name
from roi_cls.data.table import SPLIT_NAMES, first_five
from roi_cls.data.walk import (
    PICTURE_SUFFIXES,
    Found,
    find_pictures,
    list_passed_over,
    sort_out,
    telling_unlisted,
)
from roi_cls.roi.archives.archive import key_of
from roi_cls.roi.archives.opening import find_place, list_members, read_stated_labels
from roi_cls.roi.archives.pattern import fixed_folder, is_pattern, match_pattern
from roi_cls.roi.image import read_head

ReadLabels = Callable[[Path, Sequence[str]], Sequence[Sample]]
"""Reads labels and parts off paths below a folder, which messages name; a sample for each."""
_COMPANIONS = (".cls", ".json", ".txt")  # that a sample of WebDataset has beside its picture
_ENDS_NAME = re.compile(r"[-_.\s]")


@dataclass(frozen=True, slots=True)
class Members:
    """The pictures of an archive, or of a folder in it."""

    names: Sequence[str]
    """Paths in it, in its order, with / between their parts."""
    fault: str | None = None
    """Why the archive is not whole, as a message."""
    passed_over: Counter[str] = field(default_factory=Counter)
    """How often what else is in it, as of a folder: see ``Found``."""

    def paths(self, source: Path) -> Iterator[str]:
        """Yield the pictures; of an archive that is not whole, the archive itself comes last.

        Read as a picture, it says what is wrong with it.
        """
        for name in self.names:
            yield str(source / name)
        if self.fault is not None:
            place = find_place(source)
            yield str(place.archive if place else source)


def holds_members(source: Path) -> bool:
    """Whether a path leads to an archive or to a folder in one, and not to a member."""
    place = find_place(source)
    return place is not None and (not place.name or bool(list_members(place).names))


def is_member(path: Path) -> bool:
    """Whether a path leads into an archive, to no folder there: to a member, or to nothing."""
    return find_place(path) is not None and not holds_members(path)


def find_members(
    source: Path, also: Sequence[str] = (), is_also: Callable[[bytes], bool] = lambda head: False
) -> Members:
    """Return the pictures in an archive, or in a folder of it, in its order.

    They are known, and others passed over, as in folders; but the text that belongs to a picture
    by its name, such as its label, is not counted. Of a table every row is a picture.

    Args:
        source: The archive, or the folder in it.
        also: Endings of other members that are wanted.
        is_also: Whether a member is wanted that begins so, of those whose ending says nothing.

    Raises:
        DataError: There is none, though the archive is whole.
    """
    place = find_place(source)
    if place is None:
        raise ValueError(f"{str(source)!r} is in no archive")
    listing = list_members(place)
    if place.archive.suffix.lower() == ".parquet":
        found = Found(list(listing.names))
    else:
        keys = {key_of(name) for name in listing.names if name.lower().endswith(PICTURE_SUFFIXES)}
        alone = [
            name
            for name in listing.names
            if not (name.lower().endswith(_COMPANIONS) and key_of(name) in keys)
        ]
        heads = partial(_read_heads, source)
        found = sort_out(alone, str(source), heads, also, is_also)
        order = {name: i for i, name in enumerate(listing.names)}
        found.names.sort(key=order.__getitem__)
    if found.names or listing.fault:
        return Members(found.names, listing.fault, found.passed_over)
    kinds = list_passed_over(found.passed_over)
    holds = f"it holds no picture, but {kinds}" if kinds else "it holds no files"
    raise DataError(f"Cannot find pictures in {str(source)!r}: {holds}. Give one with pictures.")


def _read_heads(source: Path, names: Sequence[str], size: int) -> list[bytes | None]:
    """Return the first bytes of members; None where they cannot be read, which their rows tell."""
    heads: list[bytes | None] = []
    for name in names:
        try:
            heads.append(read_head(source / name, size))
        except ImageReadError:
            heads.append(None)
    return heads


def lies_in_archives(source: Path) -> bool:
    """Whether a data set is an archive, a folder in one, or a pattern of archives and folders.

    Raises:
        DataError: A remote place cannot be looked at.
    """
    with telling_unlisted(source):
        return find_place(source) is not None or is_pattern(str(source))


def source_root(source: Path) -> Path:
    """Return the folder that the paths of such a data set are relative to."""
    return fixed_folder(source) if is_pattern(str(source)) else source


def collect_archived(
    source: Path,
    label_names: Mapping[str, str] | None,
    read: ReadLabels,
    *,
    labelled: bool,
) -> tuple[tuple[Sample, ...], Counter[str]]:
    """Return the pictures of a data set that ``lies_in_archives``, in their order; and the rest.

    The rest is how often what else is there: see ``Found``.

    Labels are those that the archives state themselves (a table's column of classes, WebDataset's
    ``key.cls``), else they are read off the paths within. Archives of a pattern whose names begin
    with train, validation or test are these parts, where there are two at least.

    Args:
        source: The data set.
        label_names: Stated label to class name.
        read: For labels that are not stated.
        labelled: Whether a label is required where others are stated.

    Raises:
        DataError: There are no pictures, an archive is missing or not whole, or no labels.
    """
    held, passed_over = _list_held(source)
    stated = [_stated_labels(one) for one in held]
    inner = [name for one in held for name in one.names]
    if any(stated):
        samples = _label(source, held, stated, label_names or {}, labelled=labelled)
    else:
        top = _common_top(inner)
        if labelled:
            _check_own_tops(source, held, top)
        samples = list(read(source / top, [name.removeprefix(top) for name in inner]))
    parts = _parts(source, held)
    places = [(one, name) for one in held for name in one.names]
    placed = (
        replace(sample, path=one.path / name, split=sample.split or parts.get(one.path))
        for sample, (one, name) in zip(samples, places, strict=True)
    )
    return tuple(placed), passed_over


@dataclass(frozen=True, slots=True)
class _Held:
    path: Path
    """Of an archive or a folder."""
    names: Sequence[str]
    """Of the pictures in it."""


def _list_held(source: Path) -> tuple[list[_Held], Counter[str]]:
    with telling_unlisted(source):
        paths = match_pattern(str(source)) if is_pattern(str(source)) else [source]
    if not paths:
        raise DataError(
            f"Cannot find pictures: nothing matches {str(source)!r}. Check the pattern."
        )
    held, absent = [], []
    passed_over: Counter[str] = Counter()
    for path in paths:
        if find_place(path):
            members = find_members(path)
            if members.fault:  # trained on, the rest would be missed by nobody
                raise DataError(members.fault)
            held.append(_Held(path, members.names))
            passed_over.update(members.passed_over)
        elif path.is_dir():
            found = find_pictures(path)
            held.append(_Held(path, found.names))
            passed_over.update(found.passed_over)
        else:
            absent.append(str(path))
    if absent:
        raise DataError(
            f"Cannot use {str(source)!r}: {len(absent)} of {len(paths)} are neither archives nor "
            f"folders: {first_five(absent)}. Correct the pattern, or bring them there."
        )
    return held, passed_over


def _stated_labels(held: _Held) -> dict[str, str]:
    place = find_place(held.path)
    try:
        return read_stated_labels(place, held.names) if place else {}
    except ImageReadError as error:  # others, off its names, would be taken instead
        raise DataError(str(error)) from error


def _label(
    source: Path,
    held: Sequence[_Held],
    stated: Sequence[Mapping[str, str]],
    label_names: Mapping[str, str],
    *,
    labelled: bool,
) -> list[Sample]:
    """Return the samples with the labels that the archives state; ``path`` is to be replaced."""
    found = [
        (str(one.path / name), label_name(labels.get(name, "")))
        for one, labels in zip(held, stated, strict=True)
        for name in one.names
    ]
    bare = [path for path, label in found if not label]
    if bare and labelled:
        raise DataError(
            f"Cannot use {str(source)!r}: {len(bare)} of {len(found)} pictures have no label where "
            f"the others have one: {first_five(bare)}. Add the labels, or take these pictures out."
        )
    return [Sample(source, label_names.get(label, label) or None) for _, label in found]


def _common_top(names: Sequence[str]) -> str:
    """Return the folders that everything was packed with, with a slash at their end; else nothing.

    They say nothing of classes where there are folders in them, and are no part of the data.
    """
    top, least = "", min(name.count("/") for name in names)
    for _ in range(least - 1):
        start = len(top)
        tops = {name[start:].partition("/")[0] for name in names}
        one = next(iter(tops))
        if len(tops) > 1 or one.lower() in SPLIT_NAMES:
            break
        top += f"{one}/"
    return top


def _check_own_tops(source: Path, held: Sequence[_Held], top: str) -> None:
    """Raise where each archive was packed with another folder: it would be taken for a class."""
    tops = [_common_top([name.removeprefix(top) for name in one.names]) for one in held]
    if len(set(tops)) == 1 or not all(tops):
        return
    first, second = (
        str(one.path / f"{top}{own}") for one, own in zip(held[:2], tops[:2], strict=True)
    )
    raise DataError(
        f"Cannot tell the labels in {str(source)!r}: each archive has a folder of its own around "
        f"all others, like {tops[0]!r} and {tops[1]!r}, and either level may be the classes. If "
        f"these folders are none, name each, as '{{{first},{second}}}'; else give a CSV with "
        "path,label."
    )


def _parts(source: Path, held: Sequence[_Held]) -> dict[Path, SplitName]:
    """Return which archives are which part of the data, by the words their names begin with."""
    parts = {}
    for one in held:
        word = _ENDS_NAME.split(os.path.basename(str(one.path)), 1)[0].lower()
        if word in SPLIT_NAMES:
            parts[one.path] = SPLIT_NAMES[word]
    if len(set(parts.values())) < 2:  # all are one part: that is all there is, to be divided
        return {}
    outside = [str(one.path) for one in held if one.path not in parts]
    if outside:
        raise DataError(
            f"Cannot tell the parts in {str(source)!r}: beside archives called train, validation "
            f"or test there are others: {first_five(outside)}. Rename them, or leave them out."
        )
    return parts
