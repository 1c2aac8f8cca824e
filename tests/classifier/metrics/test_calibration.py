"""A scaling that is recovered, and a calibration error held to its definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression

from roi_cls.classifier.metrics.calibration import (
    BINS,
    OFFSETS,
    TEMPERATURES,
    calibration_bins,
    calibration_curve,
    expected_calibration_error,
    fit_scaling,
    weighted_calibration_error,
)
from roi_cls.classifier.metrics.decision import to_probabilities
from roi_cls.classifier.metrics.interval import Floats, Labels, wilson


def _honest(count: int, classes: int, seed: int = 0) -> tuple[Floats, Labels]:
    """Return logits and labels drawn by the very probabilities that the logits claim."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(count, classes)) * 2
    claimed = softmax(logits, axis=1).cumsum(axis=1)
    labels = (generator.random((count, 1)) > claimed).sum(axis=1)
    return logits, np.minimum(labels, classes - 1)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("factor", [0.25, 1.0, 3.0])
def test_overconfidence_is_undone(classes: int, factor: float) -> None:
    logits, labels = _honest(20_000, classes)
    temperature, offsets = fit_scaling(logits * factor, labels)
    assert temperature == pytest.approx(factor, rel=0.03)
    assert offsets == pytest.approx((0.0,) * classes, abs=0.1)
    assert offsets[-1] == 0


def test_scaling_is_that_of_a_logistic_regression() -> None:
    logits, labels = _honest(20_000, 2)
    logits[:, 0] += 1.5
    temperature, offsets = fit_scaling(logits, labels)
    regression = LogisticRegression(C=np.inf).fit(logits[:, :1] - logits[:, 1:], labels == 0)
    assert 1 / temperature == pytest.approx(regression.coef_[0, 0], rel=1e-2)
    assert offsets[0] == pytest.approx(regression.intercept_[0], abs=1e-2)


@pytest.mark.parametrize("classes", [2, 3])
def test_balanced_training_of_rare_classes_is_undone(classes: int) -> None:
    # Scores as learned where classes are alike, pictures where the first is rare
    logits, labels = _honest(30_000, classes)
    kept = (labels > 0) | (np.random.default_rng(1).random(len(labels)) < 0.1)
    logits, labels = logits[kept] * 2, labels[kept]
    temperature, offsets = fit_scaling(logits, labels)
    assert temperature == pytest.approx(2, rel=0.05)
    assert offsets == pytest.approx([np.log(0.1)] + [0.0] * (classes - 1), abs=0.15)
    fitted, only = (
        softmax(logits / temperature + np.array(added), axis=1)[:, 0]
        for added in (offsets, (0.0,) * classes)
    )
    assert expected_calibration_error(fitted, labels == 0) < 0.01
    assert expected_calibration_error(only, labels == 0) > 0.1


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("distance", [0.0, 0.7, 1.8, 3.5, 8.0])
def test_ten_pictures_of_a_class_give_no_wild_scaling(distance: float, seed: int) -> None:
    generator = np.random.default_rng(seed)

    def draw(target: int, other: int) -> tuple[Floats, Labels]:
        """Return logits of a model that learned from as many of each, three times too sure."""
        labels = np.repeat([0, 1], (target, other))
        seen = generator.normal(size=len(labels)) + distance * (labels == 0)
        ratio = 3 * (distance * seen - distance**2 / 2)
        return np.stack([ratio, 0 * ratio], axis=1), labels

    temperature, offsets = fit_scaling(*draw(10, 90))
    assert 0.9 < temperature <= TEMPERATURES[1]
    assert -4 < offsets[0] < 0
    logits, labels = draw(1_000, 9_000)
    claimed = softmax(logits / temperature + np.array(offsets), axis=1)[:, 0]
    assert expected_calibration_error(claimed, labels == 0) < 0.07


@settings(max_examples=40)
@given(st.integers(2, 200), st.integers(0, 10**6), st.sampled_from([0.1, 1.0, 5.0]))
def test_ranking_of_two_classes_stays(count: int, seed: int, factor: float) -> None:
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(count, 2)) * factor
    labels = generator.integers(0, 2, count)
    temperature, offsets = fit_scaling(logits, labels)
    before, after = to_probabilities(logits), to_probabilities(logits, temperature, offsets)
    ranks = np.argsort(before[:, 0], kind="stable")
    assert (np.diff(after[ranks, 0]) >= 0).all()


def test_probabilities_serve_as_logits() -> None:
    logits, labels = _honest(500, 3)
    temperature, offsets = fit_scaling(log_softmax(logits * 2, axis=1), labels)
    wanted = fit_scaling(logits * 2, labels)
    assert temperature == pytest.approx(wanted[0], rel=1e-3)
    assert offsets == pytest.approx(wanted[1], abs=1e-3)


