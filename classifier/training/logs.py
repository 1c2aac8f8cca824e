"""The epochs of a training for people: a picture of their curves, and what trackers are told."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from roi_cls.base.atomic import write_atomically
from roi_cls.base.errors import TrainingError
from roi_cls.base.figure import FIRST, MARK, QUIET, SECOND, finish_panel, new_figure, save_figure
from roi_cls.base.version import __version__
from roi_cls.classifier.config import TrackerName
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.training.job import EpochReport

PANELS = (
    (
        (("train_loss", "training", FIRST), ("validation_loss", "validation", SECOND)),
        "Loss",
        "nats per picture",
    ),
    (
        (("average_precision", "average precision", FIRST), ("roc_auc", "ROC-AUC", SECOND)),
        "Target on validation",
        "score",
    ),
    ((("lr", "", FIRST),), "Learning rate", "rate at the epoch's end"),
)
"""Of each panel its lines (field, name, colour), its title and its unit."""
_SCALARS = {
    "train_loss": "loss/train",
    "validation_loss": "loss/validation",
    "average_precision": "validation/average_precision",
    "roc_auc": "validation/roc_auc",
    "lr": "lr",
    "images_per_second": "images_per_second",
    "micro_f1": "validation/micro_f1",
}
"""What trackers call each measure of an epoch."""
_PROJECT = "roi-cls"
"""MLflow's experiment and W&B's project, unless their own variables name others."""


def draw_curves(epochs: Sequence[Mapping[str, Any]], path: Path, title: str | None = None) -> None:
    """Draw the lines of ``metrics.jsonl``, one at least; the best epoch is marked.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    figure, panels = new_figure(len(PANELS), title)
    for place, panel in enumerate(panels):
        plot_epochs(panel, epochs, place)
    save_figure(figure, path)


def plot_epochs(panel: Axes, epochs: Sequence[Mapping[str, Any]], place: int) -> None:
    """Draw one of ``PANELS``, by its place."""
    lines, name, unit = PANELS[place]
    numbers = [epoch["epoch"] for epoch in epochs]
    best = max((epoch["epoch"] for epoch in epochs if epoch["best"]), default=None)
    for field, label, colour in lines:
        values = [epoch[field] for epoch in epochs]
        # A single epoch makes no line: it needs its dot.
        panel.plot(
            numbers, values, color=colour, label=label, marker="." if len(numbers) < 30 else ""
        )
    _mark_epochs(panel, epochs, best)
    finish_panel(panel, name, "epoch", unit, "best" if len(lines) > 1 else None)
    if unit == "score":
        panel.set_ylim(0, 1.02)
    elif name == "Learning rate":
        panel.set_ylim(bottom=0)


def _mark_epochs(panel: Axes, epochs: Sequence[Mapping[str, Any]], best: int | None) -> None:
    """Mark the best epoch, and where the backbone began to learn."""
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    if best is not None:
        panel.axvline(best, color=MARK, linewidth=1, linestyle="--", label=f"best epoch ({best})")
    heads = [epoch["epoch"] for epoch in epochs if epoch["phase"] == "head"]
    if heads and heads[-1] < epochs[-1]["epoch"]:
        panel.axvspan(0.5, heads[-1] + 0.5, color=QUIET, alpha=0.15, label="head alone", lw=0)


class Tracker(Protocol):
    """Tells an experiment tracker of one run. Whatever it raises costs the run no more than it."""

    def start(self, run: RunFolder, parameters: Mapping[str, Any], began: str | None) -> str:
        """Begin, or go on with what ``began`` names; return what it is named there.

        parameters: what the run was started with, by name.
        """

    def epoch(self, report: EpochReport) -> None:
        """Tell of an epoch."""

    def finish(self, figures: Mapping[str, float]) -> None:
        """Tell what the run came to; nothing follows but ``close``."""

    def close(self, *, failed: bool) -> None:
        """End; ``failed``: the run did not come to its end, and may go on another time."""


def check_trackers(names: Sequence[TrackerName]) -> None:
    """Raise ``TrainingError`` unless the package of each is installed."""
    for name in names:
        if find_spec(name) is None:
            raise TrainingError(
                f"Cannot log to {_TITLES[name]}: it is not installed. "
                f"pip install 'roi-cls[{name}]', or leave --log {name} out."
            )


class RunLog:
    """Tells the trackers of one run; one that fails is told no more, and the run goes on."""

    def __init__(
        self, names: Sequence[TrackerName], run: RunFolder, on_note: Callable[[str], None]
    ) -> None:
        self._run, self._on_note = run, on_note
        self._trackers: dict[TrackerName, Tracker] = {n: _TRACKERS[n]() for n in names}
        self._begun: dict[str, str] = {}
        self._is_started = False

    def start(self, settings: Mapping[str, Any]) -> None:
        """Tell what the run was started with; a run that goes on is the same one there."""
        if not self._trackers:
            return
        self._is_started = True
        with contextlib.suppress(OSError, ValueError):  # none, or torn: then it is a new one there
            self._begun = json.loads(self._run.tracking.read_bytes())
        parameters = flatten_settings(settings, self._run)

        def start(name: TrackerName, tracker: Tracker) -> None:
            self._begun[name] = tracker.start(self._run, parameters, self._begun.get(name))

        self._tell(start)
        write_atomically(self._run.tracking, json.dumps(self._begun).encode())

    def epoch(self, report: EpochReport) -> None:
        """Tell of an epoch."""
        self._tell(lambda _, tracker: tracker.epoch(report))

    def finish(self, figures: Mapping[str, float]) -> None:
        """Tell what the run came to."""
        known = {name: value for name, value in figures.items() if math.isfinite(value)}
        self._tell(lambda _, tracker: tracker.finish(known))

    def close(self, *, failed: bool) -> None:
        """End; what could not begin is nothing to tell of."""
        if self._is_started:
            self._tell(lambda _, tracker: tracker.close(failed=failed))
        self._trackers.clear()

    def _tell(self, tell: Callable[[TrackerName, Tracker], None]) -> None:
        for name, tracker in tuple(self._trackers.items()):
            try:
                tell(name, tracker)
            except Exception as error:  # noqa: BLE001  # reason: of any kind, and told; a server that is gone must not cost a training
                del self._trackers[name]
                reason = " ".join(f"{type(error).__name__}: {error}".split())[:700]
                self._on_note(
                    f"warning: {_TITLES[name]} is told no more of run {_title(self._run)!r}, "
                    f"which goes on: {reason}"
                )


