"""What ``crops show`` draws and says: which face is cut, which are refused and why."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from roi_cls.cache import CropRecord
from roi_cls.cache.record import ok_record
from roi_cls.commands.crops.show import (
    MOST_CROPS_SHOWN,
    crop_words,
    cut_sentences,
    draw_crop_view,
    mark_faces,
    refusal,
)
from roi_cls.drawing.frame import MOST_HEIGHT, MOST_WIDTH, STYLES, draw_frame, place_tags
from roi_cls.drawing.ink import PAPER, SHADE
from roi_cls.roi import Box, CropParams, Cut, Detection, Face, plan_crop
from roi_cls.roi.face import Step
from tests.helpers.pictures import count_pixels

PARAMS = CropParams(size_px=224, margin=0.3, min_score=0.5, min_face_px=24)
COLOUR = (12, 34, 56)
MARGIN = 6  # px round the frame in its view
GREEN, BLUE, ORANGE = (STYLES[kind][0] for kind in ("cut", "counts", "refused"))


def make_face(left: float, top: float, side: float, score: float = 0.9, lean: float = 0) -> Face:
    right_eye = (left + 0.3 * side, top + 0.3 * side)
    left_eye = (left + 0.7 * side, top + 0.3 * side + lean)
    middle = (left + 0.5 * side, top + 0.6 * side)
    points = (right_eye, left_eye, middle, middle, right_eye, left_eye)
    return Face(Box(left, top, left + side, top + side), score, points, "short")


def detect(
    *faces: Face, width: int = 900, height: int = 850, step: Step | None = "tiles"
) -> Detection:
    ordered = sorted(faces, key=lambda face: -face.score)
    return Detection(height, width, tuple(ordered), step)


def record_of(detection: Detection, params: CropParams = PARAMS) -> CropRecord:
    plan = plan_crop(detection, params)
    return ok_record(Path("photographs/a.jpg"), "0" * 64, detection, plan, params)


def show(
    detection: Detection, params: CropParams = PARAMS, frame: tuple[int, int, int] = (200, 200, 200)
) -> PillowImage.Image:
    record = record_of(detection, params)
    pixels = np.full((detection.height, detection.width, 3), frame, np.uint8)
    side = params.size_px
    crops = np.full((len(record.cuts), side, side, 3), COLOUR, np.uint8)
    return draw_crop_view(pixels, record, detection, crops, params)


LARGE, SMALL, FAINT, TINY = (
    make_face(100, 100, 200, 0.83),
    make_face(400, 100, 100, 0.95),
    make_face(600, 100, 100, 0.31),
    make_face(700, 400, 18, 0.7),
)


@pytest.mark.parametrize(
    ("detection", "settings", "texts"),
    [
        (
            detect(LARGE),
            {},
            ["One face, score 0.83, 200 x 200 px, found by the tiled search."],
        ),
        (
            detect(LARGE, SMALL, FAINT, TINY, step="short"),
            {},
            [
                "Face 1 of 2 (the largest face), score 0.83, 200 x 200 px, "
                "found by the short-range network.",
                "Also seen, but refused: 1 face with a score below 0.5 and 1 face smaller than "
                "24 px.",
            ],
        ),
        (
            detect(LARGE, SMALL, step="full"),
            {"face": "confident"},
            [
                "Face 1 of 2 (the face the detector is surest of), score 0.95, 100 x 100 px, "
                "found by the full-range network.",
            ],
        ),
        (
            detect(LARGE, step="yunet"),
            {},
            ["One face, score 0.83, 200 x 200 px, found by YuNet."],
        ),
        (
            detect(LARGE, step="turned"),
            {},
            ["One face, score 0.83, 200 x 200 px, found by the search of the turned frame."],
        ),
        (
            detect(LARGE, SMALL, FAINT),
            {"face": "all"},
            [
                "2 faces, each cut, found by all steps of the detector.",
                "Also seen, but refused: 1 face with a score below 0.5.",
            ],
        ),
        (detect(), {}, ["Full frame: no face was found, asked last: the tiled search."]),
        (
            detect(FAINT),
            {"fallback": "center"},
            [
                "Centre of the frame: the detector was not sure enough of any face, "
                "asked last: the tiled search.",
                "Also seen, but refused: 1 face with a score below 0.5.",
            ],
        ),
        (
            detect(TINY, replace(TINY, box=Box(0, 0, 9, 9))),
            {},
            [
                "Full frame: every face is too small, asked last: the tiled search.",
                "Also seen, but refused: 2 faces smaller than 24 px.",
            ],
        ),
        (
            detect(),
            {"fallback": "skip"},
            ["Skipped: no face was found, and the recipe has no substitute for a face."],
        ),
        (
            detect(step=None),
            {"crop": "full"},
            ["Full frame, as the recipe says: no face was looked for."],
        ),
    ],
)
def test_cut_sentences_says_what_was_cut_and_what_was_refused(
    detection: Detection, settings: dict[str, Any], texts: list[str]
) -> None:
    params = replace(PARAMS, **settings)
    record = record_of(detection, params)
    size = "The picture has 900 x 850 px."
    assert cut_sentences(record, detection, params) == [*texts, size]


@pytest.mark.parametrize(
    ("face", "text"),
    [
        (LARGE, None),
        (FAINT, "0.31 < 0.5"),
        (TINY, "18 px < 24"),
        (replace(TINY, score=0.4999), "0.49 < 0.5"),
    ],
)
def test_refused_face_bears_what_it_lacks(face: Face, text: str | None) -> None:
    assert refusal(face, PARAMS) == text


@pytest.mark.parametrize(
    ("faces", "choice", "tags"),
    [
        ((LARGE,), "largest", [("cut", "0.83")]),
        (
            (LARGE, SMALL, FAINT),
            "largest",
            [("cut", "1: 0.83"), ("counts", "2: 0.95"), ("refused", "0.31 < 0.5")],
        ),
        (
            (LARGE, SMALL, TINY),
            "all",
            [("cut", "1: 0.83"), ("cut", "2: 0.95"), ("refused", "18 px < 24")],
        ),
        ((FAINT,), "largest", [("refused", "0.31 < 0.5")]),
    ],
)
def test_each_face_is_marked_once(
    faces: tuple[Face, ...], choice: str, tags: list[tuple[str, str]]
) -> None:
    params = CropParams.from_dict({**PARAMS.to_dict(), "face": choice})
    detection = detect(*faces)
    marks = mark_faces(record_of(detection, params), detection, params)
    assert [(mark.kind, mark.tag) for mark in marks] == tags


@pytest.mark.parametrize(
    ("cut", "number", "words"),
    [
        (
            Cut(Box(0, 0, 448, 448), 0.0, LARGE),
            None,
            ("crop of 224 x 224 px", "from 448 x 448 px", "reduced to 50 %"),
        ),
        (
            Cut(Box(0, 0, 100, 100), -12.34, LARGE),
            2,
            ("2: 0.83", "from 100 x 100 px, turned by -12.3°", "enlarged to 224 %"),
        ),
        (
            Cut(Box(0, 0, 224, 224)),
            None,
            ("crop of 224 x 224 px", "from 224 x 224 px", "as it is"),
        ),
        (
            Cut(Box(0, 0, 640, 480)),
            None,
            ("crop of 224 x 224 px", "from 640 x 480 px", "squashed"),
        ),
    ],
)
def test_crop_says_how_it_came_about(cut: Cut, number: int | None, words: tuple[str, ...]) -> None:
    assert crop_words(cut, 224, number) == words


def test_lines_stand_where_the_face_and_its_points_are() -> None:
    detection = detect(LARGE, SMALL, FAINT)  # 900 px wide: drawn at its own scale
    record = record_of(detection)
    frame = np.full((850, 900, 3), 200, np.uint8)
    view = draw_frame(frame, record.cuts, mark_faces(record, detection, PARAMS))
    assert view.size == (900 + 2 * MARGIN, 850 + 2 * MARGIN)

    def at(x: int, y: int) -> tuple[int, ...]:
        return tuple(np.asarray(view)[y + MARGIN, x + MARGIN].tolist())

    assert at(100, 200) == at(300, 200) == at(200, 300) == GREEN
    assert at(400, 150) == at(500, 150) == BLUE
    assert at(600, 100) == at(700, 200) == ORANGE
    assert at(40, 200) == PAPER  # the region: a margin of 0.3
    assert at(160, 160) == at(240, 160) == (226, 38, 122)  # the eyes
    assert at(150, 250) == (200, 200, 200)  # what is cut keeps its brightness
    assert at(800, 700) == (120, 120, 120)


def test_full_frame_is_not_dimmed() -> None:
    detection = detect(FAINT)
    record = record_of(detection)
    frame = np.full((850, 900, 3), 200, np.uint8)
    view = draw_frame(frame, record.cuts, mark_faces(record, detection, PARAMS))
    assert np.asarray(view)[700, 500].tolist() == [200, 200, 200]


def test_region_beyond_the_frame_is_drawn() -> None:
    detection = detect(make_face(-10, -20, 300), width=700, height=700)
    record = record_of(detection, replace(PARAMS, border="replicate"))
    frame = np.full((700, 700, 3), 200, np.uint8)
    view = np.asarray(draw_frame(frame, record.cuts, mark_faces(record, detection, PARAMS)))
    left, top = -100, -110  # of the region
    assert view.shape[:2] == (700 - top + 2 * MARGIN, 700 - left + 2 * MARGIN)
    assert tuple(view[MARGIN + 50, MARGIN].tolist()) == PAPER
    assert tuple(view[MARGIN + 10, MARGIN + 10].tolist()) == SHADE
    assert tuple(view[MARGIN - top + 250, MARGIN - left + 100].tolist()) == (200, 200, 200)


@pytest.mark.parametrize(
    ("width", "height", "face"),
    [
        (40, 40, make_face(8, 8, 24)),
        (1, 1, None),
        (4000, 3, None),
        (3, 4000, None),
        (8000, 600, make_face(5000, 100, 400)),
        (1300, 2000, make_face(-50, 1900, 300, lean=90)),
    ],
)
@pytest.mark.parametrize("squash", [False, True])
@pytest.mark.parametrize("margin", [0.3, 5.0])
def test_any_size_of_frame_fits_a_screen(
    width: int, height: int, face: Face | None, squash: bool, margin: float
) -> None:
    params = replace(PARAMS, full_frame="squash" if squash else "pad", margin=margin, align=True)
    faces = (face,) if face else ()
    page = show(detect(*faces, width=width, height=height), params)
    assert page.width <= MOST_WIDTH + 2 * MARGIN + 360 + 70
    assert page.height <= MOST_HEIGHT + 300
    assert count_pixels(page, COLOUR) == 224 * 224


def test_small_frame_is_enlarged_so_that_its_pixels_are_seen() -> None:
    detection = detect(width=40, height=30)
    frame = np.zeros((30, 40, 3), np.uint8)
    frame[15, 20] = 255
    marks = mark_faces(record_of(detection), detection, PARAMS)
    view = draw_frame(frame, (), marks)
    assert view.size == (40 * 8 + 2 * MARGIN, 30 * 8 + 2 * MARGIN)
    assert count_pixels(view, (255, 255, 255)) == 64


@pytest.mark.parametrize("count", [2, 7, MOST_CROPS_SHOWN, MOST_CROPS_SHOWN + 3])
def test_every_face_has_its_crop_up_to_a_bound(count: int) -> None:
    params = replace(PARAMS, face="all")
    faces = [make_face(20 + 90 * (i % 9), 20 + 90 * (i // 9), 40 + i) for i in range(count)]
    page = show(detect(*faces), params)
    assert count_pixels(page, COLOUR) == 160 * 160 * min(count, MOST_CROPS_SHOWN)


def test_small_crop_is_enlarged_by_a_whole_factor() -> None:
    page = show(detect(LARGE), replace(PARAMS, size_px=16))
    assert count_pixels(page, COLOUR) == (16 * 11) ** 2


def test_skipped_picture_has_no_crop() -> None:
    page = show(detect(FAINT), replace(PARAMS, fallback="skip"))
    assert count_pixels(page, COLOUR) == 0
    assert count_pixels(page, ORANGE) > 200


@pytest.mark.parametrize("crops", [0, 2])
def test_crops_of_another_row_are_refused(crops: int) -> None:
    detection = detect(LARGE)
    pixels = np.zeros((crops, 224, 224, 3), np.uint8)
    frame = np.zeros((850, 900, 3), np.uint8)
    with pytest.raises(ValueError, match=f"{crops} crops do not belong to the row CropRecord"):
        draw_crop_view(frame, record_of(detection), detection, pixels, PARAMS)


def test_row_in_error_is_refused() -> None:
    record = CropRecord(Path("a.png"), "error", "Cannot read 'a.png': it is empty.")
    frame = np.zeros((9, 9, 3), np.uint8)
    none = np.zeros((0, 224, 224, 3), np.uint8)
    with pytest.raises(ValueError, match="0 crops do not belong to the row CropRecord"):
        draw_crop_view(frame, record, detect(), none, PARAMS)


coordinates = st.floats(-50, 500)
boxes = st.builds(
    lambda x, y, width, height: Box(x, y, x + width, y + height),
    coordinates, coordinates, st.floats(1, 200), st.floats(1, 200),
)  # fmt: skip


@settings(max_examples=60)
@given(st.lists(st.tuples(boxes, st.tuples(st.floats(10, 90), st.just(19.0))), max_size=15))
def test_no_tag_hides_a_face_or_another_tag(
    marked: list[tuple[Box, tuple[float, float]]],
) -> None:
    room = Box(0, 0, 400, 300)
    faces = [box for box, _ in marked]
    places = place_tags(faces, [size for _, size in marked], room)
    found = [place for place in places if place]
    assert len(places) == len(marked)
    for i, place in enumerate(found):
        assert not any(place.iou(other) for other in (*faces, *found[:i]))
        assert place.left >= 0
        assert place.top >= 0
        assert place.right <= 400
        assert place.bottom <= 300


def test_tag_stands_above_its_face_where_there_is_room() -> None:
    room = Box(0, 0, 400, 300)
    box = Box(100, 100, 200, 200)
    assert place_tags([box], [(50, 19)], room) == [Box(98, 77, 148, 96)]
    assert place_tags([Box(100, 5, 200, 200)], [(50, 19)], room) == [Box(98, 204, 148, 223)]
    assert place_tags([Box(0, 0, 400, 300)], [(50, 19)], room) == [None]
