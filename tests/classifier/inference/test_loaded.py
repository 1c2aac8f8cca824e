"""One way to a probability: of one view or two, of one model or several, from any folder."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from roi_cls.base.errors import BundleError
from roi_cls.classifier.evaluation.run import EvaluateJob, evaluate_run
from roi_cls.classifier.inference.loaded import load_any
from roi_cls.classifier.inference.prediction import Prediction, PredictOptions, Source
from roi_cls.classifier.inference.predictor import open_predictor
from roi_cls.classifier.inference.verify import verify_run
from roi_cls.classifier.metrics.decision import join_scores, to_probabilities
from roi_cls.classifier.models.device import choose_backend
from roi_cls.classifier.models.saved import load_model
from roi_cls.classifier.models.score import compute_logits
from roi_cls.classifier.models.timm_model import normalisation
from roi_cls.classifier.runs.bundle import Normalisation, load_bundle, write_config
from roi_cls.classifier.runs.ensemble import join_members, save_ensemble
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.scores import read_scores
from roi_cls.classifier.training.job import Observers, TrainJob
from roi_cls.classifier.training.run import train_run
from roi_cls.roi import Box, CropParams
from roi_cls.roi.crop import make_crops
from roi_cls.roi.picture import Picture
from tests.helpers.fakes import FakeDetector, see_boxes

MakeJob = Callable[..., TrainJob]
DrawSet = Callable[..., Path]
CPU = choose_backend("cpu", "fp32")
FACE = CropParams(margin=0.1, size_px=32, min_face_px=8)
FULL = CropParams(crop="full", size_px=48)
NAMES = ("blue", "red")

pytestmark = pytest.mark.usefixtures("central_face")


@pytest.fixture
def source(tmp_path: Path, draw_set: DrawSet) -> Path:
    """16 pictures of two colours, 64 px."""
    return draw_set(tmp_path / "set", red=8, blue=8, side=64)


@pytest.fixture
def train(source: Path, make_job: MakeJob, tmp_path: Path) -> Callable[..., RunFolder]:
    """Train a run of this name on ``source``."""

    def make(name: str, crop: CropParams = FACE, **changes: object) -> RunFolder:
        job = make_job(source, tmp_path / "runs" / name, crop=crop, epochs=1, **changes)
        train_run(job, Observers())
        return job.run

    return make


Train = Callable[..., RunFolder]


@pytest.fixture
def pictures(source: Path) -> list[Source]:
    """Every picture."""
    return [Source(str(path)) for path in sorted(source.rglob("*.png"))]


def _predict(run: RunFolder, pictures: list[Source], **options: object) -> list[Prediction]:
    with open_predictor([run.path], "cpu", options=PredictOptions(**options)) as predictor:  # type: ignore[arg-type]  # a test's own
        return list(predictor.predict(pictures))


def _scores(rows: list[Prediction]) -> np.ndarray:
    return np.array([[(row.probabilities or {})[name] for name in NAMES] for row in rows])


def _ensemble(
    folder: Path, runs: list[RunFolder], weights: tuple[float, ...] | None = None
) -> RunFolder:
    members = [run.path for run in runs]
    bundle = replace(join_members(members, weights), threshold=0.5)
    save_ensemble(folder, members, bundle)
    return RunFolder(folder)


def test_face_and_frame_are_judged_together(
    train: Train, pictures: list[Source], central_face: FakeDetector
) -> None:
    run = train("both", frame=True)
    bundle = load_bundle(run.path)
    assert [view.crop for view in bundle.views] == ["face", "full"]
    assert bundle.crop == bundle.views[0]
    rows = _predict(run, pictures)
    assert {row.source for row in rows} == {"face"}
    assert rows[0].box == (16, 16, 48, 48)
    # By hand: both crops of each picture, side by side, through the network.
    crops = [
        [
            make_crops(Picture(Path(p.path).read_bytes(), p.path), view, central_face).pixels[0]
            for view in bundle.views
        ]
        for p in pictures
    ]
    network = load_model(run.path, bundle)
    scale = Normalisation(*normalisation(network))
    logits = compute_logits(network, np.array(crops), scale, CPU)
    wanted = to_probabilities(logits, bundle.temperature, bundle.offsets)
    np.testing.assert_allclose(_scores(rows), wanted, atol=1e-6)


def test_two_views_are_verified_and_evaluated(
    train: Train, source: Path, make_job: MakeJob, tmp_path: Path
) -> None:
    run = train("both", frame=True)
    assert verify_run(run, device="cpu").images > 0
    options = make_job(source, tmp_path / "x").options
    outcome = evaluate_run(EvaluateJob(source, run, options, device="cpu"))
    table = read_scores(run.test_scores, NAMES)
    rows = _predict(run, [Source(str(source / path)) for path in table.paths])
    np.testing.assert_allclose(table.probabilities, _scores(rows), atol=1e-6)
    assert outcome.errors == ()


def test_picture_that_one_view_cannot_use_is_one_error(train: Train, source: Path) -> None:
    run = train("both", frame=True)
    bad = source / "bad.png"
    bad.write_bytes(b"no picture")
    good = source / "red" / "00.png"
    rows = _predict(run, [Source(str(bad)), Source(str(good))])
    assert [row.status for row in rows] == ["error", "ok"]
    assert rows[1] == _predict(run, [Source(str(good))])[0]


def test_ensemble_is_the_weighted_mean_of_its_members(
    train: Train, pictures: list[Source], tmp_path: Path, source: Path, make_job: MakeJob
) -> None:
    runs = [train("face"), train("full", FULL, seed=1), train("both", frame=True)]
    found = _ensemble(tmp_path / "ensemble", runs, (1, 2, 1))
    for run in runs:
        shutil.move(run.path, tmp_path / f"gone-{run.path.name}")  # it needs them no more
    bundle = load_bundle(found.path)
    # The face crop of 32 px is shared; the frames differ in size.
    assert [(view.crop, view.size_px) for view in bundle.views] == [
        *(("face", 32), ("full", 48), ("full", 32)),
    ]
    rows = _predict(found, pictures)
    singles = [
        _scores(_predict(RunFolder(tmp_path / f"gone-{run.path.name}"), pictures)) for run in runs
    ]
    np.testing.assert_allclose(
        _scores(rows), np.average(singles, axis=0, weights=[1, 2, 1]), atol=1e-6
    )
    shutil.copy(tmp_path / "gone-both" / "split.csv", found.split)
    options = make_job(source, tmp_path / "x").options
    evaluate_run(EvaluateJob(source, found, options, device="cpu"))
    table = read_scores(found.test_scores, NAMES)
    again = _predict(found, [Source(str(source / path)) for path in table.paths])
    np.testing.assert_allclose(table.probabilities, _scores(again), atol=1e-6)


def test_evaluation_and_prediction_of_an_ensemble_say_alike_what_was_looked_at(
    train: Train, tmp_path: Path, source: Path, make_job: MakeJob
) -> None:
    full, face = train("full", FULL), train("face")
    found = _ensemble(tmp_path / "ensemble", [full, face])
    shutil.copy(face.split, found.split)
    options = make_job(source, tmp_path / "x").options
    evaluate_run(EvaluateJob(source, found, options, device="cpu"))
    table = read_scores(found.test_scores, NAMES)
    rows = _predict(found, [Source(str(source / path)) for path in table.paths])
    assert list(table.sources) == [row.source for row in rows] == ["face"] * len(rows)
    np.testing.assert_allclose(table.probabilities, _scores(rows), atol=1e-6)


def test_ensembles_may_be_members(train: Train, pictures: list[Source], tmp_path: Path) -> None:
    one, other = train("one"), train("two", FULL)
    inner = _ensemble(tmp_path / "inner", [one, other])
    outer = _ensemble(tmp_path / "outer", [inner, one], (2, 1))
    shutil.rmtree(inner.path)
    first, second = _scores(_predict(one, pictures)), _scores(_predict(other, pictures))
    np.testing.assert_allclose(
        _scores(_predict(outer, pictures)), (2 * first + second) / 3, atol=1e-6
    )


def test_member_trained_in_its_place_is_left_there(
    train: Train, tmp_path: Path, pictures: list[Source]
) -> None:
    run = train("one")
    folder = tmp_path / "folds"
    place = folder / "members" / "fold1"
    shutil.copytree(run.path, place)
    before = sorted(path.name for path in place.iterdir())
    found = _ensemble(folder, [RunFolder(place)])
    assert sorted(path.name for path in place.iterdir()) == before
    np.testing.assert_allclose(_scores(_predict(found, pictures)), _scores(_predict(run, pictures)))


def test_members_of_one_name_are_kept_apart(train: Train, tmp_path: Path) -> None:
    run = train("one")
    copy = Path(shutil.copytree(run.path, tmp_path / "elsewhere" / "one"))
    found = _ensemble(tmp_path / "ensemble", [run, RunFolder(copy), RunFolder(copy)])
    names = load_bundle(found.path).network["members"]
    assert len({*names}) == 3
    assert names[0] == "one"


def test_every_file_of_an_ensemble_is_checked(train: Train, tmp_path: Path) -> None:
    runs = [train("one"), train("two", seed=1)]
    found = _ensemble(tmp_path / "ensemble", runs)
    member = found.path / "members" / "two"
    for name, why in (
        ("model.safetensors", "model.safetensors is not the file its config.json describes"),
        ("config.json", "members/*/config.json is not the file its config.json describes"),
    ):
        kept = (member / name).read_bytes()
        (member / name).write_bytes(
            kept.replace(b"0", b"1", 1) if name == "config.json" else kept + b"x"
        )
        with pytest.raises(BundleError, match="Copy the whole folder again") as caught:
            load_any(found.path, CPU)
        assert why in str(caught.value)
        (member / name).write_bytes(kept)
    (member / "config.json").unlink()
    with pytest.raises(BundleError, match=r"config\.json is missing"):
        load_any(found.path, CPU)


def test_weights_that_do_not_fit_the_members_are_told(train: Train, tmp_path: Path) -> None:
    found = _ensemble(tmp_path / "ensemble", [train("one")])
    path = found.path / "config.json"
    config = json.loads(path.read_text())
    config["roi_cls"]["network"]["weights"] = [1, 2]
    write_config(path.parent, config)
    with pytest.raises(BundleError, match="its members are not the ones its facts describe"):
        load_any(found.path, CPU)


def test_runs_of_other_classes_are_not_joined(
    train: Train, draw_set: DrawSet, make_job: MakeJob, tmp_path: Path
) -> None:
    other = draw_set(tmp_path / "other", green=8, blue=8, side=64)
    job = make_job(other, tmp_path / "runs" / "green", crop=FACE, epochs=1)
    train_run(job, Observers())
    with pytest.raises(BundleError) as caught:
        join_members([train("one").path, job.run.path])
    assert str(caught.value) == (
        "Cannot join the runs 'one' and 'green': they look for 'blue' among blue, red and for "
        "'blue' among blue, green. Join runs of the same classes."
    )


@pytest.mark.parametrize("weights", [(), (1.0,), (1.0, 0.0), (1.0, -1.0)])
def test_weights_must_be_positive_and_one_for_each(
    toy_run: RunFolder, weights: tuple[float, ...]
) -> None:
    with pytest.raises(ValueError, match="2 members need a weight above 0 each"):
        join_members([toy_run.path, toy_run.path], weights)


def test_scaling_of_an_ensemble_is_that_of_its_mean() -> None:
    first, second = np.array([[0.9, 0.1]]), np.array([[0.5, 0.5]])
    np.testing.assert_allclose(join_scores([first, second], [3, 1]), [[0.8, 0.2]])
    flat = join_scores([first, second], [3, 1], 2.0)
    np.testing.assert_allclose(flat, [[2 / 3, 1 / 3]])  # sqrt(0.8) : sqrt(0.2) = 2 : 1
    moved = join_scores([first, second], [3, 1], 2.0, (np.log(3), 0))
    np.testing.assert_allclose(moved, [[6 / 7, 1 / 7]])
    np.testing.assert_array_equal(join_scores([np.array([[1.0, 0.0]])], [1], 2.0), [[1, 0]])


def test_each_member_is_mirrored_by_its_own_bundle(
    train: Train, tmp_path: Path, pictures: list[Source]
) -> None:
    runs = [train("plain"), train("mirrored", mirror=True)]
    assert [load_bundle(run.path).mirror for run in runs] == [False, True]
    found = _ensemble(tmp_path / "ensemble", runs, (3, 1))
    assert not load_bundle(found.path).mirror
    apart = [_scores(_predict(run, pictures)) for run in runs]
    wanted = np.average(apart, axis=0, weights=(3, 1))
    np.testing.assert_allclose(_scores(_predict(found, pictures)), wanted, atol=1e-12)


def test_every_face_is_judged_with_the_same_frame(
    train: Train, source: Path, central_face: FakeDetector
) -> None:
    run = train("both", frame=True)
    bundle = load_bundle(run.path)
    path = source / "red" / "01.png"
    boxes = (Box(4, 4, 24, 24), Box(30, 30, 60, 60))
    central_face.see = see_boxes(*boxes)
    (row,) = _predict(run, [Source(str(path))], face="all")
    assert row.per_face is not None
    assert len(row.per_face) == 2
    network = load_model(run.path, bundle)
    picture = Picture(path.read_bytes(), str(path))
    faces = make_crops(picture, replace(bundle.views[0], face="all"), central_face).pixels
    frame = make_crops(picture, bundle.views[1], None).pixels[0]
    scale = Normalisation(*normalisation(network))
    logits = compute_logits(network, np.array([[face, frame] for face in faces]), scale, CPU)
    wanted = to_probabilities(logits, bundle.temperature, bundle.offsets)
    found = [[face["probabilities"][name] for name in NAMES] for face in row.per_face]
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_members_that_see_faces_differently_cannot_judge_every_face(
    train: Train, tmp_path: Path, pictures: list[Source]
) -> None:
    runs = [train("one"), train("two", replace(FACE, min_face_px=20))]
    found = _ensemble(tmp_path / "ensemble", runs)
    assert _predict(found, pictures[:1])[0].status == "ok"
    with pytest.raises(BundleError) as caught:
        open_predictor([found.path], "cpu", options=PredictOptions(face="all"))
    assert str(caught.value) == (
        "Cannot look at every face (--face all): the members of 'ensemble' find faces in "
        "different ways. Leave --face out, or name another --run."
    )


def test_answers_within_the_band_are_unsure(train: Train, pictures: list[Source]) -> None:
    run = train("one")
    assert not any(row.unsure for row in _predict(run, pictures))
    path = run.path / "config.json"
    config = json.loads(path.read_text())
    target = load_bundle(run.path).labels.target_index
    scores = _scores(_predict(run, pictures))[:, target]
    band = float(np.median(np.abs(scores - config["roi_cls"]["threshold"])))
    config["roi_cls"]["abstain"] = band
    write_config(path.parent, config)
    unsure = [row.unsure for row in _predict(run, pictures)]
    assert unsure == (np.abs(scores - config["roi_cls"]["threshold"]) < band).tolist()
    assert 0 < sum(unsure) < len(unsure)


def test_detector_sees_a_picture_once_for_all_views(
    train: Train,
    tmp_path: Path,
    pictures: list[Source],
    central_face: FakeDetector,
) -> None:
    runs = [train("one"), train("wide", replace(FACE, margin=0.5)), train("both", frame=True)]
    found = _ensemble(tmp_path / "ensemble", runs)
    central_face.calls = 0
    _predict(found, pictures)
    assert central_face.calls == len(pictures)