def flatten_settings(settings: Mapping[str, Any], run: RunFolder) -> dict[str, Any]:
    """Return a run's settings as trackers take them: plain values by name, and its folder.

    Those of training by their own names, of the crop as ``crop.NAME``.
    """
    given = dict(settings)
    found: dict[str, Any] = dict(given.pop("config", {}))
    found |= {f"crop.{name}": value for name, value in given.pop("crop", {}).items()}
    recipe = given.pop("recipe", None)
    found["recipe"] = recipe["name"] if recipe else None
    found |= {name: value for name, value in given.items() if not isinstance(value, Mapping)}
    plain = {
        name: value if isinstance(value, str | int | float | bool) else json.dumps(value)
        for name, value in found.items()
        if value is not None
    }
    return plain | {"run_folder": str(run.path.absolute()), "roi_cls": __version__}


def _title(run: RunFolder) -> str:
    """Return what a run is called; a member by its whole run's name, too."""
    whole = run.path.parent
    is_member = whole == RunFolder(whole.parent).members
    return f"{whole.parent.name}/{run.path.name}" if is_member else run.path.name


def _measures(report: EpochReport) -> dict[str, float]:
    """Return what is told of an epoch, by its name in trackers."""
    values = asdict(report)
    return {
        name: float(values[field])
        for field, name in _SCALARS.items()
        if values[field] is not None and math.isfinite(values[field])
    }


class _TensorboardLog:
    """Writes scalars into the run's folder."""

    _writer: Any = None

    def start(self, run: RunFolder, parameters: Mapping[str, Any], began: str | None) -> str:
        self._folder, self._parameters = run.tensorboard, parameters
        return run.tensorboard.name

    def epoch(self, report: EpochReport) -> None:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            # What an interrupted run wrote of this epoch and later ones is hidden.
            self._writer = SummaryWriter(str(self._folder), purge_step=report.epoch)
            rows = (f"| {name} | {value} |" for name, value in self._parameters.items())
            self._writer.add_text("settings", "\n".join(("| | |", "|---|---|", *rows)))
        for name, value in _measures(report).items():
            self._writer.add_scalar(name, value, report.epoch)
        self._writer.flush()

    def finish(self, figures: Mapping[str, float]) -> None:
        for name, value in figures.items() if self._writer else ():
            self._writer.add_scalar(name, value)

    def close(self, *, failed: bool) -> None:
        if self._writer is not None:
            self._writer.close()


class _MlflowLog:
    """Tells the server, or the folder, that MLFLOW_TRACKING_URI names."""

    _most_at_once = 100  # parameters, of MLflow's own

    def start(self, run: RunFolder, parameters: Mapping[str, Any], began: str | None) -> str:
        # A server that is gone is asked for a quarter of an hour by default; and at each call.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self._client = MlflowClient()
        if began is None:
            tags = {"roi_cls.run_folder": str(run.path.absolute()), "roi_cls": __version__}
            tags["mlflow.source.name"] = "roi-cls train"
            place = self._experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT))
            began = self._client.create_run(place, run_name=_title(run), tags=tags).info.run_id
            rows = [Param(name, str(value)[:6000]) for name, value in parameters.items()]
            for i in range(0, len(rows), self._most_at_once):
                self._client.log_batch(began, params=rows[i : i + self._most_at_once])
        else:
            self._client.update_run(began, status="RUNNING")
        self._name = str(began)
        return self._name

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self._client.create_experiment(name))

    def _log(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        rows = [Metric(name, value, now, step) for name, value in values.items()]
        self._client.log_batch(self._name, metrics=rows)

    def epoch(self, report: EpochReport) -> None:
        self._log(_measures(report), report.epoch)

    def finish(self, figures: Mapping[str, float]) -> None:
        self._log(figures, 0)

    def close(self, *, failed: bool) -> None:
        self._client.set_terminated(self._name, "FAILED" if failed else "FINISHED")


class _WandbLog:
    """Tells Weights & Biases; without a network with WANDB_MODE=offline."""

    def start(self, run: RunFolder, parameters: Mapping[str, Any], began: str | None) -> str:
        import wandb

        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            name=_title(run),
            id=began,
            resume="allow",
            config=dict(parameters),
            dir=os.environ.get("WANDB_DIR", str(run.path)),
            tags=["roi-cls"],
            reinit="create_new",
        )
        return str(self._run.id)

    def epoch(self, report: EpochReport) -> None:
        self._run.log(_measures(report), step=report.epoch)

    def finish(self, figures: Mapping[str, float]) -> None:
        self._run.summary.update(dict(figures))

    def close(self, *, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))


_TRACKERS: dict[TrackerName, Callable[[], Tracker]] = {
    "tensorboard": _TensorboardLog,
    "mlflow": _MlflowLog,
    "wandb": _WandbLog,
}
_TITLES = {"tensorboard": "TensorBoard", "mlflow": "MLflow", "wandb": "Weights & Biases"}
