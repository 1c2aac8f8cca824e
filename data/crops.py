"""The crops of many samples as one array: decoded once, held as uint8."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roi_cls.cache import CropRecord, CropResult
from roi_cls.cache.build import build_crops
from roi_cls.cache.builder import DetectorOpener
from roi_cls.cache.engine import open_builder
from roi_cls.cache.options import BuildOptions
from roi_cls.data.labels import LabelSet
from roi_cls.data.sample import Sample
from roi_cls.errors import DataError
from roi_cls.roi import CropParams


@dataclass(frozen=True, slots=True, eq=False)
class CropArray:
    """Crops with their labels and rows; index i means the same picture in all three."""

    pixels: NDArray[np.uint8]
    """(N, size_px, size_px, 3) RGB."""
    labels: NDArray[np.int64]
    """(N,) index of each picture's class."""
    records: tuple[CropRecord, ...]
    """N ok rows."""

    def __len__(self) -> int:
        return len(self.records)


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


def load_crops(
    samples: Sequence[Sample],
    records: Iterable[CropRecord],
    labels: LabelSet,
    params: CropParams,
    open_detector: DetectorOpener,
    options: BuildOptions,
) -> CropArray:
    """Return the crops of the samples that have one; rows in error are left to the caller to tell.

    Raises:
        DataError: A sample has no label, or no sample has a crop.
        CacheError: A picture changed since its row was made.
    """
    pairs = list(zip(samples, records, strict=True))
    check_cropped([record for _, record in pairs])
    usable = [(sample, record) for sample, record in pairs if record.status == "ok"]
    indices = [_label_index(sample, labels) for sample, _ in usable]
    pixels = np.empty((len(usable), params.size_px, params.size_px, 3), np.uint8)
    with open_builder(params, open_detector, options) as builder:
        for i, (_, record) in enumerate(usable):
            pixels[i] = builder.load(record)[0]
    return CropArray(pixels, np.array(indices, np.int64), tuple(r for _, r in usable))


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
