"""Cut the crops of a row again: from the picture and its row alone, without detector or recipe."""

from __future__ import annotations

import hashlib

from roi_cls.base.errors import CacheError
from roi_cls.cache.record import CropRecord
from roi_cls.roi import CropParams
from roi_cls.roi.crop import cut_crops
from roi_cls.roi.image import Image, read_bytes
from roi_cls.roi.image_header import MAX_PIXELS
from roi_cls.roi.picture import Picture


def recut(record: CropRecord, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Return the crops of an ok row, (N, size_px, size_px, 3) RGB uint8, as they were cut.

    Bit for bit, by the version of roi-cls that wrote the row.

    Raises:
        CacheError: The picture is no longer what it was.
        ImageReadError: It cannot be read.
        ValueError: The row has no crop.
    """
    if record.status != "ok" or record.size_px is None:
        raise ValueError(f"there is no crop of {record.path}: {record.error or record.reason}")
    data = read_bytes(record.path)
    if hashlib.sha256(data).hexdigest() != record.sha256:
        raise CacheError(
            f"Cannot make the crop of {str(record.path)!r} again: the file has changed "
            "meanwhile. Run the command once more."
        )
    # Of a recipe, only these three say how a region becomes a crop.
    style = CropParams.from_dict(
        {
            **CropParams().to_dict(),
            "size_px": record.size_px,
            "border": record.border,
            "resampling": record.resampling,
        }
    )
    return cut_crops(Picture(data, record.path, max_pixels=max_pixels), record.cuts, style)
