"""Crop many pictures, in input order: what is known is looked up, the rest goes to an engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from roi_cls.cache.builder import DetectorOpener
from roi_cls.cache.engine import open_engine
from roi_cls.cache.index import AT_ONCE, CropIndex, find_index
from roi_cls.cache.lease import share
from roi_cls.cache.options import BuildOptions
from roi_cls.cache.record import CropRecord, CropResult
from roi_cls.cache.stamp import read_stamp
from roi_cls.cache.store import FORMAT, CropStore
from roi_cls.roi import CropParams
from roi_cls.roi.image_header import MAX_PIXELS


def build_crops(
    paths: Sequence[Path],
    params: CropParams,
    open_detector: DetectorOpener,
    options: BuildOptions,
) -> Iterator[CropResult]:
    """Yield one result per path, in order; what the cache holds is not done again.

    Memory does not grow with the number of pictures: they are taken block by block.

    Args:
        paths: Pictures; none is left out, an unreadable one gives a row with its error.
        params: The recipe.
        open_detector: Makes a detector in whichever process needs one; picklable.
        options: Cache folder, engine, processes, limits.

    Raises:
        CacheError, StorageError, DetectorModelError: The run cannot go on; finished crops are kept.
    """
    with (
        share(options.cache / FORMAT, (params.digest, params.detector_digest)),
        CropIndex(find_index(options.cache, options.shard), params) as index,
        open_engine(params, open_detector, options) as engine,
    ):
        store = CropStore(options.cache, params)
        store.mark_used()
        for start in range(0, len(paths), engine.block):
            block = paths[start : start + engine.block]
            rows = find_rows(block, index, store, options.max_pixels)
            unknown = [path for path, row in zip(block, rows, strict=True) if row is None]
            results = engine.map(unknown)
            for row in rows:
                if row is not None:
                    yield CropResult(row)
                else:
                    result = next(results)
                    index.remember(result)
                    yield result


def find_rows(
    paths: Sequence[Path], index: CropIndex, store: CropStore, max_pixels: int = MAX_PIXELS
) -> list[CropRecord | None]:
    """Return the row of each unchanged file whose crop is kept, without reading the files."""
    rows: list[CropRecord | None] = [None] * len(paths)
    stamped = [(i, stamp) for i, path in enumerate(paths) if (stamp := read_stamp(path))]
    for start in range(0, len(stamped), AT_ONCE):
        part = stamped[start : start + AT_ONCE]
        found = index.find([paths[i] for i, _ in part], [stamp for _, stamp in part])
        for (i, _), row in zip(part, found, strict=True):
            if row is not None and _is_kept(row, store, max_pixels):
                rows[i] = row
    return rows


def _is_kept(row: CropRecord, store: CropStore, max_pixels: int) -> bool:
    if (row.height or 0) * (row.width or 0) > max_pixels:  # to be refused, as a new one would be
        return False
    return row.status == "skipped" or (row.sha256 is not None and store.has_crop(row.sha256))
