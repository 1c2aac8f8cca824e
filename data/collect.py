"""Picture files to samples: labels off names, folders or a table.

Opens no picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from roi_cls.base.errors import DataError
from roi_cls.base.location import reaching
from roi_cls.data.archives import collect_archived, lies_in_archives, source_root
from roi_cls.data.sample import DEFAULT_LABEL_NAMES, Sample, SplitName
from roi_cls.data.table import SPLIT_NAMES, first_five, read_samples
from roi_cls.data.walk import PICTURE_SUFFIXES, find_pictures, telling_unlisted

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
        return match[1] if match else None


def collect_samples(
    source: Path, label_names: Mapping[str, str] | None = None, *, labelled: bool = True
) -> tuple[Sample, ...]:
    """Return every picture of ``source``, sorted by path; of others than folders, in their order.

    ``source`` is a CSV (see ``read_samples``), or a folder, with or without ``train``,
    ``validation``, ``test`` in it, of ``image_<index>_<label>.png`` or of one folder per class; or
    it ``lies_in_archives``, which are read as folders are, unless they state labels themselves.
    Hidden files are left out; broken links, and folders named like a picture, are kept.

    label_names: label token, folder or CSV label to class name.
    labelled: require a label; otherwise it is None where none can be read, and ``source`` may
        also be one picture.

    Raises:
        DataError: No picture, no label, or more than one way to read the labels.
    """
    if not labelled and source.suffix.lower() in PICTURE_SUFFIXES and _is_file(source):
        return (Sample(source),)
    if lies_in_archives(source):
        return _collect_archived(source, label_names, labelled=labelled)
    if check_data_set(source) == "table":
        samples = read_samples(source, label_names, labelled=labelled)
        _check_names_used(source, label_names, samples if labelled else ())
        return samples
    paths = find_pictures(source)
    if not labelled:
        return _read_leniently(source, paths, label_names)
    return _read_labels(source, paths, label_names)


def _collect_archived(
    source: Path, label_names: Mapping[str, str] | None, *, labelled: bool
) -> tuple[Sample, ...]:
    root = source_root(source)

    def read(paths: Sequence[str]) -> Sequence[Sample]:
        read_labels = _read_labels if labelled else _read_leniently
        return read_labels(root, paths, label_names)

    return collect_archived(source, label_names, read, labelled=labelled)


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


def _is_file(source: Path) -> bool:
    with telling_unlisted(source), reaching(source):
        return source.is_file()


def _read_labels(
    source: Path, paths: Sequence[str], label_names: Mapping[str, str] | None
) -> tuple[Sample, ...]:
    pictures = _part(source, paths)
    flat = [picture for picture in pictures if len(picture.parts) == 1]
    if not flat:
        samples = _read_folders(source, pictures, label_names)
        _check_names_used(source, label_names, samples)
        return samples
    if len(flat) < len(pictures):
        deep = next(picture for picture in pictures if len(picture.parts) > 1)
        raise DataError(
            f"Cannot tell the labels in {str(source)!r}: pictures lie beside folders of pictures, "
            f"like {flat[0].relative!r} and {deep.relative!r}. Give a folder that holds only one "
            "of the two, or a CSV with path,label."
        )
    return _read_names(source, flat, label_names)


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
) -> tuple[Sample, ...]:
    names = label_names or {}
    tokens = DEFAULT_LABEL_NAMES if label_names is None else label_names
    samples = []
    contrary = None  # a picture whose own name says another class than its folder
    named = True  # every picture is named like the origin's
    for picture in pictures:
        folder = picture.parts[0]
        label = names.get(folder, folder)
        samples.append(Sample(source / picture.relative, label, picture.split))
        if named:
            said = tokens.get(picture.token or "")
            named = said is not None
            if named and said != label and contrary is None:
                contrary = (picture.relative, label, said)
    if named and contrary:
        relative, label, said = contrary
        raise DataError(
            f"Cannot tell the labels in {str(source)!r}: the folder of {relative!r} says "
            f"{label!r}, its name says {said!r}. To go by the folders, name them with --labels "
            "FOLDER=NAME; to go by the names, put the pictures into one folder."
        )
    return tuple(samples)


def _read_leniently(
    source: Path, paths: Sequence[str], label_names: Mapping[str, str] | None
) -> tuple[Sample, ...]:
    try:
        return _read_labels(source, paths, label_names)
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
