"""Settings tried one after another, scored out of fold on the training part; the best as a recipe.

Each trial is a run over folds below the tuning's folder, as ``train --folds`` makes it, and what it
says of pictures that it did not learn from is its score. The test part is never opened.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from roi_cls.base.atomic import write_atomically
from roi_cls.base.errors import ModelNameError, TrainingError, WeightsError
from roi_cls.classifier.ensembles.join import stack_tables
from roi_cls.classifier.experiments.space import Choices, SearchSpace
from roi_cls.classifier.experiments.study import Claim, TrialRow, TuningStudy, check_optuna
from roi_cls.classifier.experiments.trial import ExperimentJob, train_trial
from roi_cls.classifier.experiments.tuning import Tuning, describe_values
from roi_cls.classifier.metrics.paired import Difference, compare_scores
from roi_cls.classifier.metrics.selection import Score, choose_best, rank_score
from roi_cls.classifier.recipe import TrainingRecipe, format_recipe
from roi_cls.classifier.runs.bundle import CONFIG_NAME
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.scores import ScoreTable, class_indices, read_scores
from roi_cls.classifier.training.data import TrainingData
from roi_cls.classifier.training.job import Observers
from roi_cls.classifier.training.methods.fit import check_packages, check_weights
from roi_cls.data.sample import LabelSet

_MOST_FAILED = 5
"""Trials in a row that cannot be trained, before the reason is taken to be none of their values."""


@dataclass(frozen=True, slots=True)
class TuneJob:
    """What to tune, on what, and how long."""

    experiment: ExperimentJob
    """Data, folder and split; its budget plays no part."""
    space: SearchSpace
    output: Path
    """Where the recipe of the best trial goes."""
    folds: int = 3
    score: Score = "roc_auc"
    seed: int = 0
    """Of the choices among the values; the models have the base recipe's."""
    budget_s: float | None = None
    """Seconds of this call; None: as long as ``trials`` takes."""
    trials: int | None = None
    """Trials in all, those of earlier calls and other processes among them."""

    @property
    def plan(self) -> dict[str, Any]:
        """All that makes the trials comparable, plain JSON values."""
        experiment, split = self.experiment, self.experiment.split
        return {
            "base": self.space.base.to_dict(),
            "search": self.space.to_dict(),
            "folds": self.folds,
            "score": self.score,
            "seed": self.seed,
            "split": {name: getattr(split, name) for name in split.__slots__},
            "labels": experiment.label_names,
            "target": experiment.target,
        }


class _OutOfTimeError(Exception):
    """The budget is spent in the middle of a trial."""


class _NotWorthItError(Exception):
    """The trial's first folds say that the others would be wasted."""


def tune_recipe(
    job: TuneJob,
    observers: Observers,
    on_trial: Callable[[TrialRow, bool], None] = lambda row, is_best: None,
    clock: Callable[[], float] = time.monotonic,
) -> Tuning:
    """Try settings until the budget is spent; write the best recipe, and return what was found.

    A call goes on with what others of the same settings did in the folder, and several may work
    there at once. Where the budget ends within a trial, that one is set aside, and the next call
    goes on with it.

    Args:
        job: What is tuned.
        observers: Who is told of the work within a trial.
        on_trial: Called with each trial of this call as it ends, and whether it is the best so far.
        clock: Seconds.

    Raises:
        TrainingError: Optuna is missing, nothing was finished within the budget, or the folder
            holds another tuning.
        StorageError: The disk is full.
        RoiClsError: The first trial, that of the base recipe, cannot be trained here.
    """
    _check(job)
    study = TuningStudy(job.experiment.folder, job.space, job.plan, job.seed)
    work = _Work(job, study, observers, clock)
    with study.telling_storage():
        _try_many(job, study, work, on_trial)
        return _sum_up(job, study, work)


def _try_many(
    job: TuneJob,
    study: TuningStudy,
    work: _Work,
    on_trial: Callable[[TrialRow, bool], None],
) -> None:
    failed = 0
    while not work.is_over:
        with study.claim(job.trials) as claim:
            if claim is None:
                return
            error = work.try_values(claim)
        rows = study.rows()
        on_trial(rows[claim.number], claim.number == _best_number(rows))
        failed = failed + 1 if error else 0
        if failed >= _MOST_FAILED:
            raise TrainingError(f"{failed} trials in a row cannot be trained: {error}")


