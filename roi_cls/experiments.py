"""The work behind ``compare``, ``ablate``, ``ensemble``, and ``train`` with several models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roi_cls.base.atomic import write_atomically
from roi_cls.base.rows import to_json
from roi_cls.classifier.ensembles.join import join_runs
from roi_cls.classifier.ensembles.members import System, systems_of
from roi_cls.classifier.ensembles.train import EnsembleJob, train_ensemble
from roi_cls.classifier.experiments.ablate import Ablation, InputKind, ablate, ablation_page
from roi_cls.classifier.experiments.compare import MissingWeights, compare
from roi_cls.classifier.experiments.comparison import (
    SystemResult,
    estimate_text,
    to_csv,
    to_markdown,
)
from roi_cls.classifier.experiments.trial import Bench
from roi_cls.classifier.recipe import Combine, TrainingRecipe, load_recipe, recipe_names
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.training.data import TrainingData
from roi_cls.classifier.training.run import Observers, TrainJob, TrainOutcome
from roi_cls.classifier.training.values import EpochReport
from roi_cls.console import Advance, note, progress, show
from roi_cls.training import (
    cropping_progress,
    epoch_line,
    tell_data,
    train_and_tell,
    warn_of_faults,
)


@dataclass(frozen=True, slots=True)
class TrainOrder:
    """What ``train`` was asked for: one model, or several that make one run."""

    job: TrainJob
    recipe: TrainingRecipe | None
    given: Mapping[str, Any]
    """Settings that the command line itself gives."""
    folds: int
    seeds: int


def train_order_and_tell(order: TrainOrder) -> TrainOutcome:
    """Train as ordered, with progress and a line per epoch on stderr."""
    job, recipe = order.job, order.recipe
    if recipe and recipe.members:
        systems = systems_of(recipe, order.given)
    elif order.folds or order.seeds > 1:
        name = recipe.name if recipe else job.config.model
        systems = (System(name, job.config, job.crop),)
    else:
        return train_and_tell(job)
    combine = recipe.combine if recipe else "mean"
    return train_ensemble_and_tell(EnsembleJob(job, systems, order.folds, order.seeds, combine))


def train_ensemble_and_tell(ensemble: EnsembleJob) -> TrainOutcome:
    """Train as ``train_ensemble`` does, with a line per member and epoch on stderr."""
    epochs = max(system.config.epochs for system in ensemble.systems)

    def on_epoch(report: EpochReport) -> None:
        note(epoch_line(report, epochs))

    with _telling() as observers:
        observers.on_data = tell_data
        observers.on_epoch = _both(observers.on_epoch, on_epoch)
        outcome = train_ensemble(ensemble, observers)
    if not outcome.trained:
        name = ensemble.job.run.path.name
        note(f"Run {name!r} is finished already, with these data and settings.")
    return outcome


def compare_and_tell(
    bench: Bench, recipes: Sequence[TrainingRecipe], missing_weights: MissingWeights, title: str
) -> int:
    """Compare the recipes, save and print the tables; return how many could not be run."""
    with _telling() as observers:
        found = compare(bench, recipes, observers, missing_weights, _tell_result)
    page = to_markdown(found, title)
    _save(bench.folder, "results", page, to_csv(found), found.to_dict())
    show(page.rstrip())
    return len(found.not_run)


def ablate_and_tell(
    bench: Bench, recipe: TrainingRecipe, inputs: Sequence[InputKind], title: str
) -> Ablation:
    """Compare the inputs, save and print the tables."""
    with _telling() as observers:
        found = ablate(bench, recipe, inputs, observers, _tell_result)
    page = ablation_page(found, title)
    _save(bench.folder, "ablation", page, to_csv(found.comparison), found.to_dict())
    show(page.rstrip())
    return found


def join_and_tell(runs: Sequence[RunFolder], new: RunFolder, combine: Combine) -> None:
    """Make one run of several, and say how they are weighted."""
    fusion = join_runs(runs, new, combine, note)
    for run, weight in zip(runs, fusion.weights, strict=True):
        note(f"{run.path.name}: weight {weight:.2f}{'' if weight else ', left out'}")
    show(f"Run {new.path.name!r} is ready in {new.path}")


def list_recipes() -> str:
    """Return a line per recipe that comes with the program: its name and what it is."""
    recipes = [load_recipe(name) for name in recipe_names()]
    width = max(len(recipe.name) for recipe in recipes)
    return "\n".join(f"{recipe.name:<{width}}  {recipe.description}" for recipe in recipes)


@contextmanager
def _telling() -> Iterator[Observers]:
    """Give observers that show progress, whichever run is at work, and print its notes."""
    told: set[str] = set()

    def on_data(data: TrainingData) -> None:
        if data.digest not in told:  # every run of an experiment loads them
            told.add(data.digest)
            warn_of_faults(data.split)

    with cropping_progress() as on_crop, ExitStack() as bars:
        steps = _Steps(bars)
        observers = Observers(on_step=steps.on_step, on_epoch=steps.on_epoch, on_note=note)
        observers.on_crop, observers.on_data = on_crop, on_data
        yield observers


class _Steps:
    """Shows how far an epoch is; each has a bar of its own, as other work comes between them."""

    def __init__(self, bars: ExitStack) -> None:
        self._bars = bars
        self._advance: Advance | None = None

    def on_step(self, done: int, total: int) -> None:
        """Show how far the epoch is."""
        if self._advance is None:
            self._advance = self._bars.enter_context(progress("Training", "crops"))
        self._advance(done, total, "")

    def on_epoch(self, report: EpochReport) -> None:
        """End the epoch's bar."""
        self._bars.close()
        self._advance = None


def _both(
    first: Callable[[EpochReport], None], second: Callable[[EpochReport], None]
) -> Callable[[EpochReport], None]:
    def call(report: EpochReport) -> None:
        first(report)
        second(report)

    return call


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
