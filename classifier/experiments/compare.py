"""Any set of recipes on the same pictures, split and budget: one table, and no gap in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from roi_cls.base.errors import RoiClsError, StorageError, TrainingError, WeightsError
from roi_cls.classifier.experiments.comparison import Comparison, SystemResult
from roi_cls.classifier.experiments.trial import (
    Budget,
    ExperimentJob,
    Trial,
    check_same_data,
    run_trial,
)
from roi_cls.classifier.metrics.seeds import SeedScores, measure_majority, measure_seeds
from roi_cls.classifier.recipe import TrainingRecipe, load_recipe
from roi_cls.classifier.runs.scores import class_indices
from roi_cls.classifier.training.job import Observers
from roi_cls.classifier.training.logs import check_trackers
from roi_cls.classifier.training.methods.fit import check_packages
from roi_cls.data.table import read_split


def compare_recipes(
    job: ExperimentJob,
    recipes: Sequence[TrainingRecipe],
    observers: Observers,
    on_result: Callable[[SystemResult], None] = lambda result: None,
) -> Comparison:
    """Train and test every recipe that can be run here; finished runs are used as they are.

    Args:
        job: Data, folder and budget.
        recipes: Of different names.
        observers: Who is told.
        on_result: Called with each result as it comes.

    Raises:
        TrainingError: None of them can be run, or their pictures are not the same.
        StorageError: The disk is full.
    """
    check_trackers(job.log)
    trials: dict[str, tuple[Trial, ...]] = {}
    results = []
    _tell_what_lacks_packages(recipes, observers)
    for recipe in recipes:
        result = _run(job, recipe, observers, trials)
        on_result(result)
        results.append(result)
    if not trials:
        raise TrainingError(
            f"Cannot compare: none of the {len(recipes)} systems could be run. "
            f"{results[0].name}: {results[0].reason}"
        )
    check_same_data(trials)
    return make_comparison(next(iter(trials.values()))[0], results, job.budget)


def _tell_what_lacks_packages(recipes: Sequence[TrainingRecipe], observers: Observers) -> None:
    """Note before hours of training, not after them, what has to be installed first."""
    for recipe in recipes:
        try:
            for system in [load_recipe(name) for name in recipe.members] or [recipe]:
                check_packages(system.config)
        except TrainingError as error:
            observers.on_note(f"{recipe.name} will not run: {error}")


def _run(
    job: ExperimentJob,
    recipe: TrainingRecipe,
    observers: Observers,
    trials: dict[str, tuple[Trial, ...]],
) -> SystemResult:
    """Return a system's result, or why there is none; its trials are added to ``trials``."""
    name = recipe.name
    try:
        try:
            # In another folder, so that the recipe's own weights, once there, make another run.
            systems = _settle_systems(job, recipe, observers)
            folder = f"{name}-stand-in" if any(s.stands_in_for for s in systems) else name
            done = run_seeds(job, folder, recipe if recipe.members else systems[0], observers)
        except WeightsError:
            if job.missing_weights != "random":
                raise
            observers.on_note(f"{name}: its weights cannot be had; it starts from random ones.")
            job = replace(job, budget=replace(job.budget, weights="none"))
            done = run_seeds(job, f"{name}-random", recipe, observers)
    except StorageError:
        raise
    except RoiClsError as error:
        return SystemResult(name, recipe.description, reason=str(error))
    except ValueError as error:  # of a setting that the budget gives to all
        return SystemResult(name, recipe.description, reason=f"Its settings are refused: {error}.")
    trials[name] = done
    return measure_trials(name, recipe, done)


def _settle_systems(
    job: ExperimentJob, recipe: TrainingRecipe, observers: Observers
) -> list[TrainingRecipe]:
    """Return the recipe, or each of its members, as it is trained here; stand-ins are told."""
    systems = [load_recipe(name).changed(recipe.fields) for name in recipe.members] or [recipe]
    return [job.settle(system, observers.on_note) for system in systems]


def run_seeds(
    job: ExperimentJob, name: str, recipe: TrainingRecipe, observers: Observers
) -> tuple[Trial, ...]:
    """Return the trials of a system, one for each of the budget's seeds."""
    trials, seeds = [], job.budget.seeds
    for repeat in range(seeds):
        # The seeds of an ensemble over seeds do not overlap with those of its repetition.
        seed = recipe.config.seed + repeat * recipe.seeds
        folder = name if seeds == 1 else f"{name}/seed-{seed}"
        observers.on_note(f"{name}: {_what(recipe)}{f', seed {seed}' if seeds > 1 else ''}")
        trials.append(run_trial(job, folder, recipe.changed({"seed": seed}), observers))
    return tuple(trials)


def _what(recipe: TrainingRecipe) -> str:
    return recipe.description.rstrip(".") or recipe.config.model


def measure_trials(name: str, recipe: TrainingRecipe, trials: Sequence[Trial]) -> SystemResult:
    """Return how a system fared over its seeds, and what it cost."""
    first = trials[0]
    scores = [SeedScores(trial.table.probabilities, trial.threshold) for trial in trials]
    truth = class_indices(first.table, first.labels)
    seconds = [trial.train_seconds for trial in trials if trial.train_seconds is not None]
    return SystemResult(
        name=name,
        description=recipe.description,
        metrics=measure_seeds(truth, scores, first.labels.names, first.labels.target_index),
        weights=_weights(first),
        stands_in_for=_stands_in_for(first),
        seeds=len(trials),
        parameters=first.parameters,
        train_seconds=fmean(seconds) if seconds else None,
        ms_per_picture=fmean(trial.ms_per_picture for trial in trials),
    )


def _weights(trial: Trial) -> str:
    """Return what the models started from: ``random``, or as ``weights_origin``; maybe nothing."""
    words = {"none": "random"}
    found = [system["weights_from"] for system in _systems(trial)]
    # Some have none to start from.
    return ", ".join(dict.fromkeys(words.get(origin, origin) for origin in found if origin))


def _stands_in_for(trial: Trial) -> tuple[str, ...]:
    """Return the backbones that the recipes name, where others stand in for them."""
    own = trial.training.get("recipe") or {}
    found = [one.get("stands_in_for") for one in (own, *_systems(trial))]
    return tuple(dict.fromkeys(name for name in found if name))


def _systems(trial: Trial) -> list[Mapping[str, Any]]:
    return trial.training.get("ensemble", {}).get("systems") or [trial.training]


def make_comparison(first: Trial, results: Sequence[SystemResult], budget: Budget) -> Comparison:
    """Return the comparison of results on the pictures of their ``first`` trial."""
    labels = first.labels
    majority = str(first.training["majority_label"])
    truth = class_indices(first.table, labels)
    return Comparison(
        target=labels.target,
        majority_label=majority,
        counts=_count(first),
        data_digest=first.data_digest,
        budget=budget.to_dict(),
        majority=measure_majority(truth, labels.index(majority), labels.names, labels.target_index),
        results=tuple(results),
    )


def _count(trial: Trial) -> dict[str, dict[str, int]]:
    """Return the pictures of each part by class: those of the test that were scored."""
    samples, _ = read_split(trial.run.split)
    parts = Counter((sample.split, sample.label) for sample in samples)
    found = {
        part: {name: parts[part, name] for name in trial.labels.names}
        for part in ("train", "validation")
    }
    tested = Counter(trial.table.labels)
    return {**found, "test": {name: tested[name] for name in trial.labels.names}}
