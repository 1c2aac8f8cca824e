"""The crop stage alone, for Python code: pictures in, square cuts of faces out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from roi_cls.base.location import as_path
from roi_cls.cache import CropRecord
from roi_cls.cache.build import build_crops
from roi_cls.cache.builder import open_builder
from roi_cls.cache.options import BuildOptions
from roi_cls.cache.record import CropStatus
from roi_cls.classifier.inference.cropping import CropOpener, crop_ahead, open_cropping
from roi_cls.python.pictures import PictureLike, as_sources, optional_path
from roi_cls.roi import CropParams
from roi_cls.roi.crop import Crops
from roi_cls.roi.image import Image
from roi_cls.roi.image_header import MAX_PIXELS
from roi_cls.roi.recipe import open_recipe

_AHEAD = 16
"""Pictures that are cropped beyond the one asked for, at most; each holds its crops alone."""


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

    @property
    def pixels(self) -> Image | None:
        """The first cut, (size_px, size_px, 3) RGB uint8; None where there is none."""
        return None if self.crops is None else self.crops[0]

    @property
    def box(self) -> tuple[float, float, float, float] | None:
        """The first face that was cut; None where the frame was."""
        return self.boxes[0] if self.boxes else None


def crop_faces(
    pictures: Iterable[PictureLike],
    params: CropParams | None = None,
    *,
    cache: str | Path | None = None,
    workers: int | None = 0,
    max_pixels: int = MAX_PIXELS,
    detector_model: str | Path | None = None,
) -> Iterator[FaceCrop]:
    """Yield one result per picture, in order, as they are asked for; an unreadable one is a row.

    Args:
        pictures: Paths, bytes of files, or (height, width, 3) RGB uint8 arrays; a generator, too.
        params: How crops are cut; None: as the defaults say.
        cache: Folder of the crop cache, where what was cropped before is found again. It is keyed
            by file, so it takes paths alone. None: nothing is kept or looked up.
        workers: Processes that decode and detect; 0: this one; None: one per core if worth it.
        max_pixels: Larger pictures are refused.
        detector_model: The face detector's file or folder, if not the known ones.

    Raises:
        ValueError: A picture is given as nothing that it can be.
        DetectorModelError: The face detector is not to be had.
        CacheError, StorageError: The cache cannot be used.
    """
    recipe = params or CropParams()
    model = optional_path(detector_model)
    if cache is None:
        opener = partial(open_cropping, (recipe,), model, (), max_pixels)
        return _crop(pictures, opener, workers)
    options = BuildOptions(as_path(str(cache)), workers, max_pixels)
    return _crop_cached(_paths(pictures), recipe, model, options)


def _crop(
    pictures: Iterable[PictureLike], opener: CropOpener, workers: int | None
) -> Iterator[FaceCrop]:
    sources = as_sources(pictures)
    with (
        opener() as crop,
        contextlib.closing(crop_ahead(sources, crop, opener, workers, _AHEAD)) as found,
    ):
        for source, crops in found:
            if isinstance(crops, str):
                yield FaceCrop(source.path, "error", crops)
            else:
                yield _of_crops(source.path, crops[0])


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


def _of_crops(path: str, crops: Crops) -> FaceCrop:
    plan = crops.plan
    cut = plan.cuts[0] if plan.cuts else None
    return FaceCrop(
        path,
        "ok" if cut else "skipped",
        source=plan.source,
        reason=plan.reason,
        boxes=tuple(cut.face.box.xyxy for cut in plan.cuts if cut.face),
        face_score=plan.best_score,
        faces=plan.faces,
        crops=crops.pixels if cut else None,
    )


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
    )
