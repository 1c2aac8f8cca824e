"""Moved and bent pictures: the pixels arrive where the map says, and only within the window."""

import numpy as np
import pytest

from roi_cls.classifier.augmentation.patch import Window, about, bend, move_picture, reflect
from roi_cls.roi.image import Image
from tests.helpers.pictures import noise

PICTURE: Image = noise(40, 40, 3)
WHOLE = Window(0, 0, 40, 40)


def test_no_turn_no_scale_and_no_shift_leave_a_picture_as_it_is() -> None:
    matrix = about((12.0, 7.0), 0, 1, (0, 0))
    assert np.array_equal(move_picture(PICTURE, matrix, WHOLE), PICTURE)


def test_a_shift_moves_what_lies_in_the_window() -> None:
    moved = move_picture(PICTURE, about((0.0, 0.0), 0, 1, (3, -2)), Window(10, 20, 18, 25))
    assert np.array_equal(moved, PICTURE[22:27, 7:15])


def test_a_turn_keeps_its_centre() -> None:
    assert np.allclose(about((5.0, 9.0), 33, 1.4, (0, 0)) @ (5, 9, 1), (5, 9))


def test_a_mirrored_picture_is_its_flip() -> None:
    moved = move_picture(PICTURE, reflect((19.5, 3.0), (7.0, 0.0)), WHOLE)
    assert np.array_equal(moved, PICTURE[:, ::-1])


@pytest.mark.parametrize("across", [(1.0, 0.0), (3.0, -4.0), (0.0, 0.0)])
def test_mirroring_twice_changes_nothing(across: tuple[float, float]) -> None:
    matrix = np.vstack([reflect((4.0, 6.0), across), [0, 0, 1]])
    assert np.allclose(matrix @ matrix, np.eye(3))
    assert np.allclose(matrix @ (4, 6, 1), (4, 6, 1))


@pytest.mark.parametrize("seed", range(12))
def test_a_bend_changes_its_disc_and_keeps_its_rim(seed: int) -> None:
    bent = bend(PICTURE, (20.0, 18.0), 12.0, np.random.default_rng(seed))
    window, alpha = bent.reach.window, bent.reach.alpha
    before = PICTURE[window.slices]
    assert bent.pixels.shape == before.shape
    assert np.array_equal(bent.pixels[alpha == 0], before[alpha == 0])
    assert (alpha == 0).any()
    changed = (bent.pixels != before).any(axis=2)
    assert changed[alpha > 0.3].mean() > 0.8


def test_every_kind_of_bend_is_drawn() -> None:
    drawn = {
        bend(PICTURE, (20.0, 20.0), 9.0, np.random.default_rng(i)).pixels.tobytes()
        for i in range(20)
    }
    assert len(drawn) == 20


def test_a_bend_at_the_corner_stays_in_the_picture() -> None:
    bent = bend(PICTURE, (0.5, 39.5), 10.0, np.random.default_rng(1))
    assert bent.pixels.shape == PICTURE[bent.reach.window.slices].shape
