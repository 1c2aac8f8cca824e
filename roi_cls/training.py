"""The work behind ``roi-cls train`` and ``evaluate``: what is shown while they go on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from roi_cls.cache import CropResult
from roi_cls.classifier.evaluation.run import EvaluateJob, EvaluateOutcome, evaluate_run
from roi_cls.classifier.evaluation.table import render_evaluation
from roi_cls.classifier.models.backbone import build_backbone
from roi_cls.classifier.models.device import Backend
from roi_cls.classifier.models.network import build_network
from roi_cls.classifier.models.svm import check_installed
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.openings import warn_of_openings
from roi_cls.classifier.training.data import TrainingData
from roi_cls.classifier.training.run import Observers, TrainJob, TrainOutcome, train_run
from roi_cls.classifier.training.values import EpochReport
from roi_cls.console import Advance, note, progress, show
from roi_cls.cropping import show_errors
from roi_cls.data.split import Split
from roi_cls.mistake_sheet import write_mistake_sheet
from roi_cls.recipe_text import count_text


def train_and_tell(job: TrainJob) -> TrainOutcome:
    """Train as ``train_run`` does, with progress and a line per epoch on stderr."""
    _check_model(job)
    with cropping_progress() as on_crop, progress("Training", "crops") as advance:
        epoch: int | None = None

        def on_step(done: int, total: int) -> None:
            nonlocal epoch
            if epoch is None:  # a resumed run goes on after the epochs it has lines of
                epoch = len(job.run.metrics.read_bytes().splitlines())
            advance(epoch * total + done, job.config.epochs * total, f"epoch {epoch + 1}")

        def on_epoch(report: EpochReport) -> None:
            nonlocal epoch
            epoch = report.epoch
            note(epoch_line(report, job.config.epochs))

        def on_start(backend: Backend, parameters: int) -> None:
            note(_start_line(job, backend, parameters))

        observers = Observers(on_start, on_step, on_epoch, note, on_crop=on_crop)
        observers.on_data = tell_data
        outcome = train_run(job, observers)
    if not outcome.trained:
        note(f"Run {job.run.path.name!r} is finished already, with these data and settings.")
    return outcome


def _check_model(job: TrainJob) -> None:
    """Refuse a model or weights that cannot be had before minutes of cropping, not after.

    Nothing is written yet, so that the corrected command may use the same run name.
    """
    config = job.config
    if job.run.settings.exists():
        return
    if config.method == "network":
        build_network(config, 2, job.crop.size_px, views=1 + config.frame)
    elif config.method in ("embedding", "zero_shot"):
        build_backbone(config.model, config.weights, job.crop.size_px, config.global_pool)
    elif config.method == "svm":
        check_installed()


def _start_line(job: TrainJob, backend: Backend, parameters: int) -> str:
    config = job.config
    size = f"{parameters / 1e6:.1f} M parameters"
    if config.method in ("network", "embedding", "zero_shot"):
        return (
            f"Training {config.model} ({size}, weights {config.weights}"
            f"{'' if config.method == 'network' else f', {config.method}'}) on {backend.name}."
        )
    return f"Training an {config.method} ({size}) on {backend.name}."


def evaluate_and_tell(job: EvaluateJob, as_json: bool) -> EvaluateOutcome:
    """Evaluate and print the evaluation, with progress and warnings on stderr."""
    with cropping_progress() as on_crop:
        outcome = evaluate_run(job, on_crop)
    show_errors(outcome.errors, "`roi-cls crops PATH --manifest rows.csv` lists every picture")
    if outcome.unseen:
        note(
            f"warning: {outcome.unseen} pictures came after the run's split was made and are in "
            "no part; train a new run to use them."
        )
    if warning := warn_of_openings(outcome.evaluation.test_openings):
        note(f"warning: {warning}")
    _show_mistakes(job.run, outcome)
    if as_json:
        show(json.dumps(outcome.evaluation.to_dict(), indent=2, allow_nan=False))
    else:
        show(render_evaluation(outcome.evaluation))
    return outcome


def _show_mistakes(run: RunFolder, outcome: EvaluateOutcome) -> None:
    """Draw the pictures that were answered wrongly, and say where they are."""
    mistakes, evaluation = outcome.mistakes, outcome.evaluation
    write_mistake_sheet(run.mistake_sheet, mistakes, evaluation, run.path.name)
    if mistakes:
        count = f"{len(mistakes)} of {count_text(evaluation.overall.images, 'picture')}"
        note(f"Answered wrongly: {count}, see {run.mistake_sheet} and {run.mistakes.name}.")


@contextmanager
def cropping_progress() -> Iterator[OnCrop]:
    """Give an observer of crops that shows progress."""
    with ExitStack() as bars:
        yield OnCrop(bars)


class OnCrop:
    """Counts the crops that come; each pass over the pictures has a progress bar of its own."""

    def __init__(self, bars: ExitStack) -> None:
        self._bars = bars
        self._advance: Advance = lambda done, total, note: None
        self._done = 0

    def __call__(self, result: CropResult, total: int) -> None:
        """Count one more of so many."""
        if self._done == 0:
            self._advance = self._bars.enter_context(progress("Cropping"))
        self._done += 1
        self._advance(self._done, total, "")
        if self._done == total:
            self._bars.close()
            self._done = 0


def tell_data(data: TrainingData) -> None:
    """Note what the data are, and what is wrong with them."""
    show_errors(data.errors, "crops.jsonl in the run's folder lists every picture")
    if skipped := sum(record.status == "skipped" for record in data.records):
        note(f"Left out: {count_text(skipped, 'picture')} without a face (--fallback skip).")
    split = data.split
    counts = Counter(
        (sample.split, sample.label)
        for sample, record in zip(split.samples, data.records, strict=True)
        if record.status == "ok"
    )
    for part in ("train", "validation", "test"):
        shares = ", ".join(f"{counts[part, name]} {name}" for name in data.labels.names)
        note(f"{part:>10}: {shares}")
    note(f"Looking for {data.labels.target!r} ({data.labels.target_reason}).")
    faces = sum(r.source == "face" for c in (data.train, data.validation) for r in c.records)
    note(
        f"Crops: {faces} of {len(data.train) + len(data.validation)} show a face, the others the "
        "full frame."
    )
    warn_of_faults(data.split)


def warn_of_faults(split: Split) -> None:
    """Note what the data's own parts and labels get wrong."""
    for what, pairs, remedy in (
        (
            "the same bytes stand in two parts",
            split.leaks,
            "The one in the earlier part is left out.",
        ),
        ("the same bytes have two labels", split.conflicts, "Take one of each pair out."),
        (
            "pictures that look alike stand in two parts",
            split.near_leaks,
            "Those in the earlier part are left out; `roi-cls data audit` lists them all.",
        ),
    ):
        if pairs:
            first, second = pairs[0]
            note(
                f"warning: {what}: {str(first)!r} and {str(second)!r}"
                f"{f', and {len(pairs) - 1} more pairs' if len(pairs) > 1 else ''}. "
                f"{remedy}"
            )
    if split.shared_groups:
        note(
            f"warning: {len(split.shared_groups)} groups stand in two parts, like "
            f"{split.shared_groups[0]!r}; scores will flatter the model."
        )


def epoch_line(report: EpochReport, epochs: int) -> str:
    """Return an epoch in one line."""
    return (
        f"epoch {report.epoch:>3}/{epochs} {report.phase:<4} "
        f"loss {report.train_loss:.4f}  validation: loss {report.validation_loss:.4f}  "
        f"AP {report.average_precision:.3f}  ROC-AUC {report.roc_auc:.3f}  "
        f"{report.images_per_second:.0f} crops/s{'  best' if report.best else ''}"
    )
