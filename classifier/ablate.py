"""One system on the face crop, the full frame and both: same split, same budget, same seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from roi_cls.base.errors import TrainingError
from roi_cls.classifier.ablation import Ablation, InputScores, pair_inputs
from roi_cls.classifier.compare import measure_trials, run_seeds, summarise
from roi_cls.classifier.comparison import SystemResult
from roi_cls.classifier.metrics.threshold import choose_threshold
from roi_cls.classifier.recipe import TrainingRecipe
from roi_cls.classifier.runs.scores import class_indices, read_scores
from roi_cls.classifier.training.run import Observers
from roi_cls.classifier.trial import Bench, Trial, check_same_data

InputKind = Literal["roi", "full", "both"]
_SETTINGS: Mapping[str, dict[str, Any]] = MappingProxyType(
    {
        "roi": {"crop": "face", "frame": False},
        "full": {"crop": "full", "frame": False},
        "both": {"crop": "face", "frame": True},
    }
)
"""All that differs between the inputs."""


def ablate(
    bench: Bench,
    recipe: TrainingRecipe,
    inputs: Sequence[InputKind],
    observers: Observers,
    on_result: Callable[[SystemResult], None] = lambda result: None,
) -> Ablation:
    """Train and test the recipe once per input and seed; compare the inputs pairwise.

    Raises:
        TrainingError: The recipe has members, or the inputs' test pictures are not the same.
        RoiClsError: It cannot be trained here.
    """
    if recipe.members:
        raise TrainingError(
            f"Cannot ablate the recipe {recipe.name!r}: it has members, each with an input of its "
            "own. Name one of them."
        )
    trials: dict[str, tuple[Trial, ...]] = {}
    results = []
    for name in inputs:
        changed = recipe.changed(_SETTINGS[name])
        trials[name] = run_seeds(bench, name, changed, observers)
        result = measure_trials(name, replace(changed, description=name), trials[name])
        on_result(result)
        results.append(result)
    check_same_data(trials)
    first = trials[inputs[0]][0]
    truth, target = class_indices(first.table, first.labels), first.labels.target_index
    scores = {name: _input_scores(found) for name, found in trials.items()}
    comparison = summarise(first, results, bench.budget)
    return Ablation(comparison, pair_inputs(truth, scores, target))


def _input_scores(trials: Sequence[Trial]) -> InputScores:
    return InputScores(
        seeds=tuple(trial.table.probabilities for trial in trials),
        thresholds=tuple(trial.threshold for trial in trials),
        mean_threshold=_mean_threshold(trials),
    )


def _mean_threshold(trials: Sequence[Trial]) -> float:
    """Return the threshold of the mean of the seeds' scores, chosen without the test pictures."""
    labels = trials[0].labels
    if len(labels.names) != 2:
        return 0.5  # plays no part
    paths = [
        trial.run.oof_scores if trial.run.oof_scores.is_file() else trial.run.validation_scores
        for trial in trials
    ]
    tables = [read_scores(path, labels.names) for path in paths]
    mean = np.mean([table.probabilities[:, labels.target_index] for table in tables], axis=0)
    is_target = class_indices(tables[0], labels) == labels.target_index
    rule = str(trials[0].training["config"]["threshold_rule"])
    return choose_threshold(np.asarray(mean, np.float64), is_target, rule)
