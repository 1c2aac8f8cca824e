"""The epochs of a training for people: a picture of their curves, and TensorBoard's files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from roi_cls.base.closing import Closing
from roi_cls.base.errors import TrainingError
from roi_cls.base.figure import FIRST, MARK, QUIET, SECOND, finish_panel, new_figure, save_figure
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
}
"""TensorBoard's name of each measure of an epoch."""


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


def check_tensorboard() -> None:
    """Raise ``TrainingError`` unless TensorBoard's package is installed."""
    if find_spec("tensorboard") is None:
        raise TrainingError(
            "Cannot write for TensorBoard: it is not installed. "
            "pip install 'roi-cls[tensorboard]', or leave --tensorboard out."
        )


class TensorboardLog(Closing):
    """Writes a scalar per measure and epoch into a folder, on each call; before it, nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None

    def __call__(self, report: EpochReport) -> None:
        """Write one epoch."""
        if self._writer is None:
            check_tensorboard()
            from torch.utils.tensorboard import SummaryWriter

            # What an interrupted run wrote of this epoch and later ones is hidden.
            self._writer = SummaryWriter(str(self._folder), purge_step=report.epoch)
        values = asdict(report)
        for field, tag in _SCALARS.items():
            self._writer.add_scalar(tag, values[field], report.epoch)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
