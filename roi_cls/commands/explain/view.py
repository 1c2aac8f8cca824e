"""The picture of ``roi-cls explain``: frame and crops with the heat of a class, under the answer.

Knows the layout. The heat is drawn in ``heat_drawing``, what is said stands in ``heat_words``.
"""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image as PillowImage
from PIL import ImageDraw

from roi_cls.classifier.explanation.explain import Explanation
from roi_cls.classifier.explanation.heat import Heat
from roi_cls.console.words import score_text
from roi_cls.drawing.explanation import caption, view_title
from roi_cls.drawing.frame import Mark, draw_frame
from roi_cls.drawing.heat import draw_on_crop, draw_scale, paint_frame
from roi_cls.drawing.ink import INK, MUTED, PAPER, shorten, wrap, write
from roi_cls.roi.image import Image

_EDGE, _GAP = 20, 16
_TITLE, _TEXT, _SMALL = 26, 15, 13  # of letters
_TILE = 260  # px, side of a crop
_SCALE_WIDTH, _SCALE_HEIGHT = 180, 12
_SCALE_TEXT = "no heat", "the most on this picture; the line holds half of it and more"

_Picture = PillowImage.Image


def draw_explanation(frame: Image, explanation: Explanation, shown: int) -> _Picture:
    """Return the frame with the heat in its place, and each crop without it and with it.

    Args:
        frame: (height, width, 3) RGB uint8, upright.
        explanation: Of this frame, with heat for each view.
        shown: Index of the view whose heat is drawn on the frame.
    """
    heat = explanation.heats[shown]
    face = heat.cut.face
    marks = [Mark(face, "cut", score_text(face.score))] if face else []
    view = draw_frame(paint_frame(frame, [heat]), [heat.cut], marks)
    order = [heat, *(each for each in explanation.heats if each is not heat)]
    columns = [_draw_view(each, len(order) > 1) for each in order]
    rows_fit = max(1, view.height // (columns[0].height + _GAP))
    side = _stack_columns(columns, rows_fit)
    width = view.width + _GAP + side.width
    words = _draw_words(explanation, shown, width)
    height = words.height + _GAP + max(view.height, side.height)
    page = _blank(width + 2 * _EDGE, height + 2 * _EDGE)
    page.paste(words, (_EDGE, _EDGE))
    top = _EDGE + words.height + _GAP
    page.paste(view, (_EDGE, top))
    page.paste(side, (_EDGE + view.width + _GAP, top))
    return page


def _draw_view(heat: Heat, is_titled: bool) -> _Picture:
    """Return the crop beside the same with its heat, with the view's name above where asked."""
    top = _SMALL + 8 if is_titled else 0
    tile = _blank(2 * _TILE + _GAP // 2, top + _TILE)
    if is_titled:
        write(ImageDraw.Draw(tile), (0, 0), view_title(heat), _SMALL, MUTED)
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
    page = _blank(columns * (width + _GAP) - _GAP, rows * (height + _GAP) - _GAP)
    for i, tile in enumerate(tiles):
        column, row = divmod(i, rows)
        page.paste(tile, (column * (width + _GAP), row * (height + _GAP)))
    return page


def _draw_words(explanation: Explanation, shown: int, width: int) -> _Picture:
    title, *sentences = caption(explanation, shown)
    lines = [line for text in sentences for line in wrap(text, _TEXT, width)]
    name = explanation.looked.prediction.path
    top = _TITLE + 12
    strip = _blank(width, top + (len(lines) + 1) * (_TEXT + 7) + _SCALE_HEIGHT + 14)
    pen = ImageDraw.Draw(strip)
    write(pen, (0, 0), shorten(title, _TITLE, width), _TITLE)
    for text, colour in (*((line, INK) for line in lines), (name, MUTED)):
        write(pen, (0, top), shorten(text, _TEXT, width), _TEXT, colour)
        top += _TEXT + 7
    scale = PillowImage.fromarray(draw_scale(_SCALE_WIDTH, _SCALE_HEIGHT))
    strip.paste(scale, (0, top + 6))
    least, most = _SCALE_TEXT
    write(pen, (_SCALE_WIDTH + 8, top + 5), f"{least} to {most}", _SMALL, MUTED)
    return strip


def _blank(width: int, height: int) -> _Picture:
    return PillowImage.new("RGB", (width, height), PAPER)
