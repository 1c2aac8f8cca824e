"""A tuning's trials on disk: who tries what next, which trials are dead, what each one reached.

The trials are Optuna's, in a SQLite file. Each is one process's: a lock that dies with its process
says which are alive, so that a trial whose process was killed is found by whoever comes next, at
once. It is marked as failed, and tried again with the same values, where it had come to.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roi_cls.base.atomic import telling_storage
from roi_cls.base.errors import DISK_FULL, BundleError, StorageError, TrainingError
from roi_cls.base.lock import HeldError, hold, lock
from roi_cls.classifier.experiments.space import Choices, SearchSpace, Values
from roi_cls.data.sample import LabelSet

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

_NAME = "tuning"
_PATIENCE_S = 60
"""How long a process waits for another that writes into the file."""
_MOST_KILLED = 3
"""Times that a trial's process is killed before it is given up: it may be what fills the memory."""
_UNPRUNED = 5
"""Trials that are finished, whatever their first folds say, before any is pruned."""
LEAST_FOR_IMPORTANCE = 10
"""Finished trials below which a setting's importance is mostly chance."""


@dataclass(frozen=True, slots=True)
class TrialRow:
    """A trial as the study knows it."""

    number: int
    state: str
    """``finished``, ``pruned``, ``failed``, ``running`` (here or elsewhere) or ``waiting``."""
    values: Mapping[str, Any]
    """Of the settings, by the name of their field."""
    score: float | None
    """Out of fold; of a pruned trial, over the folds it came to."""
    folds: int
    """That were scored."""
    place: int
    """Number in the name of its folder: of a trial that is tried again, the first one's."""
    seconds: float | None
    """From its beginning to its end, this time."""
    error: str = ""
    """Why it failed, where it did by itself."""
    repeats: int | None = None
    """The trial, cut off, that it goes on with."""

    @property
    def is_counted(self) -> bool:
        """Whether it came to an end of its own; else it is going on, or tried again."""
        return self.state in ("finished", "pruned") or bool(self.error)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "trial": self.number,
            "state": self.state,
            "score": self.score,
            "folds": self.folds,
            "settings": dict(self.values),
            "seconds": None if self.seconds is None else round(self.seconds, 1),
            **({"error": self.error} if self.error else {}),
            **({"repeats": self.repeats} if self.repeats is not None else {}),
        }


def check_optuna() -> None:
    """Raise ``TrainingError`` where Optuna is not installed."""
    try:
        import optuna  # noqa: F401  # reason: only whether it is there
    except ImportError as error:
        raise TrainingError(
            "Cannot tune: optuna is not installed. Install it: pip install 'roi-cls[tune]'."
        ) from error


class Claim:
    """A trial that is this process's own until the block ends."""

    def __init__(self, study: TuningStudy, trial: Trial) -> None:
        self._study, self._trial = study, trial
        self.number = trial.number
        self.place = int(trial.user_attrs.get("place", trial.number))
        self.values = dict(trial.params)

    def report(self, folds: int, score: float) -> bool:
        """Keep the score over the folds so far; return whether the trial is not worth the rest."""
        self._trial.report(score, folds)
        return self._study.is_hopeless(folds, score)

    def finish(self, score: float) -> None:
        """Keep the trial's result."""
        self._study.end(self.number, "COMPLETE", score)

    def prune(self) -> None:
        """End the trial, whose last report says that it is not worth the rest."""
        self._study.end(self.number, "PRUNED")

    def fail(self, error: str) -> None:
        """End the trial, whose values cannot be trained."""
        self._trial.set_user_attr("error", error)
        self._study.end(self.number, "FAIL")

    def set_aside(self) -> None:
        """Leave the trial to whoever comes next, who goes on with it."""
        self._study.try_again(self.number, killed=False)


