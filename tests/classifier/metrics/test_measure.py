"""The fast resampled metrics against scikit-learn, and the cases that scikit-learn warns about."""

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from roi_cls.classifier.metrics.calibration import expected_calibration_error
from roi_cls.classifier.metrics.decision import decide, measure_margin
from roi_cls.classifier.metrics.interval import Floats, Labels, wilson
from roi_cls.classifier.metrics.measure import (
    SCORE_NAMES,
    Metrics,
    bootstrap_metrics,
    find_caveats,
    measure_scores,
    point_metrics,
)
from roi_cls.classifier.metrics.weighted import (
    weighted_aurc,
    weighted_losses,
    weighted_metrics,
)

NAMES = ("a", "b", "c", "d")


def _draw(seed: int, count: int, classes: int, decimals: int) -> tuple[Labels, Floats]:
    """Return random labels and scores; few decimals give many ties."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(classes, size=count)
    raw = generator.random((count, classes)) + 0.5 * np.eye(classes)[labels]
    scores = np.round(raw / raw.sum(axis=1, keepdims=True), decimals)
    return labels, scores


@settings(max_examples=80)
@given(st.integers(0, 10**6), st.integers(2, 60), st.integers(2, 4), st.sampled_from([1, 2, 16]))
def test_resampled_metrics_are_those_of_scikit_learn(
    seed: int, count: int, classes: int, decimals: int
) -> None:
    labels, scores = _draw(seed, count, classes, decimals)
    scores = np.maximum(scores, 0.01)
    predicted, margins = decide(scores, 0, 0.4), measure_margin(scores, 0, 0.4)
    weights = np.random.default_rng(seed).integers(0, 4, (3, count)).astype(np.float64)
    weights[:, 0] += 1  # a resample has at least one picture
    fast = weighted_metrics(labels, scores, predicted, 0, weights)
    fast |= weighted_losses(labels, scores, 0, weights)
    for i, row in enumerate(weights.astype(int)):
        drawn = np.repeat(np.arange(count), row)
        slow = point_metrics(labels[drawn], scores[drawn], predicted[drawn], margins[drawn], 0)
        del slow["ece"], slow["aurc"]  # these are held to their own definitions below
        if math.isnan(slow["mcc"]):  # one class: undefined as a value, 0 among the resamples
            slow["mcc"] = 0.0
        assert {k: float(fast[k][i]) for k in slow} == pytest.approx(slow, nan_ok=True)
        table = sk.precision_recall_fscore_support(
            labels[drawn], predicted[drawn], labels=[0], zero_division=np.nan
        )
        found = [fast[name][i] for name in ("precision", "recall", "f1", "accuracy")]
        right = sk.accuracy_score(labels[drawn], predicted[drawn])
        assert found == pytest.approx([*np.concatenate(table[:3]), right], nan_ok=True)


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 50), st.integers(2, 4))
def test_values_are_those_of_scikit_learn(seed: int, count: int, classes: int) -> None:
    labels, scores = _draw(seed, count, classes, 16)
    found = _measure(labels, scores)
    predicted = decide(scores, 0, 0.5)
    every = list(range(classes))
    assert found.images == count
    assert found.accuracy.value == pytest.approx(sk.accuracy_score(labels, predicted))
    assert found.micro_f1.value == pytest.approx(
        sk.f1_score(labels, predicted, labels=every, average="micro")
    )
    assert found.confusion_matrix == tuple(
        map(tuple, sk.confusion_matrix(labels, predicted, labels=every).tolist())
    )
    table = sk.precision_recall_fscore_support(
        labels, predicted, labels=every, zero_division=np.nan
    )
    for one, precision, recall, f1, support in zip(found.classes, *table, strict=True):
        assert (one.precision.value, one.recall.value, one.f1.value, one.support) == pytest.approx(
            (precision, recall, f1, support), nan_ok=True
        )
    if len(np.unique(labels)) == classes:
        balanced = sk.balanced_accuracy_score(labels, predicted)
        assert found.balanced_accuracy.value == pytest.approx(balanced)


@pytest.mark.parametrize(
    ("scores", "target", "threshold", "expected"),
    [
        ([[0.4, 0.6], [0.6, 0.4]], 0, 0.5, [1, 0]),
        ([[0.4, 0.6], [0.6, 0.4]], 0, 0.4, [0, 0]),  # reaching the threshold is enough
        ([[0.4, 0.6], [0.6, 0.4]], 1, 0.7, [0, 0]),
        ([[0.4, 0.6], [0.6, 0.4]], 1, 0.0, [1, 1]),
        ([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]], 2, 0.1, [1, 0]),  # three: the threshold is unused
    ],
)
def test_decisions(
    scores: list[list[float]], target: int, threshold: float, expected: list[int]
) -> None:
    assert decide(np.array(scores), target, threshold).tolist() == expected


def test_calibration_and_abstention_are_measured_by_their_own_definitions() -> None:
    labels, scores = _draw(4, 300, 2, 16)
    found = _measure(labels, scores)
    wrong, margins = decide(scores, 0, 0.5) != labels, measure_margin(scores, 0, 0.5)
    assert found.ece.value == expected_calibration_error(scores[:, 0], labels == 0)
    every = np.ones((1, 300))
    assert found.aurc.value == pytest.approx(
        float(weighted_aurc(wrong.astype(np.float64), margins, every)[0])
    )
    for estimate in (found.ece, found.aurc):
        assert 0 < estimate.low < estimate.value < estimate.high < 1


def test_every_metric_of_a_small_example() -> None:
    labels = np.array([0, 0, 1, 1, 1, 1, 1, 1, 1, 1])
    target = np.array([0.9, 0.3, 0.6, 0.1, 0.1, 0.1, 0.1, 0.1, 0.2, 0.2])
    found = _measure(labels, np.column_stack([target, 1 - target]), majority=1)
    assert found.confusion_matrix == ((1, 1), (1, 7))
    assert found.accuracy == found.micro_f1 == wilson(8, 10)
    assert found.majority_accuracy == wilson(8, 10)
    assert found.balanced_accuracy.value == pytest.approx((1 / 2 + 7 / 8) / 2)
    assert found.roc_auc.value == pytest.approx(15 / 16)
    assert found.average_precision.value == pytest.approx((1 + 2 / 3) / 2)
    assert found.mcc.value == pytest.approx((1 * 7 - 1 * 1) / math.sqrt(2 * 2 * 8 * 8))
    assert found.classes[0].precision == wilson(1, 2)
    assert found.classes[1].recall == wilson(7, 8)
    assert found.classes[0].f1.value == pytest.approx(0.5)
    assert found.macro_f1.value == pytest.approx((1 / 2 + 7 / 8) / 2)
    for name in SCORE_NAMES:
        estimate = getattr(found, name)
        assert estimate.low < estimate.high, name


def test_always_answering_the_majority_gains_nothing() -> None:
    labels = np.repeat(np.arange(2), (20, 180))
    found = _measure(labels, np.tile([0.1, 0.9], (200, 1)), majority=1)
    assert found.accuracy == found.majority_accuracy == wilson(180, 200)
    assert found.balanced_accuracy.value == found.roc_auc.value == 0.5  # all scores tie
    assert found.average_precision.value == pytest.approx(0.1)
    assert found.mcc.value == 0
    assert not found.classes[0].precision.is_defined
    for estimate in (found.balanced_accuracy, found.roc_auc, found.mcc):
        assert estimate.high - estimate.low > 0.3  # a constant resampled is no certainty


def test_perfect_scores_keep_an_interval() -> None:
    labels = np.repeat(np.arange(2), (20, 180))
    found = _measure(labels, np.eye(2)[labels], majority=1)
    for name in ("roc_auc", "average_precision", "macro_f1", "balanced_accuracy", "mcc"):
        estimate = getattr(found, name)
        assert estimate.value == estimate.high == 1
        assert estimate.low < 0.9, name
    assert found.roc_auc == wilson(20, 20)
    assert found.brier.value == found.brier.low == 0 < found.brier.high
    assert found.notes == ()


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("count", [1, 30])
def test_one_class_alone_is_undefined_with_a_reason_not_a_crash(label: int, count: int) -> None:
    scores = np.tile([0.3, 0.7], (count, 1))
    found = _measure(np.full(count, label), scores)
    assert not any(m.is_defined for m in (found.roc_auc, found.average_precision, found.mcc))
    assert (found.roc_auc.low, found.roc_auc.high) == (0, 1)
    assert found.accuracy == found.balanced_accuracy == wilson(count * label, count)
    what = "every one" if label == 0 else "none"
    assert found.notes[:2] == (
        f"ROC-AUC and average precision are undefined: of these pictures {what} is of 'a'.",
        "MCC is undefined: these pictures are all of one class.",
    )
    assert found.majority_accuracy == wilson(count * (1 - label), count)


def test_small_classes_are_named() -> None:
    assert find_caveats([9, 10, 0, 1], NAMES, 0) == [
        "Few pictures of 'a' (9), 'd' (1): bootstrap intervals come out too narrow."
    ]


@pytest.mark.parametrize(
    ("most_named", "words"),
    [
        (4, "'a' (9), 'b' (8), 'c' (7), 'd' (6)"),
        (3, "'a' (9), 'b' (8), 'c' (7) and 1 more class"),
        (1, "'a' (9) and 3 more classes"),
    ],
)
def test_many_small_classes_are_counted(most_named: int, words: str) -> None:
    assert find_caveats([9, 8, 7, 6], NAMES, 0, most_named=most_named) == [
        f"Few pictures of {words}: bootstrap intervals come out too narrow."
    ]


@pytest.mark.parametrize(
    ("labels", "majority"), [([0] * 6 + [1] * 3 + [2], 0), ([0, 1, 1], 1), ([0, 0, 1], 3)]
)
def test_constant_answer_is_worth_what_its_scores_would_be(
    labels: list[int], majority: int
) -> None:
    constant = np.tile(np.eye(4)[majority], (len(labels), 1))
    found = _measure(np.array(labels), constant, majority)
    assert found.constant_balanced_accuracy == pytest.approx(found.balanced_accuracy.value)
    assert found.constant_macro_f1 == pytest.approx(found.macro_f1.value)


def test_one_picture_of_a_class_gives_a_wide_interval() -> None:
    labels = np.array([0] + [1] * 99)
    target = np.array([0.9] + [0.95] * 5 + [0.1] * 94)
    found = _measure(labels, np.column_stack([target, 1 - target]))
    assert found.roc_auc.value == pytest.approx(94 / 99)
    assert found.roc_auc.low < 0.3


def test_single_precision_scores_neither_warn_nor_leave_the_range() -> None:
    raw = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    scores = (np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)).astype(np.float64)
    scores[0] = (1 + 1e-7, 0, 0)
    found = _measure(np.arange(50) % 3, scores)
    assert 0 < found.brier.value < 1
    assert found.log_loss.low < found.log_loss.value < found.log_loss.high


def test_seed_decides_the_intervals_and_no_value() -> None:
    labels, scores = _draw(1, 80, 2, 16)
    one, same, other = (
        bootstrap_metrics(
            labels,
            scores,
            decide(scores, 0, 0.5),
            measure_margin(scores, 0, 0.5),
            0,
            resamples=200,
            seed=seed,
        )
        for seed in (1, 1, 2)
    )
    assert one == same
    assert one["roc_auc"].value == other["roc_auc"].value
    assert one["roc_auc"].low != other["roc_auc"].low


def test_intervals_of_a_thousand_pictures_take_seconds() -> None:
    labels, scores = _draw(1, 1000, 2, 16)
    start = time.perf_counter()
    _measure(labels, scores)
    assert time.perf_counter() - start < 5  # 0.2 s on an idle core


def test_metrics_come_back_from_their_dict() -> None:
    labels, scores = _draw(1, 40, 3, 16)
    found = _measure(labels, scores)
    assert Metrics.from_dict(found.to_dict()) == found


def _measure(labels: Labels, scores: Floats, majority: int = 0) -> Metrics:
    return measure_scores(
        labels, scores, NAMES[: scores.shape[1]], target=0, threshold=0.5, majority=majority
    )
