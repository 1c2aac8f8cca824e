"""Picture files to samples: labels off names, folders or a table.

Opens no picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from roi_cls.base.errors import DataError
from roi_cls.base.location import reaching
from roi_cls.data.archives import collect_archived, is_member, lies_in_archives
from roi_cls.data.sample import (
    DEFAULT_LABEL_NAMES,
    Sample,
    SplitName,
    label_name,
    tell_same_labels,
)
from roi_cls.data.table import SPLIT_NAMES, first_five, read_samples
from roi_cls.data.walk import (
    PICTURE_SUFFIXES,
    find_pictures,
    tell_passed_over,
    telling_unlisted,
)

_ORIGIN_NAME = re.compile(r"image_[0-9]+_([^_]+)")  # the name without its suffix
_LAYOUTS = (
    "Name them image_<index>_<label>.png, put each class into a folder of its own, or list them "
    "in a CSV with path,label."
)


@dataclass(frozen=True, slots=True)
class _Picture:
    """One file below the source, with what the folders say about it."""

    relative: str
    """Path below the source, with / between its parts."""
    split: SplitName | None
    """From a first folder like ``train``."""
    parts: tuple[str, ...]
    """Path below the source or the part's folder: class folders, then the file's name."""

    @property
    def token(self) -> str | None:
        """The label in a name like ``image_<index>_<label>.png``."""
        match = _ORIGIN_NAME.fullmatch(self.parts[-1].rpartition(".")[0])
        return label_name(match[1]) if match else None


@dataclass(frozen=True, slots=True)
class Collected:
    """The pictures of a data set, and what is to be known of how they were found."""

    samples: tuple[Sample, ...]
    """Sorted by path; of a CSV, in the order of its rows."""
    passed_over: Mapping[str, int] = field(default_factory=dict)
    """How often what else is in the folder: see ``Found``."""
    remarks: tuple[str, ...] = ()
    """For the user, about the labels."""

    @property
    def notes(self) -> tuple[str, ...]:
        """All that the user should be told, a sentence or two each."""
        return (*tell_passed_over(self.passed_over), *self.remarks)


def collect_samples(
    source: Path, label_names: Mapping[str, str] | None = None, *, labelled: bool = True
) -> tuple[Sample, ...]:
    """Return the samples alone of ``collect_data``."""
    return collect_data(source, label_names, labelled=labelled).samples


def collect_data(
    source: Path, label_names: Mapping[str, str] | None = None, *, labelled: bool = True
) -> Collected:
    """Return every picture of ``source``, and what was passed over.

    ``source`` is a CSV (see ``read_samples``), or a folder, with or without ``train``,
    ``validation``, ``test`` in it, of ``image_<index>_<label>.png`` or of one folder per class; or
    it ``lies_in_archives``, which are read as folders are, unless they state labels themselves.
    Which files of a folder are its pictures, ``find_pictures`` says.

    label_names: label token, folder or CSV label to class name.
    labelled: require a label; otherwise it is None where none can be read, and ``source`` may
        also be one picture.

    Raises:
        DataError: No picture, no label, or more than one way to read the labels.
    """
    if not labelled and _is_picture(source):
        return Collected((Sample(source),))
    if lies_in_archives(source):
        return _collect_archived(source, label_names, labelled=labelled)
    if check_data_set(source) == "table":
        samples = read_samples(source, label_names, labelled=labelled)
        _check_names_used(source, label_names, samples if labelled else ())
        return Collected(samples)
    found = find_pictures(source)
    if not labelled:
        samples = _read_leniently(source, found.names, label_names)
        return Collected(samples, found.passed_over)
    samples, remarks = _read_labels(source, found.names, label_names)
    return Collected(samples, found.passed_over, remarks)


def _collect_archived(
    source: Path, label_names: Mapping[str, str] | None, *, labelled: bool
) -> Collected:
    remarks: list[str] = []

    def read(folder: Path, names: Sequence[str]) -> tuple[Sample, ...]:
        if not labelled:
            return _read_leniently(folder, names, label_names)
        samples, told = _read_labels(folder, names, label_names)
        remarks.extend(told)
        return samples

    samples, passed_over = collect_archived(source, label_names, read, labelled=labelled)
    return Collected(samples, passed_over, tuple(remarks))


def check_data_set(source: Path) -> Literal["folder", "table", "archives"]:
    """Return what holds the pictures, without a look into it.

    Raises:
        DataError: It is no folder, archive or CSV.
    """
    if lies_in_archives(source):
        return "archives"
    with telling_unlisted(source), reaching(source):
        if source.is_dir():
            return "folder"
        is_file = source.is_file()
        is_there = is_file or source.exists()
    if is_file and source.suffix.lower() in (".csv", ".tsv"):
        return "table"
    why = "it is no folder, archive or CSV" if is_there else "it does not exist"
    raise DataError(
        f"Cannot find pictures in {str(source)!r}: {why}. Give a folder of pictures or a CSV."
    )


def _is_picture(source: Path) -> bool:
    with telling_unlisted(source), reaching(source):
        is_file = source.suffix.lower() in PICTURE_SUFFIXES and source.is_file()
        return is_file or is_member(source)


def _read_labels(
    source: Path, paths: Sequence[str], label_names: Mapping[str, str] | None
) -> tuple[tuple[Sample, ...], tuple[str, ...]]:
    """Return the samples, and what the user should know of their labels."""
    pictures = _part(source, paths)
    flat = [picture for picture in pictures if len(picture.parts) == 1]
    if not flat:
        samples, remarks = _read_folders(source, pictures, label_names)
        _check_names_used(source, label_names, samples)
        return samples, remarks
    if len(flat) < len(pictures):
        deep = next(picture for picture in pictures if len(picture.parts) > 1)
        raise DataError(
            f"Cannot tell the labels in {str(source)!r}: pictures lie beside folders of pictures, "
            f"like {flat[0].relative!r} and {deep.relative!r}. Give a folder that holds only one "
            "of the two, or a CSV with path,label."
        )
    return _read_names(source, flat, label_names), ()


def _part(source: Path, paths: Sequence[str]) -> list[_Picture]:
    """Take off the first folder where it is ``train``, ``validation`` or ``test``."""
    split = [path.split("/") for path in paths]
    tops = {parts[0] for parts in split if len(parts) > 1}
    named = {top: SPLIT_NAMES[top.lower()] for top in tops if top.lower() in SPLIT_NAMES}
    if not named:
        _check_not_too_high(source, split)
        return [
            _Picture(path, None, tuple(parts)) for path, parts in zip(paths, split, strict=True)
        ]
    outside = [path for path, parts in zip(paths, split, strict=True) if parts[0] not in named]
    if outside:
        raise DataError(
            f"Cannot tell the parts in {str(source)!r}: beside {first_five(sorted(named))} there "
            f"are pictures in no part: {first_five(outside)}. Move them into a part or away, or "
            "give a CSV with path,label,split."
        )
    return [
        _Picture(path, named[parts[0]], tuple(parts[1:]))
        for path, parts in zip(paths, split, strict=True)
    ]


def _check_not_too_high(source: Path, split: Sequence[Sequence[str]]) -> None:
    """Raise if the one folder in ``source`` holds train/ and test/, as an unpacked archive does."""
    tops = {parts[0] for parts in split}
    inner = {parts[1].lower() for parts in split if len(parts) > 2}
    if len(tops) == 1 and inner & SPLIT_NAMES.keys():
        deeper = str(source / next(iter(tops)))
        raise DataError(
            f"Cannot read labels in {str(source)!r}: its parts lie one folder deeper. "
            f"Give {deeper!r}."
        )


def _read_names(
    source: Path, pictures: Sequence[_Picture], label_names: Mapping[str, str] | None
) -> tuple[Sample, ...]:
    bare = [picture.relative for picture in pictures if picture.token is None]
    if len(bare) == len(pictures):
        raise DataError(
            f"Cannot read labels in {str(source)!r}: no name has one: {first_five(bare)}. "
            f"{_LAYOUTS}"
        )
    if bare:
        raise DataError(
            f"Cannot read labels in {str(source)!r}: a label is missing in the name of {len(bare)} "
            f"of {len(pictures)} pictures: {first_five(bare)}. Rename them like "
            "image_<index>_<label>.png, move them away, or give a CSV with path,label."
        )
    names = DEFAULT_LABEL_NAMES if label_names is None else label_names
    unknown = sorted({picture.token for picture in pictures if picture.token} - names.keys())
    if unknown:
        example = next(p.relative for p in pictures if p.token == unknown[0])
        known = ",".join(f"{token}={name}" for token, name in names.items())
        more = ",".join(f"{token}=NAME" for token in unknown[:5])
        raise DataError(
            f"Cannot read labels in {str(source)!r}: the label {unknown[0]!r} of {example!r} is "
            f"not named; named are {known}. Name every label, e.g. --labels {known},{more}."
        )
    return tuple(
        Sample(source / picture.relative, names[picture.token or ""], picture.split)
        for picture in pictures
    )


def _read_folders(
    source: Path, pictures: Sequence[_Picture], label_names: Mapping[str, str] | None
) -> tuple[tuple[Sample, ...], tuple[str, ...]]:
    """Read the labels off the folders, which people made; the names of files may be accidents.

    Only where ``label_names`` has no folder, and what the name of every file says, it is the names
    that are meant.
    """
    names = label_names or {}
    tokens = DEFAULT_LABEL_NAMES if label_names is None else label_names
    folders = {picture.parts[0] for picture in pictures}
    for folder in folders:
        if not label_name(folder):
            raise DataError(
                f"Cannot read labels in {str(source)!r}: the folder {folder!r} has only blanks for "
                "a name. Call it as its class."
            )
    labels = {folder: label_name(folder) for folder in folders}
    by_folder = [names.get(labels[p.parts[0]], labels[p.parts[0]]) for p in pictures]
    by_name = _read_tokens(pictures, tokens)
    remarks = tell_same_labels(folders)
    if by_name is None:
        return _label(source, pictures, by_folder), remarks
    is_free = tokens.keys().isdisjoint(labels.values())
    if label_names and is_free:
        contrary = _tell_contrary(pictures, by_name, by_folder, "names of the files", "folder")
        example = ",".join(f"{folder}=CLASS" for folder in sorted(labels.values())[:5])
        other = f" To go by the folders, name these: --labels {example}."
        return _label(source, pictures, by_name), tuple(text + other for text in contrary)
    contrary = _tell_contrary(pictures, by_folder, by_name, "folders", "name")
    given = ",".join(f"{token}={name}" for token, name in tokens.items())
    way = f"give --labels {given}" if is_free else "put the pictures into one folder"
    other = f" To go by the names, {way}."
    return _label(source, pictures, by_folder), (*remarks, *(text + other for text in contrary))


def _read_tokens(pictures: Sequence[_Picture], tokens: Mapping[str, str]) -> list[str] | None:
    """Return the class that each file's name says; None where one says none."""
    found = []
    for picture in pictures:
        name = tokens.get(picture.token or "")
        if name is None:
            return None
        found.append(name)
    return found


