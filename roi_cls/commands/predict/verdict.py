"""The picture of ``roi-cls predict --draw``: a frame, the face that was looked at, the verdict.

Knows the layout; the frame is drawn by ``drawing.frame``.
"""

from __future__ import annotations

from PIL import Image as PillowImage
from PIL import ImageDraw

from roi_cls.classifier.inference.prediction import Prediction
from roi_cls.console.verdict import looked_at_text
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
from roi_cls.roi.image import Image

_EDGE, _GAP = 16, 12
_LEAST_WIDTH = 420  # px, so that the words have room
_VERDICT, _TEXT = 26, 15  # of letters
_BAR = 10  # px, height of the bar that shows the probability

_Picture = PillowImage.Image


def draw_verdict(frame: Image, crops: Crops, prediction: Prediction, target: str) -> _Picture:
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
    each = prediction.per_face
    if each is None:
        return [_short(prediction.label, prediction.score)] * cuts
    return [_short(face["label"], face["score"]) for face in each]


def _short(label: str | None, score: float | None) -> str:
    return f"{label} {score:.2f}" if score is not None else "not judged"


def _draw_words(prediction: Prediction, width: int, target: str) -> _Picture:
    details = _sentence(prediction)
    lines = wrap(details, _TEXT, width)
    height = _VERDICT + _BAR + 26 + (len(lines) + 1) * (_TEXT + 7)
    strip = blank(width, height)
    pen = ImageDraw.Draw(strip)
    colour = _colour(prediction, target)
    write(pen, (0, 0), _title(prediction), _VERDICT, colour)
    y = _VERDICT + 10
    pen.rectangle((0, y, width - 1, y + _BAR), fill=SHADE)
    if prediction.score is not None:
        pen.rectangle((0, y, round(prediction.score * (width - 1)), y + _BAR), fill=colour)
    y += _BAR + 10
    for line in lines:
        write(pen, (0, y), line, _TEXT, INK)
        y += _TEXT + 7
    write(pen, (0, y), shorten(_name(prediction), _TEXT, width), _TEXT, MUTED)
    return strip


def _title(prediction: Prediction) -> str:
    if prediction.score is None:
        return "Not judged"
    return f"{prediction.label} {prediction.score:.3f}{', unsure' if prediction.unsure else ''}"


def _sentence(prediction: Prediction) -> str:
    text = looked_at_text(prediction)
    return f"{text[:1].upper()}{text[1:]}."


def _name(prediction: Prediction) -> str:
    at = "" if prediction.time_s is None else f" at {prediction.time_s:g} s"
    return prediction.path + at


def _colour(prediction: Prediction, target: str) -> Colour:
    if prediction.score is None:
        return SLATE
    if prediction.unsure:
        return BROWN
    return RUST if prediction.label == target else BLUE
