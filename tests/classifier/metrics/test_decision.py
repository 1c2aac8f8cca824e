"""The answer of a threshold, and how sure it is, whichever index the target has."""

import numpy as np
import pytest

from roi_cls.classifier.metrics.decision import decide, is_unsure, measure_margin


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
    ("row", "target", "threshold", "margin"),
    [
        ([0.75, 0.25], 0, 0.5, 0.25),
        ([0.75, 0.25], 1, 0.5, 0.25),
        ([0.25, 0.75], 0, 0.375, 0.125),
        ([0.5, 0.5], 1, 0.5, 0.0),
        ([0.75, 0.25], 0, None, 0.5),  # without a threshold, the lead of the first
        ([0.5, 0.375, 0.125], 2, 0.1, 0.125),  # three classes: the threshold plays no part
        ([0.25, 0.25, 0.5], 0, 0.5, 0.25),
    ],
)
def test_margin_is_the_distance_to_another_answer(
    row: list[float], target: int, threshold: float | None, margin: float
) -> None:
    scores = np.array([row])
    assert measure_margin(scores, target, threshold).tolist() == [margin]
    assert is_unsure(scores, target, threshold, margin + 0.01).tolist() == [True]
    assert is_unsure(scores, target, threshold, margin).tolist() == [False]  # the edge is sure


def test_without_abstention_nothing_is_unsure() -> None:
    scores = np.array([[0.5, 0.5], [0.5, 0.5]])
    assert not is_unsure(scores, 0, 0.5, 0.0).any()
