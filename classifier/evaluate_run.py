"""Evaluate a run on the test part of a data set: the one place where test pictures are scored."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from roi_cls.atomic import write_atomically
from roi_cls.cache import CropRecord, CropResult
from roi_cls.cache.options import BuildOptions
from roi_cls.classifier.bundle import ModelBundle, load_bundle, load_model
from roi_cls.classifier.config import Device
from roi_cls.classifier.device import choose_backend
from roi_cls.classifier.evaluation import Evaluation, evaluate_scores
from roi_cls.classifier.run_folder import RunFolder
from roi_cls.classifier.score import compute_logits, to_probabilities
from roi_cls.classifier.scores import data_root, relative_path, score_table, write_scores
from roi_cls.data.collect import collect_samples
from roi_cls.data.crops import crop_samples, load_crops
from roi_cls.data.labels import check_same_labels
from roi_cls.data.sample import Sample
from roi_cls.data.table import first_five, read_split
from roi_cls.errors import DataError
from roi_cls.roi.models import hash_file
from roi_cls.roi.recipe import open_recipe


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


@dataclass(frozen=True, slots=True)
class EvaluateOutcome:
    """An evaluation, and what was not part of it."""

    evaluation: Evaluation
    errors: tuple[CropRecord, ...]
    """Test pictures that could not be cropped."""
    example: Path
    """A picture of the test part."""
    unseen: int
    """Pictures of the data set that are in no part, because they came after the split."""


def evaluate_run(
    job: EvaluateJob, on_crop: Callable[[CropResult, int], None] = lambda result, total: None
) -> EvaluateOutcome:
    """Score the test part, write ``evaluation.json`` and the scores, and return them.

    The test part is what the data call test; else what the run's own split set aside; else, for
    another data set without parts, all of it.

    Raises:
        DataError: There is no test part, or a test picture was trained on.
        RoiClsError: The run or the pictures cannot be used.
    """
    bundle = load_bundle(job.run.path)
    samples, unseen = _test_samples(job, bundle)
    check_same_labels(bundle.labels, samples)
    given = job.detector_model
    open_detector = open_recipe(bundle.crop, given, (job.run.detector,)).open_detector
    records = crop_samples(
        samples,
        bundle.crop,
        open_detector,
        job.options,
        lambda result: on_crop(result, len(samples)),
    )
    _check_untrained(job.run, samples, records)
    crops = load_crops(samples, records, bundle.labels, bundle.crop, open_detector, job.options)
    backend = choose_backend(job.device, "fp32")
    model = load_model(job.run.path).to(backend.device)
    logits = compute_logits(model, crops.pixels, bundle.normalisation, backend)
    probabilities = to_probabilities(logits, bundle.temperature)
    errors = tuple(record for record in records if record.status == "error")
    evaluation = evaluate_scores(
        crops.labels,
        probabilities,
        bundle.labels.names,
        bundle.labels.target,
        0.5 if bundle.threshold is None else bundle.threshold,
        ["face" if record.source == "face" else "full_frame" for record in crops.records],
        errors=len(errors),
        skipped=sum(record.status == "skipped" for record in records),
        majority_label=bundle.training.get("majority_label"),
    )
    table = score_table(crops, bundle.labels, probabilities, data_root(job.source))
    write_scores(job.run.test_scores, table, bundle.labels.names)
    text = json.dumps(evaluation.to_dict(), indent=2, allow_nan=False) + "\n"
    write_atomically(job.run.evaluation, text.encode())
    return EvaluateOutcome(evaluation, errors, samples[0].path, unseen)


def _test_samples(job: EvaluateJob, bundle: ModelBundle) -> tuple[tuple[Sample, ...], int]:
    """Return the test part, and how many pictures of the data set are in no part."""
    names = job.label_names or bundle.training.get("label_names")
    samples = collect_samples(job.source, names)
    root, source = data_root(job.source), data_root(Path(bundle.training["source"]))
    # By content it could not be told which of two equal files is meant; by path it can.
    kept, digests = read_split(job.run.split, root)
    is_own = source == root.absolute() or _holds_any(kept, digests)
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


def _holds_any(kept: Sequence[Sample], digests: Sequence[str]) -> bool:
    """Whether a picture of the split lies at its place: equal names alone prove nothing.

    ``image_1_0.png`` is in many data sets, and in another one it is in no part of this split.
    """
    pairs = zip(kept, digests, strict=True)
    return any(d and s.path.is_file() and hash_file(s.path) == d for s, d in pairs)


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
