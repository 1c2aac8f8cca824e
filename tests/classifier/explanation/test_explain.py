"""An explainer asks the model for the face that is shown, and tells how it found its answer."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from roi_cls.base.errors import DataError
from roi_cls.classifier.config import BATCH_SIZE
from roi_cls.classifier.explanation.explain import Explainer, ExplainMethod
from roi_cls.classifier.explanation.heat import Heat
from roi_cls.classifier.inference.prediction import PredictOptions, Source
from roi_cls.classifier.inference.predictor import Predictor, open_predictor
from roi_cls.classifier.inference.scorer import OpenedModel
from roi_cls.classifier.runs.bundle import load_bundle
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.training.job import Observers
from roi_cls.classifier.training.run import train_run
from roi_cls.roi import Box, CropParams, Face
from tests.helpers.fakes import replace_mediapipe, see, see_boxes
from tests.helpers.pictures import encode, exif


class RedSpot:
    """A scorer without torch: of class ``red`` by how much red there is on a crop."""

    def __init__(self, run: RunFolder) -> None:
        self.bundle = load_bundle(run.path)
        self.views = self.bundle.views

    def probabilities(
        self, pixels_by_view: Sequence[NDArray[np.uint8]], batch_size: int = BATCH_SIZE
    ) -> NDArray[np.float64]:
        """Return (N, 2)."""
        crops = pixels_by_view[0].astype(np.float64)
        redness = np.clip(crops[..., 0] - crops[..., 2] - 60, 0, None)  # grey counts as none
        red = 1 / (1 + np.exp(3 - 2 * np.log1p(redness.mean(axis=(1, 2)))))
        pair = {"red": red, "blue": 1 - red}
        return np.stack([pair[name] for name in self.bundle.labels.names], axis=1)


@pytest.fixture(scope="module")
def predictor(toy_run: RunFolder) -> Iterator[Predictor]:
    with open_predictor([toy_run.path], "cpu") as opened:
        yield opened


@pytest.fixture
def picture(toy_set: Path) -> Source:
    return Source(str(toy_set / "red" / "00.png"))


def peak_of(heat: Heat) -> tuple[float, float]:
    assert heat.peak is not None
    return heat.peak


def test_two_classes_are_explained_by_the_one_looked_for(
    predictor: Predictor, picture: Source, toy_set: Path
) -> None:
    explainer = Explainer(predictor)
    for source in (picture, Source(str(toy_set / "blue" / "00.png"))):
        explanation = explainer.explain(source)
        assert (explanation.label, explanation.method) == ("red", "grad-cam")
        (heat,) = explanation.heats
        assert heat.heat.shape == heat.crop.shape[:2] == (32, 32)
        assert 0 <= heat.heat.min() <= heat.heat.max() <= 1
        assert explanation.looked.prediction == next(predictor.predict([source]))


def test_named_class_is_explained(predictor: Predictor, picture: Source) -> None:
    explainer = Explainer(predictor)
    for_red, for_blue = (explainer.explain(picture, name).heats[0] for name in ("red", "blue"))
    np.testing.assert_allclose(for_red.effect, -for_blue.effect, rtol=1e-3, atol=1e-4)


def test_of_three_classes_the_answer_is_explained(
    draw_set: Callable[..., Path], make_job: Callable[..., object], tmp_path: Path
) -> None:
    source = draw_set(tmp_path / "set", red=9, blue=9, green=9)
    job = make_job(source, tmp_path / "run", epochs=1)
    assert train_run(job, Observers()).trained  # type: ignore[arg-type]  # a TrainJob
    with open_predictor([tmp_path / "run"], "cpu") as predictor:
        explanation = Explainer(predictor).explain(Source(str(source / "green" / "00.png")))
    assert explanation.label == explanation.looked.prediction.label


def test_blanks_around_the_class_do_not_count(predictor: Predictor, picture: Source) -> None:
    assert Explainer(predictor).explain(picture, " blue ").label == "blue"


def test_unknown_class_is_refused(predictor: Predictor, picture: Source) -> None:
    message = "Cannot explain the class 'cat': the model knows blue, red. Name one of these."
    with pytest.raises(DataError, match=f"^{message}$"):
        Explainer(predictor).explain(picture, "cat")


def test_picture_in_error_is_a_row_without_heat(predictor: Predictor) -> None:
    explanation = Explainer(predictor).explain(Source("none.png"))
    assert explanation.looked.prediction.status == "error"
    assert (explanation.heats, explanation.label) == ((), "red")


def test_model_without_gradients_is_explained_by_occlusion(
    toy_run: RunFolder, picture: Source
) -> None:
    model = OpenedModel("red spot", RedSpot(toy_run), (toy_run.detector,))
    with Predictor(model) as predictor:
        explainer = Explainer(predictor)
        assert explainer.method == "occlusion"
        explanation = explainer.explain(picture)
    assert (explanation.method, len(explanation.heats)) == ("occlusion", 1)
    assert explanation.heats[0].effect.any()


def test_repeated_and_from_threads_it_says_the_same(predictor: Predictor, picture: Source) -> None:
    explainer = Explainer(predictor)
    expected = explainer.explain(picture).heats[0].effect
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(explainer.explain(picture).heats[0].effect))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for effect in found:
        np.testing.assert_array_equal(effect, expected)


def spot(x: int, y: int) -> NDArray[np.uint8]:
    """Return a blue picture of 120 x 90 px with a red spot about (x, y)."""
    pixels = np.full((90, 120, 3), (40, 40, 200), np.uint8)
    pixels[max(0, y - 5) : y + 5, max(0, x - 5) : x + 5] = (255, 0, 0)
    return pixels


@pytest.mark.parametrize(
    "crop",
    [
        CropParams(crop="full", size_px=32),
        CropParams(crop="full", size_px=32, full_frame="squash"),
        CropParams(margin=0.4, size_px=32, min_face_px=0),
        CropParams(margin=1.5, size_px=32, min_face_px=0),
        CropParams(margin=0.4, size_px=32, min_face_px=0, align=True),
    ],
    ids=["padded", "squashed", "face", "beyond the border", "aligned"],
)
@pytest.mark.parametrize("orientation", [1, 6], ids=["upright", "turned by EXIF"])
def test_heat_lies_on_the_frame_where_the_spot_is(
    toy_run: RunFolder, monkeypatch: pytest.MonkeyPatch, crop: CropParams, orientation: int
) -> None:
    points = ((40.0, 30.0), (70.0, 50.0)) + ((55.0, 45.0),) * 4
    replace_mediapipe(monkeypatch, see(Face(Box(30, 20, 80, 70), 0.9, points, "short")))
    scorer = RedSpot(toy_run)
    scorer.views = (crop,)
    upright = spot(64, 38)
    stored = np.ascontiguousarray(np.rot90(upright)) if orientation == 6 else upright
    with Predictor(OpenedModel("red spot", scorer, ())) as predictor:
        source = Source("spot.png", encode(stored, exif=exif(orientation)))
        (heat,) = Explainer(predictor).explain(source).heats
    pixel = max(heat.cut.region.width, heat.cut.region.height) / 32
    assert np.abs(np.subtract(peak_of(heat), (64, 38))).max() <= max(6, 3 * pixel)


def test_of_several_faces_the_one_that_is_shown_is_explained(
    toy_run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = (Box(10, 10, 50, 50), Box(70, 40, 100, 70))
    replace_mediapipe(monkeypatch, see_boxes(*boxes))
    scorer = RedSpot(toy_run)
    scorer.views = (CropParams(margin=0.1, size_px=32, min_face_px=0),)
    opened = OpenedModel("red spot", scorer, ())
    for place, box in zip(((30, 30), (85, 55)), boxes, strict=True):
        with Predictor(opened, PredictOptions(face="all")) as predictor:
            source = Source("two.png", encode(spot(*place)))
            explanation = Explainer(predictor).explain(source)
        assert explanation.looked.prediction.box == box.xyxy
        (heat,) = explanation.heats
        assert heat.cut.face is not None
        assert heat.cut.face.box == box
        assert np.abs(np.subtract(peak_of(heat), place)).max() <= 5


def test_module_needs_no_torch() -> None:
    code = "import sys, roi_cls.classifier.explanation.explain; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("kind", "asked", "told"),
    [
        ("autoencoder", "grad-cam", "own-map"),
        ("evidence", "grad-cam", "own-map"),
        ("evidence", "occlusion", "occlusion"),
        ("timm", "grad-cam", "grad-cam"),
    ],
)
def test_a_network_that_answers_by_a_map_is_not_said_to_be_asked_for_gradients(
    toy_run: RunFolder, kind: str, asked: ExplainMethod, told: str
) -> None:
    with open_predictor([toy_run.path], "cpu") as predictor:
        predictor.bundle = replace(predictor.bundle, network={"kind": kind})
        assert Explainer(predictor, asked).method == told
