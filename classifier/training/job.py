"""What a training run is asked to do, and who watches it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roi_cls.base.errors import DISK_FULL, DataError, StorageError, TrainingError
from roi_cls.cache import CropResult
from roi_cls.cache.options import BuildOptions
from roi_cls.classifier.config import TrackerName, TrainConfig
from roi_cls.classifier.models.device import Backend
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.scores import ScoreTable
from roi_cls.classifier.runs.writing import is_unused
from roi_cls.data.sample import Sample
from roi_cls.data.split import SplitParams
from roi_cls.roi import CropParams

if TYPE_CHECKING:
    from roi_cls.classifier.runs.scores import ScoreTable
    from roi_cls.classifier.training.data import TrainingData


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
    log: tuple[TrackerName, ...] = ()
    """Experiment trackers that are told of the run."""
    abstain: float = 0.0
    """Half the width of the band of probabilities in which an answer is told as unsure."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """More that decides or describes the run, kept in its settings; plain JSON values."""
    export: bool = False
    """Whether the run ends with its ONNX file, which predicts on CPUs. Changes no result."""
    samples: tuple[Sample, ...] | None = None
    """The labelled pictures, where ``source`` only names their folder; None: all of ``source``."""


def check_free(job: TrainJob) -> None:
    """Raise ``TrainingError`` where the job would write over another run."""
    path = job.run.path
    if not job.resume and not is_unused(path):
        raise TrainingError(
            f"Cannot train as run {path.name!r}: {str(path)!r} is there already. "
            "Choose another --run NAME, go on with it by --resume, or delete the folder."
        )


@contextmanager
def telling_resume(run: RunFolder) -> Iterator[None]:
    """Raise a full disk of the block with what goes on with a run that is begun.

    The same command again would be refused, and one that names no run would begin another.
    """
    try:
        yield
    except StorageError as error:
        if not run.path.is_dir():  # of the crops, say
            raise
        name = run.path.name
        is_full = error.reason == DISK_FULL
        remedy = (
            f"{'Free space' if is_full else 'Let it be written'}, then run the same command with "
            f"--run {name} --resume: what is finished is kept."
        )
        raise StorageError(error.path, error.reason, remedy) from error


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
    if job.config.eyes and job.crop.crop == "full":
        raise DataError(
            "Cannot train with --eyes and --crop full: where the eyes lie is known of face crops "
            "alone. Leave one of them out."
        )


@dataclass(frozen=True, slots=True)
class EpochReport:
    """One line of ``metrics.jsonl``."""

    epoch: int
    """Counted from 1."""
    phase: str
    """``head``: only the head learns; ``all``: the backbone, or its last blocks, too."""
    lr: float
    """At the epoch's last step."""
    train_loss: float
    """Mean over the pictures, with class weights and augmentation."""
    validation_loss: float
    """Mean cross-entropy, nats, plain."""
    average_precision: float
    """Of the target, on validation."""
    roc_auc: float
    """Of the target against the rest, on validation."""
    best: bool
    """Whether it was the best epoch so far; never where the last one is kept."""
    seconds: float
    images_per_second: float
    """Training crops per second of the training part of the epoch."""
    micro_f1: float | None = None
    """Of the most probable classes, on validation: with one label per picture, the accuracy."""


OnCrop = Callable[[CropResult, int], None]
"""Called with each crop, and how many there will be."""
OnStep = Callable[[int, int], None]
"""Called with (crops done, crops in the epoch) after each step."""


@dataclass(frozen=True, slots=True)
class Observers:
    """Who is told of what, while a run goes on."""

    on_crop: OnCrop = lambda result, total: None
    on_data: Callable[[TrainingData], None] = lambda data: None
    """Called once with what is learned from, before a file of the run is written."""
    on_start: Callable[[Backend, int], None] = lambda backend, parameters: None
    """Called once with the number of parameters, before the work begins."""
    on_step: OnStep = lambda done, total: None
    on_epoch: Callable[[EpochReport], None] = lambda report: None
    on_note: Callable[[str], None] = lambda text: None
    """Called with what the user should know and cannot see in the result."""
    on_fact: Callable[[str, Any], None] = lambda name, value: None
    """Called with what was decided or counted on the way, for the run's record; plain JSON."""
    on_member: Callable[[int, int, ScoreTable], None] = lambda done, total, scores: None
    """Called when a model of several is trained: how many are, of how many, and its scores of the
    pictures that it is judged by."""
