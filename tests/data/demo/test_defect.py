"""A defect changes the face, clearly, and nothing else of the picture."""

from __future__ import annotations

import numpy as np
import pytest

from roi_cls.data.demo.body import draw_person
from roi_cls.data.demo.canvas import Canvas
from roi_cls.data.demo.defect import DEFECT_KINDS, DefectKind
from roi_cls.data.demo.pen import Pen
from roi_cls.data.demo.picture import (
    FRAME_HEIGHT,
    FRAME_WIDTH,
    count_faces,
    draw_picture,
    place_persons,
)

_BLUR_PX = 3  # how far the blur of the whole frame carries a change


def _indices(faces: int, count: int) -> list[int]:
    return [index for index in range(600) if count_faces(0, index) == faces][:count]


def _change(index: int, kind: DefectKind) -> np.ndarray[tuple[int, int], np.dtype[np.int_]]:
    clean, spoilt = (draw_picture(0, index, which).astype(int) for which in (None, kind))
    return np.asarray(np.abs(clean - spoilt).max(axis=2))


@pytest.mark.parametrize("kind", DEFECT_KINDS)
@pytest.mark.parametrize("index", [*_indices(1, 4), *_indices(2, 2)])
def test_defect_changes_the_largest_face_only(index: int, kind: DefectKind) -> None:
    change = _change(index, kind)
    box = place_persons(0, index)[0].face_box.xyxy
    left, top = (max(0, int(value) - _BLUR_PX) for value in box[:2])
    right, bottom = (int(value) + 1 + _BLUR_PX for value in box[2:])
    inside = change[top:bottom, left:right].copy()
    change[top:bottom, left:right] = 0
    assert change.max() == 0
    # Bold: at least a fiftieth of the face's box differs by more than noise does.
    assert (inside > 12).mean() > 0.02


@pytest.mark.parametrize("kind", DEFECT_KINDS)
def test_frame_without_face_cannot_be_spoilt(kind: DefectKind) -> None:
    (index,) = _indices(0, 1)
    assert _change(index, kind).max() == 0


def test_defect_without_random_numbers_is_refused() -> None:
    appearance = place_persons(0, _indices(1, 1)[0])[0].appearance
    pen = Pen(Canvas.transparent(8, 8), appearance, 4, 4, 2)
    with pytest.raises(ValueError, match="a patch defect needs an rng, got None"):
        draw_person(pen, "patch")


def test_defect_beside_the_canvas_changes_nothing() -> None:
    appearance = place_persons(0, _indices(1, 1)[0])[0].appearance
    pen = Pen(Canvas.transparent(8, 8), appearance, 900, 900, 2)
    draw_person(pen, "smear", np.random.default_rng(0))
    assert pen.canvas.planes.max() == 0


def test_faces_are_a_small_part_of_the_frame_at_all_places() -> None:
    persons = [place_persons(0, index) for index in range(600)]
    counts = np.bincount([len(each) for each in persons], minlength=3) / len(persons)
    assert counts == pytest.approx([0.03, 0.87, 0.10], abs=0.03)
    placed = [each[0] for each in persons if each]
    widths = np.array([person.face_width_px for person in placed]) / FRAME_WIDTH
    assert 0.1 <= widths.min() < 0.13
    assert 0.24 < widths.max() <= 0.26
    for values, size in (
        ([person.x for person in placed], FRAME_WIDTH),
        ([person.y for person in placed], FRAME_HEIGHT),
    ):
        share = np.histogram(values, bins=3, range=(0, size))[0] / len(values)
        assert share.min() > 0.12
    assert {person.appearance.tone for person in placed} == set(range(8))
    assert {person.appearance.age for person in placed} == {"child", "adult", "elder"}


@pytest.mark.parametrize("index", _indices(2, 40))
def test_second_face_is_clearly_smaller_and_apart(index: int) -> None:
    large, small = place_persons(0, index)
    assert large.face_width_px >= 1.45 * small.face_width_px
    assert large.face_box.iou(small.face_box) == 0
