"""Letters are ink on an empty canvas, of any height, level or not, up to the crop's rim."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from roi_cls.classifier.augmentation.face_map import FaceMap, locate_face
from roi_cls.classifier.augmentation.letters import write_letters

FACE = np.array([[0.45, 0.4], [0.55, 0.4], [0.5, 0.45], [0.5, 0.5], [0.4, 0.4], [0.6, 0.4]])


def face(size_px: int, beside: float) -> FaceMap:
    return locate_face((FACE * size_px).astype(np.float32), size_px, beside)


def lines(size_px: int, beside: float, count: int = 60) -> list[NDArray[np.uint8]]:
    return [
        write_letters(face(size_px, beside), np.random.default_rng(seed)) for seed in range(count)
    ]


@pytest.mark.parametrize("size_px", [32, 224, 448])
def test_each_line_is_ink_of_the_crops_size(size_px: int) -> None:
    for canvas in lines(size_px, 0.0):
        assert canvas.shape == (size_px, size_px)
        assert canvas.dtype == np.uint8
        assert canvas.max() > 100
        assert np.mean(canvas > 0) < 0.7


def test_lines_beside_a_face_find_room_and_reach_the_rim() -> None:
    boxes = [cv2.boundingRect(canvas) for canvas in lines(288, 1.0)]
    middles = np.array([top + height / 2 for _, top, _, height in boxes]) / 288
    assert min(middles.min(), 1 - middles.max()) < 0.08
    short = [(left, left + width) for left, _, width, _ in boxes if width < 200]
    assert len(short) > 30
    # Turned ones may lose a corner, as a line in a picture may.
    assert np.mean([left > 0 and right < 288 for left, right in short]) > 0.8


def test_lines_close_up_stay_at_the_face() -> None:
    middles = [
        (left + width / 2, top + height / 2)
        for left, top, width, height in map(cv2.boundingRect, lines(288, 0.0))
    ]
    away = np.hypot(*(np.array(middles) / 288 - (0.5, 0.43)).T)
    assert np.median(away) < 0.15


def test_heights_differ_by_more_than_four_times() -> None:
    heights = [cv2.boundingRect(canvas)[3] for canvas in lines(448, 1.0)]
    assert max(heights) > 4 * min(heights)


def test_the_same_draw_writes_the_same_line() -> None:
    first, second = lines(96, 0.5, 10), lines(96, 0.5, 10)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