def _check(job: TuneJob) -> None:
    """Refuse, before pictures are cropped, what would fail afterwards."""
    check_optuna()
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise TrainingError(
            "Cannot tune under torchrun: a trial is one process's. Start the same command several "
            "times instead, with CUDA_VISIBLE_DEVICES for each; they share the trials."
        )
    if not job.space.settings:
        raise TrainingError(
            f"Cannot tune the recipe {job.space.base.name!r}: nothing is usually tried with it. "
            "Name settings by --over, or give values in a file by --search."
        )
    models = job.space.settings.get("model")
    names = models.values if isinstance(models, Choices) else (job.space.base.config.model,)
    for name in names:
        config = job.space.recipe({"model": name}).config
        check_packages(config)
        check_weights(config, job.space.base.crop_params.size_px)


class _Work:
    """What one process does: trains trials, within its budget."""

    def __init__(
        self, job: TuneJob, study: TuningStudy, observers: Observers, clock: Callable[[], float]
    ) -> None:
        self.cut: int | None = None
        """The trial that the end of the budget cut off."""
        self._job, self._study, self._observers, self._clock = job, study, observers, clock
        self._end = None if job.budget_s is None else clock() + job.budget_s

    @property
    def is_over(self) -> bool:
        """Whether the budget is spent."""
        return self._end is not None and self._clock() >= self._end

    def run(self, place: int) -> RunFolder:
        """Return a trial's folder."""
        return RunFolder(self._job.experiment.folder / f"trial-{place}")

    def try_values(self, claim: Claim) -> str:
        """Train a trial and keep its score; return why it cannot be trained, or nothing."""
        run = self.run(claim.place)
        self._observers.on_note(f"Trial {claim.number}: {describe_values(claim.values)}")
        try:
            table = self._train(claim, run)
            claim.finish(self._measure(table))
        except _NotWorthItError:
            claim.prune()
            _remove(run)
        except _OutOfTimeError:
            claim.set_aside()
            self.cut = claim.number
        except (TrainingError, WeightsError, ModelNameError) as error:
            if not _finished(self._study.rows()):  # of the base recipe: nothing can be trained here
                claim.set_aside()
                raise
            claim.fail(str(error))
            _remove(run)
            return str(error)
        except BaseException:  # reason: also after Ctrl-C; raised again
            claim.set_aside()
            raise
        self._keep_best()
        return ""

    def _train(self, claim: Claim, run: RunFolder) -> ScoreTable:
        """Return the out-of-fold scores of the trial's values."""
        job, tables = self._job, list[ScoreTable]()

        def on_member(done: int, total: int, scores: ScoreTable) -> None:
            tables.append(scores)
            is_hopeless = claim.report(done, self._measure(stack_tables(tables)))
            if done < total:  # else the work is done, whatever it is worth
                if is_hopeless:
                    raise _NotWorthItError
                self._check_time()

        def on_data(data: TrainingData) -> None:
            self._study.check_data(data.digest, data.labels)
            self._observers.on_data(data)

        try:
            chosen = job.space.recipe(claim.values)
        except ValueError as error:
            raise TrainingError(f"Its settings are refused together: {error}.") from error
        recipe = replace(chosen, folds=job.folds, seeds=1)
        watching = replace(self._timed(), on_data=on_data, on_member=on_member)
        train_trial(job.experiment, run, recipe, watching)
        return read_scores(run.oof_scores, self._study.labels.names)

    def _timed(self) -> Observers:
        """Return observers that also stop the work when the budget is spent."""
        observers = self._observers

        def on_crop(*words: Any) -> None:
            observers.on_crop(*words)
            self._check_time()

        def on_step(done: int, total: int) -> None:
            observers.on_step(done, total)
            self._check_time()

        return replace(observers, on_crop=on_crop, on_step=on_step)

    def _check_time(self) -> None:
        if self.is_over:
            raise _OutOfTimeError

    def _measure(self, table: ScoreTable) -> float:
        labels = self._study.labels
        truth, target = class_indices(table, labels), labels.target_index
        return rank_score(truth, table.probabilities[:, target], target, self._job.score)

    def _keep_best(self) -> None:
        """Remove the models of all finished trials but the best; their scores stay."""
        rows = self._study.rows()
        best = _best_number(rows)
        for row in rows:
            if row.state == "finished" and row.number != best:
                run = self.run(row.place)
                (run.path / CONFIG_NAME).unlink(missing_ok=True)  # first: it says that it is whole
                shutil.rmtree(run.members, ignore_errors=True)


