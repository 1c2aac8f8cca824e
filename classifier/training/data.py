"""What a run learns from: its job's pictures, cropped and split, with their faults told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roi_cls.base.atomic import write_atomically
from roi_cls.base.errors import DataError
from roi_cls.cache import CropRecord
from roi_cls.cache.manifest import open_manifest
from roi_cls.cache.options import BuildOptions
from roi_cls.classifier.runs.scores import data_root
from roi_cls.classifier.training.distributed import current_world
from roi_cls.classifier.training.job import OnCrop, TrainJob
from roi_cls.data.collect import collect_data
from roi_cls.data.crops import CropArray, check_cropped, crop_views, load_views
from roi_cls.data.near import find_near_duplicates, look_up_fingerprints
from roi_cls.data.sample import SPLIT_NAMES, LabelSet, Sample, choose_labels
from roi_cls.data.split import Split, SplitParams, split_samples
from roi_cls.data.table import split_digest, write_split
from roi_cls.data.units import equal_bytes, group_samples
from roi_cls.roi.recipe import OpenedRecipe, open_recipe


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
    recipes: tuple[OpenedRecipe, ...]
    """How the crops were cut, one for each view of a picture."""
    source: Path
    """Folder or table that the pictures came from."""
    near: tuple[tuple[int, ...], ...] = ()
    """Groups of places in ``records`` whose pictures look alike."""

    @property
    def errors(self) -> tuple[CropRecord, ...]:
        """Rows of the pictures without a crop."""
        return tuple(record for record in self.records if record.status == "error")

    @property
    def root(self) -> Path:
        """Folder that the pictures' paths are told relative to."""
        return data_root(self.source)

    def divide(self, is_validation: NDArray[np.bool_]) -> TrainingData:
        """Return the same pictures with other training and validation parts, for cross-validation.

        Args:
            is_validation: For each picture of ``train`` and then of ``validation``, whether it is
                in the new validation part.

        Raises:
            DataError: A class cannot be learned from the new parts.
        """
        both = _join(self.train, self.validation)
        train = _pick(both, np.flatnonzero(~is_validation))
        validation = _pick(both, np.flatnonzero(is_validation))
        _check_classes(self.labels, train, validation)
        return replace(self, train=train, validation=validation)


def load_training_data(
    job: TrainJob,
    on_crop: OnCrop = lambda result, total: None,
    on_note: Callable[[str], None] = lambda text: None,
) -> TrainingData:
    """Crop and split the job's pictures; return the training and validation crops.

    A picture in error keeps its part, so that a test picture that cannot be read is counted at
    evaluation. Of pictures in two given parts that have equal bytes or, where the job asks for it,
    look alike, only those of the later part stay in one. Of several processes the first one crops;
    the others then find the crops.

    Raises:
        RoiClsError: There are no such pictures, or a class or a part cannot be made of them.
    """
    recipes = _open_recipes(job)
    samples = job.samples
    if samples is None:
        found = collect_data(job.source, job.label_names)
        samples = found.samples
        for text in found.notes:
            on_note(text)
    world = current_world()
    if world.is_first:
        data = _crop_and_split(job, samples, recipes, on_crop)
        world.wait()
        return data
    world.wait()
    return _crop_and_split(job, samples, recipes, on_crop)


def write_data(job: TrainJob, data: TrainingData) -> None:
    """Write what the run is made from: manifest, split, and the detector's files."""
    run, digests = job.run, [record.sha256 or "" for record in data.records]
    with open_manifest(run.crops) as add_row:
        for record in data.records:
            add_row(record)
    write_split(run.split, data.split.samples, data.root, digests)
    for model in data.recipes[0].models:
        write_atomically(run.detector / model.stored_name, model.path.read_bytes())


def _open_recipes(job: TrainJob) -> tuple[OpenedRecipe, ...]:
    first = open_recipe(job.crop, job.detector_model)
    if not job.config.frame:
        return (first,)
    # The full frame beside the face needs no detector; its other fields stay the same.
    return first, open_recipe(replace(job.crop, crop="full"))


def _crop_and_split(
    job: TrainJob, samples: Sequence[Sample], recipes: tuple[OpenedRecipe, ...], on_crop: OnCrop
) -> TrainingData:
    params, options, root = job.split, job.options, data_root(job.source)
    samples = group_samples(samples, params.group_regex, root)
    labels = choose_labels(samples, job.target)
    total = len(samples) * len(recipes)
    rows = crop_views(samples, recipes, options, lambda result: on_crop(result, total))
    records = rows[0]
    check_cropped(records)
    digests = [record.sha256 or "" for record in records]
    near = _find_near(samples, digests, options) if params.near_duplicates else ()
    made = _split(samples, records, params, near)
    split = _without_leaks(made, (*equal_bytes(digests), *near))
    digest = split_digest(split.samples, root, digests)

    def load(part: str) -> CropArray:
        places = [
            i
            for i, (sample, record) in enumerate(zip(split.samples, records, strict=True))
            if sample.split == part and record.status == "ok"
        ]
        chosen = [[of_view[i] for i in places] for of_view in rows]
        return load_views([split.samples[i] for i in places], chosen, labels, recipes, options)

    train, validation = load("train"), load("validation")
    _check_classes(labels, train, validation)
    return TrainingData(
        labels, train, validation, split, digest, records, recipes, job.source, tuple(near)
    )


def _find_near(
    samples: Sequence[Sample], digests: Sequence[str], options: BuildOptions
) -> tuple[tuple[int, ...], ...]:
    prints = look_up_fingerprints([sample.path for sample in samples], digests, options)
    return find_near_duplicates(prints)


def _join(one: CropArray, other: CropArray) -> CropArray:
    return CropArray(
        np.concatenate([one.pixels, other.pixels]),
        np.concatenate([one.labels, other.labels]),
        one.records + other.records,
    )


def _pick(crops: CropArray, rows: NDArray[np.int64]) -> CropArray:
    records = tuple(crops.records[i] for i in rows)
    return CropArray(crops.pixels[rows], crops.labels[rows], records)


def _split(
    samples: Sequence[Sample],
    records: Sequence[CropRecord],
    params: SplitParams,
    near: Sequence[Sequence[int]],
) -> Split:
    """Return every sample with its part; those in error do not count towards a part's shares."""
    usable = [i for i, record in enumerate(records) if record.status == "ok"]
    new = {place: i for i, place in enumerate(usable)}
    made = split_samples(
        [samples[i] for i in usable],
        params,
        [records[i].sha256 or "" for i in usable],
        [[new[i] for i in group if i in new] for group in near],
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


def _without_leaks(split: Split, alike: Iterable[Sequence[int]]) -> Split:
    """Return the split with a picture in no part where a later part holds one like it.

    alike: groups of places whose pictures are equal, or nearly.
    """
    kept = list(split.samples)
    for group in alike:
        ranks = {i: SPLIT_NAMES.index(split.samples[i].split) for i in group}
        last = max(ranks.values())
        for i, rank in ranks.items():
            if rank < last:
                kept[i] = replace(kept[i], split=None)
    return replace(split, samples=tuple(kept))


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
