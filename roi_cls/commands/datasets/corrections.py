"""The work behind ``roi-cls data import``: verdicts that people corrected become a data set."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from roi_cls.base.atomic import write_atomically
from roi_cls.base.errors import DataError, ImageReadError
from roi_cls.console.terminal import note, progress
from roi_cls.data.review import Correction, read_corrections
from roi_cls.inputs.names import check_not_input, expand_paths
from roi_cls.roi.image import hash_content


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """What came of an import."""

    output: str
    """The data set that was written."""
    pictures: int
    """Corrections whose picture was found: the rows of the data set."""
    unmatched: int
    """Corrections without a picture, and lines that hold none."""

    def text(self) -> str:
        """Return it in words."""
        missing = f", {self.unmatched} without a picture" if self.unmatched else ""
        return f"{self.pictures} corrected pictures{missing}. Written to {self.output}"


def import_corrections(review: Path, pictures: Sequence[str], output: Path) -> ImportSummary:
    """Write ``path,label`` of each corrected picture; tell what cannot be matched, one by one.

    Args:
        review: What ``roi-cls serve --review`` wrote.
        pictures: Files and folders in which the pictures are looked for.
        output: The data set, a CSV; paths in it start at its folder.

    Raises:
        DataError: The review cannot be read, or none of its pictures is found.
        StorageError: The data set cannot be written.
    """
    corrections, faults = read_corrections(review)
    paths = expand_paths(pictures)
    check_not_input(output, [review, *paths])
    found = _find_by_digest(paths, {correction.sha256 for correction in corrections})
    matched = [one for one in corrections if one.sha256 in found]
    unmatched = [one for one in corrections if one.sha256 not in found]
    for fault in faults:
        note(f"{review}: {fault}")
    for one in unmatched:
        note(f"{review}: no picture has the content of {one.name!r} (SHA-256 {one.sha256[:12]}…)")
    if not matched:
        raise DataError(
            f"Cannot make a data set of {str(review)!r}: none of its {len(corrections)} pictures "
            "lies in the folders given. Give those that hold them with --pictures."
        )
    write_atomically(output, _to_table(matched, found, output.parent), durable=True)
    return ImportSummary(str(output), len(matched), len(unmatched) + len(faults))


def _find_by_digest(paths: Sequence[Path], wanted: set[str]) -> dict[str, Path]:
    """Return the first picture of each wanted SHA-256; others are told and passed over."""
    found: dict[str, Path] = {}
    with progress("Reading") as advance:
        for done, path in enumerate(paths, 1):
            try:
                digest = hash_content(path)
            except ImageReadError as error:
                note(f"{path}: cannot be read, so it matches nothing: {error.reason}")
            else:
                if digest in wanted:
                    found.setdefault(digest, path)
            advance(done, len(paths), f"{len(found)} found")
    return found


def _to_table(matched: Sequence[Correction], found: dict[str, Path], root: Path) -> bytes:
    base = Path(os.path.abspath(root))
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("path", "label"))
    for one in matched:
        whole = Path(os.path.abspath(found[one.sha256]))
        near = whole.relative_to(base) if whole.is_relative_to(base) else whole
        writer.writerow((near.as_posix(), one.label))
    # File names need not be UTF-8; a data set with such a name is refused when it is read.
    return text.getvalue().encode("utf-8", "surrogateescape")
