"""The area below the risk-coverage curve, with ties in every order; rankings within groups."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from roi_cls.classifier.metrics.decision import risk_area, risk_coverage
from roi_cls.classifier.metrics.weighted import ranking_interval, weighted_aurc


def test_curve_of_a_small_example() -> None:
    curve = risk_coverage(np.array([False, True, False, True]), np.array([0.1, 0.2, 0.4, 0.3]))
    assert curve.coverage.tolist() == [0.25, 0.5, 0.75, 1]
    assert curve.margin.tolist() == [0.4, 0.3, 0.2, 0.1]
    assert curve.risk.tolist() == pytest.approx([0, 1 / 2, 2 / 3, 2 / 4])
    assert curve.best.tolist() == pytest.approx([0, 0, 1 / 3, 2 / 4])
    assert risk_area(curve) == pytest.approx((0 + 1 / 2 + 2 / 3 + 2 / 4) / 4)


def test_ties_count_as_the_mean_over_their_orders() -> None:
    wrong = np.array([True, False, False, True, False])
    margins = np.array([0.9, 0.5, 0.5, 0.5, 0.1])
    areas = []
    for order in itertools.permutations([1, 2, 3]):
        broken = margins.copy()
        broken[list(order)] += np.array([0.03, 0.02, 0.01])
        areas.append(risk_area(risk_coverage(wrong, broken)))
    assert risk_area(risk_coverage(wrong, margins)) == pytest.approx(np.mean(areas))


def test_constant_margin_gives_the_error_and_a_perfect_one_the_best_area() -> None:
    wrong = np.arange(50) % 5 == 0
    assert risk_area(risk_coverage(wrong, np.full(50, 0.3))) == pytest.approx(0.2)
    perfect = risk_coverage(wrong, 1.0 - wrong)
    assert perfect.risk.tolist() == pytest.approx(perfect.best.tolist())


@pytest.mark.parametrize("decimals", [1, 16])
def test_resampled_area_is_that_of_the_drawn_pictures(decimals: int) -> None:
    generator = np.random.default_rng(7)
    margins = generator.random(300).round(decimals)
    wrong = generator.random(300) > margins
    weights = np.vstack([np.ones(300), generator.integers(0, 3, (4, 300))])
    found = weighted_aurc(wrong.astype(np.float64), margins, weights)
    assert found[0] == pytest.approx(risk_area(risk_coverage(wrong, margins)))
    for row, value in zip(weights[1:].astype(int), found[1:], strict=True):
        drawn = np.repeat(np.arange(300), row)
        # A picture drawn twice stands at two places; the area takes the risk at the second.
        area = risk_area(risk_coverage(wrong[drawn], margins[drawn]))
        assert value == pytest.approx(area, abs=0.01)


def test_ranking_is_that_of_scikit_learn_and_of_one_group_as_of_all() -> None:
    generator = np.random.default_rng(3)
    sides, scores = generator.random(120) < 0.3, generator.random(120).round(1)
    found = ranking_interval(sides, scores)
    assert found.value == pytest.approx(roc_auc_score(sides, scores))
    assert found.low < found.value < found.high
    assert ranking_interval(sides, scores, groups=np.full(120, 7)) == found
    surer = ranking_interval(sides, scores, confidence=0.99)
    assert surer.low < found.low < found.high < surer.high


def test_ranking_within_groups_weighs_each_by_its_pairs() -> None:
    sides = np.array([True, False, False, True, False, True, False])
    scores = np.array([0.9, 0.1, 0.2, 0.5, 0.6, 0.7, 0.8])
    groups = np.array([0, 0, 0, 1, 1, 1, 1])  # 2 of 2 pairs right, and 1 of 4
    assert ranking_interval(sides, scores, groups=groups).value == pytest.approx(3 / 6)
    assert ranking_interval(sides, scores).value == pytest.approx(9 / 12)


def test_constant_scores_rank_by_chance() -> None:
    found = ranking_interval(np.arange(40) % 2 == 0, np.full(40, 0.3))
    assert found.value == 0.5
    assert found.holds(0.5)
