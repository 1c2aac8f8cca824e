"""``RoiClassifier``: scikit-learn's manners, the run behind them, and pictures in every form."""

import copy
import gc
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PillowImage
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from roi_cls import RoiClassifier
from roi_cls.base.errors import BundleError, DataError, RoiClsError, StorageError, TrainingError
from roi_cls.classifier.export.run import ExportJob, export_onnx
from roi_cls.classifier.inference.predictor import Predictor
from roi_cls.classifier.inference.verify import verify_run
from roi_cls.classifier.models import origin
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.training import run as run_module
from roi_cls.data.table import read_split
from roi_cls.python import estimator
from roi_cls.python.fit import label_files
from tests.helpers.fakes import FakeDetector
from tests.helpers.pictures import noise

Pixels = NDArray[np.uint8]
SMALL: dict[str, Any] = {
    "model": "test_efficientnet",
    "weights": "none",
    "crop": "full",
    "size_px": 16,
    "epochs": 3,
    "batch_size": 8,
    "lr": 3e-3,
    "augmentation": "none",
    "device": "cpu",
    "settings": {"precision": "fp32", "near_duplicates": False},
}


pytestmark = pytest.mark.usefixtures("undrawn_curves")


def draw(count: int = 24) -> tuple[Pixels, NDArray[np.bool_]]:
    """Return noise, of which every third picture is bright."""
    pixels = noise(count, 16, 16, 3, high=80)
    is_bright = np.arange(count) % 3 == 0
    pixels[is_bright] += 120
    return pixels, is_bright


