"""Training on data that are there: other parts of them, two views, what the bundle is told."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roi_cls.base.errors import DataError, TrainingError
from roi_cls.classifier.evaluation.run import EvaluateJob, evaluate_run
from roi_cls.classifier.inference.verify import verify_run
from roi_cls.classifier.runs import operating_point
from roi_cls.classifier.runs.bundle import load_bundle
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.scores import read_scores
from roi_cls.classifier.training.job import TrainJob
from roi_cls.classifier.training.observers import Observers
from roi_cls.classifier.training.run import complete_run, load_job_data, train_run
from roi_cls.roi import CropParams

MakeJob = Callable[..., TrainJob]
DrawSet = Callable[..., Path]


def test_data_divided_anew_are_trained_on_without_cropping(
    tmp_path: Path, toy_set: Path, make_job: MakeJob
) -> None:
    job = make_job(toy_set, tmp_path / "run", epochs=1)
    data = load_job_data(job, Observers())
    everything = [*data.train.records, *data.validation.records]
    is_validation = np.arange(len(everything)) % 3 == 0
    fold = data.divide(is_validation)
    assert [r.path for r in fold.validation.records] == [r.path for r in everything[::3]]
    assert len(fold.train) + len(fold.validation) == len(everything)
    both = np.concatenate([data.train.pixels, data.validation.pixels])
    assert (fold.train.pixels == both[~is_validation]).all()

    member = replace(job, run=RunFolder(tmp_path / "run" / "members" / "0"))
    begun = []
    assert complete_run(member, fold, Observers(), lambda: begun.append(1))
    assert begun == [1]
    table = read_scores(member.run.validation_scores, data.labels.names)
    assert len(table.paths) == len(fold.validation)
    assert not complete_run(member, fold, Observers(), lambda: begun.append(2))  # finished
    assert begun == [1]
    other = data.divide(np.arange(len(everything)) % 3 == 1)
    with pytest.raises(TrainingError, match="the pictures, their labels or their parts were other"):
        complete_run(member, other, Observers())


def test_division_without_a_class_is_told(tmp_path: Path, toy_set: Path, make_job: MakeJob) -> None:
    data = load_job_data(make_job(toy_set, tmp_path / "run"), Observers())
    labels = np.concatenate([data.train.labels, data.validation.labels])
    with pytest.raises(DataError, match="Cannot choose the best epoch"):
        data.divide((labels == 0) & (np.arange(len(labels)) % 2 == 0))


def test_face_and_frame_are_judged_together(
    tmp_path: Path, draw_set: DrawSet, make_job: MakeJob, central_face: object
) -> None:
    source = draw_set(tmp_path / "set", red=8, blue=8, side=64)
    crop = CropParams(margin=0.1, size_px=32, min_face_px=8)
    job = make_job(source, tmp_path / "run", crop=crop, frame=True, epochs=1)
    train_run(job, Observers())
    bundle = load_bundle(job.run.path)
    assert [view.crop for view in bundle.views] == ["face", "full"]
    assert bundle.views[0].margin == 0.1
    done = evaluate_run(EvaluateJob(source, job.run, job.options, "cpu"))
    assert done.evaluation.overall.images > 0


def test_frame_beside_itself_is_refused(tmp_path: Path, toy_set: Path, make_job: MakeJob) -> None:
    with pytest.raises(DataError) as caught:
        train_run(make_job(toy_set, tmp_path / "run", frame=True), Observers())
    assert str(caught.value) == (
        "Cannot train with --frame and --crop full: the full frame would be judged beside itself. "
        "Leave one of them out."
    )
    assert not (tmp_path / "run").exists()


def test_scores_are_calibrated_and_cut_as_the_settings_say(
    tmp_path: Path, toy_set: Path, make_job: MakeJob
) -> None:
    bundles = {}
    settings: dict[str, dict[str, Any]] = {
        "plain": {"calibrate": False},
        "fitted": {"threshold_rule": "recall>=0.5"},
    }
    for name, changes in settings.items():
        job = replace(make_job(toy_set, tmp_path / name, **changes), abstain=0.1)
        train_run(job, Observers())
        bundles[name] = load_bundle(job.run.path)
        table = read_scores(job.run.validation_scores, bundles[name].labels.names)
        assert table.probabilities.sum(axis=1) == pytest.approx(np.ones(len(table.paths)))
    assert (bundles["plain"].temperature, bundles["plain"].offsets) == (1, (0, 0))
    assert bundles["fitted"].temperature != 1
    assert bundles["fitted"].offsets[0] != 0 == bundles["fitted"].offsets[1]
    assert bundles["fitted"].threshold_rule == "recall>=0.5"
    assert bundles["fitted"].abstain == 0.1


def test_mirror_images_are_judged_too_wherever_the_run_scores(
    tmp_path: Path, toy_set: Path, make_job: MakeJob
) -> None:
    runs = {}
    for name, mirror in (("plain", False), ("mirrored", True)):
        job = make_job(toy_set, tmp_path / name, mirror=mirror, calibrate=False, epochs=1)
        train_run(job, Observers())
        runs[name] = job.run
    plain, mirrored = (read_scores(run.validation_scores, ("blue", "red")) for run in runs.values())
    assert plain.paths == mirrored.paths
    # Epochs are judged without: training is the same.
    weights = [(run.path / "model.safetensors").read_bytes() for run in runs.values()]
    assert weights[0] == weights[1]
    assert np.abs(plain.probabilities - mirrored.probabilities).max() > 1e-6
    # The stored scores are what prediction gives, from the files and mirrored as well.
    assert verify_run(runs["mirrored"], device="cpu").largest_difference < 1e-5
    rows = {}
    for name, run in runs.items():
        evaluate_run(EvaluateJob(toy_set, run, job.options, "cpu"))
        rows[name] = read_scores(run.test_scores, ("blue", "red")).probabilities
    assert np.abs(rows["plain"] - rows["mirrored"]).max() > 1e-6


def test_rule_that_validation_cannot_meet_is_told_and_recorded(
    tmp_path: Path, toy_set: Path, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operating_point, "find_shortfall", lambda *a: "It cannot be met.")
    notes: list[str] = []
    job = make_job(toy_set, tmp_path / "run", threshold_rule="precision>=0.99", epochs=1)
    assert train_run(job, Observers(on_note=notes.append)).trained
    assert notes == ["warning: It cannot be met."]
    record = json.loads(job.run.record.read_text())
    assert record["threshold_shortfall"] == "It cannot be met."
