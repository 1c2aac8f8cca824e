"""An explanation as a person gets it: its row, its line, and the picture of it.

The picture is the frame and its crops with the heat of a class, under the answer in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image as PillowImage
from PIL import ImageDraw

from roi_cls.classifier.explanation.explain import Explanation
from roi_cls.classifier.explanation.heat import Heat
from roi_cls.console.words import (
    METHOD_TEXT,
    looked_at_text,
    prediction_line,
    printable,
    score_text,
    verdict_text,
)
from roi_cls.drawing.frame import MarkedFace, draw_frame
from roi_cls.drawing.heat import draw_on_crop, draw_scale, paint_frame
from roi_cls.drawing.ink import INK, MUTED, blank, shorten, wrap, write
from roi_cls.roi import Box
from roi_cls.roi.image import Image

_NO_HEAT = {"peak": None, "peak_value": None, "share_in_face": None, "agreement": None}
_EDGE, _GAP = 20, 16
_TITLE_PX, _TEXT_PX, _SMALL_PX = 26, 15, 13  # of letters
_TILE = 260  # px, side of a crop
_SCALE_WIDTH, _SCALE_HEIGHT = 180, 12
_SCALE_TEXT = "no heat", "the most on this picture; the line holds half of it and more"

_Picture = PillowImage.Image


def explanation_row(
    explanation: Explanation,
    shown: int,
    file: str | None = None,
    agreements: Sequence[float | None] = (),
) -> dict[str, Any]:
    """Return the fields of ``roi-cls explain --json``.

    Args:
        explanation: Of one picture.
        shown: Index of the view that ``peak`` and what follows it tell of.
        file: Where it is drawn.
        agreements: Rank correlation of each view's map with that of occlusion, where it was asked.
    """
    prediction = explanation.looked.prediction
    views = [
        _view_row(heat, _face_box(explanation), agreements[i] if agreements else None)
        for i, heat in enumerate(explanation.heats)
    ]
    of_shown = {k: v for k, v in views[shown].items() if k != "source"} if views else _NO_HEAT
    return {
        "path": prediction.path,
        "time_s": prediction.time_s,
        "status": prediction.status,
        "error": prediction.error,
        "label": explanation.label,
        "probability": _probability(explanation),
        "answer": prediction.label,
        "method": explanation.method if views else None,
        "runtime": prediction.runtime,
        "file": file,
        **of_shown,
        "views": views,
    }


def _view_row(heat: Heat, face: Box | None, agreement: float | None) -> dict[str, Any]:
    peak = heat.peak
    return {
        "source": "face" if heat.cut.face else "full_frame",
        "peak": peak and [round(value, 1) for value in peak],
        "peak_value": float(heat.effect.max()),
        "share_in_face": heat.share_within(face) if face else None,
        "agreement": agreement,
    }


def _face_box(explanation: Explanation) -> Box | None:
    box = explanation.looked.prediction.box
    return Box(*box) if box else None


def _probability(explanation: Explanation) -> float | None:
    probabilities = explanation.looked.prediction.probabilities
    return probabilities[explanation.label] if probabilities else None


def explanation_line(row: dict[str, Any], explanation: Explanation) -> str:
    """Return a row for people."""
    if not explanation.heats:
        return prediction_line(explanation.looked.prediction)
    path = printable(row["path"])
    at = "" if row["time_s"] is None else f" at {row['time_s']:g} s"
    agrees = "" if row["agreement"] is None else f", agrees {row['agreement']:.2f} with occlusion"
    answer = verdict_text(explanation.looked.prediction)
    if row["answer"] != row["label"]:  # else the class that is explained would pass for the answer
        answer += f"; for {row['label']!r} ({row['probability']:.3f})"
    return (
        f"{path}{at}: {answer}, {_where(row, explanation)} "
        f"({METHOD_TEXT[row['method']]}{agrees}): {row['file']}"
    )


def _where(row: dict[str, Any], explanation: Explanation) -> str:
    if row["peak"] is None:
        return "no place speaks for it"
    x, y = row["peak"]
    share = row["share_in_face"]
    within = "" if share is None else f", {share:.0%} of the heat in the face's box"
    frame = explanation.looked.views[0].detection if explanation.looked.views else None
    if frame and not (0 <= x <= frame.width and 0 <= y <= frame.height):
        return f"most beside the picture, in what fills the square{within}"
    return f"most at {x:.0f},{y:.0f}{within}"


def draw_explanation(frame: Image, explanation: Explanation, shown: int) -> _Picture:
    """Return the frame with the heat in its place, and each crop without it and with it.

    Args:
        frame: (height, width, 3) RGB uint8, upright.
        explanation: Of this frame, with heat for each view.
        shown: Index of the view whose heat is drawn on the frame.
    """
    heat = explanation.heats[shown]
    face = heat.cut.face
    marks = [MarkedFace(face, "cut", score_text(face.score))] if face else []
    view = draw_frame(paint_frame(frame, [heat]), [heat.cut], marks)
    order = [heat, *(each for each in explanation.heats if each is not heat)]
    columns = [_draw_view(each, len(order) > 1) for each in order]
    rows_fit = max(1, view.height // (columns[0].height + _GAP))
    side = _stack_columns(columns, rows_fit)
    width = view.width + _GAP + side.width
    words = _draw_words(explanation, shown, width)
    height = words.height + _GAP + max(view.height, side.height)
    page = blank(width + 2 * _EDGE, height + 2 * _EDGE)
    page.paste(words, (_EDGE, _EDGE))
    top = _EDGE + words.height + _GAP
    page.paste(view, (_EDGE, top))
    page.paste(side, (_EDGE + view.width + _GAP, top))
    return page


def _draw_view(heat: Heat, is_titled: bool) -> _Picture:
    """Return the crop beside the same with its heat, with the view's name above where asked."""
    top = _SMALL_PX + 8 if is_titled else 0
    tile = blank(2 * _TILE + _GAP // 2, top + _TILE)
    if is_titled:
        title = "the face" if heat.cut.face else "the full frame"
        write(ImageDraw.Draw(tile), (0, 0), title, _SMALL_PX, MUTED)
    plain = PillowImage.fromarray(heat.crop)
    tile.paste(plain.resize((_TILE, _TILE), PillowImage.Resampling.BICUBIC), (0, top))
    hot = PillowImage.fromarray(draw_on_crop(heat, _TILE))
    tile.paste(hot, (_TILE + _GAP // 2, top))
    return tile


def _stack_columns(tiles: Sequence[_Picture], rows: int) -> _Picture:
    """Return the tiles below each other, in as many columns as ``rows`` in each allow."""
    width, height = tiles[0].size
    columns = -(-len(tiles) // rows)
    rows = min(rows, len(tiles))
    page = blank(columns * (width + _GAP) - _GAP, rows * (height + _GAP) - _GAP)
    for i, tile in enumerate(tiles):
        column, row = divmod(i, rows)
        page.paste(tile, (column * (width + _GAP), row * (height + _GAP)))
    return page


def _draw_words(explanation: Explanation, shown: int, width: int) -> _Picture:
    title, *sentences = _sentences(explanation, shown)
    lines = [line for text in sentences for line in wrap(text, _TEXT_PX, width)]
    name = explanation.looked.prediction.path
    top = _TITLE_PX + 12
    strip = blank(width, top + (len(lines) + 1) * (_TEXT_PX + 7) + _SCALE_HEIGHT + 14)
    pen = ImageDraw.Draw(strip)
    write(pen, (0, 0), shorten(title, _TITLE_PX, width), _TITLE_PX)
    for text, colour in (*((line, INK) for line in lines), (name, MUTED)):
        write(pen, (0, top), shorten(text, _TEXT_PX, width), _TEXT_PX, colour)
        top += _TEXT_PX + 7
    scale = PillowImage.fromarray(draw_scale(_SCALE_WIDTH, _SCALE_HEIGHT))
    strip.paste(scale, (0, top + 6))
    least, most = _SCALE_TEXT
    write(pen, (_SCALE_WIDTH + 8, top + 5), f"{least} to {most}", _SMALL_PX, MUTED)
    return strip


def _sentences(explanation: Explanation, shown: int) -> list[str]:
    """Return a title, and sentences: the answer, what was looked at, and where it is hot."""
    prediction = explanation.looked.prediction
    where = _where(_view_row(explanation.heats[shown], _face_box(explanation), None), explanation)
    probability = _probability(explanation)
    return [
        verdict_text(prediction),
        f"Looked at: {looked_at_text(prediction)}.",
        f"What speaks for {explanation.label!r} (probability {probability:.3f}) by "
        f"{METHOD_TEXT[explanation.method]}: {where}.",
    ]
