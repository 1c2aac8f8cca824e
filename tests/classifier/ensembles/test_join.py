"""Scores of several models become one: aligned by picture, weighted, calibrated, thresholded."""

from dataclasses import replace

import numpy as np
import pytest

from roi_cls.base.errors import BundleError
from roi_cls.classifier.ensembles.join import (
    calibrate_table,
    choose_joint_point,
    fuse,
    mean_table,
    stack_tables,
)
from roi_cls.classifier.metrics.decision import join_scores
from roi_cls.classifier.runs.bundle import ModelBundle, Normalisation
from roi_cls.classifier.runs.scores import ScoreTable, class_indices
from roi_cls.data.sample import LabelSet
from roi_cls.roi import CropParams

LABELS = LabelSet(("odd", "plain"), "odd")
BUNDLE = ModelBundle(
    model="ensemble",
    views=(CropParams(),),
    labels=LABELS,
    normalisation=Normalisation((0, 0, 0), (1, 1, 1)),
    temperature=1.0,
    offsets=(0.0, 0.0),
    threshold=None,
    data_digest="x",
)


def table(rows: dict[str, float]) -> ScoreTable:
    """Return scores by name; names that begin with o are of the target."""
    return ScoreTable(
        paths=tuple(rows),
        sha256=tuple(f"digest of {name}" for name in rows),
        labels=tuple("odd" if name[0] == "o" else "plain" for name in rows),
        sources=("face",) * len(rows),
        probabilities=np.array([[p, 1 - p] for p in rows.values()]).reshape(-1, 2),
    )


def test_mean_is_taken_picture_by_picture_whatever_the_order() -> None:
    first, second = table({"o1": 0.9, "p1": 0.2}), table({"p1": 0.4, "o1": 0.7})
    found = fuse([first, second], LABELS, "mean")
    assert found.weights == (0.5, 0.5)
    assert found.table.paths == ("o1", "p1")
    assert found.table.probabilities[:, 0] == pytest.approx([0.8, 0.3])


def test_only_pictures_that_all_have_scored_count() -> None:
    found = fuse(
        [table({"o1": 0.9, "p1": 0.2, "p2": 0.1}), table({"p2": 0.3, "o1": 0.5})], LABELS, "mean"
    )
    assert found.table.paths == ("o1", "p2")


def test_same_path_with_other_bytes_is_another_picture() -> None:
    other = replace(table({"o1": 0.5, "p1": 0.5}), sha256=("x", "y"))
    with pytest.raises(BundleError, match="no pictures of different classes that all of them"):
        fuse([table({"o1": 0.9, "p1": 0.2}), other], LABELS, "mean")


def test_greedy_selection_leaves_out_what_harms() -> None:
    good = table({"o1": 0.9, "o2": 0.8, "p1": 0.2, "p2": 0.1})
    bad = table({"o1": 0.1, "o2": 0.2, "p1": 0.8, "p2": 0.9})
    found = fuse([bad, good], LABELS, "greedy")
    assert found.weights == (0, 1)
    assert found.table.probabilities == pytest.approx(good.probabilities)


def test_folds_are_stacked_and_seeds_are_averaged() -> None:
    first = stack_tables([table({"o1": 0.9}), table({"p1": 0.2})])
    second = stack_tables([table({"p1": 0.4}), table({"o1": 0.7})])
    assert first.paths == ("o1", "p1")
    assert mean_table([first, second]).probabilities[:, 0] == pytest.approx([0.8, 0.3])


def test_settings_are_chosen_on_the_scores_that_the_ensemble_will_give() -> None:
    random = np.random.default_rng(0)
    sure = {f"o{i}": float(p) for i, p in enumerate(random.beta(4, 1, 40))}
    sure |= {f"p{i}": float(p) for i, p in enumerate(random.beta(1, 4, 160))}
    scores = table(sure)
    # Colder than the truth warrants: the temperature must bring it back, beyond 1.
    extreme = replace(scores, probabilities=join_scores([scores.probabilities], [1.0], 0.2))
    bundle, _ = choose_joint_point(BUNDLE, extreme, "f1", calibrate=True)
    assert bundle.temperature > 1.5
    assert bundle.threshold is not None
    assert bundle.offsets[1] == 0 != bundle.offsets[0]
    told = calibrate_table(extreme, bundle).probabilities[:, 0]
    called, truth = told >= bundle.threshold, class_indices(extreme, LABELS) == 0
    hits = (called & truth).sum()
    assert 2 * hits / (called.sum() + truth.sum()) > 0.75
    plain, _ = choose_joint_point(BUNDLE, extreme, "f1", calibrate=False)
    assert (plain.temperature, plain.offsets) == (1.0, (0.0, 0.0))


def test_scores_of_members_that_learned_from_as_many_of_each_are_brought_to_the_true_share() -> (
    None
):
    random = np.random.default_rng(0)
    balanced = {f"o{i}": float(p) for i, p in enumerate(random.beta(3, 1.5, 100))}
    balanced |= {f"p{i}": float(p) for i, p in enumerate(random.beta(1.5, 3, 900))}
    scores = table(balanced)
    assert scores.probabilities[:, 0].mean() > 0.3
    bundle, _ = choose_joint_point(BUNDLE, scores, "f1", calibrate=True)
    told = calibrate_table(scores, bundle).probabilities
    assert told[:, 0].mean() == pytest.approx(0.1, abs=0.005)
    assert told.sum(axis=1) == pytest.approx(np.ones(1000))
    assert bundle.threshold is not None
    assert told[:, 0].min() < bundle.threshold < told[:, 0].max()


def test_rule_of_the_threshold_is_kept() -> None:
    scores = table({"o1": 0.9, "o2": 0.3, "p1": 0.4, "p2": 0.1})
    bundle, _ = choose_joint_point(BUNDLE, scores, "recall>=0.9", calibrate=False)
    assert bundle.threshold_rule == "recall>=0.9"
    assert bundle.threshold == pytest.approx(0.2)
