"""Evaluate a run on the test part of a data set: the one place where test pictures are scored."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roi_cls.base.atomic import write_atomically
from roi_cls.base.errors import DataError, StorageError
from roi_cls.cache import CropRecord, CropResult
from roi_cls.cache.options import BuildOptions
from roi_cls.classifier.config import BATCH_SIZE, Device, Runtime
from roi_cls.classifier.evaluation.evaluation import Evaluation, evaluate_scores
from roi_cls.classifier.evaluation.grouping import find_grouping, judge_groups
from roi_cls.classifier.evaluation.panels import draw_evaluation
from roi_cls.classifier.evaluation.pictures import (
    Mistake,
    ScoredPictures,
    find_mistakes,
    write_mistakes,
)
from roi_cls.classifier.inference.scorer import Scorer, open_scorer
from roi_cls.classifier.runs.bundle import ModelBundle, load_bundle, package_versions
from roi_cls.classifier.runs.folder import RunFolder, honest_scores
from roi_cls.classifier.runs.openings import Opening, open_test, read_openings
from roi_cls.classifier.runs.scores import (
    ScoreTable,
    class_indices,
    data_root,
    read_scores,
    relative_path,
    score_table,
    write_scores,
)
from roi_cls.classifier.runs.writing import OTHER_OUTPUT, hold_run
from roi_cls.data.collect import collect_data
from roi_cls.data.crops import crop_views, load_pixels, load_views
from roi_cls.data.sample import Sample, check_same_labels
from roi_cls.data.table import first_five, read_split
from roi_cls.data.units import match_groups
from roi_cls.roi.image import has_content
from roi_cls.roi.recipe import OpenedRecipe, open_recipe

_SCORED_AT_ONCE = 4 * BATCH_SIZE
"""Pictures between two signs of life: enough to keep all cores at work."""


@dataclass(frozen=True, slots=True)
class EvaluateJob:
    """What to evaluate on what."""

    source: Path
    """Folder or CSV of labelled pictures."""
    run: RunFolder
    options: BuildOptions
    device: Device = "auto"
    detector_model: Path | None = None
    label_names: dict[str, str] | None = None
    """Label token of these data to class name; None: as in training."""
    abstain: float | None = None
    """Margin below which a picture is too close to call; None: the run's own."""
    samples: tuple[Sample, ...] | None = None
    """The test part, where ``source`` only names its folder; None: that of ``source``."""
    runtime: Runtime = "auto"
    """What computes."""
    output: Path | None = None
    """Folder that gets the files; None: the run's own."""
    group_regex: str | None = None
    """Names a picture's source in its path; None: as the data or the run name it."""

    @property
    def place(self) -> RunFolder:
        """Where evaluation, scores, mistakes and figures go, by their names in a run."""
        return self.run if self.output is None else RunFolder(self.output)


@dataclass(frozen=True, slots=True)
class EvaluateOutcome:
    """An evaluation, and what was not part of it."""

    evaluation: Evaluation
    errors: tuple[CropRecord, ...]
    """Test pictures that could not be cropped."""
    example: Path
    """A picture of the test part that was scored."""
    unseen: int
    """Pictures of the data set that are in no part, because they came after the split."""
    mistakes: tuple[Mistake, ...]
    """Pictures that were answered wrongly, the most confident mistake first."""
    elsewhere: bool
    """Whether the pictures lie in another place than those that the run was trained on."""
    pictures: ScoredPictures
    """Labels and scores of those that were scored."""


def evaluate_run(
    job: EvaluateJob,
    on_crop: Callable[[CropResult, int], None] = lambda result, total: None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    on_score: Callable[[int, int], None] = lambda done, total: None,
    on_outcome: Callable[[EvaluateOutcome], None] = lambda outcome: None,
    on_note: Callable[[str], None] = lambda text: None,
) -> EvaluateOutcome:
    """Score the test part and keep evaluation, scores, mistakes and figures, in the run or beside.

    The test part is what the job gives, or what the data call test; else what the run's own split
    set aside; else, for another data set without parts, all of it.

    Args:
        job: What is evaluated.
        on_crop: Told of each crop, and how many there are.
        clock: Says when the test part is opened.
        on_score: Told how many pictures are scored, of how many.
        on_outcome: Called with what is returned, while nobody else may write into the run.
        on_note: Told what computes, what of the data's folder is passed over, and how its labels
            are read.

    Raises:
        DataError: There is no test part, or a test picture was trained on.
        RunInUseError: Somebody else writes into the run.
        StorageError: There is no room, or the folder cannot be written to.
        RoiClsError: The run or the pictures cannot be used.
    """
    _check_writable(job.place)
    with ExitStack() as stack:
        if job.place.path.resolve() != job.run.path.resolve():
            stack.enter_context(hold_run(job.place, elsewhere=OTHER_OUTPUT))
        if job.output is None or os.access(job.run.path, os.W_OK):
            stack.enter_context(hold_run(job.run))  # its openings are counted there
        outcome = _evaluate(job, on_crop, clock, on_score, on_note)
        on_outcome(outcome)
    return outcome


