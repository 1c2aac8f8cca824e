"""Heat is drawn where it is, and the picture below stays to be seen."""

import numpy as np
import pytest

from roi_cls.classifier.explanation.heat import Heat, make_heat
from roi_cls.drawing.heat import draw_on_crop, draw_on_frame, draw_scale, paint_frame
from roi_cls.roi import Box, Cut, Face

GREY = 100


def heat_on(cut: Cut, place: tuple[slice, slice] = np.s_[2:4, 6:8], side: int = 8) -> Heat:
    effect = np.zeros((side, side), np.float32)
    effect[place] = 1
    return make_heat(0, np.full((side, side, 3), GREY, np.uint8), cut, effect)


def changed(drawn: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Box:
    """Return what is not grey."""
    rows, columns = np.nonzero((drawn != GREY).any(axis=2))
    return Box(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_crop_without_heat_is_as_it_was() -> None:
    heat = heat_on(Cut(Box(0, 0, 8, 8)), np.s_[0:0, 0:0])
    np.testing.assert_array_equal(draw_on_crop(heat), heat.crop)


def test_crop_is_covered_in_proportion_to_its_heat_and_never_wholly() -> None:
    effect = np.zeros((90, 90), np.float32)
    effect[:, 60:], effect[:, 30:60] = 1.0, 0.25
    dark, light = (np.full((90, 90, 3), tone, np.uint8) for tone in (0, 250))
    on_dark, on_light = (
        draw_on_crop(make_heat(0, crop, Cut(Box(0, 0, 9, 9)), effect)).astype(int)
        for crop in (dark, light)
    )
    seen = (on_light - on_dark)[45, [10, 45, 80]].mean(axis=1)
    assert seen[0] == 250
    assert seen[0] > seen[1] > seen[2] > 50


def test_crop_may_be_drawn_larger() -> None:
    assert draw_on_crop(heat_on(Cut(Box(0, 0, 8, 8))), 64).shape == (64, 64, 3)


@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        (Cut(Box(20, 20, 100, 100)), Box(80, 40, 100, 60)),
        (Cut(Box(-60, -20, 20, 60)), Box(0, 0, 20, 20)),
        (Cut(Box(0, 0, 160, 120)), Box(120, 30, 160, 60)),  # squashed
        (Cut(Box(20, 20, 100, 100), 90.0), Box(60, 80, 80, 100)),
    ],
    ids=["inside", "beyond the border", "squashed", "turned"],
)
def test_heat_lies_in_its_place_on_the_frame(cut: Cut, expected: Box) -> None:
    frame = np.full((120, 160, 3), GREY, np.uint8)
    drawn = paint_frame(frame, [heat_on(cut)])
    assert drawn.shape == frame.shape
    assert (frame == GREY).all()
    found = changed(drawn)
    pixel = cut.region.width / 8  # warm up to the middle of the next pixel of the crop
    assert np.abs(np.subtract(found.xyxy, expected.xyxy)).max() <= pixel + 2
    x, y = (round(value) for value in heat_on(cut).peak or ())
    hottest = np.abs(drawn.astype(int) - GREY).sum(axis=2)
    assert hottest[min(y, 119), min(x, 159)] > 100 or found.width <= 20


def test_lines_show_face_and_region_only_where_a_face_was_cut() -> None:
    frame = np.full((120, 160, 3), GREY, np.uint8)
    face = Face(Box(40, 40, 80, 80), 0.9, ((0.0, 0.0),) * 6, "short")
    none = np.s_[0:0, 0:0]
    plain = draw_on_frame(frame, [heat_on(Cut(Box(0, -20, 160, 140)), none)])
    assert (plain == GREY).all()
    drawn = draw_on_frame(frame, [heat_on(Cut(Box(20, 20, 100, 100), face=face), none)])
    assert (drawn[60, 60] == GREY).all()
    assert (drawn[60, 20] > 200).all()  # the region's left edge
    red, green, blue = drawn[60, 40].tolist()  # the face's
    assert green > red
    assert green > blue


def test_of_two_heats_the_greater_is_drawn() -> None:
    frame = np.full((80, 80, 3), GREY, np.uint8)
    one, two = heat_on(Cut(Box(0, 0, 80, 80))), heat_on(Cut(Box(0, 0, 80, 80)), np.s_[6:8, 0:2])
    both = paint_frame(frame, [one, two])
    found = changed(both)
    assert found.xyxy == pytest.approx((0, 10, 80, 80), abs=10)


def test_scale_runs_from_none_to_the_most() -> None:
    bar = draw_scale(100, 10)
    assert bar.shape == (10, 100, 3)
    assert (bar[:, 0] == bar[0, 0]).all()
    assert bar[0, -1, 0] > bar[0, -1, 2] + 80  # yellow
