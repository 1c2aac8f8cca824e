"""The work behind ``roi-cls crops show``: one picture, its faces and its crop, on one page."""

from __future__ import annotations

import hashlib
from pathlib import Path

from roi_cls.base.errors import NoFaceError
from roi_cls.base.location import as_path
from roi_cls.cache.record import ok_record
from roi_cls.drawn_file import check_drawing_path, write_drawing
from roi_cls.inputs import check_not_input
from roi_cls.roi import CropParams
from roi_cls.roi.crop import make_crops
from roi_cls.roi.image import read_bytes
from roi_cls.roi.picture import Picture
from roi_cls.roi.recipe import open_recipe
from roi_cls.show_words import caption
from roi_cls.showing import draw_crop_view


def view_crop(
    picture: str, params: CropParams, output: Path, detector_model: Path | None, max_pixels: int
) -> str:
    """Draw the view to ``output``; return what it shows, in words.

    Raises:
        ImageReadError: The picture cannot be read.
        NoFaceError: There is no face, and the recipe makes that an error.
        CacheError: The view's suffix names no format.
        StorageError: The view cannot be written.
    """
    path = as_path(picture)
    check_drawing_path(output, "view")
    check_not_input(output, [path])
    recipe = open_recipe(params, detector_model)
    params = recipe.params
    data = read_bytes(path)
    source = Picture(data, path, max_pixels=max_pixels)
    try:
        with recipe.open_detector() as detector:
            crops = make_crops(source, params, detector)
    except NoFaceError as error:
        raise NoFaceError(f"Cannot crop {picture!r}: {error}") from error
    sha256 = hashlib.sha256(data).hexdigest()
    record = ok_record(path, sha256, crops.detection, crops.plan, params)
    view = draw_crop_view(source.pixels(), record, crops.detection, crops.pixels, params)
    write_drawing(output, view)
    lines = [*caption(record, crops.detection, params), f"Drawn to {output}"]
    return "\n".join(lines)
