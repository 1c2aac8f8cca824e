"""How much the best of many flatters: known cases, and what must follow from the definition."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from roi_cls.classifier.metrics.interval import Floats, Labels, resample
from roi_cls.classifier.metrics.selection import Score, choose_best, rank_score

LABELS = np.repeat(np.array([0, 1]), [30, 120])


def noise(count: int, seed: int = 0, labels: Labels = LABELS) -> list[Floats]:
    return list(np.random.default_rng(seed).normal(size=(count, len(labels))))


def test_best_of_many_that_know_nothing_is_worth_a_coin() -> None:
    found = choose_best(LABELS, noise(60), 0)
    values = [roc_auc_score(LABELS == 0, one) for one in noise(60)]
    assert found.best == int(np.argmax(values))
    assert found.apparent.value == pytest.approx(max(values))
    assert found.apparent.value > 0.6
    # Not all of it: what the best has by luck on these pictures is on either side of each resample.
    assert found.corrected.value < found.apparent.value - 0.02
    assert found.optimism == pytest.approx(found.apparent.value - found.corrected.value)


def test_mean_over_data_sets_of_what_is_left_is_the_truth() -> None:
    left, apparent = [], []
    for seed in range(40):
        found = choose_best(LABELS, noise(20, seed), 0, resamples=100)
        left.append(found.corrected.value)
        apparent.append(found.apparent.value)
    assert np.mean(apparent) > 0.58
    # BBC-CV takes most of it off; what remains is small beside what the choice flattered.
    assert abs(np.mean(left) - 0.5) < (np.mean(apparent) - 0.5) / 2


def test_system_far_better_than_all_others_is_not_flattered() -> None:
    clear = noise(1, 5)[0] + 4 * (LABELS == 0)
    found = choose_best(LABELS, [*noise(20), clear], 0)
    assert found.best == 20
    assert abs(found.optimism) < 0.01


@pytest.mark.parametrize(
    ("score", "measure"),
    [("roc_auc", roc_auc_score), ("average_precision", average_precision_score)],
)
def test_choice_is_made_in_each_resample_and_scored_on_what_it_left_out(
    score: Score, measure: Callable[..., float]
) -> None:
    systems = noise(5, 3)
    reached = []
    (weights,) = resample((LABELS == 0).astype(np.int64), resamples=20, seed=7)
    for row in weights:
        drawn = [measure(LABELS == 0, one, sample_weight=row) for one in systems]
        rest = row == 0
        reached.append(measure(LABELS[rest] == 0, systems[int(np.argmax(drawn))][rest]))
    found = choose_best(LABELS, systems, 0, score, resamples=20, seed=7)
    assert found.corrected.value == pytest.approx(np.mean(reached))
    assert rank_score(LABELS, systems[0], 0, score) == pytest.approx(
        measure(LABELS == 0, systems[0])
    )


def test_one_system_is_no_choice() -> None:
    (only,) = noise(1)
    found = choose_best(LABELS, [only], 0)
    assert (found.best, abs(found.optimism) < 0.01) == (0, True)
    with pytest.raises(ValueError, match="a choice needs systems"):
        choose_best(LABELS, [], 0)


def test_one_target_can_never_be_left_out_and_drawn() -> None:
    labels = np.repeat(np.array([0, 1]), [1, 9])
    found = choose_best(labels, noise(3, labels=labels), 0)
    assert math.isnan(found.corrected.value)
    assert math.isnan(found.optimism)


def test_of_several_classes_the_others_are_one_side() -> None:
    three = np.repeat(np.array([0, 1, 2]), [30, 60, 60])
    assert choose_best(three, noise(4), 0) == choose_best(LABELS, noise(4), 0)
