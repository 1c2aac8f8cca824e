"""The search with networks that are functions: who is asked, what is believed, what lies turned."""

import numpy as np
import pytest

from roi_cls.roi.detection.models import ModelName
from roi_cls.roi.detection.search import (
    DOUBTED,
    HINT,
    IN_COMPANY,
    MOST_SUSPECTS,
    PROPOSED,
    SMALL_FACE_GAIN,
    SURE,
    TURN_LEAD,
    TURN_SCORE,
    TURNED_ALONE,
    TURNED_PX,
    WORD,
    find_faces,
)
from roi_cls.roi.face import Box, Detection, Face
from roi_cls.roi.image import Image
from roi_cls.roi.picture import Picture
from tests.helpers.networks import Networks, Score, draw_squares, place_points

SMALL, LARGE = 16, 48
"""Sides of squares in pictures of 320 px; neither is looked at turned."""
LARGE_SHARE = 0.12
"""Share of the frame's longer side that lies between the two."""


def detect(
    score: Score,
    picture: Picture,
    min_score: float = 0.5,
    *,
    wants_all: bool = False,
    turned: Score | None = None,
) -> tuple[Detection, Networks]:
    networks = Networks(score, turned)
    return find_faces(picture, networks, min_score, wants_all=wants_all), networks


def says(short: float = 0.0, yunet: float = 0.0, full: float = 0.0) -> Score:
    """Return the scores of networks that give the same to every face."""
    scores: dict[ModelName, float] = {"short": short, "yunet": yunet, "full": full}
    return lambda network, _: scores[network]


def draw_two(side: int, other: int, size: int = 320) -> Picture:
    """Return squares of two sizes, far from each other."""
    image = draw_squares((40, 60), side=side, size=size).pixels().copy()
    image[200 : 200 + other, 200 : 200 + other] = (255, 0, 0)
    return Picture.of(image)


def scores_of(detection: Detection) -> list[float]:
    return [face.score for face in detection.faces]


def test_sure_face_costs_one_look() -> None:
    detection, networks = detect(says(short=SURE), draw_squares((40, 60)))
    assert networks.asked == [("short", (320, 320))]
    assert (detection.step, detection.height, detection.width) == ("short", 320, 320)
    box = Box(40, 60, 56, 76)
    assert detection.faces == (Face(box, SURE, place_points(box), "short"),)


def test_empty_frame_is_searched_to_the_end() -> None:
    detection, networks = detect(says(0.9, 0.9, 0.9), draw_squares())
    assert (detection.faces, detection.step) == ((), "yunet")
    assert networks.steps == ["short", "yunet", "yunet"]


@pytest.mark.parametrize(("short", "yunet"), [(HINT, 0.0), (0.0, HINT)])
def test_frame_with_a_hint_of_a_face_is_looked_at_turned(short: float, yunet: float) -> None:
    detection, networks = detect(says(short=short, yunet=yunet), draw_squares((40, 60)))
    assert (detection.faces, detection.step) == ((), "turned")
    assert networks.steps == ["short", "yunet", "yunet", "short", "short", "short"]


@pytest.mark.parametrize(
    ("shape", "seen"),
    [
        ((1, 1), [(320, 320)]),
        ((100, 159), [(201, 320)]),  # at 640 px it would be enlarged more than fourfold
        ((100, 160), [(200, 320), (400, 640)]),
        ((640, 320), [(320, 160), (640, 320)]),
        ((1279, 640), [(320, 160), (640, 320)]),
        ((1280, 640), [(320, 160), (640, 320), (1280, 640)]),
        ((500, 4000), [(40, 320), (80, 640), (160, 1280)]),
    ],
)
def test_frame_is_shown_at_each_scale_that_can_tell_more(
    shape: tuple[int, int], seen: list[tuple[int, int]]
) -> None:
    picture = Picture.of(np.full((*shape, 3), 128, np.uint8))
    _, networks = detect(says(), picture)
    assert [size for network, size in networks.asked if network == "yunet"] == seen


