"""The bands of ROC and precision-recall curves hold their curves and are never too sure."""

import numpy as np
import pytest

from roi_cls.classifier.metrics.interval import CURVE_GRID, ranking_bands, wilson

IS_TARGET = np.array([True, True, False, True, False, False, False, False])
SCORES = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])


def at(share: float) -> int:
    return int(np.abs(CURVE_GRID - share).argmin())


def test_found_is_read_off_the_thresholds_there_are() -> None:
    found = ranking_bands(IS_TARGET, SCORES, resamples=50).found
    # 5 others: below 1/5 none of them may be called, and two of three stand before the first.
    assert [found[at(share)].value for share in (0, 0.19, 0.2, 0.5, 1)] == pytest.approx(
        [2 / 3, 2 / 3, 1, 1, 1]
    )


def test_precision_is_that_of_the_first_threshold_that_finds_enough() -> None:
    precision = ranking_bands(IS_TARGET, SCORES, resamples=50).precision
    assert [precision[at(share)].value for share in (0, 0.3, 0.66, 0.67, 1)] == pytest.approx(
        [1, 1, 1, 0.75, 0.75]
    )


def test_equal_scores_are_called_together() -> None:
    bands = ranking_bands(IS_TARGET, np.full(8, 0.5), resamples=50)
    assert {one.value for one in bands.precision} == {3 / 8}
    assert bands.found[at(0.99)].value == 0
    assert bands.found[at(1)].value == 1


def test_order_of_pictures_plays_no_part() -> None:
    there = ranking_bands(IS_TARGET, SCORES, resamples=50)
    back = ranking_bands(IS_TARGET[::-1], SCORES[::-1], resamples=50)
    assert [one.value for one in there.found] == [one.value for one in back.found]


@pytest.mark.parametrize("count", [4, 40, 400])
def test_no_interval_is_narrower_than_its_pictures_allow(count: int) -> None:
    is_target = np.arange(count) % 4 == 0
    scores = np.where(is_target, 0.9, 0.1)  # a perfect ranking, and so is every resample of it
    bands = ranking_bands(is_target, scores, resamples=50)
    certain = wilson(is_target.sum(), is_target.sum())
    assert all(one.value == 1 and one.low <= certain.low for one in bands.found)
    assert all(one.low <= certain.low for one in bands.precision)


def test_more_pictures_make_narrower_bands() -> None:
    random = np.random.default_rng(0)
    widths = []
    for count in (40, 400):
        is_target = np.arange(count) % 4 == 0
        scores = random.random(count) + is_target * 0.4
        bands = ranking_bands(is_target, scores, resamples=200)
        assert all(one.low <= one.value <= one.high for one in (*bands.found, *bands.precision))
        middle = bands.found[at(0.2)]
        widths.append(middle.high - middle.low)
    assert widths[1] < widths[0] / 2
