"""The work behind ``roi-cls data spoil``: the defects that ``--self-blend`` trains with, to see."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from roi_cls.cache import CropRecord
from roi_cls.cache.options import BuildOptions
from roi_cls.classifier.augmentation.face_map import crop_keypoints
from roi_cls.classifier.augmentation.spoil import WAYS, SpoiledCrop, Way, spoil
from roi_cls.console.terminal import note, progress
from roi_cls.console.words import count_text
from roi_cls.data.collect import collect_data
from roi_cls.data.crops import check_cropped, crop_samples, load_pixels
from roi_cls.data.sample import Sample, choose_labels
from roi_cls.drawing.file import check_drawing_path, write_drawing
from roi_cls.drawing.ink import BLUE, INK, MUTED, SLATE
from roi_cls.drawing.page import (
    EDGE,
    TEXT_PX,
    TITLE_PX,
    Section,
    Text,
    Tile,
    draw_page,
    wrap_lines,
)
from roi_cls.roi import CropParams
from roi_cls.roi.recipe import open_recipe

_COLUMNS = 8
MOST_PICTURES = 64
"""Clean pictures that the page is made of."""


@dataclass(frozen=True, slots=True)
class SpoilJob:
    """What to spoil, how it is cut, and where the page goes."""

    source: Path
    sheet: Path
    params: CropParams
    options: BuildOptions
    label_names: dict[str, str] | None = None
    target: str | None = None
    seed: int = 0


def draw_spoiled(job: SpoilJob) -> str:
    """Draw the page; return what it shows, in words.

    Raises:
        DataError: No clean picture has a crop, or the classes cannot be read.
        StorageError: The page cannot be written.
    """
    check_drawing_path(job.sheet, "sheet")
    found = collect_data(job.source, job.label_names)
    for text in found.notes:
        note(text)
    samples = found.samples
    labels = choose_labels(samples, job.target)
    clean = [sample for sample in samples if sample.label != labels.target]
    random = np.random.default_rng(job.seed)
    chosen = sorted(random.permutation(len(clean))[:MOST_PICTURES].tolist())
    faces = _cut([clean[i] for i in chosen], job)
    title = f"Synthetic defects in pictures of {str(job.source)!r} that are not {labels.target!r}"
    write_drawing(job.sheet, _draw_sheet(faces, title, random))
    return (
        f"{job.sheet}: {count_text(len(WAYS), 'kind')} of defects in "
        f"{count_text(len(faces.records), 'picture')} that are not {labels.target!r}"
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Faces:
    """Clean crops; index i means the same picture in both."""

    pixels: NDArray[np.uint8]
    """(N, size_px, size_px, 3)."""
    records: tuple[CropRecord, ...]


def _cut(samples: list[Sample], job: SpoilJob) -> _Faces:
    view, done = open_recipe(job.params), 0
    with progress("Cropping") as advance:

        def count(_: object) -> None:
            nonlocal done
            done += 1
            advance(done, len(samples), "")

        records = crop_samples(samples, view.params, view.open_detector, job.options, count)
    check_cropped(records)
    usable = tuple(record for record in records if record.status == "ok")
    return _Faces(load_pixels(usable, view, job.options), usable)


def _draw_sheet(faces: _Faces, title: str, random: np.random.Generator) -> PillowImage.Image:
    header = wrap_lines(title, TITLE_PX)
    header += wrap_lines(
        "Training with --self-blend draws a kind by its share, and then how and where. The share "
        "of changed pixels stands beside each; where too few can be seen to change, the picture "
        "stays what it was labelled. In crops much wider than the face up to half of the defects "
        "lie anywhere in it, by the second share.",
        TEXT_PX,
        MUTED,
    )
    sections = [
        Section(_describe(way), _COLUMNS, 1, _COLUMNS, _tiles(faces, way, random)) for way in WAYS
    ]
    return draw_page([Text(header, below=EDGE // 2), *sections])


def _describe(way: Way) -> str:
    beside = f", beside {way.share_beside:.0%}" if way.share_beside else ""
    return f"{way.name} ({way.share:.0%}{beside})"


def _tiles(faces: _Faces, way: Way, random: np.random.Generator) -> Iterator[Tile]:
    pixels = faces.pixels
    for row, other in random.integers(len(faces.records), size=(_COLUMNS, 2)).tolist():
        keypoints = crop_keypoints(faces.records[row])
        yield _tile(spoil(pixels[row], keypoints, pixels[other], random, (way,)), faces, row)


def _tile(spoiled: SpoiledCrop, faces: _Faces, row: int) -> Tile:
    is_seen = bool(spoiled.mask.any())
    return Tile(
        badge="spoiled" if is_seen else "stays clean",
        figure=f"{spoiled.mask.mean():.1%}",
        colour=BLUE if is_seen else SLATE,
        lines=((faces.records[row].path.name, INK),),
        crop=spoiled.pixels,
    )