def test_score_of_a_doubted_face_is_the_mean_of_two_networks() -> None:
    detection, networks = detect(says(yunet=0.8, full=0.6), draw_squares((40, 60), side=LARGE))
    assert networks.steps == ["short", "yunet", "full"]
    assert detection.step == "yunet"
    (found,) = detection.faces
    assert found.score == pytest.approx(0.7)
    assert (found.box, found.model) == (Box(40, 60, 88, 108), "yunet")
    assert found.keypoints == place_points(found.box)


def test_second_look_is_close_up() -> None:
    _, networks = detect(says(yunet=0.8, full=0.6), draw_squares((140, 120), side=LARGE))
    assert networks.asked[2] == ("full", (6 * LARGE, 6 * LARGE))
    _, networks = detect(says(yunet=0.8, full=0.6), draw_squares((10, 10), side=300))
    # As large as shows the whole frame or three times the face, from a reduced picture.
    assert ("full", (450, 450)) in networks.asked


def test_small_face_is_left_for_the_second_scale_and_believed_there() -> None:
    detection, networks = detect(says(yunet=WORD), draw_squares((40, 60)))
    assert networks.asked == [("short", (320, 320)), ("yunet", (320, 320)), ("yunet", (640, 640))]
    (found,) = detection.faces
    assert (found.score, found.model, detection.step) == (WORD, "yunet", "yunet")
    assert found.box.xyxy == pytest.approx((40, 60, 56, 76), abs=1)


@pytest.mark.parametrize(
    ("yunet", "full", "score"),
    [
        (0.7, 0.5, 0.6 * SMALL_FACE_GAIN),
        (0.79, 0.9, 1.0),
        (0.7, 0.0, 0.35 * SMALL_FACE_GAIN),
        (0.5, 0.35, 0.425 * SMALL_FACE_GAIN),
    ],
)
def test_small_face_that_is_not_believed_is_looked_at_again_and_raised(
    yunet: float, full: float, score: float
) -> None:
    detection, networks = detect(says(yunet=yunet, full=full), draw_squares((40, 60)))
    assert networks.steps[:4] == ["short", "yunet", "yunet", "full"]
    assert scores_of(detection) == pytest.approx([score])
    assert detection.step == ("yunet" if score >= 0.5 else "turned")


@pytest.mark.parametrize(
    ("other", "score", "expected"),
    [
        (WORD, IN_COMPANY, [WORD, IN_COMPANY]),
        (WORD, IN_COMPANY - 0.01, [WORD, (IN_COMPANY - 0.01) / 2 * SMALL_FACE_GAIN]),
        (0.7, 0.65, [0.35 * SMALL_FACE_GAIN, 0.325 * SMALL_FACE_GAIN]),  # that one does not count
    ],
)
def test_less_is_asked_of_a_small_face_beside_another(
    other: float, score: float, expected: list[float]
) -> None:
    def see(network: ModelName, share: float) -> float:
        return (other if share > 0.055 else score) if network == "yunet" else 0.0

    detection, _ = detect(see, draw_two(SMALL, 20))
    assert scores_of(detection) == pytest.approx(expected)


def test_a_face_already_found_is_company_too() -> None:
    def see(network: ModelName, share: float) -> float:
        if share > LARGE_SHARE:
            return 0.9 if network == "short" else 0.0
        return IN_COMPANY if network == "yunet" else 0.0

    detection, networks = detect(see, draw_two(SMALL, LARGE), wants_all=True)
    assert scores_of(detection) == [0.9, IN_COMPANY]
    assert networks.steps == ["short", "yunet", "yunet"]
    alone, _ = detect(see, draw_squares((40, 60)), wants_all=True)
    assert scores_of(alone) == pytest.approx([IN_COMPANY / 2 * SMALL_FACE_GAIN])


@pytest.mark.parametrize("side", [LARGE, 100, 300])
def test_dog_that_yunet_takes_for_a_face_does_not_count(side: int) -> None:
    detection, _ = detect(says(yunet=0.8), draw_squares((10, 10), side=side))
    assert scores_of(detection) == [0.4]
    assert detection.step == "turned"


def test_faint_proposal_is_not_looked_at_again() -> None:
    faint = PROPOSED - 0.01
    detection, networks = detect(says(yunet=faint, full=0.9), draw_squares((40, 60), side=LARGE))
    assert "full" not in networks.steps
    assert scores_of(detection) == [faint / 2]


