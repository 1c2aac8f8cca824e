"""The cascade with networks that are functions: who is asked, what is believed; its tiles."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roi_cls.roi.detection.cascade import (
    CONTEXTS,
    MOST_SUSPECTS,
    SMALL_FACE_GAIN,
    average_faces,
    find_by_mediapipe,
    look_whole,
    tile_frame,
)
from roi_cls.roi.face import Box, Detection
from roi_cls.roi.picture import Picture
from tests.helpers.networks import Networks, Score, draw_squares, square_face

LOOKS = 4 * len(CONTEXTS)


def detect(score: Score, picture: Picture, min_score: float = 0.5) -> tuple[Detection, Networks]:
    networks = Networks(score)
    return find_by_mediapipe(picture, networks, min_score), networks


def test_sure_face_costs_one_look() -> None:
    detection, networks = detect(lambda _, __: 0.9, draw_squares((40, 60)))
    assert networks.steps == ["short"]
    assert detection.step == "short"
    assert [(f.box, f.score) for f in detection.faces] == [(Box(40, 60, 56, 76), 0.9)]


def test_empty_frame_is_searched_by_tiles_and_has_no_face() -> None:
    detection, networks = detect(lambda _, __: 0.9, draw_squares())
    assert (detection.faces, detection.step) == ((), "tiles")
    assert networks.steps[:2] == ["short", "full"]
    assert networks.steps.count("short") == networks.steps.count("full") == 1 + 4
    assert {shape for _, shape in networks.asked[2:]} == {(214, 214)}


def test_doubtful_face_is_confirmed_by_a_second_look() -> None:
    detection, networks = detect(lambda _, __: 0.6, draw_squares((40, 60)))
    assert detection.step == "full"
    assert len(networks.asked) == 2 + LOOKS
    (found,) = detection.faces
    assert found.score == pytest.approx(0.6 * SMALL_FACE_GAIN)
    assert found.box.xyxy == pytest.approx((40, 60, 56, 76), abs=1)


def test_face_seen_at_one_scale_only_is_refuted() -> None:
    def see(_: str, share: float) -> float:
        return 0.7 if share < 0.06 else 0.0  # in the whole frame, never near by

    detection, _ = detect(see, draw_squares((40, 60)))
    assert detection.step == "tiles"
    assert detection.faces == ()


def test_refuted_face_is_not_looked_at_from_every_side() -> None:
    def see(_: str, share: float) -> float:
        return 0.7 if share < 0.06 else 0.0

    _, networks = detect(see, draw_squares((40, 60)))
    again = [shape for _, shape in networks.asked if shape not in ((320, 320), (214, 214))]
    assert len(again) == 4  # one scale, each network, as it is and mirrored


def test_face_that_only_tiles_show_is_found() -> None:
    def see(_: str, share: float) -> float:
        return 0.8 if share > 0.06 else 0.0

    detection, _ = detect(see, draw_squares((300, 10)))
    assert detection.step == "tiles"
    (found,) = detection.faces
    assert found.box.xyxy == pytest.approx((300, 10, 316, 26), abs=1)
    assert found.score > 0.5


def test_second_look_is_the_mean_of_both_networks() -> None:
    def see(range_: str, _: float) -> float:
        return 0.7 if range_ == "short" else 0.5

    detection, _ = detect(see, draw_squares((100, 100)))
    assert detection.faces[0].score == pytest.approx(0.6 * SMALL_FACE_GAIN)
    assert detection.faces[0].model == "short"


def test_face_that_fills_the_frame_is_seen_in_wider_surroundings() -> None:
    detection, networks = detect(
        lambda _, share: 0.7 if share < 0.5 else 0.55, draw_squares((20, 20), side=280)
    )
    assert detection.step == "full"
    assert detection.faces[0].score == pytest.approx(0.7)
    assert len(networks.asked) == 2 + 4  # all scales are the same here


def test_faint_face_is_kept_below_the_threshold() -> None:
    detection, _ = detect(lambda _, __: 0.4, draw_squares((40, 60)))
    assert detection.step == "tiles"
    assert [f.score for f in detection.faces] == pytest.approx([0.4 * SMALL_FACE_GAIN])


def test_lower_score_suspects_more() -> None:
    assert detect(lambda _, __: 0.25, draw_squares((40, 60)), min_score=0.3)[0].step == "tiles"
    detection, _ = detect(lambda _, __: 0.26, draw_squares((40, 60)), min_score=0.25)
    assert detection.step == "full"
    assert [f.score for f in detection.faces] == pytest.approx([0.26 * SMALL_FACE_GAIN])


@pytest.mark.parametrize(
    ("side", "score", "expected"),
    [(16, 0.5, 0.5 * SMALL_FACE_GAIN), (46, 0.5, 0.5 * SMALL_FACE_GAIN), (50, 0.5, 0.5)],
)
def test_small_face_is_scored_for_what_its_size_can_show(
    side: int, score: float, expected: float
) -> None:
    detection, _ = detect(lambda _, __: score, draw_squares((100, 100), side=side))
    assert detection.faces[0].score == pytest.approx(expected)


def test_second_look_that_is_sure_at_once_ends() -> None:
    def see(range_: str, share: float) -> float:
        return 0.6 if share < 0.06 else 0.8

    detection, networks = detect(see, draw_squares((40, 60)))
    assert detection.faces[0].score == pytest.approx(0.8 * SMALL_FACE_GAIN)
    assert len(networks.asked) == 2 + 4


def test_doubtful_face_beside_a_sure_one_counts_after_a_second_look_only() -> None:
    def see(_: str, share: float) -> float:
        if share < 0.09:
            return 0.6  # 16 px in the whole frame
        return 0.9 if share < 0.11 else 0.0  # 32 px there; nothing near by

    image = draw_squares((40, 60)).pixels().copy()
    image[200:232, 200:232] = (255, 0, 0)
    detection, _ = detect(see, Picture.of(image))
    assert detection.step == "short"
    assert [(f.box.left, f.score) for f in detection.faces] == [(200, 0.9)]


def test_stricter_score_goes_on_to_the_last_step() -> None:
    detection, networks = detect(lambda _, __: 0.8, draw_squares((40, 60)), min_score=0.95)
    assert detection.step == "tiles"
    assert networks.steps[:2] == ["short", "full"]
    assert detection.faces[0].score == pytest.approx(0.8 * SMALL_FACE_GAIN)


def test_number_of_second_looks_is_bounded() -> None:
    places = [(x, y) for x in range(8, 312, 34) for y in range(8, 312, 34)]
    assert len(places) > MOST_SUSPECTS
    detection, _ = detect(lambda _, __: 0.6, draw_squares(*places))
    assert len(detection.faces) == MOST_SUSPECTS


@pytest.mark.parametrize("score", [0.9, 0.6])
def test_mirrored_picture_gives_the_mirrored_faces(score: float) -> None:
    picture = draw_squares((40, 60), (250, 111))
    mirrored = Picture.of(np.ascontiguousarray(picture.pixels()[:, ::-1]))
    ours, theirs = (detect(lambda _, __: score, p)[0].faces for p in (picture, mirrored))
    assert len(ours) == 2
    for one in ours:
        left, top, right, bottom = one.box.xyxy
        assert any(
            f.box.xyxy == pytest.approx((320 - right, top, 320 - left, bottom)) for f in theirs
        )


def test_single_network_sees_the_whole_frame_in_its_pixels() -> None:
    networks = Networks(lambda _, __: 0.4)
    picture = draw_squares((64, 128), side=256, size=1600)
    faces = look_whole(picture, lambda image: networks("full", image))
    assert [(f.box, f.score) for f in faces] == [(Box(64, 128, 320, 384), 0.4)]
    assert networks.asked == [("full", (400, 400))]


def test_average_weighs_by_score_and_counts_what_was_not_seen() -> None:
    average = average_faces([square_face(0, 0, 10, 0.75), square_face(4, 0, 10, 0.25, "full")], 4)
    assert average.score == pytest.approx(0.25)
    assert average.box.xyxy == pytest.approx((1, 0, 11, 10))
    assert average.keypoints[0] == pytest.approx((1, 0))
    assert average.model == "short"


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
