"""Pictures that belong to rows, in folders: the crops that were looked at, and drawn verdicts.

A drawn verdict is a frame, the face that was looked at, and the answer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
from PIL import Image as PillowImage
from PIL import ImageDraw

from roi_cls.base.atomic import write_atomically
from roi_cls.base.errors import ImageReadError
from roi_cls.base.location import as_path
from roi_cls.classifier.inference.prediction import Looked, Prediction, Source
from roi_cls.console.words import looked_at_text, threshold_text, verdict_text
from roi_cls.drawing.file import row_name, write_drawing
from roi_cls.drawing.frame import MarkedFace, draw_frame
from roi_cls.drawing.ink import (
    BLUE,
    BROWN,
    INK,
    MUTED,
    RUST,
    SHADE,
    SLATE,
    Colour,
    blank,
    shorten,
    wrap,
    write,
)
from roi_cls.roi.crop import Crops
from roi_cls.roi.image import Image, read_bytes
from roi_cls.roi.picture import Picture

_EDGE, _GAP = 16, 12
_LEAST_WIDTH = 420  # px, so that the words have room
_VERDICT_PX, _TEXT_PX = 26, 15  # of letters
_BAR = 10  # px, height of the bar that shows the probability

_Picture = PillowImage.Image


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
        if self.drawings and (frame := self._frame(source, looked)) is not None:
            drawing = _draw_verdict(frame, looked.views[shown], looked.prediction, target)
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

    def _frame(self, source: Source, looked: Looked) -> Image | None:
        partial = looked.prediction.damaged is not None
        try:
            data = read_bytes(as_path(source.path)) if source.data is None else source.data
            limit = self.max_pixels
            return Picture(data, source.path, max_pixels=limit, partial=partial).pixels()
        except ImageReadError:
            return None  # it was there when it was judged, and is gone since: the row stands


def _write_png(path: Path, pixels: Image) -> None:
    data = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1]
    write_atomically(path, data.tobytes())


def _draw_verdict(frame: Image, crops: Crops, prediction: Prediction, target: str) -> _Picture:
    """Return the frame with the faces that were judged, under the answer in words.

    What was looked at keeps its brightness. The colour of the answer says whether it is the target
    (rust), another class (blue) or unsure (brown); the words say it, too.

    Args:
        frame: (height, width, 3) RGB uint8, upright.
        crops: Of the view whose box is told.
        prediction: ``ok`` or ``skipped``.
        target: The class that is looked for.
    """
    cuts = crops.plan.cuts
    marks = [
        MarkedFace(cut.face, "cut", tag)
        for cut, tag in zip(cuts, _tags(prediction, len(cuts)), strict=True)
        if cut.face
    ]
    view = draw_frame(frame, cuts, marks)
    width = max(_LEAST_WIDTH, view.width)
    words = _draw_words(prediction, width, target)
    page = blank(width + 2 * _EDGE, words.height + view.height + _GAP + 2 * _EDGE)
    page.paste(words, (_EDGE, _EDGE))
    page.paste(view, (_EDGE, _EDGE + words.height + _GAP))
    return page


def _tags(prediction: Prediction, cuts: int) -> list[str]:
    """Return what stands at each face: its own answer where each has one."""
    if prediction.per_face is None:
        return [_short(prediction)] * cuts
    return [_short(face) for face in prediction.of_each_face()]


def _short(prediction: Prediction) -> str:
    if threshold_text(prediction):
        return verdict_text(replace(prediction, unsure=False))
    score = prediction.score
    return f"{prediction.label} {score:.2f}" if score is not None else "not judged"


def _draw_words(prediction: Prediction, width: int, target: str) -> _Picture:
    lines = wrap(_sentences(prediction), _TEXT_PX, width)
    height = _VERDICT_PX + _BAR + 26 + (len(lines) + 1) * (_TEXT_PX + 7)
    strip = blank(width, height)
    pen = ImageDraw.Draw(strip)
    colour = _colour(prediction, target)
    write(pen, (0, 0), _title(prediction), _VERDICT_PX, colour)
    y = _VERDICT_PX + 10
    pen.rectangle((0, y, width - 1, y + _BAR), fill=SHADE)
    if prediction.score is not None:
        pen.rectangle((0, y, round(prediction.score * (width - 1)), y + _BAR), fill=colour)
    if prediction.threshold is not None and prediction.overruled():
        # The bar is the answer's: it reaches the mark where it needs less than one half for that.
        enough = min(prediction.threshold, 1 - prediction.threshold)
        x = round(enough * (width - 1))
        pen.rectangle((x - 1, y - 3, x + 1, y + _BAR + 3), fill=INK)
    y += _BAR + 10
    for line in lines:
        write(pen, (0, y), line, _TEXT_PX, INK)
        y += _TEXT_PX + 7
    write(pen, (0, y), shorten(_name(prediction), _TEXT_PX, width), _TEXT_PX, MUTED)
    return strip


def _title(prediction: Prediction) -> str:
    if prediction.score is None:
        return "Not judged"
    return f"{prediction.label} {prediction.score:.3f}{', unsure' if prediction.unsure else ''}"


def _sentences(prediction: Prediction) -> str:
    texts = filter(None, (threshold_text(prediction), looked_at_text(prediction)))
    return " ".join(f"{text[:1].upper()}{text[1:]}." for text in texts)


def _name(prediction: Prediction) -> str:
    at = "" if prediction.time_s is None else f" at {prediction.time_s:g} s"
    return prediction.path + at


def _colour(prediction: Prediction, target: str) -> Colour:
    if prediction.score is None:
        return SLATE
    if prediction.unsure:
        return BROWN
    return RUST if prediction.label == target else BLUE
