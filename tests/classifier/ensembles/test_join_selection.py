"""Greedy ensemble selection: good members win, useless ones get nothing, repetition weighs."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from roi_cls.classifier.ensembles.join import select_greedily
from roi_cls.classifier.metrics.decision import join_scores

Floats = NDArray[np.float64]
LABELS = np.repeat(np.array([0, 1]), [30, 170])


def scores(strength: float, seed: int) -> Floats:
    """Return probabilities whose target's part rises with the truth by ``strength``."""
    noise = np.random.default_rng(seed).normal(size=len(LABELS))
    target = 1 / (1 + np.exp(-(noise + strength * (LABELS == 0))))
    return np.stack([target, 1 - target], axis=1)


def precision(probabilities: Floats) -> float:
    return float(average_precision_score(LABELS == 0, probabilities[:, 0]))


def test_perfect_member_stands_alone() -> None:
    perfect = np.stack([LABELS == 0, LABELS == 1], axis=1).astype(np.float64)
    assert select_greedily([scores(1, 0), perfect, scores(1, 1)], LABELS, 0) == (0, 1, 0)


def test_selection_is_at_least_as_good_as_its_best_member_and_sums_to_one() -> None:
    members = [scores(strength, i) for i, strength in enumerate([2.0, 1.5, 1.5, 0.0])]
    weights = select_greedily(members, LABELS, 0)
    assert sum(weights) == pytest.approx(1)
    assert min(weights) >= 0
    assert precision(join_scores(members, weights)) >= max(map(precision, members))
    assert weights[0] == max(weights)  # the strongest counts most, by repetition


def test_member_that_ranks_the_wrong_way_round_gets_nothing() -> None:
    weights = select_greedily([scores(2, 0), scores(-3, 1)], LABELS, 0)
    assert weights == (1, 0)


def test_equal_members_are_not_told_apart_by_more_than_their_place() -> None:
    one = scores(1, 0)
    weights = select_greedily([one, one], LABELS, 0)
    assert join_scores([one, one], weights) == pytest.approx(one)


@pytest.mark.parametrize("labels", [np.zeros(4, np.int64), np.ones(4, np.int64)])
def test_labels_of_one_kind_are_refused(labels: NDArray[np.int64]) -> None:
    with pytest.raises(ValueError, match="pictures of the target and of others"):
        select_greedily([np.full((4, 2), 0.5)], labels, 0)