def _label(source: Path, pictures: Sequence[_Picture], labels: Sequence[str]) -> tuple[Sample, ...]:
    return tuple(
        Sample(source / picture.relative, label, picture.split)
        for picture, label in zip(pictures, labels, strict=True)
    )


def _tell_contrary(
    pictures: Sequence[_Picture],
    taken: Sequence[str],
    left: Sequence[str],
    taken_from: str,
    left_from: str,
) -> tuple[str, ...]:
    """Return a sentence where folders and names disagree, and not just in what they call a class.

    taken, left: the labels that count and that do not, with where they are from.
    """
    pairs = set(zip(taken, left, strict=True))
    is_same = len(pairs) == len(set(taken)) == len(set(left))
    if all(a == b for a, b in pairs) or (is_same and set(taken).isdisjoint(left)):
        return ()
    places = [i for i in range(len(taken)) if taken[i] != left[i]]
    first = places[0]
    return (
        f"warning: The labels are those of the {taken_from}, but for {len(places)} of "
        f"{len(pictures)} pictures the {left_from} says otherwise: "
        f"{pictures[first].relative!r} is {taken[first]!r}, its {left_from} says {left[first]!r}.",
    )


def _read_leniently(
    source: Path, paths: Sequence[str], label_names: Mapping[str, str] | None
) -> tuple[Sample, ...]:
    try:
        return _read_labels(source, paths, label_names)[0]
    except DataError:
        # No one reading fits the whole folder; a name that follows the pattern still counts.
        names = DEFAULT_LABEL_NAMES if label_names is None else label_names
        pictures = (_Picture(path, None, tuple(path.split("/"))) for path in paths)
        return tuple(
            Sample(source / picture.relative, names.get(picture.token or ""))
            for picture in pictures
        )


def _check_names_used(
    source: Path, label_names: Mapping[str, str] | None, samples: Iterable[Sample]
) -> None:
    """Raise if ``label_names`` named no label there is: a misspelt --labels must not pass."""
    found = sorted({sample.label for sample in samples if sample.label is not None})
    if label_names and found and not set(found) & set(label_names.values()):
        raise DataError(
            f"Cannot use the given --labels in {str(source)!r}: they name "
            f"{first_five(list(label_names))}, the data have {first_five(found)}. "
            "Write the data's labels before each '=', or leave --labels out."
        )
