"""Pictures that belong to rows, in folders: the crops that were looked at, and drawn verdicts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2

from roi_cls.base.atomic import write_atomically
from roi_cls.base.errors import ImageReadError
from roi_cls.base.location import as_path
from roi_cls.classifier.inference.prediction import Looked, Source
from roi_cls.drawing.file import row_name, write_drawing
from roi_cls.roi.image import Image, decode_image, read_bytes


@dataclass(frozen=True, slots=True)
class RowPictures:
    """Where pictures of rows are kept; None: nowhere."""

    crops: Path | None
    drawings: Path | None
    max_pixels: int

    def keep(self, number: int, source: Source, looked: Looked, shown: int, target: str) -> None:
        """Write the pictures of a row; one in error has none.

        Args:
            number: Of the row, from 1.
            source: What was looked at.
            looked: What was seen.
            shown: Index of the view that the row tells of.
            target: The class that is looked for.

        Raises:
            StorageError: They cannot be written.
        """
        if looked.views is None:
            return
        name = row_name(number, looked.prediction)
        if self.crops:
            order = [shown, *(i for i in range(len(looked.views)) if i != shown)]
            for place, i in enumerate(order, start=1):
                for face, pixels in enumerate(looked.views[i].pixels, start=1):
                    of_view = f"-view{place}" if place > 1 else ""
                    of_face = f"-face{face}" if face > 1 else ""
                    _write_png(self.crops / f"{name}{of_view}{of_face}.png", pixels)
        if self.drawings and (frame := self._frame(source)) is not None:
            from roi_cls.commands.predict.verdict import (
                draw_verdict,  # 30 ms that only drawing is to take
            )

            drawing = draw_verdict(frame, looked.views[shown], looked.prediction, target)
            write_drawing(self.drawings / f"{name}.jpg", drawing)

    def remember(self, source: Source) -> Source:
        """Return what is kept of a source until its row comes, so that it can be drawn.

        A frame of a video is kept as JPEG, which it is drawn in, too: many are on their way.
        """
        if not self.drawings:
            return replace(source, data=None, image=None)
        if source.image is None:
            return source
        pixels = cv2.cvtColor(source.image, cv2.COLOR_RGB2BGR)
        encoded = cv2.imencode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, 95))[1]
        return replace(source, data=encoded.tobytes(), image=None)

    def _frame(self, source: Source) -> Image | None:
        try:
            data = read_bytes(as_path(source.path)) if source.data is None else source.data
            return decode_image(data, source.path, max_pixels=self.max_pixels)
        except ImageReadError:
            return None  # it was there when it was judged, and is gone since: the row stands


def _write_png(path: Path, pixels: Image) -> None:
    data = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1]
    write_atomically(path, data.tobytes())
