"""The work behind ``roi-cls crops show``: a frame, what was seen in it, and its crop, in words too.

Which face is cut, which are refused, and why.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw

from roi_cls.base.errors import NoFaceError
from roi_cls.base.location import as_path
from roi_cls.cache import CropRecord
from roi_cls.cache.record import ok_record
from roi_cls.console.words import CHOICE_TEXT, STEP_TEXT, count_text, score_text, size_text
from roi_cls.drawing.file import check_drawing_path, write_drawing
from roi_cls.drawing.frame import (
    REGION_STYLE,
    STYLES,
    LineStyle,
    MarkedFace,
    draw_frame,
    draw_keypoint,
)
from roi_cls.drawing.ink import INK, MUTED, blank, draw_path, measure, shorten, wrap, write
from roi_cls.inputs.names import check_not_input
from roi_cls.roi import REASON_TEXT, CropParams, Cut, Detection, Face
from roi_cls.roi.crop import make_crops
from roi_cls.roi.image import Image, read_bytes
from roi_cls.roi.picture import Picture
from roi_cls.roi.recipe import open_recipe

MOST_CROPS_SHOWN = 24
"""Crops on the picture; how many more there are is said."""
_EDGE, _GAP = 24, 20
_LEAST_WIDTH = 640  # px, so that the words have room
_TITLE_PX, _TEXT_PX, _SMALL_PX = 22, 16, 13  # of letters
_ONE, _MANY = 360, 160  # px, a crop's longest side alone and among others
_SAMPLE_WIDTH, _SAMPLE_HEIGHT = 30, 18

_Picture = PillowImage.Image


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
    partial = params.damaged == "read"
    source = Picture(data, path, max_pixels=max_pixels, color=params.color, partial=partial)
    try:
        with recipe.open_detector() as detector:
            crops = make_crops(source, params, detector)
    except NoFaceError as error:
        raise NoFaceError(f"Cannot crop {picture!r}: {error}") from error
    sha256 = hashlib.sha256(data).hexdigest()
    record = ok_record(path, sha256, crops.detection, crops.plan, params)
    view = draw_crop_view(source.pixels(), record, crops.detection, crops.pixels, params)
    write_drawing(output, view)
    lines = [*cut_sentences(record, crops.detection, params), f"Drawn to {output}"]
    return "\n".join(lines)


def draw_crop_view(
    frame: Image, record: CropRecord, detection: Detection, crops: Image, params: CropParams
) -> _Picture:
    """Return the frame with the faces seen and the regions cut, its crops, and what is to be said.

    Args:
        frame: (height, width, 3) RGB uint8, upright.
        record: Its row, ``ok`` or ``skipped``.
        detection: Every face seen, also those that the recipe refuses.
        crops: (cuts, side, side, 3) RGB uint8, those of the row; none where it was skipped.
        params: The recipe.
    """
    cuts = record.cuts
    if record.status == "error" or len(crops) != len(cuts):
        raise ValueError(f"{len(crops)} crops do not belong to the row {record}")
    marks = mark_faces(record, detection, params)
    view = draw_frame(frame, cuts, marks)
    tiles = [
        _draw_tile(crop, crop_words(cut, params.size_px, i if len(cuts) > 1 else None), len(cuts))
        for i, (cut, crop) in enumerate(zip(cuts, crops[:MOST_CROPS_SHOWN], strict=False), start=1)
    ]
    rows = [[view, *tiles]] if len(tiles) == 1 else [[view]]
    width = max(_LEAST_WIDTH, _row_width(rows[0]))
    rows += _fill_rows(tiles if len(tiles) > 1 else [], width)
    lines = [
        text
        for long in cut_sentences(record, detection, params)
        for text in wrap(long, _TEXT_PX, width)
    ]
    if len(cuts) > MOST_CROPS_SHOWN:
        lines.append(f"{MOST_CROPS_SHOWN} of {len(cuts)} crops are shown.")
    strips = [_draw_words(str(record.path), lines, width)]
    strips += [_draw_row(row, width) for row in rows]
    strips += [_draw_row(row, width) for row in _fill_rows(_draw_legend(marks, bool(cuts)), width)]
    return _stack(strips, width)


def _draw_tile(crop: Image, words: Sequence[str], among: int) -> _Picture:
    """Return a crop with its words below; a small one is enlarged by a whole factor."""
    most = _ONE if among == 1 else _MANY
    picture = PillowImage.fromarray(crop)
    if picture.width > most:
        picture = picture.resize((most, most), PillowImage.Resampling.LANCZOS)
    elif factor := most // 2 // picture.width:
        side = factor * picture.width
        picture = picture.resize((side, side), PillowImage.Resampling.NEAREST)
    width = max(picture.width, *(round(measure(word, _SMALL_PX)) for word in words))
    tile = blank(width, picture.height + 8 + len(words) * (_SMALL_PX + 5))
    tile.paste(picture, (0, 0))
    pen = ImageDraw.Draw(tile)
    for i, word in enumerate(words):
        colour = MUTED if i else INK
        write(pen, (0, picture.height + 8 + i * (_SMALL_PX + 5)), word, _SMALL_PX, colour)
    return tile


def _draw_words(title: str, lines: Sequence[str], width: int) -> _Picture:
    strip = blank(width, 2 * _TITLE_PX + len(lines) * (_TEXT_PX + 8))
    pen = ImageDraw.Draw(strip)
    write(pen, (0, 0), shorten(title, _TITLE_PX, width), _TITLE_PX)
    for i, line in enumerate(lines):
        write(
            pen,
            (0, 2 * _TITLE_PX - 8 + i * (_TEXT_PX + 8)),
            line,
            _TEXT_PX,
            INK if i == 0 else MUTED,
        )
    return strip


def _draw_legend(marks: Sequence[MarkedFace], has_region: bool) -> list[_Picture]:
    """Return a sample with its words for each line that the frame has."""
    kinds = {mark.kind for mark in marks}
    samples: list[tuple[LineStyle | None, str]] = []
    if has_region:
        samples.append((REGION_STYLE, "what is cut"))
    if "cut" in kinds:
        samples += [
            (STYLES["cut"], "the face it is cut around"),
            (None, "its eyes, nose, mouth, ears"),
        ]
    if "counts" in kinds:
        samples.append((STYLES["counts"], "another face that counts"))
    if "refused" in kinds:
        samples.append((STYLES["refused"], "refused, with what it lacks"))
    return [_draw_sample(style, words) for style, words in samples]


def _draw_sample(style: LineStyle | None, words: str) -> _Picture:
    canvas = np.full((_SAMPLE_HEIGHT + 4, _SAMPLE_WIDTH + 4, 3), MUTED, np.uint8)
    if style:
        right, bottom = _SAMPLE_WIDTH - 3, _SAMPLE_HEIGHT - 3
        draw_path(canvas, [(6, 6), (right, 6), (right, bottom), (6, bottom)], *style)
    else:
        draw_keypoint(canvas, ((_SAMPLE_WIDTH + 4) / 2, (_SAMPLE_HEIGHT + 4) / 2))
    left = canvas.shape[1] + 8
    sample = blank(left + round(measure(words, _SMALL_PX)) + _GAP, canvas.shape[0])
    sample.paste(PillowImage.fromarray(canvas), (0, 0))
    write(ImageDraw.Draw(sample), (left, 5), words, _SMALL_PX)
    return sample


def _row_width(pictures: Sequence[_Picture]) -> int:
    return sum(picture.width for picture in pictures) + _GAP * (len(pictures) - 1)


def _fill_rows(pictures: Sequence[_Picture], width: int) -> list[list[_Picture]]:
    """Return the pictures in rows that fit into ``width``."""
    rows: list[list[_Picture]] = []
    for picture in pictures:
        if rows and _row_width([*rows[-1], picture]) <= width:
            rows[-1].append(picture)
        else:
            rows.append([picture])
    return rows


def _draw_row(pictures: Sequence[_Picture], width: int) -> _Picture:
    strip = blank(width, max(picture.height for picture in pictures))
    x = 0
    for picture in pictures:
        strip.paste(picture, (x, 0))
        x += picture.width + _GAP
    return strip


def _stack(strips: Sequence[_Picture], width: int) -> _Picture:
    """Return the strips below each other, with an edge round all."""
    gap = 14
    height = sum(strip.height + gap for strip in strips) - gap
    page = blank(width + 2 * _EDGE, height + 2 * _EDGE)
    y = _EDGE
    for strip in strips:
        page.paste(strip, (_EDGE, y))
        y += strip.height + gap
    return page


def mark_faces(record: CropRecord, detection: Detection, params: CropParams) -> list[MarkedFace]:
    """Return every face seen with what became of it, those that are cut first.

    Faces that count are numbered, those that are cut in the order of their crops; a refused one
    bears what it lacks.
    """
    chosen = [cut.face for cut in record.cuts if cut.face]
    boxes = {face.box for face in chosen}
    others = [face for face in detection.faces if face.box not in boxes]
    counting = [face for face in others if refusal(face, params) is None]
    alone = len(chosen) + len(counting) == 1
    marks = []
    for number, face in enumerate([*chosen, *counting], start=1):
        score = score_text(face.score)
        tag = score if alone else f"{number}: {score}"
        marks.append(MarkedFace(face, "cut" if number <= len(chosen) else "counts", tag))
    refused = ((face, refusal(face, params)) for face in others)
    return marks + [MarkedFace(face, "refused", tag) for face, tag in refused if tag]


def refusal(face: Face, params: CropParams) -> str | None:
    """Return what a face lacks, as ``0.31 < 0.5`` or ``18 px < 24``; None: it counts."""
    if face.score < params.min_score:
        return f"{score_text(face.score)} < {params.min_score:g}"
    side = min(face.box.width, face.box.height)
    if side < params.min_face_px:
        return f"{int(side)} px < {params.min_face_px}"
    return None


def cut_sentences(record: CropRecord, detection: Detection, params: CropParams) -> list[str]:
    """Return sentences: what was cut and why, who found it, and what was refused."""
    texts = [f"{_cut_text(record, params)}."]
    faint = sum(face.score < params.min_score for face in detection.faces)
    small = sum(refusal(face, params) is not None for face in detection.faces) - faint
    refused = [f"{count_text(faint, 'face')} with a score below {params.min_score:g}"] * bool(faint)
    if small:
        refused.append(f"{count_text(small, 'face')} smaller than {params.min_face_px} px")
    if refused:
        texts.append(f"Also seen, but refused: {' and '.join(refused)}.")
    if record.damaged:
        texts.append(f"The picture was read in part: {record.damaged}.")
    texts.append(f"The picture has {size_text(detection.width, detection.height)}.")
    return texts


def _cut_text(record: CropRecord, params: CropParams) -> str:
    step = next((text for name, text in STEP_TEXT.items() if name == record.step), None)
    if params.wants_all_faces:  # the last step then says nothing about who found a face
        step = "all steps of the detector"
    reason = next((text for name, text in REASON_TEXT.items() if name == record.reason), None)
    cuts = record.cuts
    if len(cuts) > 1:
        return f"{len(cuts)} faces, each cut{f', found by {step}' if step else ''}"
    if cuts and (face := cuts[0].face):
        which = f"Face 1 of {record.faces} ({CHOICE_TEXT[params.face]})"
        size = size_text(face.box.width, face.box.height)
        return (
            f"{which if record.faces > 1 else 'One face'}, score {score_text(face.score)}, "
            f"{size}{f', found by {step}' if step else ''}"
        )
    if not cuts:
        return f"Skipped: {reason}, and the recipe has no substitute for a face"
    if reason is None:
        return "Full frame, as the recipe says: no face was looked for"
    what = "Centre of the frame" if params.fallback == "center" else "Full frame"
    return f"{what}: {reason}{f', asked last: {step}' if step else ''}"


def crop_words(cut: Cut, size_px: int, number: int | None) -> tuple[str, ...]:
    """Return the lines below a crop: which it is, and how its region became it."""
    region = size_text(cut.region.width, cut.region.height)
    turned = f", turned by {cut.angle:.1f}°" if cut.angle else ""
    words = [f"crop of {size_px} x {size_px} px"]
    if number is not None and cut.face:
        words = [f"{number}: {score_text(cut.face.score)}"]
    return (*words, f"from {region}{turned}", _scale_text(cut, size_px))


def _scale_text(cut: Cut, size_px: int) -> str:
    if round(cut.region.width) != round(cut.region.height):
        return "squashed"
    scale = size_px / cut.region.width
    if scale == 1:
        return "as it is"
    return f"{'enlarged' if scale > 1 else 'reduced'} to {100 * scale:.3g} %"
