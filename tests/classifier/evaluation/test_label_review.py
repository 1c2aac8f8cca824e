"""Planted label errors come first, in rare classes and in common ones."""

import numpy as np
import pytest
from scipy.special import softmax

from roi_cls.classifier.evaluation.label_review import find_label_errors
from roi_cls.classifier.metrics.interval import Floats, Labels


def _decent_scores(labels: Labels, balanced: bool, seed: int) -> Floats:
    """Return honest scores with a ROC-AUC of about 0.99, or those of class-balanced training."""
    generator = np.random.default_rng(seed)
    classes = int(labels.max()) + 1
    evidence = 2.5 * (generator.normal(size=(len(labels), classes)) + 2.5 * np.eye(classes)[labels])
    logits = evidence + (not balanced) * np.log(np.bincount(labels))
    return np.asarray(softmax(logits, axis=1), np.float64)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("counts", [(75, 669), (60, 200, 340)])
def test_seven_of_ten_flipped_labels_are_among_the_first_twenty(
    counts: tuple[int, ...], balanced: bool, seed: int
) -> None:
    truth = np.repeat(np.arange(len(counts)), counts)
    scores = _decent_scores(truth, balanced, seed)
    given = truth.copy()
    flipped = np.random.default_rng(seed).choice(len(truth), 10, replace=False)
    given[flipped] = (truth[flipped] + 1) % len(counts)
    doubts = find_label_errors(given, scores)
    found = [doubt for doubt in doubts[:20] if doubt.index in flipped]
    assert len(found) >= 7
    assert all(doubt.given == given[doubt.index] for doubt in found)
    # Of three classes, the scores may speak for the third.
    assert sum(doubt.suggested == truth[doubt.index] for doubt in found) >= 6
    assert sorted(doubt.index for doubt in doubts) == list(range(len(truth)))
    assert [d.doubt for d in doubts] == sorted((d.doubt for d in doubts), reverse=True)


def test_rare_class_does_not_hide_its_errors_behind_balanced_scores() -> None:
    # By the probability of the label alone, the common picture at 0.4 comes first; but one in ten
    # is rare, and these scores call half of all pictures so.
    labels = np.array([0] + [1] * 9)
    target = np.array([0.5, 0.6, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.4])
    first, *_ = find_label_errors(labels, np.column_stack([target, 1 - target]))
    assert (first.index, first.given, first.suggested) == (0, 0, 1)
    assert first.doubt == pytest.approx(0.9)


def test_values_of_a_small_example() -> None:
    labels = np.array([0, 1, 1, 1])
    target = np.array([0.8, 0.6, 0.4, 0.2])  # on average 0.5, and 0.25 are labelled so
    doubts = {
        d.index: d.doubt for d in find_label_errors(labels, np.column_stack([target, 1 - target]))
    }
    rare, common = target * 0.25 / 0.5, (1 - target) * 0.75 / 0.5
    expected = {i: float(p) for i, p in enumerate(rare / (rare + common))}
    expected[0] = 1 - expected[0]
    assert doubts == pytest.approx(expected)


def test_class_without_pictures_is_suggested_to_nobody() -> None:
    labels = np.array([0, 1, 0, 1])
    scores = np.array([[0.3, 0.3, 0.4]] * 4)
    assert {doubt.suggested for doubt in find_label_errors(labels, scores)} == {0, 1}


def test_label_that_scores_rule_out_is_doubted_wholly() -> None:
    labels = np.array([0, 1])
    scores = np.array([[0.0, 0.0, 1.0], [0.5, 0.5, 0.0]])
    first, _ = find_label_errors(labels, scores)
    assert (first.index, first.doubt) == (0, 1.0)


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"labels must be \(N,\) and probabilities \(N, K\), not empty, got"
    ):
        find_label_errors(np.array([0, 1]), np.zeros((3, 2)))
