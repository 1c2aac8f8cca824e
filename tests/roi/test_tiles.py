"""Tiles and surroundings: they cover the frame, are few, and mirror with it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roi_cls.roi.cascade import LEAST_CONTEXT, surround, tile_frame
from roi_cls.roi.face import Box

SIDES = st.integers(1, 20_000)


@pytest.mark.parametrize(
    ("height", "width", "count"),
    [
        (100, 100, 0),  # no tile would show more than the frame does
        (191, 191, 0),
        (192, 192, 4),
        (400, 260, 2 + 12),
        (400, 400, 4 + 16),
        (768, 768, 4 + 16 + 81),
        (10_000, 10_000, 4 + 16 + 81),
        (1, 40_000, 2 + 4 + 9),
    ],
)
def test_number_of_tiles_is_bounded(height: int, width: int, count: int) -> None:
    assert len(tile_frame(height, width)) == count


@given(height=SIDES, width=SIDES)
def test_tiles_cover_the_frame_and_stay_inside(height: int, width: int) -> None:
    tiles = tile_frame(height, width)
    assert len(tiles) <= 101
    for tile in tiles:
        assert 0 <= tile.left < tile.right <= width + 1e-6
        assert 0 <= tile.top < tile.bottom <= height + 1e-6
    for x, y in ((0.1, 0.1), (width / 2, height / 3), (width - 0.1, height - 0.1)):
        assert not tiles or any(
            tile.left <= x <= tile.right and tile.top <= y <= tile.bottom for tile in tiles
        )


@given(height=SIDES, width=SIDES)
def test_tiles_of_a_mirrored_frame_are_the_mirrored_tiles(height: int, width: int) -> None:
    tiles = tile_frame(height, width)
    mirrored = (Box(width - t.right, t.top, width - t.left, t.bottom) for t in tiles)
    expected = sorted((tile.xyxy for tile in tiles), key=_rounded)
    for tile, other in zip(sorted((t.xyxy for t in mirrored), key=_rounded), expected, strict=True):
        assert tile == pytest.approx(other, abs=1e-3)


def _rounded(values: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(round(value, 3) for value in values)


@pytest.mark.parametrize(
    ("box", "context", "expected"),
    [
        (Box(40, 40, 60, 60), 2, Box(30, 30, 70, 70)),
        (Box(0, 40, 20, 60), 2, Box(0, 30, 40, 70)),  # moved in from the left
        (Box(80, 85, 100, 105), 2, Box(60, 60, 100, 100)),  # and from the right and the bottom
        (Box(40, 40, 60, 50), 2, Box(30, 25, 70, 65)),  # a square, of the longer side
        (Box(40, 40, 60, 60), 9, Box(0, 0, 100, 100)),  # no more than the frame
        (Box(10, 10, 90, 90), 9, Box(-70, -70, 170, 170)),  # but LEAST_CONTEXT of the face
        (Box(0, 0, 50, 50), 9, Box(-50, -50, 100, 100)),  # the frame in its corner
    ],
)
def test_surroundings_show_much_of_the_frame(box: Box, context: float, expected: Box) -> None:
    assert LEAST_CONTEXT == 3
    assert surround(box, context, 100, 100).xyxy == pytest.approx(expected.xyxy)


def test_surroundings_in_a_narrow_frame_hold_its_width() -> None:
    region = surround(Box(10, 50, 20, 60), 6, 200, 30)
    assert (region.left, region.right) == (-15, 45)  # as centred on the face as that allows
    assert (region.top, region.bottom) == (25, 85)
