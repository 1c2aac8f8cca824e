"""What a run learns from: samples, crops and split brought together, with their faults told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from roi_cls.cache import CropRecord, CropResult
from roi_cls.cache.builder import DetectorOpener
from roi_cls.cache.options import BuildOptions
from roi_cls.data.crops import CropArray, check_cropped, crop_samples, load_crops
from roi_cls.data.labels import LabelSet, choose_labels
from roi_cls.data.sample import Sample
from roi_cls.data.split import Split, SplitParams, split_samples
from roi_cls.data.table import split_digest
from roi_cls.errors import DataError
from roi_cls.roi import CropParams

_RANK = {"train": 0, "validation": 1, "test": 2}


@dataclass(frozen=True, slots=True)
class Splitting:
    """How samples become parts."""

    root: Path
    """Folder that the paths are relative to."""
    params: SplitParams
    target: str | None
    """The class that is looked for; None: the rarer one."""


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Crops and labels of a run's training and validation pictures."""

    labels: LabelSet
    train: CropArray
    validation: CropArray
    split: Split
    digest: str
    """Of the split."""
    records: tuple[CropRecord, ...]
    """A row for each picture, also for those in error: they are in a part, and in no array."""

    @property
    def errors(self) -> tuple[CropRecord, ...]:
        """Rows of the pictures without a crop."""
        return tuple(record for record in self.records if record.status == "error")


def load_training_data(
    samples: Sequence[Sample],
    splitting: Splitting,
    crop: CropParams,
    open_detector: DetectorOpener,
    options: BuildOptions,
    on_crop: Callable[[CropResult, int], None] = lambda result, total: None,
) -> TrainingData:
    """Crop and split the samples; return the training and validation crops.

    A picture in error keeps its part, so that a test picture that cannot be read is counted at
    evaluation. Of equal bytes in two given parts, only those of the later part stay in one.

    Raises:
        DataError: A class or a part cannot be made.
    """
    labels = choose_labels(samples, splitting.target)
    records = crop_samples(
        samples, crop, open_detector, options, lambda result: on_crop(result, len(samples))
    )
    check_cropped(records)
    digests = [record.sha256 or "" for record in records]
    split = _without_leaks(_split(samples, records, splitting.params), digests)
    digest = split_digest(split.samples, splitting.root, digests)

    def load(part: str) -> CropArray:
        rows = zip(split.samples, records, strict=True)
        chosen = [(s, r) for s, r in rows if s.split == part and r.status == "ok"]
        return load_crops(
            [s for s, _ in chosen], [r for _, r in chosen], labels, crop, open_detector, options
        )

    train, validation = load("train"), load("validation")
    _check_classes(labels, train, validation)
    return TrainingData(labels, train, validation, split, digest, records)


def _split(samples: Sequence[Sample], records: Sequence[CropRecord], params: SplitParams) -> Split:
    """Return every sample with its part; those in error do not count towards a part's shares."""
    usable = [i for i, record in enumerate(records) if record.status == "ok"]
    made = split_samples(
        [samples[i] for i in usable], params, [records[i].sha256 or "" for i in usable]
    )
    placed = dict(zip(usable, made.samples, strict=True))
    makes_test = params.test_share > 0 and all(sample.split != "test" for sample in samples)
    errors = [i for i in range(len(samples)) if i not in placed]
    for place, i in enumerate(sorted(errors, key=lambda i: samples[i].path.as_posix())):
        # The test part gets its share of them, so that the evaluation shows how often it happens.
        to_test = makes_test and place % round(1 / params.test_share) == 0
        part = samples[i].split or ("test" if to_test else "train")
        placed[i] = replace(samples[i], split=part)
    return replace(made, samples=tuple(placed[i] for i in range(len(samples))))


def _without_leaks(split: Split, digests: Sequence[str]) -> Split:
    """Return the split with a picture in no part where a later part holds the same bytes."""
    last: dict[str, int] = {}
    for sample, digest in zip(split.samples, digests, strict=True):
        if digest:
            last[digest] = max(last.get(digest, 0), _RANK[str(sample.split)])
    kept = tuple(
        replace(sample, split=None)
        if digest and _RANK[str(sample.split)] < last[digest]
        else sample
        for sample, digest in zip(split.samples, digests, strict=True)
    )
    return replace(split, samples=kept)


def _check_classes(labels: LabelSet, train: CropArray, validation: CropArray) -> None:
    """Refuse parts that a class cannot be learned from, or the best epoch be chosen by."""
    learned = np.bincount(train.labels, minlength=len(labels.names))
    absent = [repr(name) for name, n in zip(labels.names, learned, strict=True) if not n]
    if absent:
        raise DataError(
            f"Cannot learn {', '.join(absent)}: no training picture of it could be cropped. "
            "`roi-cls crops PATH --manifest rows.csv` lists why; give pictures that open."
        )
    targets = int((validation.labels == labels.target_index).sum())
    if targets in (0, len(validation)):
        what = "no picture" if targets == 0 else "only pictures"
        raise DataError(
            f"Cannot choose the best epoch: the validation part has {what} of {labels.target!r}. "
            "Give it pictures of the target and others, or leave its folder out: it is then "
            "drawn from the training part."
        )