PIXELS, IS_BRIGHT = draw()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return the pictures as files; read only."""
    folder = tmp_path_factory.mktemp("pictures")
    for i, image in enumerate(PIXELS):
        PillowImage.fromarray(image).save(folder / f"{i:02}.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def fitted(undrawn_curves: None) -> RoiClassifier:
    """Return a classifier of 7 (bright) and 3; used as it is."""
    return RoiClassifier(**SMALL).fit(PIXELS, np.where(IS_BRIGHT, 7, 3))


def test_learns_and_answers_in_the_labels_it_was_given(fitted: RoiClassifier) -> None:
    assert fitted.classes_.tolist() == [3, 7]
    answers = fitted.predict(PIXELS)
    assert answers.dtype == fitted.classes_.dtype
    np.testing.assert_array_equal(answers, np.where(IS_BRIGHT, 7, 3))
    assert fitted.score(PIXELS, np.where(IS_BRIGHT, 7, 3)) == 1.0
    assert fitted.score(PIXELS, np.where(IS_BRIGHT, 3, 7)) == 0.0


def test_columns_are_the_classes_in_order(fitted: RoiClassifier) -> None:
    table = fitted.predict_proba(PIXELS)
    assert table.shape == (24, 2)
    np.testing.assert_allclose(table.sum(axis=1), 1)
    assert table[IS_BRIGHT, 1].min() > table[~IS_BRIGHT, 1].max()
    assert fitted.bundle.labels.target == "7"  # the rarer


def test_files_bytes_and_arrays_give_the_same(fitted: RoiClassifier, files: list[Path]) -> None:
    expected = fitted.predict_proba(PIXELS)
    for pictures in (
        files,
        [str(path) for path in files],
        np.array([str(path) for path in files]),
        [path.read_bytes() for path in files],
        list(PIXELS),
        (image for image in PIXELS),
    ):
        np.testing.assert_array_equal(fitted.predict_proba(pictures), expected)


def test_files_bytes_and_arrays_can_be_learned_from(files: list[Path]) -> None:
    labels = ["bright" if bright else "dark" for bright in IS_BRIGHT]
    tables = []
    for pictures in (files, [path.read_bytes() for path in files], PIXELS):
        # Not the very same: the inner split goes by the names of the files, which differ.
        classifier = RoiClassifier(**SMALL).fit(pictures, labels)
        assert classifier.classes_.tolist() == ["bright", "dark"]
        tables.append(classifier.score(PIXELS, labels))
    assert tables == [1.0] * 3


def test_same_seed_gives_the_same_model_and_another_does_not() -> None:
    same, again = (RoiClassifier(**SMALL).fit(PIXELS, IS_BRIGHT) for _ in range(2))
    other = RoiClassifier(**SMALL, random_state=np.random.RandomState(5)).fit(PIXELS, IS_BRIGHT)
    np.testing.assert_array_equal(same.predict_proba(PIXELS), again.predict_proba(PIXELS))
    assert np.abs(same.predict_proba(PIXELS) - other.predict_proba(PIXELS)).max() > 1e-6
    assert same.classes_.dtype == bool


def test_backbone_that_cannot_be_had_is_stood_in_for_and_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(origin, "is_cached", lambda repository: False)
    small = {name: value for name, value in SMALL.items() if name not in ("model", "weights")}
    classifier = RoiClassifier(recipe="resnet18-full", **{**small, "epochs": 1, "size_px": 32})
    classifier.fit(PIXELS, IS_BRIGHT)
    assert "tf_efficientnet_lite0 stands in for resnet18, whose weights" in caplog.text
    training = classifier.bundle.training
    assert training["recipe"]["stands_in_for"] == "resnet18"
    assert training["config"]["model"] == "tf_efficientnet_lite0"


def test_rows_tell_all_and_come_as_they_are_asked_for(fitted: RoiClassifier) -> None:
    taken = 0

    def endless() -> Any:
        nonlocal taken
        while True:
            yield PIXELS[taken % len(PIXELS)]
            taken += 1

    rows = fitted.predict_rows(endless())
    first = [next(rows) for _ in range(3)]
    rows.close()
    assert [row.label for row in first] == ["7", "3", "3"]
    assert [row.path for row in first] == ["X[0]", "X[1]", "X[2]"]
    assert taken < 200


def test_one_picture_gives_its_row(fitted: RoiClassifier, files: list[Path]) -> None:
    for picture in (files[0], str(files[0]), files[0].read_bytes(), PIXELS[0]):
        row = fitted.predict_one(picture)
        assert (row.status, row.label, row.source) == ("ok", "7", "full_frame")
    assert row.score == pytest.approx(fitted.predict_proba(PIXELS[:1])[0, 1], abs=1e-6)
    assert fitted.predict_one("gone.png").error == (
        "Cannot read 'gone.png': no such file. Check the path."
    )


def test_no_pictures_give_no_answers(fitted: RoiClassifier) -> None:
    assert fitted.predict_proba([]).shape == (0, 2)
    assert fitted.predict([]).shape == (0,)


def test_picture_that_cannot_be_read_is_told_by_its_place(
    fitted: RoiClassifier, files: list[Path]
) -> None:
    message = (
        r"1 of 2 pictures cannot be judged, first X\[1\]: Cannot read 'gone.png': no such file. "
        r"Check the path. Leave them out, or give errors='nan' for rows of NaN."
    )
    for method in (fitted.predict, fitted.predict_proba):
        with pytest.raises(DataError, match=message):
            method([files[0], "gone.png"])


def test_nan_stands_where_there_is_no_answer(fitted: RoiClassifier, files: list[Path]) -> None:
    lenient = copy.deepcopy(fitted).set_params(errors="nan")
    with pytest.warns(UserWarning, match=r"1 of 2 pictures cannot be judged, first X\[0\]") as told:
        table = lenient.predict_proba(["gone.png", files[0]])
    assert told[0].filename == __file__
    assert np.isnan(table[0]).all()
    np.testing.assert_array_equal(table[1], fitted.predict_proba(files[:1])[0])
    with pytest.warns(UserWarning, match="cannot be judged"):
        assert lenient.predict(["gone.png", files[0]]).tolist() == [None, 7]
    with pytest.warns(UserWarning, match="cannot be judged"):
        assert lenient.score(["gone.png", files[0]], [7, 7]) == 0.5
    with pytest.warns(UserWarning, match="cannot be judged"):
        assert lenient.score(["gone.png", files[0]], [7, 7], sample_weight=[3, 1]) == 0.25
    with pytest.warns(UserWarning, match="cannot be judged"):
        assert lenient.score(["gone.png"], [7]) == 0.0


def test_fit_refuses_an_unreadable_picture_unless_told_otherwise(files: list[Path]) -> None:
    pictures: list[Path | str] = [*files, "gone.png"]
    labels = [*IS_BRIGHT, True]
    with pytest.raises(DataError, match=r"^Cannot fit: 1 of 25 pictures .* first X\[24\]: Cannot"):
        RoiClassifier(**SMALL).fit(pictures, labels)
    with pytest.warns(UserWarning, match=r"first X\[24\]: .* It is fitted on the others\."):
        fitted = RoiClassifier(**SMALL, errors="nan").fit(pictures, labels)
    assert fitted.score(PIXELS, IS_BRIGHT) == 1.0


@pytest.mark.parametrize(
    ("changes", "labels", "error", "message"),
    [
        ({"errors": "skip"}, IS_BRIGHT, ValueError, "errors must be one of ('raise', 'nan'), got"),
        ({"log": "mflow"}, IS_BRIGHT, ValueError, "log must be of tensorboard, mlflow, wandb, got"),
        ({"epochs": 0}, IS_BRIGHT, ValueError, "epochs must be at least 1, got 0"),
        ({"margin": -1}, IS_BRIGHT, ValueError, "margin must be between 0 and 5, got -1.0"),
        ({"target": "no"}, IS_BRIGHT, DataError, "Cannot look for 'no': the classes are 'False',"),
        ({"model": "no_net"}, IS_BRIGHT, RoiClsError, "no_net"),
        ({"recipe": "no"}, IS_BRIGHT, TrainingError, "Cannot use the recipe 'no'"),
        ({"settings": {"epoch": 3}}, IS_BRIGHT, ValueError, "settings has no field 'epoch'; there"),
        ({"settings": {"epochs": 3}}, IS_BRIGHT, ValueError, "must not name 'epochs': it is set"),
        ({"settings": {"seed": 3}}, IS_BRIGHT, ValueError, "'seed': it is set by random_state"),
        ({}, IS_BRIGHT[1:], ValueError, "inconsistent numbers of samples: [24, 23]"),
        ({}, [None, *IS_BRIGHT[1:]], ValueError, "y contains NaN, infinity or None"),
        ({}, np.arange(24) / 7, ValueError, "Unknown label type: continuous"),
        ({}, ["", *["a"] * 23], ValueError, "Labels must be text, whole numbers or booleans, got"),
        ({}, ["a"] * 24, ValueError, "y has only one class, 'a': a classifier needs two at least."),
        ({}, ["a", *["b"] * 23], DataError, "Cannot split: fewer pictures of 'a' than parts: 1"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_fitted_is_told(
    changes: dict[str, Any], labels: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        RoiClassifier(**{**SMALL, **changes}).fit(PIXELS, labels)
    assert message in str(caught.value)


def test_nothing_is_fitted_on_nothing() -> None:
    with pytest.raises(ValueError, match=r"X has 0 sample\(s\), a minimum of 1 is required"):
        RoiClassifier(**SMALL).fit([], [])


def test_unfitted_classifier_says_so() -> None:
    classifier = RoiClassifier()
    for ask in (classifier.predict, classifier.predict_proba, classifier.predict_rows):
        with pytest.raises(NotFittedError):
            ask(PIXELS)
    classifier.close()  # nothing is open


def test_blanks_around_a_group_do_not_count() -> None:
    samples = label_files([Path("a.png"), Path("b.png")], ["x", "y"], [" p 1", "p 1 "])
    assert [sample.group for sample in samples] == ["p 1", "p 1"]


def test_groups_stay_on_one_side_of_the_inner_split(tmp_path: Path) -> None:
    groups = [i // 3 for i in range(24)]  # each holds one bright picture
    run = tmp_path / "run"
    RoiClassifier(**SMALL, run=run).fit(PIXELS, IS_BRIGHT, groups=groups)
    parts: dict[str | None, set[str | None]] = {}
    for sample in read_split(run / "split.csv")[0]:
        parts.setdefault(sample.group, set()).add(sample.split)
    assert len(parts) == 8
    assert all(len(of_group) == 1 for of_group in parts.values())
    assert {"train", "validation"} == set.union(*parts.values())


def test_kept_run_is_a_run_like_any_other(
    files: list[Path], tmp_path: Path, command: Callable[..., CompletedProcess[str]]
) -> None:
    run = tmp_path / "run"
    fitted = RoiClassifier(**SMALL, run=run).fit(files, IS_BRIGHT)
    assert fitted.run_ == run
    assert verify_run(RunFolder(run)).images > 0
    done = command("predict", files[0], "--run", run, "--device", "cpu", "--json")
    answer = json.loads(done.stdout)
    assert answer["label"] == "True"
    np.testing.assert_allclose(answer["score"], fitted.predict_proba(files[:1])[0, 1])


def test_run_of_arrays_can_be_proven_too(tmp_path: Path) -> None:
    fitted = RoiClassifier(**SMALL, run=tmp_path / "run").fit(PIXELS, IS_BRIGHT)
    assert verify_run(RunFolder(fitted.run_)).largest_difference <= 1e-6


def test_same_fit_into_a_finished_run_trains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = RoiClassifier(**SMALL, run=tmp_path / "run")
    expected = classifier.fit(PIXELS, IS_BRIGHT).predict_proba(PIXELS)
    monkeypatch.setattr(run_module, "fit_model", None)
    again = clone(classifier).fit(PIXELS, IS_BRIGHT)
    np.testing.assert_array_equal(again.predict_proba(PIXELS), expected)
    with pytest.raises(TrainingError, match="it was started with other settings"):
        clone(classifier).set_params(epochs=4).fit(PIXELS, IS_BRIGHT)
    with pytest.raises(TrainingError, match="it was started with other settings"):
        clone(classifier).fit(PIXELS[:20], IS_BRIGHT[:20])


def test_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    message = f"Cannot train into '{tmp_path}': it is there and is no run. Give run= another folder"
    for place in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(TrainingError, match=message.replace(str(tmp_path), str(place))):
            RoiClassifier(**SMALL, run=place).fit(PIXELS, IS_BRIGHT)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_temporary_run_goes_with_its_classifier() -> None:
    classifier = RoiClassifier(**SMALL).fit(PIXELS, IS_BRIGHT)
    first = classifier.run_
    assert RunFolder(first).is_finished
    classifier.fit(PIXELS, IS_BRIGHT)
    gc.collect()
    assert not first.parent.exists()
    second = classifier.run_
    del classifier
    gc.collect()
    assert not second.parent.exists()


def test_forked_process_leaves_the_run_of_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = RoiClassifier(**SMALL).fit(PIXELS, IS_BRIGHT)
    run = classifier.run_
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        del classifier
        gc.collect()
    assert RunFolder(run).is_finished
    shutil.rmtree(run.parent)


def test_failed_fit_keeps_the_earlier_one() -> None:
    classifier = RoiClassifier(**SMALL).fit(PIXELS, IS_BRIGHT)
    expected = classifier.predict_proba(PIXELS)
    with pytest.raises(DataError):
        classifier.fit(["gone.png"] * 4, [0, 1, 0, 1])
    np.testing.assert_array_equal(classifier.predict_proba(PIXELS), expected)


def test_pickle_outlives_the_temporary_run() -> None:
    classifier = RoiClassifier(**SMALL).fit(PIXELS, IS_BRIGHT)
    expected, run = classifier.predict_proba(PIXELS), classifier.run_
    stored = pickle.dumps(classifier)
    del classifier
    gc.collect()
    assert not run.exists()
    back = pickle.loads(stored)
    np.testing.assert_array_equal(back.predict_proba(PIXELS), expected)
    assert not (back.run_ / "pictures").exists()  # data do not travel with the model


def test_pickle_of_a_kept_run_is_its_path(tmp_path: Path) -> None:
    fitted = RoiClassifier(**SMALL, run=tmp_path / "run").fit(PIXELS, IS_BRIGHT)
    stored = pickle.dumps(fitted)
    assert len(stored) < 5000
    assert pickle.loads(stored).run_ == fitted.run_


@pytest.mark.parametrize("log", ["tensorboard", ["tensorboard"]])
def test_fit_tells_a_tracker(tmp_path: Path, log: Any) -> None:
    pytest.importorskip("tensorboard")  # reason: an extra
    RoiClassifier(**SMALL, run=tmp_path / "run", log=log).fit(PIXELS, IS_BRIGHT)
    assert list((tmp_path / "run" / "tensorboard").iterdir())


def test_saved_classifier_loads_with_its_labels_and_parameters(
    fitted: RoiClassifier, tmp_path: Path
) -> None:
    folder = fitted.save(tmp_path / "saved")
    loaded = RoiClassifier.load(folder, device="cpu")
    assert loaded.classes_.tolist() == [3, 7]
    np.testing.assert_array_equal(loaded.predict_proba(PIXELS), fitted.predict_proba(PIXELS))
    np.testing.assert_array_equal(loaded.predict(PIXELS), fitted.predict(PIXELS))
    params, given = loaded.get_params(), fitted.get_params()
    split = {"near_duplicates": False}  # of the data, which a model does not know
    assert {**params["settings"], **split} == given.pop("settings")
    assert {name: params[name] for name in given} == {**given, "target": 7}
    refitted = clone(loaded).set_params(settings=SMALL["settings"])
    refitted.fit(PIXELS, np.where(IS_BRIGHT, 7, 3))
    np.testing.assert_array_equal(refitted.predict_proba(PIXELS), fitted.predict_proba(PIXELS))


def test_save_replaces_nothing(fitted: RoiClassifier, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="it is there already"):
        fitted.save(tmp_path)


def test_run_of_the_command_line_loads_by_its_folder_or_name(
    tiny_runs: Path, tiny_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimator, "RUNS", tiny_runs)
    by_name = RoiClassifier.load("tiny", device="cpu")
    assert by_name.classes_.tolist() == ["odd", "plain"]
    assert by_name.run_ == RoiClassifier.load(tiny_runs / "tiny", device="cpu").run_
    assert (by_name.model, by_name.target, by_name.epochs) == ("test_efficientnet", "odd", 1)
    pictures = sorted(tiny_set.rglob("*.png"))
    assert set(by_name.predict(pictures)) <= {"odd", "plain"}


def test_kept_run_ends_with_its_onnx_file_and_predicts_by_it(
    fitted: RoiClassifier, tmp_path: Path
) -> None:
    assert not RunFolder(fitted.run_).onnx.exists()  # a temporary one, of which there may be many
    kept = RoiClassifier(**SMALL, run=tmp_path / "kept").fit(PIXELS, np.where(IS_BRIGHT, 7, 3))
    assert RunFolder(kept.run_).onnx.is_file()
    assert [kept.predict_one(PIXELS[0]).runtime, fitted.predict_one(PIXELS[0]).runtime] == [
        *("onnx", "torch")
    ]
    table = kept.predict_proba(PIXELS)
    np.testing.assert_allclose(table, fitted.predict_proba(PIXELS), atol=1e-5)
    assert kept.explain(PIXELS[0]).method == "grad-cam"  # by torch, which stays beside
    np.testing.assert_array_equal(kept.predict_proba(PIXELS), table)
    assert kept.explain(PIXELS[0], method="occlusion").method == "occlusion"
    by_torch = RoiClassifier.load(kept.run_, device="cpu", runtime="torch")
    assert by_torch.predict_one(PIXELS[0]).runtime == "torch"
    with pytest.raises(BundleError, match="Cannot predict with --runtime onnx: run 'run' has no"):
        RoiClassifier.load(fitted.run_, device="cpu", runtime="onnx")


@pytest.mark.slow
def test_exported_file_answers_alike_without_torch(fitted: RoiClassifier, tmp_path: Path) -> None:
    file, table = tmp_path / "m.onnx", tmp_path / "table.npy"
    export_onnx(ExportJob(RunFolder(fitted.run_), file))
    np.save(tmp_path / "pixels.npy", PIXELS)
    code = (
        "import sys, numpy as np; from roi_cls import RoiClassifier;"
        f"pixels = np.load({str(tmp_path / 'pixels.npy')!r});"
        f"classifier = RoiClassifier.load({str(file)!r}, device='cpu');"
        "assert classifier.classes_.tolist() == [3, 7];"
        f"np.save({str(table)!r}, classifier.predict_proba(pixels));"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
    np.testing.assert_allclose(np.load(table), fitted.predict_proba(PIXELS), atol=1e-5)
    saved = RoiClassifier.load(file, device="cpu").save(tmp_path / "saved")
    assert saved == tmp_path / "saved" / "m.onnx"
    with pytest.raises(BundleError, match=r"gone\.onnx"):
        RoiClassifier.load(tmp_path / "gone.onnx")


def test_what_cannot_be_loaded_is_told(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="Cannot use the run 'none-such'"):
        RoiClassifier.load("none-such")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(BundleError, match="the folder of that name holds no run"):
        RoiClassifier.load(tmp_path)


def test_tampered_run_is_refused(fitted: RoiClassifier, tmp_path: Path) -> None:
    weights = fitted.save(tmp_path / "saved") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(BundleError, match="SHA-256 differs"):
        RoiClassifier.load(tmp_path / "saved")


def test_detectors_are_closed_at_the_end_of_the_block(
    fitted: RoiClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[int] = []
    monkeypatch.setattr(Predictor, "close", lambda self: closed.append(1))
    with copy.deepcopy(fitted) as classifier:
        classifier.predict(PIXELS)
        classifier.predict(PIXELS)
        assert not closed
    assert closed == [1]
    classifier.predict(PIXELS)  # opens it again
    classifier.set_params(max_pixels=10_000).predict(PIXELS)
    assert closed == [1, 1]
    del classifier
    gc.collect()
    assert closed == [1, 1, 1]


def test_recipe_stands_in_for_what_is_not_given() -> None:
    changes = {"size_px": None, "margin": None, "epochs": None, "recipe": "classical"}
    fitted = RoiClassifier(**{**SMALL, **changes}).fit(PIXELS, IS_BRIGHT)
    assert fitted.bundle.crop.size_px == 128
    assert fitted.bundle.crop.crop == "full"
    assert fitted.bundle.model == "svm"
    assert fitted.bundle.training["recipe"]["name"] == "classical"


def test_several_models_become_one() -> None:
    settings = {**SMALL["settings"], "folds": 2, "abstain": 0.1}
    fitted = RoiClassifier(**{**SMALL, "settings": settings}).fit(PIXELS, IS_BRIGHT)
    assert len(list((fitted.run_ / "members").iterdir())) == 2
    assert fitted.bundle.abstain == 0.1
    assert fitted.score(PIXELS, IS_BRIGHT) > 0.9
    back = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(back.predict_proba(PIXELS), fitted.predict_proba(PIXELS))


def test_three_classes_with_a_target() -> None:
    labels = np.array(["b10", "b9", "a"])[np.arange(24) % 3]
    pixels = PIXELS.copy()
    pixels[labels == "a", :, :, 0] = 255
    fitted = RoiClassifier(**SMALL, target="b9").fit(pixels, labels)
    assert fitted.classes_.tolist() == ["a", "b10", "b9"]  # sorted as scikit-learn sorts
    assert fitted.bundle.labels.names == ("a", "b9", "b10")
    table = fitted.predict_proba(pixels)
    np.testing.assert_array_equal(fitted.classes_[table.argmax(axis=1)], fitted.predict(pixels))
    assert fitted.score(pixels, labels) > 0.6


def test_blanks_around_labels_are_not_part_of_the_class_but_of_the_answer() -> None:
    labels = np.where(IS_BRIGHT, " very bright", " dark ")  # as pandas reads "a.png, very bright"
    fitted = RoiClassifier(**SMALL, target=" very bright").fit(PIXELS, labels)
    assert fitted.bundle.labels.names == ("dark", "very bright")
    assert fitted.bundle.labels.target == "very bright"
    np.testing.assert_array_equal(fitted.predict(PIXELS), labels)
    assert fitted.score(PIXELS, np.char.strip(labels)) == 1.0
    loaded = RoiClassifier.load(fitted.run_, device="cpu")
    assert loaded.classes_.tolist() == [" dark ", " very bright"]
    assert loaded.target == " very bright"


def test_cross_validation_and_pipeline() -> None:
    pipeline = make_pipeline(
        FunctionTransformer(np.flip, kw_args={"axis": 1}), RoiClassifier(**SMALL)
    )
    scores = cross_val_score(pipeline, PIXELS, IS_BRIGHT, cv=2, scoring="roc_auc")
    assert scores.tolist() == [1.0, 1.0]


def test_grid_search_over_the_margin_detects_each_picture_once(
    files: list[Path], tmp_path: Path, white_faces: FakeDetector
) -> None:
    classifier = RoiClassifier(**{**SMALL, "crop": "face"}, cache=tmp_path / "crops")
    search = GridSearchCV(
        classifier, {"margin": [0.0, 0.4]}, cv=2, refit=False, error_score="raise"
    )
    search.fit(list(map(str, files)), IS_BRIGHT)
    assert len(search.cv_results_["params"]) == 2
    fitting, scoring = 24, 2 * 24  # scoring looks at the pictures themselves, for each margin
    assert white_faces.calls == fitting + scoring


def test_warnings_of_the_training_reach_the_log(caplog: pytest.LogCaptureFixture) -> None:
    pixels = np.concatenate([PIXELS, PIXELS[:1]])
    with caplog.at_level("INFO", "roi_cls.fitting"):
        RoiClassifier(**SMALL).fit(pixels, [*IS_BRIGHT, False])
    texts = [record.getMessage() for record in caplog.records]
    assert any(text.startswith("The same bytes have two labels: ") for text in texts)
    assert sum(text.startswith("epoch ") for text in texts) == 3


def test_parameters_are_shown_and_set() -> None:
    classifier = RoiClassifier("resnet18", margin=0.1)
    assert repr(classifier) == "RoiClassifier(margin=0.1, model='resnet18')"
    assert classifier.set_params(epochs=3).get_params()["epochs"] == 3
    with pytest.raises(ValueError, match="Invalid parameter 'epoch'"):
        classifier.set_params(epoch=3)


def test_public_names_load_when_they_are_asked_for() -> None:
    code = (
        "import sys, roi_cls; light = {'numpy', 'sklearn', 'torch', 'cv2'} & set(sys.modules);"
        "assert not light, light;"
        "assert set(roi_cls.__all__) <= set(dir(roi_cls));"
        "[getattr(roi_cls, name) for name in roi_cls.__all__];"
        "assert 'torch' not in sys.modules;"
        "from roi_cls import *; RoiClassifier, crop_faces, CropParams, open_predictor;"
        "roi_cls.nothing"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip().endswith(
        "AttributeError: module 'roi_cls' has no attribute 'nothing'"
    )
