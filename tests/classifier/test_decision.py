"""The threshold and the answer it gives, whichever index the target has."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from roi_cls.classifier.decision import choose_threshold, decide

SCORES = st.one_of(
    st.sampled_from([0.0, 0.25, 0.5, 1.0, float(np.nextafter(1, 0)), 5e-324]), st.floats(0, 1)
)


@pytest.mark.parametrize(
    ("target", "threshold", "expected"),
    [
        (0, 0.5, [0, 1, 0]),
        (1, 0.5, [0, 1, 1]),  # at the threshold, the target
        (0, 0.7, [0, 1, 1]),
        (1, 0.2, [1, 1, 1]),
        (0, None, [0, 1, 0]),  # most probable; the lower index at a tie
        (1, None, [0, 1, 0]),
    ],
)
def test_two_classes_are_decided_by_the_targets_probability(
    target: int, threshold: float | None, expected: list[int]
) -> None:
    probabilities = np.array([[0.75, 0.25], [0.1, 0.9], [0.5, 0.5]])
    assert decide(probabilities, target, threshold).tolist() == expected


def test_three_classes_ignore_the_threshold() -> None:
    probabilities = np.array([[0.4, 0.4, 0.2], [0.1, 0.3, 0.6]])
    assert decide(probabilities, 1, 0.01).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("scores", "is_target", "expected"),
    [
        ([0.9, 0.7, 0.3, 0.1], [1, 1, 0, 0], 0.5),
        ([0.1, 0.3, 0.7, 0.9], [0, 0, 1, 1], 0.5),  # order plays no part
        ([0.8, 0.8, 0.2], [1, 0, 0], 0.5),  # ties stay together
        ([0.6, 0.4], [1, 1], 0.2),  # all of the target
        ([0.8, 0.6, 0.4, 0.2], [1, 0, 0, 1], 0.7),  # F1 ties at 2/3: the higher
        ([0.5], [1], 0.25),
        ([0.0], [1], 0.0),
    ],
)
def test_threshold_lies_amid_the_scores_with_the_best_f1(
    scores: list[float], is_target: list[int], expected: float
) -> None:
    assert choose_threshold(np.array(scores), np.array(is_target, bool)) == pytest.approx(expected)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(SCORES, st.booleans()), min_size=1, max_size=12), st.integers(0, 1))
def test_no_other_threshold_decides_better(rows: list[tuple[float, bool]], target: int) -> None:
    rows = [*rows, (0.5, True)]
    scores = np.array([score for score, _ in rows])
    is_target = np.array([truth for _, truth in rows])

    def f1(threshold: float) -> float:
        columns = (scores, 1 - scores) if target == 0 else (1 - scores, scores)
        answer = decide(np.stack(columns, axis=1), target, threshold)
        return float(f1_score(is_target, answer == target))

    best = f1(choose_threshold(scores, is_target))
    assert best >= max(map(f1, scores)) - 1e-12


def test_threshold_between_neighbouring_floats_keeps_them_apart() -> None:
    below = float(np.nextafter(1, 0))
    threshold = choose_threshold(np.array([1.0, below]), np.array([True, False]))
    assert below < threshold <= 1.0
