"""What a training run is asked for, and what of it is refused before any work begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roi_cls.base.errors import DataError, TrainingError
from roi_cls.cache.options import BuildOptions
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.data.sample import Sample
from roi_cls.data.split import SplitParams
from roi_cls.roi import CropParams


@dataclass(frozen=True, slots=True)
class TrainJob:
    """What to train, on what, and where to."""

    source: Path
    """Folder or CSV of labelled pictures."""
    run: RunFolder
    config: TrainConfig
    crop: CropParams
    split: SplitParams
    options: BuildOptions
    label_names: dict[str, str] | None = None
    """Label token to class name."""
    target: str | None = None
    """The class that is looked for; None: the rarer one."""
    detector_model: Path | None = None
    resume: bool = False
    """Go on with a run of this name that was interrupted; a finished one is left as it is."""
    tensorboard: bool = False
    """Also write the epochs for TensorBoard."""
    abstain: float = 0.0
    """Half the width of the band of probabilities in which an answer is told as unsure."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """More that decides or describes the run, kept in its settings; plain JSON values."""
    samples: tuple[Sample, ...] | None = None
    """The labelled pictures, where ``source`` only names their folder; None: all of ``source``."""


def check_free(job: TrainJob) -> None:
    """Raise ``TrainingError`` where the job would write over another run."""
    path = job.run.path
    if path.exists() and not job.resume and not (path.is_dir() and not any(path.iterdir())):
        raise TrainingError(
            f"Cannot train as run {path.name!r}: {str(path)!r} is there already. "
            "Choose another --run NAME, go on with it by --resume, or delete the folder."
        )


def check_views(job: TrainJob) -> None:
    """Raise ``DataError`` where the recipe gives no crop, or no second view, to train on."""
    if job.crop.face == "all":
        raise DataError(
            "Cannot train with --face all: a label belongs to a picture, not to each of its faces. "
            "Train with another --face; `roi-cls predict --face all` then scores every face."
        )
    if job.config.frame and job.crop.crop == "full":
        raise DataError(
            "Cannot train with --frame and --crop full: the full frame would be judged beside "
            "itself. Leave one of them out."
        )
