"""Paired comparison: published values, independent definitions, and what must follow from them."""

import json
import math

import numpy as np
import pytest
from scipy.stats import norm
from sklearn import metrics as sk

from roi_cls.classifier.metrics.decision import decide
from roi_cls.classifier.metrics.interval import Floats, Labels
from roi_cls.classifier.metrics.paired import (
    PAIRED_METRICS,
    PairedComparison,
    compare_scores,
    delong_test,
    mcnemar_test,
)


def _two_models(seed: int = 0, gain: float = 0.6) -> tuple[Labels, Floats, Floats]:
    """Return labels and two models' scores that share most of their noise; the second is better."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(2), (40, 160))
    shared = generator.normal(size=200)
    first = 1.0 * (labels == 0) + shared + 0.3 * generator.normal(size=200)
    second = (1.0 + gain) * (labels == 0) + shared + 0.3 * generator.normal(size=200)
    columns = [1 / (1 + np.exp(-(raw - 1))) for raw in (first, second)]
    one, two = (np.column_stack([column, 1 - column]) for column in columns)
    return labels, one, two


def _compare(labels: Labels, first: Floats, second: Floats, seed: int = 0) -> PairedComparison:
    answers = decide(first, 0, 0.5), decide(second, 0, 0.5)
    return compare_scores(labels, first, second, *answers, target=0, seed=seed, resamples=1000)


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [
        (6, 16, 0.05248),  # sum of binomial(22, 0..6) * 2 / 2^22 = 110056 * 2 / 4194304
        (1, 7, 18 / 256),
        (0, 5, 2 / 32),
        (5, 5, 1.0),
        (0, 0, 1.0),
    ],
)
def test_mcnemar_is_the_exact_binomial(only_first: int, only_second: int, p: float) -> None:
    first = np.array([True] * only_first + [False] * only_second + [True, False] * 30)
    second = np.array([False] * only_first + [True] * only_second + [True, False] * 30)
    found = mcnemar_test(first, second)
    assert (found.only_first, found.only_second) == (only_first, only_second)
    assert found.p == pytest.approx(p, abs=1e-5)


def test_delong_is_its_definition_by_pairs() -> None:
    generator = np.random.default_rng(2)
    is_target = np.arange(60) < 20
    models = [(is_target + generator.normal(size=60)).round(1) for _ in range(2)]  # with ties

    def wins(scores: Floats) -> Floats:
        difference = scores[is_target][:, None] - scores[~is_target]
        return np.where(difference == 0, 0.5, difference > 0)

    gain = wins(models[1]) - wins(models[0])  # (20, 40): of each pair
    variance = gain.mean(axis=1).var(ddof=1) / 20 + gain.mean(axis=0).var(ddof=1) / 40
    z = gain.mean() / math.sqrt(variance)
    assert delong_test(is_target, *models) == pytest.approx(2 * norm.cdf(-abs(z)))


def test_differences_are_those_of_scikit_learn() -> None:
    labels, first, second = _two_models()
    found = _compare(labels, first, second)
    positive = labels == 0
    for name, metric in (
        ("roc_auc", sk.roc_auc_score),
        ("average_precision", sk.average_precision_score),
    ):
        one = found.differences[name]
        assert one.first == pytest.approx(metric(positive, first[:, 0]))
        assert one.second == pytest.approx(metric(positive, second[:, 0]))
    answers = decide(first, 0, 0.5), decide(second, 0, 0.5)
    for name, arguments in (
        ("accuracy", {}),
        ("balanced_accuracy", {}),
        ("f1", {"pos_label": 0}),
        ("macro_f1", {"average": "macro"}),
    ):
        metric = getattr(sk, f"{name.removeprefix('macro_')}_score")
        expected = [metric(labels, answer, **arguments) for answer in answers]
        one = found.differences[name]
        assert [one.first, one.second] == pytest.approx(expected)
        assert one.difference == pytest.approx(expected[1] - expected[0])
    assert tuple(found.differences) == PAIRED_METRICS
    assert found.images == 200


def test_pairing_sees_what_two_intervals_hide() -> None:
    labels, first, second = _two_models()
    found = _compare(labels, first, second).differences["roc_auc"]
    assert found.is_clear
    assert found.low > 0
    assert found.p < 0.01
    # The same two models with the second one's pictures shuffled within each class: equal
    # metrics, no pairing, and the difference drowns.
    order = np.concatenate([np.random.default_rng(1).permutation(40), np.arange(40, 200)[::-1]])
    unpaired = _compare(labels, first, second[order]).differences["roc_auc"]
    assert unpaired.difference == pytest.approx(found.difference)
    assert unpaired.high - unpaired.low > 2 * (found.high - found.low)


def test_bootstrap_and_delong_agree_on_roc_auc() -> None:
    labels, first, second = _two_models(gain=0.2)
    found = _compare(labels, first, second)
    assert found.differences["roc_auc"].p == pytest.approx(found.delong_p, abs=0.03)


def test_exchanging_the_models_turns_every_sign() -> None:
    labels, first, second = _two_models()
    there, back = _compare(labels, first, second), _compare(labels, second, first)
    for name in PAIRED_METRICS:
        one, other = there.differences[name], back.differences[name]
        assert (one.difference, one.low, one.high, one.p) == pytest.approx(
            (-other.difference, -other.high, -other.low, other.p)
        )
    assert there.mcnemar.only_first == back.mcnemar.only_second
    assert there.mcnemar.p == pytest.approx(back.mcnemar.p)
    assert there.delong_p == pytest.approx(back.delong_p)


def test_a_model_does_not_differ_from_itself() -> None:
    labels, first, _ = _two_models()
    found = _compare(labels, first, first)
    for one in found.differences.values():
        assert (one.difference, one.low, one.high, one.p) == (0, 0, 0, 1)
        assert not one.is_clear
    assert found.mcnemar.p == found.delong_p == 1


def test_perfect_against_reversed_is_clear() -> None:
    labels = np.repeat(np.arange(2), (20, 30))
    right = np.eye(2)[labels]
    found = _compare(labels, right[:, ::-1], right)
    assert found.delong_p == found.differences["roc_auc"].p == 2 * 0.5**20
    assert found.differences["accuracy"].is_clear


def test_undefined_metrics_are_null() -> None:
    labels = np.zeros(6, np.int64)
    scores = np.tile([0.7, 0.3], (6, 1))
    written = json.loads(json.dumps(_compare(labels, scores, scores).to_dict(), allow_nan=False))
    assert written["delong_p"] is None
    assert written["differences"]["roc_auc"] == {
        "first": None,
        "second": None,
        "difference": None,
        "low": -1,
        "high": 1,
        "p": None,
    }
    assert written["mcnemar"] == {"only_first": 0, "only_second": 0, "p": 1}


def test_one_picture_of_the_target_settles_nothing() -> None:
    labels = np.array([0] + [1] * 9)
    first = np.column_stack([np.linspace(0, 0.9, 10), 1 - np.linspace(0, 0.9, 10)])
    found = _compare(labels, first, first[::-1])
    assert math.isnan(found.delong_p)
    assert (found.differences["roc_auc"].low, found.differences["roc_auc"].high) == (-1, 1)


@pytest.mark.parametrize("rows", [0, 3])
def test_scores_of_other_pictures_are_refused(rows: int) -> None:
    scores = np.tile([0.7, 0.3], (4, 1))
    answers = np.zeros(4, np.int64)
    with pytest.raises(ValueError, match=f"scores and answers of all {rows} labels, got "):
        compare_scores(np.zeros(rows, np.int64), scores, scores, answers, answers, target=0)
