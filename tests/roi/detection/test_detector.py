"""The real networks on drawn people: found where they are, quiet, without what they do not use."""

import dataclasses
import multiprocessing
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest

from roi_cls.base.errors import DetectorModelError
from roi_cls.data.demo.picture import draw_picture, place_persons
from roi_cls.roi.detection.detector import NetworkDetector, stand_ins
from roi_cls.roi.detection.models import DetectorModel, resolve_models
from roi_cls.roi.face import Box, Detection
from roi_cls.roi.image import Image
from roi_cls.roi.params import CropParams
from roi_cls.roi.picture import Picture

PARAMS = CropParams()
BLANK = Picture.of(np.full((60, 60, 3), 128, np.uint8))
SURE_INDEX = 0
"""Of a drawn picture with a face that short range is sure of."""


@pytest.fixture(scope="module")
def models() -> tuple[DetectorModel, ...]:
    return resolve_models("auto")


@pytest.fixture(scope="module")
def detector(models: tuple[DetectorModel, ...]) -> Iterator[NetworkDetector]:
    with NetworkDetector(models, PARAMS) as detector:
        yield detector


@pytest.mark.parametrize("index", range(6))
def test_drawn_face_is_found_where_it_was_drawn(detector: NetworkDetector, index: int) -> None:
    persons = place_persons(0, index)
    detection = detector.detect(Picture.of(draw_picture(0, index, None)))
    assert (detection.height, detection.width) == (448, 640)
    for person in persons[:1]:
        face = detection.faces[0]
        assert face.score >= 0.5
        assert len(face.keypoints) == 6
        assert face.box.iou(person.face_box) > 0.3
        (right_x, _), (left_x, _) = face.keypoints[:2]
        assert face.box.left < right_x < left_x < face.box.right


def test_grey_noise_holds_no_face(detector: NetworkDetector) -> None:
    noise = np.random.default_rng(0).integers(100, 150, (240, 320, 1), np.uint8)
    detection = detector.detect(Picture.of(np.repeat(noise, 3, axis=2)))
    assert not [face for face in detection.faces if face.score >= PARAMS.min_score]


@pytest.mark.parametrize("index", range(6))
@pytest.mark.parametrize("scale", [1.0, 0.4, 0.15])
def test_mirrored_picture_gives_the_mirrored_faces(
    detector: NetworkDetector, index: int, scale: float
) -> None:
    image = draw_picture(0, index, None)
    size = (round(640 * scale), round(448 * scale))
    image[:] = cv2.copyMakeBorder(
        cv2.resize(image, size, interpolation=cv2.INTER_AREA),
        *(0, 448 - size[1], 0, 640 - size[0]),
        cv2.BORDER_REPLICATE,
    )
    faces = detector.detect(Picture.of(image)).faces
    mirrored = detector.detect(Picture.of(np.ascontiguousarray(image[:, ::-1]))).faces
    assert len(faces) == len(mirrored)
    for one, other in zip(faces, mirrored, strict=True):
        left, top, right, bottom = one.box.xyxy
        assert other.box.xyxy == pytest.approx((640 - right, top, 640 - left, bottom), abs=2)
        assert one.score == pytest.approx(other.score, abs=0.02)
        (eye_x, eye_y), _ = one.keypoints[:2]
        assert other.keypoints[1] == pytest.approx((640 - eye_x, eye_y), abs=2)


def test_small_face_in_a_large_picture_is_found_on_tiles(detector: NetworkDetector) -> None:
    drawn, person = draw_picture(0, 0, None), place_persons(0, 0)[0]
    image = np.full((1400, 2100, 3), drawn.mean(axis=(0, 1)).astype(np.uint8), np.uint8)
    part = cv2.resize(drawn, (224, 157), interpolation=cv2.INTER_AREA)
    image[900:1057, 1500:1724] = part
    detection = detector.detect(Picture.of(image))
    left, top, right, bottom = (0.35 * value for value in person.face_box.xyxy)
    assert detection.step == "tiles"
    expected = Box(1500 + left, 900 + top, 1500 + right, 900 + bottom)
    assert detection.faces[0].score >= 0.5
    assert detection.faces[0].box.iou(expected) > 0.3