def test_few_pictures_ranked_rightly_claim_no_certainty() -> None:
    labels = np.array([0] * 5 + [1] * 50)
    logits = np.where(labels[:, None] == [0, 1], 8.0, -8.0)
    temperature, offsets = fit_scaling(logits, labels)
    claimed = softmax(logits / temperature + np.array(offsets), axis=1)
    # Platt's 6/7 for the 5 and 51/52 for the 50
    assert claimed[0, 0] == pytest.approx(6 / 7, abs=1e-3)
    assert claimed[-1, 1] == pytest.approx(51 / 52, abs=1e-3)


@pytest.mark.parametrize(
    ("logits", "end"),
    [
        ([[8.0, -8.0], [-8.0, 8.0]], 1),  # always wrong: nothing is believed
        ([[1e-3, 0.0], [0.0, 1e-3]], 0),
    ],
)
def test_temperature_stays_in_its_range(logits: list[list[float]], end: int) -> None:
    labels = np.array([1, 0]) if end else np.array([0, 1])
    labels = np.tile(labels, 100)
    temperature, offsets = fit_scaling(np.tile(np.array(logits), (100, 1)), labels)
    assert temperature == pytest.approx(TEMPERATURES[end], rel=1e-2)
    assert offsets == pytest.approx((0, 0), abs=1e-3)


def test_impossible_and_absent_classes_give_finite_values() -> None:
    with np.errstate(divide="ignore"):
        logits = np.log(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.6, 0.3, 0.1]] * 10))
    temperature, offsets = fit_scaling(logits, np.array([0, 1, 1] * 10))
    assert TEMPERATURES[0] <= temperature <= TEMPERATURES[1]
    assert all(OFFSETS[0] < offset < OFFSETS[1] for offset in offsets)


def test_error_of_a_small_example() -> None:
    # 20 pictures, 2 bins of 10: claimed 0.1 and 0.8; 2 and 5 of them are of the target
    scores = np.repeat([0.1, 0.8], 10)
    is_target = np.isin(np.arange(20), [0, 1, 10, 11, 12, 13, 14])
    assert expected_calibration_error(scores, is_target) == pytest.approx(
        10 / 20 * abs(0.1 - 0.2) + 10 / 20 * abs(0.8 - 0.5)
    )
    low, high = calibration_curve(scores, is_target)
    assert [low.claimed, high.claimed] == pytest.approx([0.1, 0.8])
    assert [low.observed, high.observed] == [wilson(2, 10), wilson(5, 10)]
    assert low.images == high.images == 10


def test_honest_scores_are_calibrated_and_sharpened_ones_are_not() -> None:
    logits, labels = _honest(20_000, 2)
    honest, sharp = (softmax(logits * k, axis=1)[:, 0] for k in (1, 4))
    assert expected_calibration_error(honest, labels == 0) < 0.015
    assert expected_calibration_error(sharp, labels == 0) > 0.1


@settings(max_examples=60)
@given(st.integers(1, 400), st.integers(0, 10**6), st.sampled_from([1, 2, 16]))
def test_bins_keep_ties_together_and_the_order_of_scores(
    count: int, seed: int, decimals: int
) -> None:
    generator = np.random.default_rng(seed)
    scores = generator.random(count).round(decimals)
    bins = calibration_bins(scores)
    assert len(np.unique(bins)) <= max(1, min(BINS, count // 10))
    order = generator.permutation(count)
    assert np.array_equal(calibration_bins(scores[order]), bins[order])
    for score in np.unique(scores):
        assert len(np.unique(bins[scores == score])) == 1
    ranked = bins[np.argsort(scores)]
    assert (np.diff(ranked) >= 0).all()
    if decimals == 16 and count >= 100:
        sizes = np.bincount(bins)
        assert sizes.max() - sizes.min() <= 1


def test_resampled_error_counts_each_picture_as_often_as_it_was_drawn() -> None:
    generator = np.random.default_rng(3)
    scores = generator.random(120)
    positive = (generator.random(120) < scores).astype(np.float64)
    weights = generator.integers(0, 3, (2, 120)).astype(np.float64)
    found = weighted_calibration_error(positive, scores, weights)
    bins = calibration_bins(scores)
    for row, value in zip(weights.astype(int), found, strict=True):
        drawn = np.repeat(np.arange(120), row)
        gaps = [
            abs((scores[drawn] - positive[drawn])[bins[drawn] == i].sum()) for i in np.unique(bins)
        ]
        assert value == pytest.approx(sum(gaps) / len(drawn))