@pytest.mark.parametrize(
    ("short", "expected"), [(DOUBTED - 0.01, []), (DOUBTED, [(DOUBTED + 0.8) / 2])]
)
@pytest.mark.parametrize("side", [LARGE, 300])
def test_what_short_range_alone_sees_is_looked_at_again_where_it_is_nearly_sure(
    short: float, expected: list[float], side: int
) -> None:
    def see(network: ModelName, share: float) -> float:
        return {"short": short, "full": 0.8, "yunet": 0.0}[network]

    detection, networks = detect(see, draw_squares((10, 10), side=side))
    assert scores_of(detection) == pytest.approx(expected)
    assert networks.steps.count("full") == len(expected)
    assert {face.model for face in detection.faces} <= {"short"}


def test_short_range_is_not_believed_of_a_small_face() -> None:
    detection, networks = detect(says(short=0.84, full=0.5), draw_squares((40, 60)))
    assert networks.steps == ["short", "full"]
    assert scores_of(detection) == pytest.approx([0.67 * SMALL_FACE_GAIN])


def test_what_both_networks_see_is_one_suspect() -> None:
    detection, networks = detect(says(0.8, 0.7, 0.6), draw_squares((40, 60), side=LARGE))
    assert networks.steps == ["short", "full"]
    assert [face.model for face in detection.faces] == ["short"]
    assert scores_of(detection) == pytest.approx([0.7])


@pytest.mark.parametrize(("full", "expected"), [(0.7, [0.9, 0.65]), (0.0, [0.9, 0.3])])
def test_doubtful_face_beside_a_sure_one_is_looked_at_again(
    full: float, expected: list[float]
) -> None:
    def see(network: ModelName, share: float) -> float:
        if network == "full":
            return full
        return 0.9 if share > 0.17 else 0.6

    detection, networks = detect(see, draw_two(LARGE, 60))
    assert scores_of(detection) == pytest.approx(expected)
    assert (networks.steps, detection.step) == (["short", "full"], "short")


def test_number_of_second_looks_is_bounded() -> None:
    places = [(x, y) for x in range(8, 312, 34) for y in range(8, 312, 34)]
    assert len(places) > MOST_SUSPECTS
    detection, networks = detect(says(yunet=0.55, full=0.6), draw_squares(*places))
    assert len(detection.faces) == networks.steps.count("full") == MOST_SUSPECTS


