"""Metrics over seeds: one seed is measured as `evaluate` does, several by their mean."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, matthews_corrcoef, roc_auc_score

from roi_cls.classifier.metrics.measure import measure_scores
from roi_cls.classifier.metrics.seeds import COMPARED, SeedScores, measure_majority, measure_seeds

NAMES = ("artefact", "clean")
LABELS = np.repeat(np.array([0, 1]), [20, 80])


def scores(seed: int, strength: float = 1.5, threshold: float = 0.6) -> SeedScores:
    noise = np.random.default_rng(seed).normal(size=len(LABELS))
    target = 1 / (1 + np.exp(-(noise + strength * (LABELS == 0))))
    return SeedScores(np.stack([target, 1 - target], axis=1), threshold)


def decided(one: SeedScores) -> NDArray[np.int64]:
    return np.where(one.probabilities[:, 0] >= one.threshold, 0, 1)


def test_one_seed_is_measured_as_an_evaluation() -> None:
    found = measure_seeds(LABELS, [scores(0)], NAMES, 0)
    expected = measure_scores(
        LABELS, scores(0).probabilities, NAMES, target=0, threshold=0.6, majority=1
    )
    assert found.spread == {}
    assert found.estimates["roc_auc"] == expected.roc_auc
    assert found.estimates["f1"] == expected.classes[0].f1
    assert found.estimates["precision"] == expected.classes[0].precision
    assert tuple(found.estimates) == COMPARED


def test_several_seeds_give_the_mean_of_their_values() -> None:
    seeds = [scores(0), scores(1, 2.0), scores(2, 1.0, threshold=0.7)]
    found = measure_seeds(LABELS, seeds, NAMES, 0)
    of_each = {
        "roc_auc": [roc_auc_score(LABELS == 0, s.probabilities[:, 0]) for s in seeds],
        "average_precision": [
            average_precision_score(LABELS == 0, s.probabilities[:, 0]) for s in seeds
        ],
        "mcc": [matthews_corrcoef(LABELS, decided(s)) for s in seeds],
        "accuracy": [float((decided(s) == LABELS).mean()) for s in seeds],
        "recall": [float((decided(s)[LABELS == 0] == 0).mean()) for s in seeds],
        "precision": [float((LABELS[decided(s) == 0] == 0).mean()) for s in seeds],
    }
    for name, values in of_each.items():
        estimate = found.estimates[name]
        assert estimate.value == pytest.approx(np.mean(values)), name
        assert estimate.low < estimate.value < estimate.high
        assert found.spread[name] == pytest.approx(np.std(values, ddof=1))


def test_mean_of_equal_seeds_has_the_interval_of_one() -> None:
    one = measure_seeds(LABELS, [scores(0)], NAMES, 0).estimates["roc_auc"]
    three = measure_seeds(LABELS, [scores(0)] * 3, NAMES, 0)
    assert three.estimates["roc_auc"].low == pytest.approx(one.low)
    assert three.estimates["roc_auc"].high == pytest.approx(one.high)
    assert three.spread["roc_auc"] == pytest.approx(0, abs=1e-12)


def test_seeds_that_err_apart_narrow_the_interval_of_their_mean() -> None:
    one = measure_seeds(LABELS, [scores(0)], NAMES, 0).estimates["roc_auc"]
    many = measure_seeds(LABELS, [scores(i) for i in range(6)], NAMES, 0).estimates["roc_auc"]
    assert many.high - many.low < 0.7 * (one.high - one.low)


def test_metric_that_a_seed_does_not_define_is_undefined() -> None:
    silent = SeedScores(np.tile([0.1, 0.9], (len(LABELS), 1)), 0.5)  # never calls the target
    found = measure_seeds(LABELS, [scores(0), silent], NAMES, 0)
    assert math.isnan(found.estimates["precision"].value)
    assert found.estimates["recall"].is_defined


def test_majority_finds_nothing_and_ranks_nothing() -> None:
    found = measure_majority(LABELS, 1, NAMES, 0).estimates
    assert found["accuracy"].value == 0.8
    assert found["recall"].value == 0
    assert math.isnan(found["precision"].value)
    exact = {name: found[name].value for name in ("roc_auc", "average_precision", "mcc")}
    assert exact == {"roc_auc": 0.5, "average_precision": pytest.approx(0.2), "mcc": 0}
    assert all(found[name].low == found[name].high for name in ("roc_auc", "recall", "f1", "mcc"))
    assert found["accuracy"].low < 0.8 < found["accuracy"].high
