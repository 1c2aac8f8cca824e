"""The crops of many samples as one array: decoded once, held as uint8."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roi_cls.base.errors import DataError
from roi_cls.cache import CropRecord, CropResult
from roi_cls.cache.build import build_crops
from roi_cls.cache.builder import open_builder
from roi_cls.cache.options import BuildOptions
from roi_cls.data.sample import LabelSet, Sample
from roi_cls.roi import CropParams
from roi_cls.roi.crop import DetectorOpener
from roi_cls.roi.recipe import OpenedRecipe


@dataclass(frozen=True, slots=True, eq=False)
class CropArray:
    """Crops with their labels and rows; index i means the same picture in all three."""

    pixels: NDArray[np.uint8]
    """(N, size_px, size_px, 3) RGB; with V views of each picture (N, V, size_px, size_px, 3)."""
    labels: NDArray[np.int64]
    """(N,) index of each picture's class."""
    records: tuple[CropRecord, ...]
    """N ok rows, of the first view."""

    def __len__(self) -> int:
        return len(self.records)

    @property
    def by_view(self) -> tuple[NDArray[np.uint8], ...]:
        """The pixels of each view by itself, (N, size_px, size_px, 3)."""
        if self.pixels.ndim == 4:
            return (self.pixels,)
        return tuple(self.pixels[:, view] for view in range(self.pixels.shape[1]))


def crop_samples(
    samples: Sequence[Sample],
    params: CropParams,
    open_detector: DetectorOpener,
    options: BuildOptions,
    observe: Callable[[CropResult], None] = lambda result: None,
) -> tuple[CropRecord, ...]:
    """Return the row of each sample, in order, cropping what is not in the cache yet.

    Args:
        samples: Pictures; labels are not looked at.
        params: The recipe.
        open_detector: Makes a detector, see ``build_crops``.
        options: Cache folder, processes, limits.
        observe: Called with each result as it comes, for progress and counts.
    """
    records = []
    for result in build_crops([s.path for s in samples], params, open_detector, options):
        observe(result)
        records.append(result.record)
    return tuple(records)


def crop_views(
    samples: Sequence[Sample],
    views: Sequence[OpenedRecipe],
    options: BuildOptions,
    observe: Callable[[CropResult], None] = lambda result: None,
) -> tuple[tuple[CropRecord, ...], ...]:
    """Return the rows of each view of the samples, ``[view][sample]``.

    A picture is judged by all of its views or by none: where one of them could not be cut, the
    first view's row is the one that says why.

    Args:
        samples: Pictures; labels are not looked at.
        views: The recipes; the first is the one whose rows are shown.
        options: Cache folder, processes, limits.
        observe: Called with each result, ``len(views)`` times for a picture.
    """
    rows = [
        crop_samples(samples, view.params, view.open_detector, options, observe) for view in views
    ]
    first = tuple(min(of_picture, key=_how_usable) for of_picture in zip(*rows, strict=True))
    return (first, *rows[1:])


def _how_usable(record: CropRecord) -> int:
    return {"error": 0, "skipped": 1}.get(record.status, 2)


def load_views(
    samples: Sequence[Sample],
    records: Sequence[Sequence[CropRecord]],
    labels: LabelSet,
    views: Sequence[OpenedRecipe],
    options: BuildOptions,
) -> CropArray:
    """Return the crops of the samples that have one; rows in error are left to the caller to tell.

    Args:
        samples: Labelled pictures.
        records: Rows of each view, as ``crop_views`` returns them.
        labels: The classes.
        views: The recipes, all of one size.
        options: Of the cache that holds the crops.

    Raises:
        DataError: A sample has no label, or no sample has a crop.
        CacheError: A picture changed since its row was made.
    """
    check_cropped(records[0])
    usable = [i for i, record in enumerate(records[0]) if record.status == "ok"]
    indices = np.array([_label_index(samples[i], labels) for i in usable], np.int64)
    pixels = [
        load_pixels([rows[i] for i in usable], view, options)
        for rows, view in zip(records, views, strict=True)
    ]
    joined = pixels[0] if len(pixels) == 1 else np.stack(pixels, axis=1)
    return CropArray(joined, indices, tuple(records[0][i] for i in usable))


def load_pixels(
    records: Sequence[CropRecord], view: OpenedRecipe, options: BuildOptions
) -> NDArray[np.uint8]:
    """Return the crops of ok rows of one view, (N, size_px, size_px, 3) RGB.

    Raises:
        CacheError: A picture changed since its row was made.
    """
    side = view.params.size_px
    pixels = np.empty((len(records), side, side, 3), np.uint8)
    with open_builder(view.params, view.open_detector, options) as builder:
        for i, record in enumerate(records):
            pixels[i] = builder.load(record)[0]
    return pixels


def check_cropped(records: Sequence[CropRecord]) -> None:
    """Raise ``DataError``, with the first reason, unless a row has a crop."""
    if not any(record.status == "ok" for record in records):
        first = f", first: {_why_not(records[0])}" if records else "."
        raise DataError(
            f"Cannot load crops: none of the {len(records)} pictures could be cropped{first} "
            "`roi-cls crops PATH --manifest rows.csv` lists them all."
        )


def _why_not(record: CropRecord) -> str:
    if record.status == "skipped":
        return f"{str(record.path)!r} has no face and the recipe skips such pictures."
    return str(record.error)


def _label_index(sample: Sample, labels: LabelSet) -> int:
    if sample.label is None:
        raise DataError(
            f"Cannot use {str(sample.path)!r}: it has no label. "
            "Label every picture, by its name, its folder or a CSV."
        )
    return labels.index(sample.label)
