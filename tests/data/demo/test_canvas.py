"""Masks, painting and curves: literal cases at each border, and properties of any shape."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roi_cls.data.demo.canvas import Canvas, Mask, Points, curve, ellipse, mix, rotate, shift, tint


def _box(left: float, top: float, right: float, bottom: float) -> Points:
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


@pytest.mark.parametrize(
    ("points", "covered"),
    [
        (_box(2, 2, 6, 6), (slice(3, 6), slice(3, 6))),
        (_box(-9, -9, 2, 2), (slice(0, 2), slice(0, 2))),
        (_box(6, 2, 40, 40), (slice(3, 10), slice(7, 12))),
        (_box(-9, -9, 40, 40), (slice(0, 10), slice(0, 12))),
    ],
    ids=["inside", "over the corner", "over right and bottom", "all"],
)
def test_paint_changes_the_shape_only(points: Points, covered: tuple[slice, slice]) -> None:
    canvas = Canvas.transparent(10, 12)
    canvas.paint(canvas.mask(points), (10, 20, 30))
    expected = np.zeros((4, 10, 12), np.float32)
    expected[:, *covered] = np.array([10, 20, 30, 255], np.float32)[:, None, None]
    # The edge of a polygon is anti-aliased, over two pixels: anything may be there.
    far = cv2.dilate((expected[3] > 0).astype(np.uint8), np.ones((5, 5), np.uint8)) == 0
    assert (canvas.planes[:, far] == 0).all()
    assert canvas.planes[:, *covered] == pytest.approx(expected[:, *covered], abs=0.01)


@pytest.mark.parametrize("points", [_box(-40, 0, -30, 5), _box(0, 60, 5, 70)])
@pytest.mark.parametrize("line_px", [None, 1.0])
def test_shape_beside_the_canvas_has_no_mask(points: Points, line_px: float | None) -> None:
    canvas = Canvas.transparent(10, 12)
    mask = canvas.mask(points, line_px=line_px)
    assert mask is None
    canvas.paint(mask, (1, 2, 3))
    assert (canvas.planes == 0).all()


def test_picture_without_alpha_is_painted_half() -> None:
    canvas = Canvas(np.full((3, 8, 8), 100, np.float32))
    canvas.paint(canvas.mask(_box(-5, -5, 20, 20)), (200, 100, 0), 0.5)
    assert canvas.planes[:, 4, 4].tolist() == pytest.approx([150, 100, 50])


def test_masks_that_do_not_meet_have_no_product() -> None:
    one = np.ones((2, 2), np.float32)
    assert Mask(0, 0, one).times(Mask(2, 0, one)) is None
    both = Mask(0, 0, one).times(Mask(1, 1, 0.5 * one))
    assert both is not None
    assert (both.left, both.top, both.cover.tolist()) == (1, 1, [[0.5]])


def test_line_thinner_than_a_pixel_is_fainter() -> None:
    canvas, line = Canvas.transparent(9, 9), np.array([(1.0, 4.0), (7.0, 4.0)])
    full, faint = canvas.mask(line, line_px=1), canvas.mask(line, line_px=0.25)
    assert full is not None
    assert faint is not None
    assert faint.cover.max() == pytest.approx(0.25 * full.cover.max(), abs=0.01)


def test_wide_blur_on_a_coarse_mask_equals_a_fine_one() -> None:
    canvas, shape = Canvas.transparent(240, 240), ellipse(120, 115, 50, 30)
    mask = canvas.mask(shape, soft=15)
    sharp = canvas.mask(shape)
    assert mask is not None
    assert sharp is not None
    canvas.paint(sharp, (0, 0, 0))
    fine = cv2.GaussianBlur(canvas.planes[3] / 255, (0, 0), 15)
    height, width = mask.cover.shape
    part = fine[mask.top : mask.top + height, mask.left : mask.left + width]
    # cv2 makes every polygon half a pixel larger, and the coarse pixels are five wide.
    assert mask.cover == pytest.approx(part, abs=0.1)


def test_curve_passes_through_its_points() -> None:
    points = ((0.0, 0.0), (4.0, 1.0), (6.0, 5.0), (1.0, 7.0))
    for closed in (True, False):
        line = curve(points, closed=closed)
        assert all(np.abs(line - point).sum(axis=1).min() < 1e-9 for point in points)
    assert curve(points, closed=False)[-1].tolist() == [1.0, 7.0]


def test_rotation_is_clockwise_on_screen() -> None:
    assert rotate(np.array([(1.0, 0.0)]), np.pi / 2) == pytest.approx(np.array([(0.0, 1.0)]))
    assert shift(np.array([(1.0, 0.0)]), 2, 3).tolist() == [[3.0, 3.0]]


def test_colours_stay_in_range() -> None:
    assert tint((100, 200, 10), 2) == (200, 255, 20)
    assert tint((100, 200, 10), 1, 0.5, 0) == (100, 100, 0)
    assert mix((0, 0, 0), (100, 50, 10), 0.5) == (50, 25, 5)


@given(
    st.lists(st.tuples(st.floats(-60, 60), st.floats(-60, 60)), min_size=3, max_size=9),
    st.floats(0, 20),
    st.one_of(st.none(), st.floats(0.1, 12)),
)
def test_any_shape_covers_between_nothing_and_all(
    points: list[tuple[float, float]], soft: float, line_px: float | None
) -> None:
    canvas = Canvas.transparent(20, 30)
    canvas.paint(canvas.mask(np.array(points), soft=soft, line_px=line_px), (255, 0, 0))
    assert canvas.planes.min() >= 0
    assert canvas.planes.max() <= 255.01
    assert np.allclose(canvas.planes[0], canvas.planes[3])
