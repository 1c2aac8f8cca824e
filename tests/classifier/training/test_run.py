"""Whole runs on toy folders: what they leave and refuse, on which parts, and after a kill."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from roi_cls.base.errors import DataError, ModelNameError, TrainingError
from roi_cls.classifier.evaluation.run import EvaluateJob, evaluate_run
from roi_cls.classifier.inference.prediction import Source
from roi_cls.classifier.inference.predictor import open_predictor
from roi_cls.classifier.inference.verify import verify_run
from roi_cls.classifier.runs import scores
from roi_cls.classifier.runs.bundle import load_bundle
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.scores import read_scores
from roi_cls.classifier.training.data import TrainingData
from roi_cls.classifier.training.job import Observers, TrainJob
from roi_cls.classifier.training.run import complete_run, load_job_data, train_run
from roi_cls.data.split import SplitParams
from roi_cls.data.table import read_split
from roi_cls.roi import CropParams

MakeJob = Callable[..., TrainJob]
DrawSet = Callable[..., Path]


def _files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def _metrics(folder: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if "second" not in k} for row in rows]


def test_run_leaves_what_its_folder_promises(toy_run: RunFolder) -> None:
    assert sorted(path.name for path in toy_run.path.iterdir() if path.suffix != ".csv") == [
        *("config.json", "crops.jsonl", "curves.png", "metrics.jsonl", "model.safetensors"),
        *("record.json", "settings.json"),
    ]
    assert toy_run.split.is_file()
    assert toy_run.validation_scores.is_file()
    bundle = load_bundle(toy_run.path)
    assert bundle.labels.names == ("blue", "red")
    assert bundle.labels.target == "red"
    assert bundle.training["majority_label"] == "blue"
    assert bundle.threshold is not None


@pytest.mark.parametrize("target", ["blue", "red"])
def test_target_of_either_index_comes_out_right_end_to_end(
    tmp_path: Path, toy_set: Path, make_job: MakeJob, target: str
) -> None:
    job = make_job(toy_set, tmp_path / "run", target=target, epochs=3)
    train_run(job, Observers())
    bundle = load_bundle(job.run.path)
    assert bundle.labels.target_index == ("blue", "red").index(target)
    evaluation = evaluate_run(EvaluateJob(toy_set, job.run, job.options)).evaluation
    assert evaluation.target == target
    assert evaluation.overall.roc_auc.value == 1.0
    assert evaluation.overall.average_precision.value == 1.0
    assert evaluation.overall.accuracy.value == 1.0
    pictures = [Source(str(toy_set / name / "00.png")) for name in ("blue", "red", "blue")]
    with open_predictor([job.run.path], "cpu") as predictor:
        rows = list(predictor.predict(pictures))
    assert [row.label for row in rows] == ["blue", "red", "blue"]
    for row in rows:
        assert row.probabilities is not None
        assert row.label is not None
        assert row.score == row.probabilities[row.label]
        is_target = row.probabilities[target] >= (bundle.threshold or 0)
        assert is_target == (row.label == target)


def test_seed_decides_the_weights_whatever_was_drawn_before(
    tmp_path: Path, toy_set: Path, make_job: MakeJob
) -> None:
    written = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        job = make_job(toy_set, tmp_path / name, seed=seed, epochs=1)
        train_run(job, Observers())
        written.append((job.run.path / "model.safetensors").read_bytes())
    assert written[0] == written[1]
    assert written[0] != written[2]


def test_three_classes_have_no_threshold(
    tmp_path: Path, draw_set: DrawSet, make_job: MakeJob
) -> None:
    source = draw_set(tmp_path / "set", red=9, green=9, blue=9)
    job = make_job(source, tmp_path / "run", target="green", epochs=8, metric="loss")
    train_run(job, Observers())
    assert load_bundle(job.run.path).threshold is None
    with open_predictor([job.run.path], "cpu") as predictor:
        (row,) = predictor.predict([Source(str(source / "green" / "01.png"))])
    assert row.label == "green"
    assert row.probabilities is not None
    assert list(row.probabilities) == ["blue", "green", "red"]
    assert sum(row.probabilities.values()) == pytest.approx(1)


def test_unreadable_pictures_are_rows_and_keep_a_part(
    tmp_path: Path, draw_set: DrawSet, make_job: MakeJob
) -> None:
    source = draw_set(tmp_path / "set", red=8, blue=8)
    (source / "red" / "broken.png").write_bytes(b"no picture")
    told: list[TrainingData] = []
    job = make_job(source, tmp_path / "run", epochs=1)
    outcome = train_run(job, Observers(on_data=told.append))
    assert outcome.errors == 1
    assert [record.path.name for record in told[0].errors] == ["broken.png"]
    kept, _ = read_split(job.run.split)
    assert [sample.split for sample in kept if sample.path.name == "broken.png"] == ["test"]
    done = evaluate_run(EvaluateJob(source, job.run, job.options, "cpu"))
    assert (len(done.errors), done.evaluation.errors, done.unseen) == (1, 1, 0)
    assert "broken.png" in job.run.crops.read_text()


def test_class_that_cannot_be_cropped_is_told(
    tmp_path: Path, draw_set: DrawSet, make_job: MakeJob
) -> None:
    source = draw_set(tmp_path / "set", red=8, blue=8)
    (source / "green").mkdir()
    (source / "green" / "broken.png").write_bytes(b"no picture")
    with pytest.raises(DataError) as caught:
        train_run(make_job(source, tmp_path / "run"), Observers())
    assert str(caught.value) == (
        "Cannot learn 'green': no training picture of it could be cropped. "
        "`roi-cls crops PATH --manifest rows.csv` lists why; give pictures that open."
    )


def test_set_without_one_readable_picture_is_told(tmp_path: Path, make_job: MakeJob) -> None:
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        (tmp_path / "set" / name / "x.png").write_bytes(b"no picture")
    with pytest.raises(DataError) as caught:
        train_run(make_job(tmp_path / "set", tmp_path / "run"), Observers())
    message = str(caught.value)
    assert message.startswith("Cannot load crops: none of the 2 pictures could be cropped, first: ")
    assert "x.png" in message
    assert message.endswith("`roi-cls crops PATH --manifest rows.csv` lists them all.")


@pytest.mark.parametrize(
    ("counts", "what"), [({"red": 3}, "only pictures"), ({"blue": 3}, "no picture")]
)
def test_validation_part_of_one_side_is_told(
    tmp_path: Path, draw_set: DrawSet, make_job: MakeJob, counts: dict[str, int], what: str
) -> None:
    draw_set(tmp_path / "set" / "train", red=6, blue=6)
    draw_set(tmp_path / "set" / "validation", seed=1, **counts)
    job = make_job(
        tmp_path / "set", tmp_path / "run", target="red", split=SplitParams(test_share=0)
    )
    with pytest.raises(DataError) as caught:
        train_run(job, Observers())
    assert str(caught.value) == (
        f"Cannot choose the best epoch: the validation part has {what} of 'red'. Give it pictures "
        "of the target and others, or leave its folder out: it is then drawn from the training "
        "part."
    )


def test_misspelt_model_is_told_before_any_picture_is_cropped(
    tmp_path: Path, toy_set: Path, make_job: MakeJob
) -> None:
    job = make_job(toy_set, tmp_path / "run", model="efficientnet_bo")
    with pytest.raises(ModelNameError):
        train_run(job, Observers(on_crop=lambda *a: pytest.fail("cropped")))
    assert not job.run.path.exists()


def test_run_that_cannot_start_leaves_its_name_free(
    tmp_path: Path, toy_set: Path, make_job: MakeJob
) -> None:
    job = make_job(toy_set, tmp_path / "run", weights=str(tmp_path / "absent.pth"))
    with pytest.raises(Exception, match="there is no such file"):
        train_run(job, Observers())
    assert train_run(make_job(toy_set, tmp_path / "run", epochs=1), Observers()).trained


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_taken_name_is_refused(tmp_path: Path, toy_set: Path, make_job: MakeJob, kind: str) -> None:
    run = tmp_path / "run"
    if kind == "folder":
        run.mkdir()
        (run / "note.txt").touch()
    else:
        run.touch()
    with pytest.raises(TrainingError) as caught:
        train_run(make_job(toy_set, run), Observers())
    assert str(caught.value) == (
        f"Cannot train as run 'run': {str(run)!r} is there already. "
        "Choose another --run NAME, go on with it by --resume, or delete the folder."
    )


def test_resuming_a_finished_run_does_nothing(
    tmp_path: Path, toy_set: Path, make_job: MakeJob, toy_run: RunFolder
) -> None:
    shutil.copytree(toy_run.path, tmp_path / "toy")
    before = _files(tmp_path / "toy")
    outcome = train_run(make_job(toy_set, tmp_path / "toy", resume=True), Observers())
    assert not outcome.trained
    assert _files(tmp_path / "toy") == before


@pytest.mark.parametrize("kept", [{}, {"group_regex": None}, {"group_regex": "other"}])
def test_a_run_begun_before_groups_were_written_down_is_known_by_its_parts(
    tmp_path: Path, toy_set: Path, make_job: MakeJob, toy_run: RunFolder, kept: dict[str, Any]
) -> None:
    shutil.copytree(toy_run.path, tmp_path / "toy")
    settings = tmp_path / "toy" / "settings.json"
    written = json.loads(settings.read_text())
    assert written.pop("group_regex") is None
    settings.write_text(json.dumps(written | kept))
    assert not train_run(make_job(toy_set, tmp_path / "toy", resume=True), Observers()).trained


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"epochs": 9}, "epochs 2 then, 9 now"),
        ({"lr": 0.1, "seed": 4}, "lr 0.003 then, 0.1 now, seed 0 then, 4 now"),
        ({"crop": CropParams(crop="full", size_px=64)}, "size_px 32 then, 64 now"),
        ({"target": "blue"}, "target differs"),
        (
            {"split": SplitParams(split_seed=5, validation_share=0.3)},
            "the pictures, their labels or their parts were others",
        ),
    ],
)
def test_resuming_with_other_settings_is_refused_and_changes_nothing(
    tmp_path: Path,
    toy_set: Path,
    make_job: MakeJob,
    toy_run: RunFolder,
    changes: dict[str, Any],
    difference: str,
) -> None:
    shutil.copytree(toy_run.path, tmp_path / "toy")
    before = _files(tmp_path / "toy")
    with pytest.raises(TrainingError) as caught:
        train_run(make_job(toy_set, tmp_path / "toy", resume=True, **changes), Observers())
    message = str(caught.value)
    assert message.startswith(
        f"Cannot go on with run 'toy': it was started with other settings ({difference}"
    )
    assert message.endswith(
        f"). Choose another name or folder (--run, -o) or delete {str(tmp_path / 'toy')!r}."
    )
    assert _files(tmp_path / "toy") == before


def test_resuming_with_more_pictures_is_refused(
    tmp_path: Path, toy_set: Path, make_job: MakeJob, toy_run: RunFolder, draw_set: DrawSet
) -> None:
    shutil.copytree(toy_run.path, tmp_path / "toy")
    source = draw_set(tmp_path / "set", red=16, blue=21)
    with pytest.raises(
        TrainingError, match="the pictures, their labels or their parts were others"
    ):
        train_run(make_job(source, tmp_path / "toy", resume=True), Observers())


def test_damaged_settings_are_told(tmp_path: Path, toy_set: Path, make_job: MakeJob) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "settings.json").write_text("{")
    with pytest.raises(TrainingError) as caught:
        train_run(make_job(toy_set, run, resume=True), Observers())
    assert str(caught.value) == (
        f"Cannot go on with run 'run': {str(run / 'settings.json')!r} is damaged. "
        f"Choose another name or folder (--run, -o) or delete {str(run)!r}."
    )


def test_changed_weights_file_is_another_setting(
    tmp_path: Path, toy_set: Path, make_job: MakeJob, toy_run: RunFolder
) -> None:
    weights = tmp_path / "w.safetensors"
    shutil.copy(toy_run.path / "model.safetensors", weights)
    job = make_job(toy_set, tmp_path / "run", weights=str(weights), epochs=1)
    train_run(job, Observers())
    weights.write_bytes(weights.read_bytes() + b"x")
    with pytest.raises(TrainingError, match="weights_sha256 differs"):
        train_run(replace(job, resume=True), Observers())


def test_face_run_keeps_its_detector_and_predicts_by_its_margin(
    tmp_path: Path, draw_set: DrawSet, make_job: MakeJob, central_face: object
) -> None:
    source = draw_set(tmp_path / "set", red=8, blue=8, side=64)
    crop = CropParams(margin=0.1, size_px=32, min_face_px=8)
    job = make_job(source, tmp_path / "run", crop=crop, epochs=1)
    train_run(job, Observers())
    rows = [json.loads(line) for line in job.run.crops.read_text().splitlines()]
    # the face is 32 px wide from 16 to 48; a tenth of it is added on each side, to whole pixels
    assert {row["source"] for row in rows} == {"face"}
    assert rows[0]["region"] == [13, 13, 51, 51]
    with open_predictor([job.run.path], "cpu") as predictor:
        assert predictor.bundle.crop.margin == 0.1
        (row,) = predictor.predict([Source(str(source / "red" / "00.png"))])
    assert (row.source, row.box, row.faces) == ("face", (16.0, 16.0, 48.0, 48.0), 1)


def test_look_alikes_of_test_pictures_are_not_trained_on(
    tmp_path: Path, draw_set: DrawSet, make_job: MakeJob
) -> None:
    source = tmp_path / "set"
    draw_set(source / "train", red=8, blue=8)
    draw_set(source / "test", seed=1, red=3, blue=3)
    random = np.random.default_rng(5)
    blobs = random.integers(0, 255, (6, 6, 3)).astype(np.uint8)
    picture = PillowImage.fromarray(blobs).resize((240, 240), PillowImage.Resampling.BICUBIC)
    picture.save(source / "test" / "red" / "photo.png")
    picture.resize((180, 180)).save(source / "train" / "red" / "smaller.jpg", quality=80)
    told: list[TrainingData] = []
    job = make_job(source, tmp_path / "run", epochs=1, split=SplitParams(near_duplicates=True))
    train_run(job, Observers(on_data=told.append))
    learned = {r.path.name for part in (told[0].train, told[0].validation) for r in part.records}
    assert "smaller.jpg" not in learned
    pairs = [(one.name, other.name) for one, other in told[0].split.near_leaks]
    assert ("smaller.jpg", "photo.png") in pairs


def test_what_chooses_no_epoch_is_told(toy_set: Path, make_job: MakeJob, tmp_path: Path) -> None:
    notes: list[str] = []
    job = make_job(toy_set, tmp_path / "run", epochs=1, metric="auto", self_blend_beside=0.5)
    train_run(job, Observers(on_note=notes.append))
    assert "note: the method 'network' makes no use of self_blend_beside." in notes
    assert [note for note in notes if note.startswith("note: the last epoch is kept: ")]


def test_settings_that_a_method_does_not_use_are_told(
    toy_set: Path, make_job: MakeJob, tmp_path: Path
) -> None:
    notes: list[str] = []
    job = make_job(
        toy_set, tmp_path / "run", epochs=1, method="embedding", mixup=0.2, self_blend_beside=0.5
    )
    train_run(job, Observers(on_note=notes.append))
    assert "note: the method 'embedding' makes no use of self_blend_beside, mixup." in notes


@pytest.mark.parametrize(
    ("changes", "is_told"),
    [
        ({}, True),
        ({"precision": "auto", "accumulate": 4}, True),
        ({"model": "test_vit"}, False),  # has no batch norms
        ({"method": "autoencoder", "crop": CropParams(crop="full", size_px=16)}, False),
    ],
)
def test_batches_of_one_small_crop_are_learned(
    changes: dict[str, Any],
    is_told: bool,
    toy_set: Path,
    make_job: MakeJob,
    tmp_path: Path,
) -> None:
    notes: list[str] = []
    job = make_job(toy_set, tmp_path / "run", **{"epochs": 1, "batch_size": 1, **changes})
    assert train_run(job, Observers(on_note=notes.append)).trained
    told = (
        "note: batches of one crop have no statistics; the batch norms keep those they start "
        "with. --batch-size 2 --accumulate N takes little more memory and learns better."
    )
    assert notes.count(told) == is_told


def test_bytes_in_training_and_test_are_not_trained_on(
    tmp_path: Path, draw_set: DrawSet, make_job: MakeJob
) -> None:
    source = tmp_path / "set"
    draw_set(source / "train", red=8, blue=8)
    draw_set(source / "test", seed=1, red=3, blue=3)
    shutil.copy(source / "test" / "red" / "00.png", source / "train" / "red" / "twin.png")
    told: list[TrainingData] = []
    job = make_job(source, tmp_path / "run", epochs=1)
    train_run(job, Observers(on_data=told.append))
    learned = {r.path.name for part in (told[0].train, told[0].validation) for r in part.records}
    assert "twin.png" not in learned
    assert [(a.name, b.name) for a, b in told[0].split.leaks] == [("twin.png", "00.png")]
    done = evaluate_run(EvaluateJob(source, job.run, job.options, "cpu"))
    assert (done.evaluation.overall.images, done.unseen) == (6, 0)


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


def test_eyes_of_a_full_frame_are_refused(tmp_path: Path, toy_set: Path, make_job: MakeJob) -> None:
    crop = CropParams(crop="full", size_px=128)
    job = make_job(toy_set, tmp_path / "run", crop=crop, eyes=True)
    with pytest.raises(DataError, match="--eyes and --crop full"):
        train_run(job, Observers())
    assert not job.run.path.exists()


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
    monkeypatch.setattr(scores, "find_shortfall", lambda *a: "It cannot be met.")
    notes: list[str] = []
    job = make_job(toy_set, tmp_path / "run", threshold_rule="precision>=0.99", epochs=1)
    assert train_run(job, Observers(on_note=notes.append)).trained
    assert notes == ["warning: It cannot be met."]
    record = json.loads(job.run.record.read_text())
    assert record["threshold_shortfall"] == "It cannot be met."