def _evaluate(
    job: EvaluateJob,
    on_crop: Callable[[CropResult, int], None],
    clock: Callable[[], datetime],
    on_score: Callable[[int, int], None],
    on_note: Callable[[str], None],
) -> EvaluateOutcome:
    place = job.place
    opened = open_scorer([job.run.path], job.device, runtime=job.runtime)
    on_note(f"Computing with {opened.engine}.")
    bundle, model = opened.scorer.bundle, opened.scorer
    samples, unseen = _test_samples(job, bundle, on_note)
    check_same_labels(bundle.labels, samples)
    known = _name_groups(job, samples)
    folders = (job.run.detector,)
    views = [open_recipe(view, job.detector_model, folders) for view in model.views]
    total = len(samples) * len(views)
    rows = crop_views(samples, views, job.options, lambda result: on_crop(result, total))
    records = rows[0]
    _check_untrained(job.run, samples, records)
    crops = load_views(samples, rows[:1], bundle.labels, views[:1], job.options)
    more = _load_more(rows, views, job.options)
    probabilities = _score(model, [crops.pixels, *more], on_score)
    table = score_table(crops, bundle.labels, probabilities, data_root(job.source))
    errors = tuple(record for record in records if record.status == "error")
    skipped = sum(record.status == "skipped" for record in records)
    grouping = find_grouping(job.run, bundle.training, table, job.group_regex, known)
    abstain = bundle.abstain if job.abstain is None else job.abstain
    evaluation = _judge(table, bundle, abstain, errors=len(errors), skipped=skipped)
    openings = _record(job, table, evaluation, clock())
    evaluation = replace(evaluation, test_openings=openings, runtime=opened.runtime)
    pictures = judge_groups(ScoredPictures(crops.labels, probabilities, evaluation), grouping)
    mistakes = find_mistakes(crops, table, pictures.evaluation)
    _keep(place, table, bundle, pictures, mistakes)
    return EvaluateOutcome(
        pictures.evaluation,
        errors,
        example=crops.records[0].path,
        unseen=unseen,
        mistakes=mistakes,
        pictures=pictures,
        elsewhere=_training_root(bundle) != data_root(job.source).absolute(),
    )


def _keep(
    place: RunFolder,
    table: ScoreTable,
    bundle: ModelBundle,
    pictures: ScoredPictures,
    mistakes: Sequence[Mistake],
) -> None:
    """Write scores, mistakes, figures and, last, the evaluation."""
    write_scores(place.test_scores, table, bundle.labels.names)
    write_mistakes(place.mistakes, mistakes)
    draw_evaluation(place.path, pictures)
    text = json.dumps(pictures.evaluation.to_dict(), indent=2, allow_nan=False) + "\n"
    write_atomically(place.evaluation, text.encode())


def _name_groups(job: EvaluateJob, samples: Sequence[Sample]) -> dict[str, str]:
    """Return path to group as the data call it; a pattern that finds none is refused.

    That is before minutes of work, and before the test part is opened.
    """
    root = data_root(job.source)
    if job.group_regex is not None:
        match_groups([relative_path(sample.path, root) for sample in samples], job.group_regex)
    return {relative_path(s.path, root): s.group for s in samples if s.group}


def _score(
    model: Scorer, pixels: Sequence[NDArray[np.uint8]], on_score: Callable[[int, int], None]
) -> NDArray[np.float64]:
    """Return the (N, K) probabilities; in parts that are whole batches, so that none differs."""
    found, total = [], len(pixels[0])
    for start in range(0, total, _SCORED_AT_ONCE):
        on_score(start, total)
        found.append(model.probabilities([v[start : start + _SCORED_AT_ONCE] for v in pixels]))
    on_score(total, total)
    return np.concatenate(found)


def evaluate_tuning(run: RunFolder) -> Evaluation:
    """Return what a finished run's own scores say of the pictures that it was chosen by.

    Those are its out-of-fold scores, or else those of validation. They flatter it: no test part is
    opened, and nothing is written.

    Raises:
        BundleError: The run or its scores cannot be used.
        DataError: A score is not a finite number.
    """
    bundle = load_bundle(run.path)
    return _judge(read_scores(honest_scores(run), bundle.labels.names), bundle, bundle.abstain)


