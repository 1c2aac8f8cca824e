"""Inputs compared pairwise on the same pictures, and what is said of them."""

import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from roi_cls.classifier.experiments.ablate import Ablation, InputScores, ablation_page, pair_inputs
from roi_cls.classifier.experiments.comparison import Comparison, SystemResult
from roi_cls.classifier.metrics.interval import Floats
from roi_cls.classifier.metrics.seeds import SeedScores, measure_majority, measure_seeds

NAMES = ("artefact", "clean")
LABELS = np.repeat(np.array([0, 1]), [40, 160])


def seed_scores(strength: float, seed: int) -> Floats:
    noise = np.random.default_rng(seed).normal(size=len(LABELS))
    target = 1 / (1 + np.exp(-(noise + strength * (LABELS == 0))))
    return np.stack([target, 1 - target], axis=1)


def inputs(strength: float, first_seed: int) -> InputScores:
    seeds = tuple(seed_scores(strength, first_seed + i) for i in range(2))
    return InputScores(seeds, (0.6, 0.7), 0.65)


SCORES = {"roi": inputs(2.5, 0), "full": inputs(0.2, 10), "both": inputs(2.4, 20)}


@pytest.fixture(scope="module")
def ablation() -> Ablation:
    results = [
        SystemResult(
            name,
            metrics=measure_seeds(LABELS, [SeedScores(p, 0.6) for p in scores.seeds], NAMES, 0),
            seeds=2,
        )
        for name, scores in SCORES.items()
    ]
    comparison = Comparison(
        "artefact", "clean", {"test": {"artefact": 40, "clean": 160}}, "0" * 64, {"epochs": 3},
        measure_majority(LABELS, 1, NAMES, 0), tuple(results),
    )  # fmt: skip
    return Ablation(comparison, pair_inputs(LABELS, SCORES, 0))


def test_every_pair_is_compared_once_on_the_mean_of_the_seeds(ablation: Ablation) -> None:
    assert [(p.first, p.second) for p in ablation.pairs] == [
        ("roi", "full"), ("roi", "both"), ("full", "both"),
    ]  # fmt: skip
    found = ablation.pairs[0].paired.differences["roc_auc"]
    assert found.first == pytest.approx(roc_auc_score(LABELS == 0, SCORES["roi"].mean[:, 0]))
    assert found.second == pytest.approx(roc_auc_score(LABELS == 0, SCORES["full"].mean[:, 0]))


def test_seeds_are_compared_one_by_one_too(ablation: Ablation) -> None:
    by_seed = [one.difference for one in ablation.pairs[0].by_seed]
    assert by_seed == [
        pytest.approx(
            roc_auc_score(LABELS == 0, full[:, 0]) - roc_auc_score(LABELS == 0, roi[:, 0])
        )
        for roi, full in zip(SCORES["roi"].seeds, SCORES["full"].seeds, strict=True)
    ]


def test_verdict_says_which_is_better_or_that_nothing_is_shown(ablation: Ablation) -> None:
    worse, unclear, better = ablation.verdicts
    assert worse.startswith("The full frame ranks worse than the face crop: ROC-AUC 0.")
    assert "show no clear difference" in unclear
    assert better.startswith("Both views together rank better than the full frame: ")


def test_page_leads_with_the_verdicts_and_ends_with_the_pairs(ablation: Ablation) -> None:
    page = ablation_page(ablation, "Inputs")
    assert page.startswith(f"# Inputs\n\n- {ablation.verdicts[0]}\n")
    (row,) = [line for line in page.splitlines() if line.startswith("| full - roi")]
    assert "right by full alone" in row
    assert "No p is corrected for there being 3 pairs." in page


def test_json_is_strict(ablation: Ablation) -> None:
    values = json.loads(json.dumps(ablation.to_dict(), allow_nan=False))
    assert len(values["pairs"]) == len(values["verdicts"]) == 3
    assert len(values["pairs"][0]["roc_auc_by_seed"]) == 2