def test_faces_come_best_first(detector: NetworkDetector) -> None:
    for index in range(4):
        scores = [
            face.score for face in detector.detect(Picture.of(draw_picture(0, index, None))).faces
        ]
        assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (3, 2), (1, 40_000), (40_000, 3), (17, 5)])
def test_picture_of_any_shape_has_an_answer(
    detector: NetworkDetector, shape: tuple[int, int]
) -> None:
    detection = detector.detect(Picture.of(np.full((*shape, 3), 128, np.uint8)))
    assert (detection.height, detection.width) == shape


def test_array_that_is_a_view_has_the_same_answer(detector: NetworkDetector) -> None:
    image = draw_picture(0, 0, None)
    view = Picture.of(np.asfortranarray(image))
    assert detector.detect(view) == detector.detect(Picture.of(image))


def test_face_in_a_shrunk_picture_is_told_in_its_own_pixels(
    detector: NetworkDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = Picture.of(draw_picture(0, 0, None))
    face = detector.detect(picture).faces[0]
    monkeypatch.setattr(detector, "LONGEST_SIDE_PX", 320)
    shrunk = detector.detect(picture)
    assert (shrunk.height, shrunk.width) == (448, 640)
    assert shrunk.faces[0].box.iou(face.box) > 0.7
    assert shrunk.faces[0].keypoints[0] == pytest.approx(face.keypoints[0], abs=12)


def test_second_network_is_asked_only_where_the_first_is_not_sure(
    models: tuple[DetectorModel, ...],
) -> None:
    drawn = Picture.of(draw_picture(0, SURE_INDEX, None))
    with NetworkDetector(models, PARAMS) as detector:
        detection = detector.detect(drawn)
        assert detection.step == "short"
        assert {face.model for face in detection.faces} == {"short"}
        assert list(detector._networks) == ["short"]
        assert detector.detect(BLANK).step == "tiles"
        assert list(detector._networks) == ["short", "full"]


@pytest.mark.parametrize("kind", ["short", "full"])
def test_one_network_sees_the_whole_frame_only(kind: Literal["short", "full"]) -> None:
    params = CropParams(detector=kind)
    with NetworkDetector(resolve_models(kind), params) as detector:
        detection = detector.detect(Picture.of(draw_picture(0, SURE_INDEX, None)))
        assert detection.step == kind
        assert {face.model for face in detection.faces} == {kind}
        assert detector.detect(BLANK) == Detection(60, 60, (), kind)


def test_model_of_the_user_sees_the_whole_frame_only(models: tuple[DetectorModel, ...]) -> None:
    own = dataclasses.replace(models[1], name="custom")
    with NetworkDetector([own], PARAMS) as detector:
        detection = detector.detect(Picture.of(draw_picture(0, SURE_INDEX, None)))
        assert detection.step is None
        assert {face.model for face in detection.faces} == {"custom"}
        assert not detector.detect(BLANK).faces


def test_stricter_score_asks_the_second_network(models: tuple[DetectorModel, ...]) -> None:
    with NetworkDetector(models, CropParams(min_score=1.0)) as detector:
        detection = detector.detect(Picture.of(draw_picture(0, 0, None)))
        assert list(detector._networks) == ["short", "full"]
    assert detection.step == "tiles"
    assert detection.faces[0].score > 0.5


def test_closing_twice_does_nothing(models: tuple[DetectorModel, ...]) -> None:
    detector = NetworkDetector(models[:1], PARAMS)
    detector.detect(BLANK)
    detector.close()
    detector.close()


@pytest.mark.parametrize("content", [b"", b"no model", b"\x1c\0\0\0TFL3 and no more"])
def test_damaged_model_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with (
        NetworkDetector([DetectorModel("custom", path, "0" * 64)], PARAMS) as detector,
        pytest.raises(DetectorModelError) as caught,
    ):
        detector.detect(BLANK)
    message = str(caught.value)
    assert message.startswith(f"Cannot load the face detector {str(path)!r}: ")
    assert message.endswith(
        ". Give a MediaPipe face detection model (.tflite) or leave --detector-model out."
    )
    assert "\n" not in message


def test_model_that_vanished_is_told(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    with (
        NetworkDetector([DetectorModel("custom", path, "0" * 64)], PARAMS) as detector,
        pytest.raises(DetectorModelError, match=r"^Cannot load the face detector .*No such file"),
    ):
        detector.detect(BLANK)


def test_cut_model_is_told(tmp_path: Path, models: tuple[DetectorModel, ...]) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(models[0].path.read_bytes()[:100_000])
    with (
        NetworkDetector([DetectorModel("custom", path, "0" * 64)], PARAMS) as detector,
        pytest.raises(DetectorModelError, match=r"Give a MediaPipe face detection model \(\.tfl"),
    ):
        detector.detect(BLANK)


def test_missing_library_is_told(
    monkeypatch: pytest.MonkeyPatch, models: tuple[DetectorModel, ...]
) -> None:
    monkeypatch.setitem(sys.modules, "mediapipe.tasks.python", None)
    with (
        NetworkDetector(models, PARAMS) as detector,
        pytest.raises(DetectorModelError, match=r"^Cannot load MediaPipe: .*apt-get install -y "),
    ):
        detector.detect(BLANK)


SCRIPT = """
import numpy as np
from roi_cls.roi import CropParams
from roi_cls.roi.detection.detector import NetworkDetector
from roi_cls.roi.detection.models import resolve_models
from roi_cls.roi.picture import Picture

picture = Picture.of(np.full((60, 60, 3), 128, np.uint8))
with NetworkDetector(resolve_models("auto", fetch=False), CropParams()) as detector:
    print(len(detector.detect(picture).faces))
"""


@pytest.mark.usefixtures("models")
def test_process_that_detects_says_nothing_on_stderr() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")


def _detect_there(models: tuple[DetectorModel, ...], image: Image) -> Detection:
    with NetworkDetector(models, PARAMS) as detector:
        return detector.detect(Picture.of(image))


def test_spawned_process_sees_the_same(
    detector: NetworkDetector,
    models: tuple[DetectorModel, ...],
) -> None:
    image = draw_picture(0, 0, None)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_detect_there, (models, image)) == detector.detect(Picture.of(image))


LIBRARY = "import heavy_parent.child as child\nimport heavy_other\n"


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Modules in a folder of their own; each notes when it is imported."""
    log = str(tmp_path / "log")
    note = f"with open({log!r}, 'a') as file:\n    file.write(__name__ + ' ')\n"
    (tmp_path / "heavy_parent").mkdir()
    (tmp_path / "heavy_parent" / "__init__.py").write_text(note + "VALUE = 1\n")
    (tmp_path / "heavy_parent" / "child.py").write_text(note + "VALUE = 2\n")
    (tmp_path / "heavy_other.py").write_text(note)
    (tmp_path / "light_library.py").write_text(note + LIBRARY)
    (tmp_path / "log").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "log"
    for name in ("heavy_parent", "heavy_parent.child", "heavy_other", "light_library"):
        sys.modules.pop(name, None)


NAMES = ("heavy_parent", "heavy_parent.child", "heavy_other")


def test_parts_not_used_are_not_imported_until_they_are(library: Path) -> None:
    with stand_ins(*NAMES):
        import light_library  # type: ignore[import-not-found]  # written by the test
    assert library.read_text() == "light_library "
    assert not {*NAMES} & {*sys.modules}
    assert light_library.child.VALUE == 2
    assert library.read_text() == "light_library heavy_parent heavy_parent.child "
    import heavy_parent.child  # type: ignore[import-not-found]  # written by the test

    assert heavy_parent.child.VALUE == 2


def test_part_used_while_importing_is_imported_then(library: Path) -> None:
    with stand_ins(*NAMES):
        import heavy_parent.child as child

        assert child.VALUE == 2
    assert sys.modules["heavy_parent.child"].VALUE == 2  # the true one


def test_what_is_imported_already_stays(library: Path) -> None:
    import heavy_parent

    with stand_ins(*NAMES):
        import heavy_other  # type: ignore[import-not-found]  # written by the test

        assert sys.modules["heavy_parent"] is heavy_parent
        assert sys.modules["heavy_other"] is heavy_other
    assert "heavy_other" in library.read_text()


def test_mediapipe_comes_without_matplotlib_and_draws_with_it() -> None:
    code = """
import sys
from roi_cls.roi.mediapipe_detector import import_mediapipe
import_mediapipe()
from mediapipe.tasks.python import vision
print("matplotlib" in sys.modules, "sounddevice" in sys.modules)
print(vision.drawing_utils.plt.figure.__module__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\nmatplotlib.pyplot\n"
