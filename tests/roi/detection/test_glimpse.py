"""A glimpse tells where its pixels lie in the frame, at every scale and in every orientation."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roi_cls.roi.detection.glimpse import (
    LEAST_CONTEXT,
    WHOLE_PX,
    Glimpse,
    glimpse_frame,
    glimpse_region,
    glimpse_scaled,
    glimpse_whole,
    is_brighter_left,
    surround,
)
from roi_cls.roi.face import Box, Face
from roi_cls.roi.image import Image
from roi_cls.roi.picture import Picture
from tests.helpers.pictures import encode, exif, noise


def draw_spot(height: int, width: int, box: tuple[int, int, int, int]) -> Image:
    """Return black with one white rectangle (left, top, right, bottom)."""
    image = np.zeros((height, width, 3), np.uint8)
    left, top, right, bottom = box
    image[top:bottom, left:right] = 255
    return image


def locate_spot(glimpse: Glimpse) -> Box:
    """Return where the white rectangle lies in the frame, as the glimpse tells it."""
    ys, xs = np.nonzero(glimpse.image.min(axis=2) > 200)
    seen = Box(int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)
    return glimpse.place(Face(seen, 1.0, (), "short")).box


@pytest.mark.parametrize(
    ("side", "seen"), [(100, 100), (767, 767), (768, 384), (1535, 768), (1536, 384), (3072, 384)]
)
def test_whole_picture_is_reduced_while_enough_is_left(side: int, seen: int) -> None:
    glimpse = glimpse_whole(Picture.of(np.zeros((side // 2, side, 3), np.uint8)))
    assert glimpse.image.shape[1] == seen
    assert seen >= min(side, WHOLE_PX)


@pytest.mark.parametrize(
    ("shape", "side_px", "seen", "scale"),
    [
        ((448, 640), 320, (224, 320), 2),
        ((448, 640), 640, (448, 640), 1),
        ((640, 448), 640, (640, 448), 1),
        ((2563, 1281), 640, (640, 320), 2563 / 640),  # reduced to 641 px, then shrunk
        ((1600, 1200), 640, (640, 480), 2.5),
        ((100, 50), 320, (320, 160), 100 / 320),  # enlarged
        ((1, 1), 320, (320, 320), 1 / 320),
        ((1, 3000), 320, (1, 320), 3000 / 320),  # no side shrinks to nothing
        ((3000, 2), 640, (640, 1), 3000 / 640),
        ((320, 1), 320, (320, 1), 1),
    ],
)
def test_scaled_picture_has_the_longer_side_asked_for(
    shape: tuple[int, int], side_px: int, seen: tuple[int, int], scale: float
) -> None:
    glimpse = glimpse_scaled(Picture.of(np.zeros((*shape, 3), np.uint8)), side_px)
    assert glimpse.image.shape == (*seen, 3)
    assert (glimpse.left, glimpse.top) == (0, 0)
    assert glimpse.scale == pytest.approx(scale)


@pytest.mark.parametrize("size", [640, 700, 1280])
def test_scaled_picture_shows_the_means_of_what_it_covers(size: int) -> None:
    picture = Picture.of(noise(size, size, 3))
    glimpse = glimpse_scaled(picture, 320)
    assert glimpse.image.mean() == pytest.approx(127.5, abs=1)
    assert glimpse.image.std() < 0.7 * picture.pixels().std()


PLACED: dict[str, st.SearchStrategy[Any]] = {
    "height": st.integers(40, 1700),
    "width": st.integers(40, 1700),
    "x": st.floats(0, 1),
    "y": st.floats(0, 1),
    "is_mirrored": st.booleans(),
    "turns": st.integers(0, 3),
}
"""A frame, a place in it, and how the view of it is oriented."""


def orient(glimpse: Glimpse, is_mirrored: bool, turns: int) -> Glimpse:
    return (glimpse.mirror() if is_mirrored else glimpse).turn(90 * turns)


@settings(max_examples=60)
@given(around=st.floats(0.2, 3), **PLACED)
def test_spot_is_told_where_it_lies(
    height: int, width: int, x: float, y: float, around: float, is_mirrored: bool, turns: int
) -> None:
    left, top = round(x * (width - 32)), round(y * (height - 32))
    box = Box(left, top, left + 32, top + 32)
    picture = Picture.of(draw_spot(height, width, (left, top, left + 32, top + 32)))
    for seen in (glimpse_whole(picture), glimpse_region(picture, box.expand(around))):
        glimpse = orient(seen, is_mirrored, turns)
        assert locate_spot(glimpse).xyxy == pytest.approx(box.xyxy, abs=glimpse.scale)


@settings(max_examples=60)
@given(side_px=st.sampled_from([320, 640, 1280]), **PLACED)
def test_spot_at_any_scale_is_told_where_it_lies(
    height: int, width: int, x: float, y: float, side_px: int, is_mirrored: bool, turns: int
) -> None:
    left, top = round(x * (width - 32)), round(y * (height - 32))
    spot = (left, top, left + 32, top + 32)
    seen = glimpse_scaled(Picture.of(draw_spot(height, width, spot)), side_px)
    glimpse = orient(seen, is_mirrored, turns)
    # The shorter side is rounded to whole pixels, and so is what is seen of the spot.
    assert locate_spot(glimpse).xyxy == pytest.approx(spot, abs=1 + 2 * glimpse.scale)


@given(
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    turns=st.integers(0, 3),
    is_mirrored=st.booleans(),
    data=st.data(),
)
def test_every_pixel_of_a_turned_glimpse_is_told_where_it_lay(
    height: int, width: int, turns: int, is_mirrored: bool, data: st.DataObject
) -> None:
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    glimpse = Glimpse(draw_spot(height, width, (x, y, x + 1, y + 1)), 50.0, -7.0, 2.5)
    expected = Box(50 + 2.5 * x, -7 + 2.5 * y, 52.5 + 2.5 * x, -4.5 + 2.5 * y)
    turned = orient(glimpse, is_mirrored, turns)
    seen = glimpse.mirror().image if is_mirrored else glimpse.image
    assert np.array_equal(turned.image, np.rot90(seen, -turns))
    assert locate_spot(turned).xyxy == pytest.approx(expected.xyxy)


@pytest.mark.parametrize(
    ("turns", "is_mirrored", "up"),
    [
        (0, False, (0, -16)),
        (1, False, (-16, 0)),  # what looks upright after a turn to the right lay to the left
        (2, False, (0, 16)),
        (3, False, (16, 0)),
        (0, True, (0, -16)),
        (1, True, (16, 0)),
        (2, True, (0, 16)),
        (3, True, (-16, 0)),
    ],
)
def test_face_upright_in_the_view_lies_turned_in_the_frame(
    turns: int, is_mirrored: bool, up: tuple[int, int]
) -> None:
    frame = Glimpse(np.zeros((30, 40, 3), np.uint8), 100.0, 50.0, 2.0)
    points = ((4.0, 4.0), (12.0, 4.0), (8.0, 8.0), (8.0, 12.0), (2.0, 6.0), (14.0, 6.0))
    seen = Face(Box(0, 0, 16, 16), 0.5, points, "short")
    face = orient(frame, is_mirrored, turns).place(seen)
    right, left, _, mouth, right_ear, left_ear = np.array(face.keypoints)
    assert tuple((right + left) / 2 - mouth) == up
    # Whichever way the head is up, its right eye is a quarter turn to the left of that.
    assert tuple(right - left) == (up[1], -up[0])
    assert tuple(right_ear - left_ear) == (1.5 * up[1], -1.5 * up[0])
    assert all(face.box.holds(*point) for point in face.keypoints)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(1203, 1601), (800, 1202)])
def test_spot_in_a_turned_jpeg_is_told_where_it_lies(
    orientation: int, size: tuple[int, int]
) -> None:
    stored = draw_spot(*size, (304, 208, 400, 336))
    picture = Picture(encode(stored, "JPEG", exif=exif(orientation)), "spot.jpg")
    expected = locate_spot(Glimpse(picture.pixels(), 0, 0, 1))
    assert min(expected.width, expected.height) == pytest.approx(96, abs=1)
    for glimpse in (glimpse_whole(picture), glimpse_region(picture, expected.expand(2))):
        assert glimpse.scale in (2, 4)
        assert locate_spot(glimpse).xyxy == pytest.approx(expected.xyxy, abs=glimpse.scale)


def test_region_beyond_the_frame_is_grey_there() -> None:
    picture = Picture.of(draw_spot(100, 100, (0, 0, 100, 100)))
    glimpse = glimpse_region(picture, Box(-50, -20, 150, 180))
    assert glimpse.image.shape == (200, 200, 3)
    assert (glimpse.image[:, :50] == 128).all()
    assert (glimpse.image[:20] == 128).all()
    assert (glimpse.image[20:120, 50:150] == 255).all()
    assert locate_spot(glimpse) == Box(0, 0, 100, 100)


def test_region_of_any_size_is_a_small_picture() -> None:
    picture = Picture.of(draw_spot(5_000, 6_000, (1_000, 2_000, 3_000, 4_000)))
    glimpse = glimpse_region(picture, Box(-10_000, -10_000, 20_000, 20_000))
    assert max(glimpse.image.shape) < 600
    spot = locate_spot(glimpse)
    assert spot.xyxy == pytest.approx((1_000, 2_000, 3_000, 4_000), abs=2 * glimpse.scale)


def test_mirrored_twice_is_the_same() -> None:
    glimpse = Glimpse(draw_spot(8, 9, (1, 2, 3, 4)), 5.0, 6.0, 2.0)
    twice = glimpse.mirror().mirror()
    assert (twice.left, twice.top, twice.scale, twice.is_mirrored) == (5, 6, 2, False)
    assert np.array_equal(twice.image, glimpse.image)


def test_mirrored_face_has_its_own_right_and_left_again() -> None:
    glimpse = Glimpse(np.zeros((10, 20, 3), np.uint8), 100.0, 50.0, 2.0).mirror()
    # In the mirror, what BlazeFace takes for the right eye is the left one.
    points = ((4.0, 3.0), (8.0, 3.0), (6.0, 4.0), (6.0, 6.0), (2.0, 4.0), (10.0, 4.0))
    face = glimpse.place(Face(Box(2, 1, 10, 9), 0.5, points, "full"))
    assert face.box == Box(120, 52, 136, 68)
    assert face.keypoints == (((124, 56), (132, 56), (128, 58), (128, 62), (120, 58), (136, 58)))
    assert (face.score, face.model) == (0.5, "full")


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    seed=st.integers(0, 1_000),
)
def test_of_a_picture_and_its_mirror_image_one_is_brighter_left(
    height: int, width: int, seed: int
) -> None:
    image = noise(height, width, 3, seed=seed)
    mirrored = np.ascontiguousarray(image[:, ::-1])
    is_balanced = not is_brighter_left(image) and not is_brighter_left(mirrored)
    assert is_brighter_left(image) != is_brighter_left(mirrored) or is_balanced


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


@pytest.mark.parametrize("is_flipped", [False, True])
def test_frame_is_seen_with_its_brighter_side_on_the_right(is_flipped: bool) -> None:
    image = draw_spot(60, 80, (0, 10, 20, 40))
    picture = Picture.of(np.ascontiguousarray(image[:, ::-1] if is_flipped else image))
    glimpse = glimpse_frame(picture)
    assert glimpse.is_mirrored is not is_flipped
    assert np.array_equal(glimpse.image, image[:, ::-1])
    expected = (60, 10, 80, 40) if is_flipped else (0, 10, 20, 40)
    assert locate_spot(glimpse).xyxy == expected


@settings(max_examples=60)
@given(angle=st.floats(-360, 360), is_mirrored=st.booleans(), across=st.floats(0.3, 0.7))
def test_spot_in_a_view_turned_by_any_angle_is_told_where_it_lies(
    angle: float, is_mirrored: bool, across: float
) -> None:
    left, top = round(across * 200) - 12, round((1 - across) * 260) - 12
    glimpse = Glimpse(draw_spot(260, 200, (left, top, left + 24, top + 24)), 30.0, -20.0, 2.0)
    turned = (glimpse.mirror() if is_mirrored else glimpse).turn(angle)
    box = locate_spot(turned)
    expected = (30 + 2 * (left + 12), -20 + 2 * (top + 12))
    assert box.center == pytest.approx(expected, abs=2.5)  # a pixel and a bit of the view


def test_points_of_a_view_turned_there_and_back_stay() -> None:
    frame = Glimpse(np.zeros((30, 40, 3), np.uint8), 100.0, 50.0, 2.0)
    seen = Face(Box(12, 8, 24, 20), 0.5, ((14.0, 10.0), (22.0, 10.0)), "short")
    face = frame.turn(30).place(seen)
    # In the frame the head leans to the other side by so much, about the middle of the view.
    (right_x, right_y), (left_x, left_y) = face.keypoints
    assert np.degrees(np.arctan2(left_y - right_y, left_x - right_x)) == pytest.approx(-30)
    assert (face.box.width, face.box.height) == (24, 24)
