"""A run's epochs as TensorBoard shows them. Needs the package ``tensorboard``, an extra."""

from __future__ import annotations

from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from roi_cls.base.closing import Closing
from roi_cls.base.errors import TrainingError
from roi_cls.classifier.train import EpochReport

_SCALARS = {
    "train_loss": "loss/train",
    "validation_loss": "loss/validation",
    "average_precision": "validation/average_precision",
    "roc_auc": "validation/roc_auc",
    "lr": "lr",
    "images_per_second": "images_per_second",
}


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
