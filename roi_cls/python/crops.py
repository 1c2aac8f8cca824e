"""The crop stage alone, for Python code: pictures in, square cuts of faces out."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from markupsafe import Markup

from roi_cls.base.location import as_path
from roi_cls.cache import CropRecord
from roi_cls.cache.build import build_crops
from roi_cls.cache.builder import open_builder
from roi_cls.cache.options import BuildOptions
from roi_cls.cache.record import CropStatus, ok_record
from roi_cls.classifier.inference.cropping import CropOpener, Refusal, crop_ahead, open_cropping
from roi_cls.classifier.inference.prediction import Prediction
from roi_cls.python.display import (
    RowList,
    Rows,
    Sheet,
    beside_html,
    block_html,
    decode_jpeg,
    encode_jpeg,
    muted_html,
    path_html,
    picture_html,
    show_progress,
)
from roi_cls.python.pictures import PictureLike, as_sources, optional_path
from roi_cls.roi import CropParams
from roi_cls.roi.crop import Crops
from roi_cls.roi.image import Image
from roi_cls.roi.image_header import MAX_PIXELS
from roi_cls.roi.recipe import open_recipe

_AHEAD = 16
"""Pictures that are cropped beyond the one asked for, at most; each holds its crops alone."""
_MOST_FACES = 6
"""Of a picture, in a notebook."""
_ON_SHEET_PX = 160
"""Side of a crop on a page of them."""


@dataclass(frozen=True, slots=True, eq=False)
class FaceCrop:
    """What was cut out of one picture, or why nothing was."""

    path: str
    """As the picture was given; ``X[3]`` for an array or bytes."""
    status: CropStatus
    """``ok``, ``error``, or ``skipped``: no face, and the recipe has no substitute."""
    error: str | None = None
    """Why there is no crop."""
    source: str | None = None
    """What was cut: ``face`` or ``full_frame``."""
    reason: str | None = None
    """Why no face: ``no_face``, ``low_score`` or ``too_small``."""
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    """The faces that were cut, as left, top, right, bottom in pixels of the upright picture."""
    face_score: float | None = None
    """The detector's confidence in the first face, or in the best one it refused; 0 to 1."""
    faces: int = 0
    """How many faces met the recipe's thresholds."""
    crops: Image | None = None
    """(cuts, size_px, size_px, 3) RGB uint8: one cut, or with ``face="all"`` one of each face."""
    record: CropRecord | None = field(default=None, repr=False)
    """The same as the crop stage writes it down."""

    @property
    def pixels(self) -> Image | None:
        """The first cut, (size_px, size_px, 3) RGB uint8; None where there is none."""
        return None if self.crops is None else self.crops[0]

    @property
    def box(self) -> tuple[float, float, float, float] | None:
        """The first face that was cut; None where the frame was."""
        return self.boxes[0] if self.boxes else None

    @property
    def summary(self) -> str:
        """What was cut, or why nothing was, in a few words."""
        from roi_cls.console.words import looked_at_text  # typer comes with it

        told = Prediction(
            self.path,
            self.status,
            source=self.source,
            reason=self.reason,
            box=self.box,
            face_score=self.face_score,
            faces=self.faces,
            damaged=self.record.damaged if self.record else None,
            color_profile=self.record.color_profile if self.record else None,
        )
        return self.error or looked_at_text(told) or self.status

    def __repr__(self) -> str:
        return f"<{self.path}: {self.summary}>"

    def _repr_html_(self) -> str:
        words = block_html(path_html(self.path), muted_html(self.summary))
        return str(beside_html(_thumbnails(self, 96), words))


def _thumbnails(crop: FaceCrop, side_px: int) -> Markup:
    pixels = () if crop.crops is None else crop.crops[:_MOST_FACES]
    each = (picture_html(encode_jpeg(one, 2 * side_px), "crop", side_px) for one in pixels)
    return Markup(" ").join(each)


class FaceCropList(RowList[FaceCrop]):
    """Crops of pictures, in the order of these."""

    HEAD: ClassVar = ("crop", "picture", "status", "what was cut")
    NOUN: ClassVar = "picture"

    def cells(self, row: FaceCrop) -> Sequence[object]:
        """Return what stands in a row of the table."""
        return _thumbnails(row, 48), path_html(row.path), row.status, row.summary

    def contact_sheet(self, limit: int = 120) -> Sheet:
        """Return a page of at most ``limit`` crops, the doubtful ones first."""
        return _draw_sheet(self, limit)


class FaceCropRows(Rows[FaceCrop]):
    """Crops as they are asked for, picture by picture; none is kept."""

    def __init__(self, rows: Iterator[FaceCrop]) -> None:
        super().__init__(rows, FaceCropList)

    def collect(self) -> FaceCropList:
        """Return all that are still to come."""
        return FaceCropList(self)

    def contact_sheet(self, limit: int = 120) -> Sheet:
        """Crop all that is still to come, and return a page of it: see ``FaceCropList``."""
        return _draw_sheet(self, limit)


