"""Calibration and threshold of one model: in the right order, on the scores that it will give."""

import numpy as np
import pytest

from roi_cls.classifier.metrics.decision import to_probabilities
from roi_cls.classifier.runs.bundle import ModelBundle, Normalisation
from roi_cls.classifier.runs.scores import choose_operating_point
from roi_cls.data.sample import LabelSet
from roi_cls.roi import CropParams


def bundle_of(*names: str, rule: str = "f1") -> ModelBundle:
    return ModelBundle(
        model="test_efficientnet",
        views=(CropParams(),),
        labels=LabelSet(names, names[0]),
        normalisation=Normalisation((0, 0, 0), (1, 1, 1)),
        temperature=1.0,
        offsets=(0.0,) * len(names),
        threshold=None,
        data_digest="x",
        threshold_rule=rule,
    )


def ranked(count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    labels = (np.arange(count) % 4 > 0).astype(np.int64)  # a quarter is of the target
    return np.stack([random.normal(2 - 2 * labels), np.zeros(count)], axis=1), labels


@pytest.mark.parametrize("calibrate", [True, False])
def test_threshold_is_one_of_the_scores_that_are_given(calibrate: bool) -> None:
    logits, labels = ranked()
    bundle, shortfall = choose_operating_point(
        bundle_of("odd", "plain", rule="recall>=0.8"), logits, labels, calibrate=calibrate
    )
    scores = to_probabilities(logits, bundle.temperature, bundle.offsets)[:, 0]
    assert bundle.threshold is not None
    assert (scores[labels == 0] >= bundle.threshold).mean() >= 0.8
    assert shortfall is None
    assert (bundle.temperature == 1.0) is not calibrate
    if calibrate:
        assert scores.mean() == pytest.approx(0.25, abs=0.02)


def test_rule_that_no_threshold_keeps_is_told() -> None:
    logits, labels = ranked()
    logits[labels == 1, 0] = logits[:, 0].max() + 1  # every other picture scores above the target's
    bundle, shortfall = choose_operating_point(
        bundle_of("odd", "plain", rule="precision>=0.95"), logits, labels, calibrate=False
    )
    assert bundle.threshold is not None
    assert shortfall
    assert "precision" in shortfall


def test_what_is_ruled_out_stays_so() -> None:
    logits, labels = ranked()
    logits[labels == 1, 0] = -np.inf
    bundle, _ = choose_operating_point(bundle_of("odd", "plain"), logits, labels, calibrate=True)
    scores = to_probabilities(logits, bundle.temperature, bundle.offsets)
    assert np.array_equal(scores[labels == 1], np.tile([0.0, 1.0], ((labels == 1).sum(), 1)))
    assert np.isfinite([bundle.temperature, *bundle.offsets]).all()


def test_three_classes_have_no_threshold() -> None:
    logits = np.random.default_rng(0).normal(size=(30, 3))
    labels = np.arange(30) % 3
    bundle, shortfall = choose_operating_point(
        bundle_of("a", "b", "c"), logits, labels, calibrate=True
    )
    assert (bundle.threshold, shortfall) == (None, None)