@pytest.mark.parametrize("size", [320, 1280])
def test_all_faces_are_looked_for_at_every_scale(size: int) -> None:
    def see(network: ModelName, share: float) -> float:
        if share > LARGE_SHARE:
            return 0.9
        return 0.85 if network == "yunet" else 0.0

    picture = draw_two(SMALL, size // 5, size)
    assert detect(see, picture)[1].steps == ["short"]
    detection, networks = detect(see, picture, wants_all=True)
    # Neither is the large one judged again, nor the frame looked at turned.
    assert networks.steps == ["short", "yunet", "yunet", "yunet"][: 4 if size == 1280 else 3]
    assert detection.step == "yunet"
    assert [(f.model, f.score) for f in detection.faces] == [("short", 0.9), ("yunet", 0.85)]


def test_lower_score_suspects_and_keeps_more() -> None:
    picture = draw_squares((40, 60), side=LARGE)
    detection, networks = detect(says(yunet=0.4, full=0.3), picture, min_score=0.3)
    assert networks.steps == ["short", "yunet", "full"]
    assert scores_of(detection) == pytest.approx([0.35])
    detection, _ = detect(says(yunet=0.3), picture, min_score=0.1)
    assert (scores_of(detection), detection.step) == ([0.15], "yunet")
    assert detect(says(yunet=0.3), picture)[0].faces == ()


def test_stricter_score_goes_on_to_the_last_step_and_keeps_what_it_refuses() -> None:
    picture = draw_squares((40, 60), side=LARGE)
    detection, networks = detect(says(0.9, 0.9, 0.9), picture, min_score=0.95)
    turned = ["short", "full"] * 3
    assert networks.steps == ["short", "full", "yunet", "yunet", *turned]
    assert (scores_of(detection), detection.step) == ([0.9], "turned")
    small, networks = detect(says(yunet=0.85, full=0.85), draw_squares((40, 60)), min_score=0.9)
    assert "full" in networks.steps  # YuNet's word alone would not count
    assert scores_of(small) == [1.0]


SIDE = 96
"""Of a square that is looked at turned."""
PLACES = [(16, 40), (200, 40)]
"""Left, where the frame is seen as it is, and right, where it is seen mirrored."""


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_face_seen_only_in_the_frame_turned_is_told_as_it_lies(
    place: tuple[int, int], turns: int
) -> None:
    picture = draw_squares(place, side=SIDE, turns=turns)
    detection, networks = detect(says(short=SURE), picture, turned=says(yunet=HINT))
    assert detection.step == "turned"
    (found,) = detection.faces
    left, top = place
    assert found.box == Box(left, top, left + SIDE, top + SIDE)
    expected = place_points(found.box, turns)
    assert np.array(found.keypoints) == pytest.approx(np.array(expected))
    # In three turned frames, and close up, turned by the roll that was found.
    assert networks.steps == ["short", "yunet", "yunet", *["short"] * 4]


def test_face_in_the_turned_frame_must_be_sure_or_agreed_on() -> None:
    picture = draw_squares(PLACES[0], side=SIDE, turns=1)
    hint = says(yunet=HINT)
    detection, _ = detect(says(short=SURE - 0.01), picture, turned=hint)
    assert (detection.faces, detection.step) == ((), "turned")
    agreed, _ = detect(says(short=SURE - 0.01, full=TURNED_ALONE), picture, turned=hint)
    assert scores_of(agreed) == pytest.approx([(SURE - 0.01 + TURNED_ALONE) / 2])


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_proposed_face_is_seen_the_right_way_up(place: tuple[int, int], turns: int) -> None:
    picture = draw_squares(place, side=SIDE, turns=turns)
    detection, _ = detect(says(0.8, 0.9, 0.9), picture, turned=says(yunet=0.7))
    assert detection.step == "yunet"
    (found,) = detection.faces
    left, top = place
    assert found.box.xyxy == pytest.approx((left, top, left + SIDE, top + SIDE), abs=1)
    assert found.model == "short"
    assert found.score == pytest.approx((0.8 + 0.9) / 2)
    expected = place_points(found.box, turns)
    assert np.array(found.keypoints) == pytest.approx(np.array(expected))


@pytest.mark.parametrize(
    ("upright", "turned", "is_turned"),
    [
        (says(TURN_SCORE, full=0.6), says(yunet=0.8, full=0.6), True),
        (says(TURN_SCORE - 0.01, full=0.6), says(yunet=0.8, full=0.6), False),
        # As it lies short range sees it, too.
        (says(0.78, full=0.6), says(0.78 - TURN_LEAD - 0.01, 0.8, 0.6), True),
        (says(0.78, full=0.6), says(0.78 - TURN_LEAD + 0.01, 0.8, 0.6), False),
    ],
)
def test_face_is_told_as_turned_only_where_that_is_plain(
    upright: Score, turned: Score, is_turned: bool
) -> None:
    picture = draw_squares(PLACES[0], side=SIDE, turns=2)
    (found,) = detect(upright, picture, turned=turned)[0].faces
    expected = place_points(found.box, 2 if is_turned else 0)
    assert np.array(found.keypoints) == pytest.approx(np.array(expected))
    assert found.model == ("short" if is_turned else "yunet")
    assert found.score == pytest.approx(0.7)  # the better one's of both ways up


def test_face_must_be_turned_plainly_in_wider_surroundings_too() -> None:
    def see(network: ModelName, share: float) -> float:
        near = 0.9 if share > 0.45 else 0.4  # half or a third of what is shown
        return {"short": near, "full": 0.6, "yunet": 0.0}[network]

    picture = draw_squares((112, 112), side=SIDE, turns=1)
    (found,) = detect(see, picture, turned=says(yunet=0.8, full=0.6))[0].faces
    assert (found.model, found.keypoints) == ("yunet", place_points(found.box))


@pytest.mark.parametrize(
    ("full", "expected"), [(TURNED_ALONE, 0.3), (TURNED_ALONE + 0.02, TURNED_ALONE + 0.005)]
)
def test_more_is_asked_of_a_face_that_counts_only_turned(full: float, expected: float) -> None:
    picture = draw_squares(PLACES[0], side=SIDE, turns=2)
    short = TURNED_ALONE - 0.01  # not looked at again by itself
    detection, _ = detect(says(short, full=full), picture, turned=says(yunet=0.6))
    assert scores_of(detection) == pytest.approx([expected])


def test_turned_face_is_not_taken_for_its_neighbour() -> None:
    image = draw_squares((0, 0), side=96, turns=2).pixels().copy()
    image[100:180, 104:184] = draw_squares((0, 0), side=80, turns=3).pixels()[:80, :80]
    picture = Picture.of(image)
    faces = detect(says(0.8, 0.9, 0.9), picture, turned=says(yunet=0.7))[0].faces
    found = sorted(faces, key=_top_of)
    boxes = np.array([face.box.xyxy for face in found])
    assert boxes == pytest.approx(np.array([(0, 0, 96, 96), (104, 100, 184, 180)]))
    expected = [place_points(face.box, turns) for face, turns in zip(found, (2, 3), strict=True)]
    assert np.array([face.keypoints for face in found]) == pytest.approx(np.array(expected))


@pytest.mark.parametrize(("side", "looks"), [(TURNED_PX - 2, 1), (TURNED_PX, 1 + 4)])
def test_only_large_faces_are_looked_at_turned(side: int, looks: int) -> None:
    picture = draw_squares(PLACES[0], side=side)
    detection, networks = detect(says(yunet=0.8, full=0.6), picture)
    assert networks.steps.count("short") == looks
    assert scores_of(detection) == pytest.approx([0.7])


@pytest.mark.parametrize(
    ("score", "turned", "side"),
    [
        (says(short=0.9), None, SMALL),
        (says(yunet=0.8, full=0.6), None, LARGE),
        (says(yunet=0.55, full=0.6), None, SMALL),
        (says(0.8, full=0.9), says(yunet=0.7), SIDE),
        (says(short=0.9), says(yunet=HINT), SIDE),
    ],
)
@pytest.mark.parametrize("turns", [0, 1, 2])
def test_mirrored_picture_gives_the_mirrored_faces(
    score: Score, turned: Score | None, side: int, turns: int
) -> None:
    picture = draw_squares((16, 40), (208, 190), side=side, turns=turns)
    mirrored = Picture.of(np.ascontiguousarray(picture.pixels()[:, ::-1]))
    ours, theirs = (detect(score, p, turned=turned)[0].faces for p in (picture, mirrored))
    assert len(ours) == len(theirs) == 2
    pairs = zip(sorted(ours, key=_top_of), sorted(theirs, key=_top_of), strict=True)
    for one, other in pairs:
        left, top, right, bottom = one.box.xyxy
        assert other.box.xyxy == pytest.approx((320 - right, top, 320 - left, bottom))
        sides = [(320 - x, y) for x, y in other.keypoints]
        expected = [sides[i] for i in (1, 0, 2, 3, 5, 4)]
        assert np.array(one.keypoints) == pytest.approx(np.array(expected))
        assert one.model == other.model
        assert one.score == pytest.approx(other.score)


def test_networks_are_shown_the_same_of_a_picture_and_its_mirror_image() -> None:
    picture = draw_squares((16, 40), side=SIDE, turns=1)
    mirrored = Picture.of(np.ascontiguousarray(picture.pixels()[:, ::-1]))
    networks = Networks(says(0.7, 0.6, 0.5), says(yunet=0.6))
    shown: list[Image] = []

    def see(network: ModelName, image: Image) -> tuple[Face, ...]:
        shown.append(image)
        return networks(network, image)

    find_faces(picture, see, 0.5)
    ours = shown.copy()
    shown.clear()
    find_faces(mirrored, see, 0.5)
    assert len(ours) == len(shown) > 8
    assert all(map(np.array_equal, ours, shown))


def _top_of(face: Face) -> float:
    return face.box.top