class TuningStudy:
    """The study in a folder, opened by one of maybe several processes."""

    def __init__(
        self, folder: Path, space: SearchSpace, plan: Mapping[str, Any], seed: int
    ) -> None:
        """Open the folder's study, or begin one.

        Args:
            folder: Of the tuning.
            space: What is tried.
            plan: All that makes trials comparable, plain JSON values: a study of another is
                refused.
            seed: Of the choices among the values.

        Raises:
            TrainingError: The folder holds another tuning.
            BundleError: Its file is damaged.
            StorageError: It cannot be written.
        """
        self._folder, self._space, self._seed = folder, space, seed
        with telling_storage(folder):
            self._locks.mkdir(parents=True, exist_ok=True)
        with self._alone():
            self._study = self._open()
            kept = self._study.user_attrs.get("plan")
            given = json.loads(json.dumps(plan))
            if kept not in (None, given) and self._is_empty():
                self._study, kept = self._open(anew=True), None
            if kept is None:
                # The base recipe comes first, so that there is what to compare with.
                self._study.enqueue_trial(space.start, skip_if_exists=True)
                self._study.set_user_attr("plan", given)
            elif kept != given:
                odd = ", ".join(key for key in given if kept.get(key) != given[key])
                raise TrainingError(
                    f"Cannot go on with the tuning {folder.name!r}: it was started with other "
                    f"settings ({odd}). Choose another --name, or delete {str(folder)!r}."
                )

    def _is_empty(self) -> bool:
        """Whether nothing was trained here: what was begun was refused."""
        is_begun = any(row.is_counted or row.state == "running" for row in self.rows())
        return not is_begun and not any(self._folder.glob("trial-*"))

    @contextlib.contextmanager
    def telling_storage(self) -> Iterator[None]:
        """Raise it as a ``StorageError`` where the block cannot write into the study's file."""
        from optuna.exceptions import StorageInternalError
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (SQLAlchemyError, StorageInternalError) as error:
            reason = _storage_reason(error) or str(error).splitlines()[0].rstrip(".")
            raise StorageError(self._file, reason) from error

    def check_data(self, digest: str, labels: LabelSet) -> None:
        """Keep what the first trial's data are; refuse those of a later one that are others.

        Raises:
            TrainingError: They are.
        """
        given = {"digest": digest, "labels": list(labels.names), "target": labels.target}
        kept = self._study.user_attrs.get("data")
        if kept is None:
            self._study.set_user_attr("data", given)
        elif kept != given:
            raise TrainingError(
                f"Cannot go on with the tuning {self._folder.name!r}: the pictures, their labels "
                "or their parts were others, so that its trials cannot be compared. Choose "
                f"another --name, or delete {str(self._folder)!r}."
            )

    @property
    def labels(self) -> LabelSet:
        """The classes, known once a trial has its data."""
        kept = self._study.user_attrs["data"]
        return LabelSet(tuple(kept["labels"]), kept["target"])

    @contextlib.contextmanager
    def claim(self, most: int | None) -> Iterator[Claim | None]:
        """Give the next trial, which nobody else then has; None: there are as many as wanted.

        A dead one comes first. What is not ended in the block counts as dead after it.

        most: trials in all, by all processes; None: any number.
        """
        with contextlib.ExitStack() as stack:
            with self._alone():
                self._bury_the_dead()
                rows = self.rows()
                ahead = sum(row.is_counted or row.state == "running" for row in rows)
                if most is not None and ahead >= most:
                    trial = None
                else:
                    trial = self._ask(len(rows))
                    stack.enter_context(hold(self._lock(trial.number)))
            yield None if trial is None else Claim(self, trial)

    def end(self, number: int, state: str, score: float | None = None) -> None:
        """End a trial of this process in a state by Optuna's name."""
        from optuna.trial import TrialState

        self._study.tell(number, score, state=TrialState[state])

    def try_again(self, number: int, *, killed: bool) -> None:
        """Mark a trial as failed, and let its values be tried again where it had come to."""
        trial = self._study.trials[number]
        attributes = dict(trial.user_attrs)
        attributes["killed"] = attributes.get("killed", 0) + killed
        attributes |= {"place": attributes.get("place", number), "repeats": number}
        if attributes["killed"] < _MOST_KILLED:
            self._study.enqueue_trial(trial.params, user_attrs=attributes)
        self.end(number, "FAIL")

    def is_hopeless(self, folds: int, score: float) -> bool:
        """Return whether a score over so many folds is below the finished trials' median over them.

        Epochs are not compared: trials differ in them, and with a falling rate the middle of a
        training says little. Hyperband needs many more rungs than there are folds. Optuna's median
        pruner takes a trial's best score so far for its last one.
        """
        trials = self._study.get_trials(deepcopy=False)
        finished = [one.intermediate_values for one in trials if one.state.name == "COMPLETE"]
        reached = [steps[folds] for steps in finished if folds in steps]
        return len(reached) >= _UNPRUNED and score < statistics.median(reached)

    def rows(self) -> tuple[TrialRow, ...]:
        """Return every trial, by number."""
        return tuple(map(_row, self._study.get_trials(deepcopy=False)))

    def importances(self) -> dict[str, float]:
        """Return each setting's share of the score's variance over the space, the largest first.

        By fANOVA (Hutter et al. 2014), a random forest over all finished trials: PED-ANOVA looks at
        the best tenth alone, which of a few dozen trials is two or three. Empty with too few
        trials, or where all reached the same.
        """
        from optuna.importance import FanovaImportanceEvaluator, get_param_importances

        finished = [row.score for row in self.rows() if row.state == "finished"]
        if len(finished) < LEAST_FOR_IMPORTANCE or len(set(finished)) < 2:
            return {}
        evaluator = FanovaImportanceEvaluator(seed=self._seed)
        found = get_param_importances(self._study, evaluator=evaluator)
        return {name: float(share) for name, share in found.items()}

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes from opening, asking or burying meanwhile; waits for them."""
        with telling_storage(self._locks), (self._locks / "study.lock").open("ab") as file:
            lock(file.fileno(), exclusive=True, waits=True)
            yield

    @property
    def _locks(self) -> Path:
        return self._folder / "locks"

    @property
    def _file(self) -> Path:
        return self._folder / "study.db"

    def _lock(self, number: int) -> Path:
        return self._locks / f"trial-{number}.lock"

    def _open(self, *, anew: bool = False) -> Study:
        import optuna
        from sqlalchemy import URL
        from sqlalchemy.exc import SQLAlchemyError

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        file = self._file.absolute()
        address = URL.create("sqlite", database=str(file)).render_as_string()
        try:
            storage = optuna.storages.RDBStorage(
                address, engine_kwargs={"connect_args": {"timeout": _PATIENCE_S}}
            )
            if anew:
                optuna.delete_study(study_name=_NAME, storage=storage)
            return optuna.create_study(
                storage=storage,
                study_name=_NAME,
                direction="maximize",
                load_if_exists=True,
            )
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            if reason := _storage_reason(error):
                raise StorageError(self._file, reason) from error
            raise BundleError(
                f"Cannot read the trials in {str(file)!r}: the file is damaged or of another "
                f"Optuna. Choose another --name, or delete {str(self._folder)!r}."
            ) from error

    def _ask(self, count: int) -> Trial:
        import optuna

        # A seed of its own for each trial: several processes would else all draw the same, and
        # one that goes on would draw again what was drawn.
        seed = zlib.crc32(f"{self._seed} {count}".encode())
        self._study.sampler = optuna.samplers.TPESampler(seed=seed)
        return self._study.ask(
            {name: _distribution(values) for name, values in self._space.settings.items()}
        )

    def _bury_the_dead(self) -> None:
        for row in self.rows():
            if row.state == "running" and not self._is_alive(row.number):
                self.try_again(row.number, killed=True)

    def _is_alive(self, number: int) -> bool:
        try:
            with hold(self._lock(number)):
                return False
        except HeldError:
            return True


def _storage_reason(error: BaseException | None) -> str | None:
    """Return what SQLite says of the disk, by whichever library passed on; None: nothing."""
    while error is not None:
        for words, reason in _DISK_FAULTS.items():
            if words in str(error):
                return reason
        error = error.__cause__ or error.__context__
    return None


_DISK_FAULTS = {
    "database or disk is full": DISK_FULL,
    "readonly database": "it may not be written to",
    "unable to open database file": "it may not be opened",
    "disk I/O error": "the disk has a fault, or is full",
    "database is locked": "another process keeps it to itself",
}


def _distribution(values: Values) -> BaseDistribution:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if isinstance(values, Choices):
        return CategoricalDistribution(values.values)
    if values.is_whole:
        step = 1 if values.step is None else int(values.step)
        return IntDistribution(int(values.low), int(values.high), log=values.log, step=step)
    return FloatDistribution(values.low, values.high, log=values.log, step=values.step)


_STATES = {
    "COMPLETE": "finished",
    "PRUNED": "pruned",
    "FAIL": "failed",
    "RUNNING": "running",
    "WAITING": "waiting",
}


def _row(trial: FrozenTrial) -> TrialRow:
    steps = trial.intermediate_values
    score = trial.value if trial.state.name == "COMPLETE" else None
    if score is None and steps:
        score = steps[max(steps)]
    return TrialRow(
        number=trial.number,
        state=_STATES[trial.state.name],
        values=dict(trial.params),
        score=score,
        folds=max(steps, default=0),
        place=int(trial.user_attrs.get("place", trial.number)),
        seconds=trial.duration.total_seconds() if trial.duration else None,
        error=str(trial.user_attrs.get("error", "")),
        repeats=trial.user_attrs.get("repeats"),
    )