def _remove(run: RunFolder) -> None:
    with suppress(OSError):  # what is left of it is in nobody's way
        shutil.rmtree(run.path)


def _finished(rows: Sequence[TrialRow]) -> list[TrialRow]:
    return [row for row in rows if row.state == "finished"]


def _best_number(rows: Sequence[TrialRow]) -> int | None:
    found = _finished(rows)
    return max(found, key=lambda row: (row.score or 0, -row.number)).number if found else None


def _sum_up(job: TuneJob, study: TuningStudy, work: _Work) -> Tuning:
    """Return what the finished trials say together, and write the recipe of the best."""
    rows = study.rows()
    finished = _finished(rows)
    if not finished:
        others = sum(row.state == "running" for row in rows)
        raise TrainingError(
            "Nothing is tuned yet: the time was over before a trial was finished"
            f"{f'; {others} at work elsewhere' if others else ''}. Run it again with a larger "
            "--budget: it goes on where it was cut off."
        )
    labels, score = study.labels, job.score
    tables = [read_scores(work.run(row.place).oof_scores, labels.names) for row in finished]
    _check_same_pictures(finished, tables)
    truth, target = class_indices(tables[0], labels), labels.target_index
    ranked = [table.probabilities[:, target] for table in tables]
    selection = choose_best(truth, ranked, target, score, seed=job.seed)
    best, base = finished[selection.best], _base_place(job, finished)
    found = Tuning(
        recipe=_tuned(job, best),
        score=score,
        folds=job.folds,
        target=labels.target,
        images=len(truth),
        targets=int((truth == target).sum()),
        settings=tuple(job.space.settings),
        rows=rows,
        best=best,
        selection=selection,
        base=None if base is None else finished[base].number,
        against_base=_against_base(job, base, tables, selection.best, labels),
        importances=study.importances(),
        cut=work.cut,
        output=job.output,
        run=work.run(best.place).path,
    )
    text = format_recipe(found.recipe, found.comment)
    write_atomically(job.output, text.encode("utf-8", "surrogateescape"))
    return found


def _check_same_pictures(rows: Sequence[TrialRow], tables: Sequence[ScoreTable]) -> None:
    first = tables[0]
    for row, table in zip(rows, tables, strict=True):
        if (table.paths, table.sha256) != (first.paths, first.sha256):
            raise TrainingError(
                f"Cannot compare the trials {rows[0].number} and {row.number}: not the same "
                "pictures could be cropped for both. `roi-cls crops PATH` says which cannot."
            )


def _tuned(job: TuneJob, best: TrialRow) -> TrainingRecipe:
    name, base = job.output.name.removesuffix(".toml"), job.space.base
    words = f"Tuned on {job.experiment.source.name}"
    return replace(
        job.space.recipe(best.values), name=name, description=f"{words}, from {base.name}."
    )


def _base_place(job: TuneJob, finished: Sequence[TrialRow]) -> int | None:
    """Return which of the trials is the base recipe's; None: it has values that are not tried."""
    if len(job.space.start) < len(job.space.settings):
        return None
    return next((i for i, row in enumerate(finished) if row.place == 0), None)


def _against_base(
    job: TuneJob,
    base: int | None,
    tables: Sequence[ScoreTable],
    best: int,
    labels: LabelSet,
) -> Difference | None:
    """Return what the best trial gains over the base recipe, picture by picture.

    None where the base recipe is the best, or was not finished.
    """
    if base is None or base == best:
        return None
    truth = class_indices(tables[0], labels)
    first, second = tables[base].probabilities, tables[best].probabilities
    decided = (first.argmax(axis=1), second.argmax(axis=1))  # plays no part in the ranks
    found = compare_scores(truth, first, second, *decided, target=labels.target_index)
    return found.differences[job.score]
