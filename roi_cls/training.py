"""The work behind ``roi-cls train`` and ``evaluate``: what is shown while they go on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from roi_cls.cache import CropResult
from roi_cls.classifier.device import Backend
from roi_cls.classifier.evaluate_run import EvaluateJob, EvaluateOutcome, evaluate_run
from roi_cls.classifier.evaluation_table import render_evaluation
from roi_cls.classifier.model import create_model
from roi_cls.classifier.train import EpochReport
from roi_cls.classifier.train_run import (
    Observers,
    TrainJob,
    TrainOutcome,
    train_run,
)
from roi_cls.classifier.training_data import TrainingData
from roi_cls.console import Advance, note, progress, show
from roi_cls.cropping import show_errors
from roi_cls.recipe_text import count_text


def train_and_tell(job: TrainJob) -> TrainOutcome:
    """Train as ``train_run`` does, with progress and a line per epoch on stderr."""
    _check_model(job)
    with _cropping() as on_crop, progress("Training", "crops") as advance:
        epoch: int | None = None

        def on_step(done: int, total: int) -> None:
            nonlocal epoch
            if epoch is None:  # a resumed run goes on after the epochs it has lines of
                epoch = len(job.run.metrics.read_bytes().splitlines())
            advance(epoch * total + done, job.config.epochs * total, f"epoch {epoch + 1}")

        def on_epoch(report: EpochReport) -> None:
            nonlocal epoch
            epoch = report.epoch
            note(_epoch_line(report, job.config.epochs))

        def on_start(backend: Backend, parameters: int) -> None:
            note(
                f"Training {job.config.model} ({parameters / 1e6:.1f} M parameters, weights "
                f"{job.config.weights}) on {backend.name}."
            )

        outcome = train_run(job, Observers(on_crop, _tell_data, on_start, on_step, on_epoch))
    if not outcome.trained:
        note(f"Run {job.run.path.name!r} is finished already, with these data and settings.")
    return outcome


def _check_model(job: TrainJob) -> None:
    """Refuse a model or weights that cannot be had before minutes of cropping, not after.

    Nothing is written yet, so that the corrected command may use the same run name.
    """
    if not job.run.settings.exists():
        config = job.config
        pool = config.global_pool
        create_model(config.model, config.weights, 2, job.crop.size_px, global_pool=pool)


def evaluate_and_tell(job: EvaluateJob, as_json: bool) -> EvaluateOutcome:
    """Evaluate and print the evaluation, with progress and warnings on stderr."""
    with _cropping() as on_crop:
        outcome = evaluate_run(job, on_crop)
    show_errors(outcome.errors, "`roi-cls crops PATH --manifest rows.csv` lists every picture")
    if outcome.unseen:
        note(
            f"warning: {outcome.unseen} pictures came after the run's split was made and are in "
            "no part; train a new run to use them."
        )
    if as_json:
        show(json.dumps(outcome.evaluation.to_dict(), indent=2, allow_nan=False))
    else:
        show(render_evaluation(outcome.evaluation))
    return outcome


@contextmanager
def _cropping() -> Iterator[_OnCrop]:
    with progress("Cropping") as advance:
        yield _OnCrop(advance)


class _OnCrop:
    """Counts the crops that come, for the progress bar."""

    def __init__(self, advance: Advance) -> None:
        self._advance = advance
        self._done = 0

    def __call__(self, result: CropResult, total: int) -> None:
        self._done += 1
        self._advance(self._done, total, "")


def _tell_data(data: TrainingData) -> None:
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
    for what, pairs, remedy in (
        (
            "the same bytes stand in two parts",
            split.leaks,
            "The one in the earlier part is left out.",
        ),
        ("the same bytes have two labels", split.conflicts, "Take one of each pair out."),
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


def _epoch_line(report: EpochReport, epochs: int) -> str:
    return (
        f"epoch {report.epoch:>3}/{epochs} {report.phase:<4} "
        f"loss {report.train_loss:.4f}  validation: loss {report.validation_loss:.4f}  "
        f"AP {report.average_precision:.3f}  ROC-AUC {report.roc_auc:.3f}  "
        f"{report.images_per_second:.0f} crops/s{'  best' if report.best else ''}"
    )