def _judge(
    table: ScoreTable, bundle: ModelBundle, abstain: float, *, errors: int = 0, skipped: int = 0
) -> Evaluation:
    """Return the evaluation of a run's scores, decided as the run decides."""
    return evaluate_scores(
        class_indices(table, bundle.labels),
        table.probabilities,
        bundle.labels.names,
        bundle.labels.target,
        0.5 if bundle.threshold is None else bundle.threshold,
        ["face" if source == "face" else "full_frame" for source in table.sources],
        threshold_rule=bundle.threshold_rule,
        temperature=bundle.temperature,
        offsets=bundle.offsets,
        abstain=abstain,
        errors=errors,
        skipped=skipped,
        majority_label=bundle.training.get("majority_label"),
    )


def _check_writable(place: RunFolder) -> None:
    """Raise ``StorageError`` before minutes of work whose outcome could not be kept."""
    if place.path.is_file():
        raise StorageError(place.path, "it is a file", "Give a folder with --output DIR.")
    if place.path.is_dir() and not os.access(place.path, os.W_OK):
        raise StorageError(
            place.path,
            "it may not be written to, and an evaluation is kept there",
            "Give another folder for it with --output DIR.",
        )


def _record(job: EvaluateJob, table: ScoreTable, evaluation: Evaluation, now: datetime) -> int:
    """Return how often the run was scored on these pictures, this time included.

    Recorded before anything is shown or kept: who has seen the numbers has opened the test. In the
    run, also where the files go elsewhere, unless it cannot be written to.
    """
    names = ("roc_auc", "average_precision", "accuracy", "macro_f1")
    seen = {name: getattr(evaluation.overall, name).to_dict()["value"] for name in names}
    version, log = package_versions()["roi-cls"], job.run.test_openings
    known: tuple[Opening, ...] = ()
    if job.output is not None and not os.access(job.run.path, os.W_OK):
        known, log = read_openings(log), job.place.test_openings
    return open_test(log, table.sha256, table.labels, seen, now=now, version=version, known=known)


def _load_more(
    rows: Sequence[Sequence[CropRecord]], views: Sequence[OpenedRecipe], options: BuildOptions
) -> list[NDArray[np.uint8]]:
    """Return the crops of all views but the first; they may be of different sizes."""
    usable = [i for i, record in enumerate(rows[0]) if record.status == "ok"]
    return [
        load_pixels([row[i] for i in usable], view, options)
        for row, view in zip(rows[1:], views[1:], strict=True)
    ]


def _test_samples(
    job: EvaluateJob, bundle: ModelBundle, on_note: Callable[[str], None]
) -> tuple[tuple[Sample, ...], int]:
    """Return the test part, and how many pictures of the data set are in no part."""
    if job.samples is not None:
        return job.samples, 0
    names = job.label_names or bundle.training.get("label_names")
    collected = collect_data(job.source, names)
    for text in collected.notes:
        on_note(text)
    samples = collected.samples
    root = data_root(job.source)
    # By content it could not be told which of two equal files is meant; by path it can.
    kept, digests = read_split(job.run.split, root)
    is_own = _training_root(bundle) == root.absolute() or _holds_any(kept, digests)
    parts = {relative_path(s.path, root): s.split for s in kept} if is_own else {}
    own = [parts.get(relative_path(sample.path, root)) for sample in samples]
    given = [sample for sample in samples if sample.split == "test"]
    if given:
        return tuple(given), 0
    if any(own):
        test = tuple(s for s, part in zip(samples, own, strict=True) if part == "test")
        if test:
            return test, sum(relative_path(s.path, root) not in parts for s in samples)
    elif not any(sample.split for sample in samples):
        return samples, 0
    raise DataError(
        f"Cannot evaluate on {str(job.source)!r}: it has no test part, and the run's split set "
        "none aside. Put pictures into a test/ folder, or give another labelled folder."
    )


def _training_root(bundle: ModelBundle) -> Path:
    """Return where the data set lay that the run was trained on."""
    return data_root(Path(bundle.training["source"]))


def _holds_any(kept: Sequence[Sample], digests: Sequence[str]) -> bool:
    """Whether a picture of the split lies at its place: equal names alone prove nothing.

    ``image_1_0.png`` is in many data sets, and in another one it is in no part of this split.
    """
    pairs = zip(kept, digests, strict=True)
    return any(d and has_content(s.path, d) for s, d in pairs)


def _check_untrained(
    run: RunFolder, samples: Sequence[Sample], records: Sequence[CropRecord]
) -> None:
    """Refuse pictures whose very bytes the run has learned from or was chosen by."""
    kept, digests = read_split(run.split)
    known = {
        d for s, d in zip(kept, digests, strict=True) if d and s.split in ("train", "validation")
    }
    seen = [str(s.path) for s, r in zip(samples, records, strict=True) if r.sha256 in known]
    if seen:
        raise DataError(
            f"Cannot evaluate: {len(seen)} of {len(samples)} pictures were used in training "
            f"(the same bytes): {first_five(seen)}. Take them out of the test part; scores on "
            "them would flatter the model."
        )
