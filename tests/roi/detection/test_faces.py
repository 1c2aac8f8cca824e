"""Faces of several looks become one list: sorted, each once."""

import pytest

from roi_cls.roi.detection.faces import best_first, find_again, merge_faces, merge_suspects
from roi_cls.roi.face import Face
from tests.helpers.networks import square_face


def test_faces_come_best_first_and_equals_by_their_place() -> None:
    faces = [square_face(x, y, 4, score) for x, y, score in ((9, 0, 0.5), (0, 0, 0.4), (3, 8, 0.5))]
    assert best_first(faces) == (faces[2], faces[0], faces[1])
    assert best_first(reversed(faces)) == best_first(faces)


@pytest.mark.parametrize(
    ("places", "found"),
    [
        ([], []),
        ([(30, 0, 0.9)], []),
        ([(1, 0, 0.4)], [(1, 0, 0.4)]),
        ([(1, 0, 0.4), (2, 0, 0.6), (30, 0, 0.9)], [(2, 0, 0.6)]),  # the best of that place
        ([(7, 0, 0.9)], []),  # IoU 0.18
    ],
)
def test_face_is_found_again_in_its_place(
    places: list[tuple[int, int, float]], found: list[tuple[int, int, float]]
) -> None:
    seen = [square_face(x, y, 10, score) for x, y, score in places]
    expected = tuple(square_face(x, y, 10, score) for x, y, score in found)
    assert find_again(square_face(0, 0, 10, 0.5), seen) == expected


@pytest.mark.parametrize(
    ("boxes", "suspects", "kept"),
    [
        ([], 0, 0),
        ([square_face(0, 0, 10, 0.9)], 1, 1),
        ([square_face(0, 0, 10, 0.9), square_face(20, 0, 10, 0.8)], 2, 2),
        ([square_face(0, 0, 10, 0.9), square_face(2, 0, 10, 0.8)], 1, 1),  # one beside the other
        (
            [square_face(0, 0, 20, 0.9), square_face(5, 5, 8, 0.8)],
            2,
            1,
        ),  # one in the other: IoU 0.16
        ([square_face(0, 0, 20, 0.3), square_face(5, 5, 8, 0.8)], 2, 1),
        ([square_face(0, 0, 10, 0.9), square_face(9, 9, 10, 0.8)], 2, 2),  # corners touch
    ],
)
def test_faces_that_are_one_are_merged(boxes: list[Face], suspects: int, kept: int) -> None:
    assert len(merge_suspects(boxes)) == suspects
    merged = merge_faces(boxes)
    assert len(merged) == kept
    assert [f.score for f in merged] == sorted((f.score for f in merged), reverse=True)
    assert not boxes or merged[0].score == max(f.score for f in boxes)
