"""YuNet alone on drawn people: found as BlazeFace finds them, at many scales, in quiet."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from roi_cls.base.errors import DetectorModelError
from roi_cls.data.demo.picture import draw_picture, place_persons
from roi_cls.roi.detection.mediapipe import BlazeFace
from roi_cls.roi.detection.models import DetectorModel, resolve_models
from roi_cls.roi.detection.yunet import YuNet
from roi_cls.roi.face import Box, Face
from roi_cls.roi.image import Image
from tests.helpers.pictures import noise

FLOOR = 0.2


@pytest.fixture(scope="module")
def models() -> tuple[DetectorModel, ...]:
    return resolve_models("auto")


@pytest.fixture(scope="module")
def yunet(models: tuple[DetectorModel, ...]) -> Iterator[YuNet]:
    with YuNet(models[2], FLOOR) as network:
        yield network


@pytest.fixture(scope="module")
def short(models: tuple[DetectorModel, ...]) -> Iterator[BlazeFace]:
    with BlazeFace(models[0], FLOOR) as network:
        yield network


def best(faces: tuple[Face, ...]) -> Face:
    return max(faces, key=lambda face: face.score)


def scale(image: Image, factor: float) -> Image:
    resized = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return np.asarray(resized, np.uint8)


@pytest.mark.parametrize("index", range(9))
@pytest.mark.parametrize("factor", [0.25, 0.5, 1.0, 1.5])
def test_drawn_face_is_found_where_it_was_drawn(yunet: YuNet, index: int, factor: float) -> None:
    (person,) = place_persons(0, index)
    face = best(yunet.see(scale(draw_picture(0, index, None), factor)))
    assert face.model == "yunet"
    assert face.score > 0.8
    assert face.box.width == pytest.approx(face.box.height)
    box = Box(*(side / factor for side in face.box.xyxy))
    assert box.iou(person.face_box) > 0.5


def test_each_of_two_people_is_found(yunet: YuNet) -> None:
    persons = place_persons(0, 9)
    faces = yunet.see(draw_picture(0, 9, None))
    assert len(persons) == 2
    for person in persons:
        assert max(face.box.iou(person.face_box) for face in faces if face.score > 0.8) > 0.5


@pytest.mark.parametrize("index", range(10))
def test_face_is_told_as_blazeface_tells_it(yunet: YuNet, short: BlazeFace, index: int) -> None:
    image = draw_picture(0, index, None)
    expected = best(short.see(image))
    face = max(yunet.see(image), key=lambda face: face.box.iou(expected.box))
    assert face.box.iou(expected.box) > 0.6
    assert len(face.keypoints) == len(expected.keypoints) == 6
    for point, other in zip(face.keypoints, expected.keypoints, strict=True):
        assert np.hypot(*np.subtract(point, other)) < 0.3 * expected.box.width
    right_eye, left_eye, nose, mouth, right_ear, left_ear = face.keypoints
    assert right_ear[0] < right_eye[0] < nose[0] < left_eye[0] < left_ear[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < mouth[1]


@pytest.mark.parametrize(
    "shape",
    [(1, 1), (1, 2), (3, 2), (17, 5), (31, 33), (1, 3000), (3000, 1), (320, 1), (7, 320)],
)
def test_picture_of_any_shape_has_an_answer(yunet: YuNet, shape: tuple[int, int]) -> None:
    for image in (np.full((*shape, 3), 128, np.uint8), noise(*shape, 3)):
        assert [face for face in yunet.see(image) if face.score >= 0.5] == []


def test_answer_does_not_depend_on_what_was_asked_before(yunet: YuNet) -> None:
    image = draw_picture(0, 0, None)
    before = yunet.see(image)
    yunet.see(noise(90, 50, 3))
    assert yunet.see(image) == before
    view = np.asfortranarray(image)
    view.flags.writeable = False  # as a picture's pixels are
    assert yunet.see(view) == before


def test_faces_are_told_from_the_floor_on(models: tuple[DetectorModel, ...]) -> None:
    image = draw_picture(0, 1, None)
    for floor in (0.0, 0.2, 0.95):
        with YuNet(models[2], floor) as network:
            assert all(face.score >= floor for face in network.see(image))
            assert bool(network.see(image)) == (floor < 0.9)


def test_loading_and_looking_say_nothing(
    models: tuple[DetectorModel, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    with YuNet(models[2], FLOOR) as network:
        network.see(draw_picture(0, 0, None))
        network.see(np.zeros((1, 1, 3), np.uint8))
    assert capfd.readouterr() == ("", "")


def test_closing_twice_does_nothing(models: tuple[DetectorModel, ...]) -> None:
    network = YuNet(models[2], FLOOR)
    network.close()
    network.close()


@pytest.mark.parametrize(
    ("kept", "reason"),
    [
        (0, "model_proto.has_graph()"),
        (8, "Failed to parse onnx model"),
        (100_000, "Failed to parse onnx model"),
        (-1, "Failed to parse onnx model"),
    ],
)
def test_damaged_model_is_told(
    tmp_path: Path,
    models: tuple[DetectorModel, ...],
    capfd: pytest.CaptureFixture[str],
    kept: int,
    reason: str,
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(models[2].path.read_bytes()[:kept])
    with pytest.raises(DetectorModelError) as caught:
        YuNet(DetectorModel("yunet", path, "0" * 64), FLOOR)
    message = str(caught.value)
    start = re.escape(f"Cannot load the face detector {str(path)!r}: OpenCV says '{reason}")
    remedy = r"\. Remove the file and run `roi-cls doctor --fetch`, or use --detector mediapipe\."
    assert re.fullmatch(f"{start}[^\n/]*'{remedy}", message)
    assert capfd.readouterr() == ("", "")


def test_model_that_vanished_is_told(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    expected = f"Cannot load the face detector {str(path)!r}: No such file or directory. Remove "
    with pytest.raises(DetectorModelError, match=f"^{re.escape(expected)}"):
        YuNet(DetectorModel("yunet", path, "0" * 64), FLOOR)


_LOOKS = """
import resource, sys
import numpy as np
from roi_cls.roi.detection.models import resolve_models
from roi_cls.roi.detection.yunet import YuNet

def look(times):
    for i in range(times):
        with YuNet(model, 0.2) as network:  # of other sizes in turn, as pictures are
            for height, width in ((240, 320), (320, 240), (300, 320), (90, 120)):
                network.see(np.full((height, width, 3), i, np.uint8))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

model = resolve_models("auto", fetch=False)[2]
before = look(5)
unit = 1024 if sys.platform == "darwin" else 1  # bytes there, kB elsewhere
print((look(40) - before) // unit)
"""


@pytest.mark.usefixtures("models")
def test_memory_does_not_grow() -> None:
    words = [sys.executable, "-c", _LOOKS]
    grown_kb = int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    assert grown_kb < 15_000  # 160 looks, of which the input alone has 150,000 kB
