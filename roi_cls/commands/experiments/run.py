"""The work behind ``compare``, ``ablate``, ``tune`` and ``ensemble``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from roi_cls.base.atomic import write_atomically
from roi_cls.base.rows import to_json
from roi_cls.classifier.ensembles.join import join_runs
from roi_cls.classifier.experiments.ablate import Ablation, InputKind, ablation_page, compare_inputs
from roi_cls.classifier.experiments.compare import compare_recipes
from roi_cls.classifier.experiments.comparison import (
    SystemResult,
    estimate_text,
    metric_title,
    to_csv,
    to_markdown,
)
from roi_cls.classifier.experiments.space import (
    SearchSpace,
    named_space,
    prepare_base,
    read_space,
    usual_space,
)
from roi_cls.classifier.experiments.study import TrialRow, check_optuna
from roi_cls.classifier.experiments.trial import ExperimentJob
from roi_cls.classifier.experiments.tune import TuneJob, tune_recipe
from roi_cls.classifier.experiments.tuning import Tuning
from roi_cls.classifier.metrics.interval import format_number
from roi_cls.classifier.models.origin import with_stand_in
from roi_cls.classifier.recipe import Combine, TrainingRecipe, load_recipe
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.writing import hold_run
from roi_cls.console.terminal import note, show
from roi_cls.console.training import watch_runs


def compare_and_tell(
    job: ExperimentJob,
    recipes: Sequence[TrainingRecipe],
    title: str,
) -> int:
    """Compare the recipes, save and print the tables; return how many could not be run."""
    with hold_run(RunFolder(job.folder)):
        with watch_runs() as observers:
            found = compare_recipes(job, recipes, observers, _tell_result)
        page = to_markdown(found, title)
        _save(job.folder, "results", page, to_csv(found), found.to_dict())
    show(page.rstrip())
    return len(found.not_run)


def ablate_and_tell(
    job: ExperimentJob,
    recipe: TrainingRecipe,
    given: Mapping[str, Any],
    inputs: Sequence[InputKind],
    title: str,
) -> Ablation:
    """Compare the inputs, save and print the tables; ``given``: what wins over the recipe."""
    if not recipe.members:
        recipe = with_stand_in(recipe, given, note)
    shared = {"model": recipe.config.model, "epochs": recipe.config.epochs}
    job = replace(job, budget=replace(job.budget, settings=shared))
    with hold_run(RunFolder(job.folder)):
        with watch_runs() as observers:
            found = compare_inputs(job, recipe, inputs, observers, _tell_result)
        page = ablation_page(found, title)
        _save(job.folder, "ablation", page, to_csv(found.comparison), found.to_dict())
    show(page.rstrip())
    return found


def choose_space(base: str | None, over: str | None, search: Path | None) -> SearchSpace:
    """Return what is tried, from a recipe's name, a list of settings or a file; unset: the usual.

    Raises:
        TrainingError: One of them cannot be used.
    """
    check_optuna()  # before anything is looked for or fetched
    named = load_recipe(base) if base else TrainingRecipe("the defaults")
    recipe = prepare_base(named if named.members else with_stand_in(named, {}, note))
    if over:
        return named_space(recipe, over)
    return read_space(recipe, search) if search else usual_space(recipe)


def tune_and_tell(job: TuneJob, title: str, *, as_json: bool = False) -> Tuning:
    """Tune, save and print what was found, with each trial as it ends on stderr."""
    name = metric_title(job.score)

    def on_trial(row: TrialRow, is_best: bool) -> None:
        score = f"{name} {format_number(row.score)}" if row.score is not None else ""
        if row.state == "finished":
            note(f"Trial {row.number}: {score} out of fold{', the best so far' * is_best}")
        elif row.state == "pruned":
            note(f"Trial {row.number}: pruned after {row.folds} of {job.folds} folds: {score}")
        else:
            note(f"Trial {row.number}: {row.error or 'set aside: the budget is spent'}")

    with watch_runs() as observers:
        found = tune_recipe(job, observers, on_trial)
    page = found.markdown(title)
    _save(job.experiment.folder, "tuning", page, found.csv(), found.to_dict())
    show(to_json(found.to_dict(), indent=2) if as_json else page.rstrip())
    note(f"The best settings are the recipe {job.output}; its models over the folds: {found.run}")
    return found


def join_and_tell(
    runs: Sequence[RunFolder], new: RunFolder, combine: Combine, *, export: bool
) -> None:
    """Make one run of several, and say how they are weighted."""
    fusion = join_runs(runs, new, combine, note, export=export)
    for run, weight in zip(runs, fusion.weights, strict=True):
        note(f"{run.path.name}: weight {weight:.2f}{'' if weight else ', left out'}")
    show(f"Run {new.path.name!r} is ready in {new.path}")


def _tell_result(result: SystemResult) -> None:
    if result.metrics is None:
        note(f"{result.name}: not run: {result.reason}")
        return
    auc, precision = (estimate_text(result.metrics, n) for n in ("roc_auc", "average_precision"))
    note(f"{result.name}: ROC-AUC {auc}, PR-AUC {precision} on the test part")


def _save(folder: Path, name: str, page: str, table: str, values: dict[str, Any]) -> None:
    for suffix, text in (
        ("md", page),
        ("csv", table),
        ("json", to_json(values, indent=2) + "\n"),
    ):
        write_atomically(folder / f"{name}.{suffix}", text.encode("utf-8", "surrogateescape"))
    note(f"Saved {', '.join(f'{name}.{s}' for s in ('md', 'csv', 'json'))} in {folder}")