def _draw_sheet(crops: Iterable[FaceCrop], limit: int) -> Sheet:
    from roi_cls.drawing.sheet import draw_contact_sheet

    # Which are shown is known at the end: until then each is held as it will be seen.
    held: dict[int, list[bytes]] = {}
    records = []
    for crop in crops:
        if crop.record is not None:
            records.append(crop.record)
            pixels = () if crop.crops is None else crop.crops
            held[id(crop.record)] = [encode_jpeg(one, _ON_SHEET_PX) for one in pixels]

    def load(record: CropRecord) -> Image:
        return np.stack([decode_jpeg(data) for data in held[id(record)]])

    return Sheet(draw_contact_sheet(records, load, "What is cut", limit=limit)[0])


def crop_faces(
    pictures: Iterable[PictureLike],
    params: CropParams | None = None,
    *,
    cache: str | Path | None = None,
    workers: int | None = 0,
    max_pixels: int = MAX_PIXELS,
    detector_model: str | Path | None = None,
    verbose: bool = False,
) -> FaceCropRows:
    """Return one result per picture, in order, as they are asked for; an unreadable one is a row.

    ``crop_faces(paths).contact_sheet()`` shows them on one page, ``.collect()`` keeps them.

    Args:
        pictures: Paths, bytes of files, or (height, width, 3) RGB uint8 arrays; a generator, too.
        params: How crops are cut; None: as the defaults say.
        cache: Folder of the crop cache, where what was cropped before is found again. It is keyed
            by file, so it takes paths alone. None: nothing is kept or looked up.
        workers: Processes that decode and detect; 0: this one; None: one per core if worth it.
        max_pixels: Larger pictures are refused.
        detector_model: The face detector's file or folder, if not the known ones.
        verbose: Show progress.

    Raises:
        ValueError: A picture is given as nothing that it can be.
        DetectorModelError: The face detector is not to be had.
        CacheError, StorageError: The cache cannot be used.
    """
    recipe = params or CropParams()
    model = optional_path(detector_model)
    if cache is None:
        opener = partial(open_cropping, (recipe,), model, (), max_pixels)
        rows = _crop(pictures, recipe, opener, workers)
    else:
        options = BuildOptions(as_path(str(cache)), workers, max_pixels)
        rows = _crop_cached(_paths(pictures), recipe, model, options)
    if verbose:
        rows = show_progress(rows, "Cropping", operator.length_hint(pictures) or None)
    return FaceCropRows(rows)


def _crop(
    pictures: Iterable[PictureLike],
    recipe: CropParams,
    opener: CropOpener,
    workers: int | None,
) -> Iterator[FaceCrop]:
    sources = as_sources(pictures)
    with (
        opener() as crop,
        contextlib.closing(crop_ahead(sources, crop, opener, workers, _AHEAD)) as found,
    ):
        for source, crops in found:
            path = as_path(source.path)
            if isinstance(crops, Refusal):
                record = CropRecord(path, "error", crops.error, damaged=crops.damaged)
                yield _of_record(record, None)
            else:
                yield _of_crops(path, crops[0], recipe)


def _crop_cached(
    paths: list[Path], params: CropParams, model: Path | None, options: BuildOptions
) -> Iterator[FaceCrop]:
    recipe = open_recipe(params, model)
    with open_builder(recipe.params, recipe.open_detector, options) as builder:
        for result in build_crops(paths, recipe.params, recipe.open_detector, options):
            record = result.record
            yield _of_record(record, builder.load(record) if record.status == "ok" else None)


def _paths(pictures: Iterable[PictureLike]) -> list[Path]:
    sources = list(as_sources(pictures))
    for source in sources:
        if source.data is not None or source.image is not None:
            raise ValueError(
                f"{source.path} is no path, and the crop cache is keyed by file. "
                "Give paths, or leave cache out."
            )
    return [as_path(source.path) for source in sources]


def _of_crops(path: Path, crops: Crops, recipe: CropParams) -> FaceCrop:
    record = ok_record(path, "", crops.detection, crops.plan, recipe)
    pixels = crops.pixels if record.status == "ok" else None
    return _of_record(replace(record, sha256=None), pixels)  # an array has no file to tell of


def _of_record(record: CropRecord, crops: Image | None) -> FaceCrop:
    return FaceCrop(
        str(record.path),
        record.status,
        record.error,
        record.source,
        record.reason,
        tuple(cut.face.box.xyxy for cut in record.cuts if cut.face),
        record.face_score,
        record.faces,
        crops,
        record,
    )
