"""Covering a place tells what it was worth."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from roi_cls.classifier.config import BATCH_SIZE
from roi_cls.classifier.explanation.occlusion import occlude
from roi_cls.classifier.runs.bundle import ModelBundle, Normalisation
from roi_cls.data.sample import LabelSet
from roi_cls.roi import CropParams

SIDE = 48
VIEWS = (CropParams(crop="full", size_px=SIDE), CropParams(crop="full", size_px=SIDE, margin=1))


class BrightSquare:
    """A scorer without gradients: of class 1 by how bright a square of one view is."""

    def __init__(self, view: int = 0) -> None:
        self.views = VIEWS[: view + 1]
        self.asked: list[int] = []
        self._view = view
        self.bundle = ModelBundle(
            model="bright",
            views=self.views,
            labels=LabelSet(("dark", "bright"), "bright"),
            normalisation=Normalisation((0.2,) * 3, (0.5,) * 3),
            temperature=1.0,
            offsets=(0.0, 0.0),
            threshold=0.5,
            data_digest="",
        )

    def probabilities(
        self, pixels_by_view: Sequence[NDArray[np.uint8]], batch_size: int = BATCH_SIZE
    ) -> NDArray[np.float64]:
        """Return (N, 2): log-odds of 4 where the square is white, of -4 where it is black."""
        self.asked.append(len(pixels_by_view[0]))
        square = pixels_by_view[self._view][:, 30:38, 4:12].mean(axis=(1, 2, 3)) / 255
        bright = 1 / (1 + np.exp(4 - 8 * square))
        return np.stack((1 - bright, bright), axis=1)


def white() -> NDArray[np.uint8]:
    return np.full((1, SIDE, SIDE, 3), 255, np.uint8)


def test_log_odds_fall_where_the_square_is_covered_and_nowhere_else() -> None:
    (effect,) = occlude(BrightSquare(), [white()], 1)
    assert effect.shape == (SIDE, SIDE)
    assert effect.dtype == np.float32
    row, column = np.unravel_index(effect.argmax(), effect.shape)
    assert 28 <= row < 40
    assert 2 <= column < 14
    # A patch of 8 px in the colour of the mean, 0.2, takes at most 0.8 of the 8 that white gives.
    assert 3 < effect.max() <= 6.4 + 1e-4
    assert np.abs(effect[:20]).max() < 1e-6
    assert np.abs(effect[:, 24:]).max() < 1e-6


def test_effect_is_signed() -> None:
    (effect,) = occlude(BrightSquare(), [white()], 0)
    assert effect.min() < -3
    assert effect.max() == pytest.approx(0, abs=1e-6)


def test_each_view_is_covered_by_itself() -> None:
    first, second = occlude(BrightSquare(view=1), [white(), white()], 1)
    assert np.abs(first).max() < 1e-6
    assert second.max() > 3


def test_batches_change_nothing_but_how_many_are_asked_at_once() -> None:
    few, many = BrightSquare(), BrightSquare()
    one, other = occlude(few, [white()], 1, 5), occlude(many, [white()], 1, 64)
    np.testing.assert_allclose(one[0], other[0], rtol=1e-5, atol=1e-6)
    assert (max(few.asked), max(many.asked)) == (5, 64)


def test_a_sure_answer_has_finite_effects() -> None:
    class Sure(BrightSquare):
        def probabilities(
            self, pixels_by_view: Sequence[NDArray[np.uint8]], batch_size: int = BATCH_SIZE
        ) -> NDArray[np.float64]:
            return np.tile([0.0, 1.0], (len(pixels_by_view[0]), 1))

    (effect,) = occlude(Sure(), [white()], 1)
    assert not effect.any()
