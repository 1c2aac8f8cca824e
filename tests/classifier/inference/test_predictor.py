"""Prediction: one truthful row per picture, in order, however it is given and batched."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from roi_cls.base.errors import BundleError
from roi_cls.classifier.inference.loaded import LoadedModel
from roi_cls.classifier.inference.prediction import Prediction, PredictOptions, Source
from roi_cls.classifier.inference.predictor import Predictor, open_predictor
from roi_cls.classifier.models.device import choose_backend
from roi_cls.classifier.models.score import compute_logits
from roi_cls.classifier.models.timm_model import timm_model
from roi_cls.classifier.runs.bundle import load_bundle, write_config
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.console.words import looked_at_text
from roi_cls.data.sample import LabelSet
from roi_cls.roi import CropParams
from roi_cls.roi.detection import detector, models
from roi_cls.roi.recipe import open_recipe
from tests.helpers.colours import PROFILES, store
from tests.helpers.pictures import encode, noise


@pytest.fixture(scope="module")
def pictures(toy_set: Path) -> list[Source]:
    """All pictures of the toy set, with one in error in their midst."""
    paths = sorted(map(str, toy_set.rglob("*.png")))
    found = [Source(path) for path in paths]
    found.insert(5, Source("absent.png"))
    found.insert(9, Source("bytes.png", b"no picture"))
    return found


def test_rows_keep_the_order_and_errors_are_rows(
    toy_run: RunFolder, pictures: list[Source]
) -> None:
    with open_predictor([toy_run.path], "cpu", options=PredictOptions(batch_size=4)) as predictor:
        rows = list(predictor.predict(iter(pictures)))
    assert [row.path for row in rows] == [picture.path for picture in pictures]
    failed = [i for i, row in enumerate(rows) if row.status == "error"]
    assert failed == [5, 9]
    for i in failed:
        values = rows[i].to_dict()
        error = values.pop("error")
        assert error.startswith(f"Cannot read {pictures[i].path!r}: ")
        filled = {key for key, value in values.items() if value not in (None, False, 0)}
        assert filled == {"path", "status"}


def test_batch_does_not_change_scores(toy_run: RunFolder, pictures: list[Source]) -> None:
    with open_predictor([toy_run.path], "cpu", options=PredictOptions(batch_size=1)) as predictor:
        alone = list(predictor.predict(pictures))
    with open_predictor([toy_run.path], "cpu", options=PredictOptions(batch_size=32)) as predictor:
        many = list(predictor.predict(pictures))
    assert alone == many


@pytest.mark.parametrize("name", ["test_efficientnet", "test_vit", "test_convnext"])
@pytest.mark.parametrize("mirror", [False, True])
def test_probabilities_have_the_same_bits_in_any_batch(
    toy_run: RunFolder, name: str, mirror: bool
) -> None:
    torch.manual_seed(0)
    network, backend = timm_model(name, num_classes=2), choose_backend("cpu", "fp32")
    bundle = replace(load_bundle(toy_run.path), mirror=mirror)
    pixels = noise(33, 160, 160, 3)
    logits = compute_logits(network, pixels, bundle.normalisation, backend, mirror=mirror)
    spread = float(logits.std(axis=0).max())  # with it, as sure of its answers as a trained one
    offsets = tuple(map(float, -logits.mean(axis=0) / spread))
    bundle = replace(bundle, temperature=spread, offsets=offsets)
    model = LoadedModel(bundle, backend, network)
    many = model.probabilities([pixels], 32)
    assert np.ptp(many[:, 0]) > 0.5
    for size in (1, 7):
        assert (model.probabilities([pixels], size) == many).all()
    assert (model.probabilities([pixels[5:9]], 32) == many[5:9]).all()


def test_processes_do_not_change_the_rows(toy_run: RunFolder, pictures: list[Source]) -> None:
    rows = []
    for workers in (0, 2):
        options = PredictOptions(batch_size=8, workers=workers)
        with open_predictor([toy_run.path], "cpu", options=options) as predictor:
            rows.append(list(predictor.predict(iter(pictures))))
            rows.append([looked.prediction for looked in predictor.judge(pictures)])
    assert all(found == rows[0] for found in rows)


def test_pictures_are_taken_as_they_are_needed(toy_run: RunFolder, toy_set: Path) -> None:
    taken = 0

    def endless() -> Iterator[Source]:
        nonlocal taken
        while True:
            taken += 1
            yield Source(str(toy_set / "red" / "03.png"))

    options = PredictOptions(batch_size=4)
    with open_predictor([toy_run.path], "cpu", options=options) as predictor:
        rows = predictor.predict(endless())
        for answered in range(1, 60):
            assert next(rows).status == "ok"
            assert taken <= answered + 4 + 2 * 4 + 1  # a batch, two ahead, one at work
        del rows


def test_bytes_and_file_give_the_same_row(toy_run: RunFolder, toy_set: Path) -> None:
    path = toy_set / "red" / "03.png"
    with open_predictor([toy_run.path], "cpu") as predictor:
        file, data = predictor.predict([Source(str(path)), Source(str(path), path.read_bytes())])
    assert file == data


def test_profile_in_the_file_is_followed_and_told(toy_run: RunFolder, toy_set: Path) -> None:
    path = toy_set / "red" / "03.png"
    with PillowImage.open(path) as picture:
        pixels = np.array(picture.convert("RGB"))
    files = [
        encode(pixels, "PNG"),
        encode(store(pixels, "Display P3"), "PNG", icc_profile=PROFILES["Display P3"]),
        encode(pixels, "TIFF", icc_profile=b"broken"),
    ]
    with open_predictor([toy_run.path], "cpu") as predictor:
        plain, wide, broken = predictor.predict([Source("a", data) for data in files])
    notes = [row.color_profile for row in (plain, wide, broken)]
    assert notes == [None, "Display P3", "ignored: broken"]
    assert wide.label == plain.label
    assert wide.score == pytest.approx(plain.score, abs=0.02)
    assert replace(broken, color_profile=None) == plain
    assert looked_at_text(wide) == looked_at_text(plain)
    assert looked_at_text(broken) == f"{looked_at_text(plain)}, colour profile ignored: broken"


def test_whole_picture_is_predicted_without_a_detector(
    toy_run: RunFolder, toy_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("asked for a detector")

    monkeypatch.setattr(detector, "NetworkDetector", refuse)
    monkeypatch.setattr(models, "resolve_models", refuse)
    with open_predictor([toy_run.path], "cpu") as predictor:
        (row,) = predictor.predict([Source(str(toy_set / "blue" / "00.png"))])
    values = json.loads(json.dumps(row.to_dict()))
    assert values["status"] == "ok"
    assert values["label"] == "blue"
    assert values["source"] == "full_frame"
    assert (values["reason"], values["box"], values["face_score"]) == (None, None, None)
    assert (values["faces"], values["unsure"], values["error"]) == (0, False, None)
    assert values["threshold"] == load_bundle(toy_run.path).threshold
    assert list(values) == [
        *("path", "status", "error", "label", "score", "probabilities", "unsure", "source"),
        *("reason", "box", "face_score", "faces", "per_face", "time_s", "frames", "threshold"),
        *("damaged", "color_profile", "roll", "runtime"),
    ]


def test_larger_pictures_than_allowed_are_errors(toy_run: RunFolder, toy_set: Path) -> None:
    path = str(toy_set / "red" / "00.png")
    with open_predictor([toy_run.path], "cpu", options=PredictOptions(max_pixels=100)) as predictor:
        (row,) = predictor.predict([Source(path)])
    assert row.status == "error"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"workers": -1}, "workers must be at least 0, got -1"),
        ({"threshold": 1.5}, "threshold must be between 0 and 1, got 1.5"),
        ({"abstain": 1.0}, "abstain must be from 0 to below 1, got 1.0"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PredictOptions(**options)


def test_run_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="there is no finished model in it"):
        open_predictor([tmp_path], "cpu")


def test_detector_is_asked_for_by_the_bundles_hashes_and_closed(
    toy_run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = json.loads((toy_run.path / "config.json").read_text())
    config["roi_cls"]["views"][0] |= {
        "crop": "face",
        "detector_sha256": ["ab"],
        "detector": "short",
    }
    for path in toy_run.path.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    write_config(tmp_path, config)
    asked: dict[str, object] = {}
    closed: list[bool] = []
    searched: list[str] = []

    class Detector:
        def __init__(self, models: object, crop: CropParams) -> None:
            asked["models"] = models
            searched.append(crop.face)

        def close(self) -> None:
            closed.append(True)

    def resolve(detector: str, **values: object) -> tuple[str]:
        asked.update(values, detector=detector)
        return ("model",)

    monkeypatch.setattr(detector, "NetworkDetector", Detector)
    monkeypatch.setattr(models, "resolve_models", resolve)
    run = RunFolder(tmp_path)
    with open_predictor([run.path], "cpu", options=PredictOptions(detector_model=Path("given"))):
        assert closed == []
    assert closed == [True]
    assert asked == {
        "detector": "short",
        "given": Path("given"),
        "expected_sha256": ("ab",),
        "extra_dirs": (run.detector,),
        "models": ("model",),
    }
    with open_predictor([run.path], "cpu", options=PredictOptions(face="all")):
        assert searched == ["largest", "all"]  # it goes on where it has found one
    asked.clear()
    open_recipe(load_bundle(run.path).crop, None, (run.detector,)).open_detector()
    assert asked["given"] is None
    assert asked["models"] == ("model",)


def test_unknown_protocol_is_a_row_among_others(toy_run: RunFolder, toy_set: Path) -> None:
    sources = [Source("nowhere://a/b.png"), Source(str(toy_set / "red" / "00.png"))]
    with open_predictor([toy_run.path], "cpu") as predictor:
        bad, good = predictor.predict(sources)
    assert (bad.status, good.status) == ("error", "ok")
    assert (bad.error or "").startswith("Cannot open 'nowhere://a/b.png': ")


@pytest.mark.parametrize(
    ("scores", "threshold", "label", "told", "overruled"),
    [
        ({"odd": 0.15, "plain": 0.85}, 0.12, "odd", 0.12, "plain"),
        ({"odd": 0.6, "plain": 0.4}, 0.7, "plain", 0.7, "odd"),
        ({"odd": 0.8, "plain": 0.2}, 0.12, "odd", 0.12, None),
        ({"odd": 0.5, "plain": 0.5}, 0.5, "odd", 0.5, None),
        ({"odd": 0.2, "plain": 0.3, "other": 0.5}, None, "other", None, None),
        ({"odd": 0.2, "plain": 0.3, "other": 0.5}, 0.1, "other", None, None),  # it plays no part
    ],
)
def test_answer_tells_the_threshold_that_decided_it(
    scores: dict[str, float],
    threshold: float | None,
    label: str,
    told: float | None,
    overruled: str | None,
) -> None:
    labels = LabelSet(tuple(scores), "odd")
    bundle = SimpleNamespace(labels=labels, threshold=threshold, abstain=0.0)
    predictor: Any = SimpleNamespace(bundle=bundle)
    verdict = Predictor.verdict(predictor, np.array(list(scores.values())))
    row = Prediction("a.png", "ok", **verdict)
    assert (row.label, row.threshold, row.overruled()) == (label, told, overruled)


def test_face_of_many_is_an_answer_of_its_own() -> None:
    face = {"box": (1, 2, 3, 4), "face_score": 0.9, "roll": 90.0, "label": "odd", "score": 0.2}
    face["probabilities"] = {"odd": 0.2, "plain": 0.8}
    row = Prediction("a.png", "ok", source="face", per_face=(face, face), threshold=0.1)
    first, _ = row.of_each_face()
    assert {**face, "threshold": 0.1, "faces": 1}.items() <= first.to_dict().items()
    assert first.overruled() == "plain"
    assert list(Prediction("a.png", "error", "Cannot read.").of_each_face()) == []


def test_damaged_picture_is_read_where_the_call_says_so(toy_run: RunFolder, toy_set: Path) -> None:
    data = (toy_set / "blue" / "00.png").read_bytes()[:-12]  # whole, but for the last chunk
    sources = [Source("cut", data), Source(str(toy_set / "blue" / "00.png"))]
    reason = f"it is cut off after {len(data)} bytes"
    with open_predictor([toy_run.path], "cpu") as predictor:
        refused, whole = predictor.predict(sources)
    assert (refused.status, refused.damaged, whole.damaged) == ("error", reason, None)
    assert reason in str(refused.error)
    options = PredictOptions(damaged="read")
    with open_predictor([toy_run.path], "cpu", options=options) as predictor:
        read, again = predictor.predict(sources)
    assert (read.status, read.damaged, again) == ("ok", reason, whole)
    assert read.probabilities == whole.probabilities
