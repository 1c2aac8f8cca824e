"""Each way of looking with the real networks on drawn people: found where they are, in quiet."""

import dataclasses
import multiprocessing
import subprocess
import sys
from collections.abc import Iterator
from typing import Literal

import cv2
import numpy as np
import pytest

from roi_cls.data.demo.picture import draw_picture, place_persons
from roi_cls.roi.detection.detector import NetworkDetector
from roi_cls.roi.detection.glimpse import Glimpse
from roi_cls.roi.detection.models import DetectorModel, resolve_models
from roi_cls.roi.face import Box, Detection, Step
from roi_cls.roi.image import Image
from roi_cls.roi.params import CropParams, DetectorKind
from roi_cls.roi.picture import Picture
from roi_cls.roi.plan import plan_crop

PARAMS = CropParams()
BLANK = Picture.of(np.full((60, 60, 3), 128, np.uint8))
SURE_INDEX = 0
"""Of a drawn picture with a face that short range is sure of."""
SEARCHES: tuple[DetectorKind, ...] = ("auto", "mediapipe")


@pytest.fixture(scope="module")
def models() -> tuple[DetectorModel, ...]:
    return resolve_models("auto")


@pytest.fixture(scope="module")
def auto(models: tuple[DetectorModel, ...]) -> Iterator[NetworkDetector]:
    with NetworkDetector(models, PARAMS) as detector:
        yield detector


@pytest.fixture(scope="module", params=SEARCHES)
def detector(
    request: pytest.FixtureRequest, models: tuple[DetectorModel, ...]
) -> Iterator[NetworkDetector]:
    params = CropParams(detector=request.param)
    with NetworkDetector(resolve_models(params.detector), params) as detector:
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


@pytest.mark.parametrize("index", [0, 1, 6, 8])
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turned_face_is_found_as_it_lies(auto: NetworkDetector, index: int, turns: int) -> None:
    image, (person,) = draw_picture(0, index, None), place_persons(0, index)
    turned = np.ascontiguousarray(np.rot90(image, -turns))
    upright = auto.detect(Picture.of(image)).faces[0]
    detection = auto.detect(Picture.of(turned))
    face = Glimpse(turned, 0, 0, 1, angle=90 * turns).place(detection.faces[0])  # turned back
    assert face.score > 0.6
    assert face.box.iou(person.face_box) > 0.5
    assert face.box.iou(upright.box) > 0.7
    for point, expected in zip(face.keypoints, upright.keypoints, strict=True):
        assert np.hypot(*np.subtract(point, expected)) < 0.15 * upright.box.width


@pytest.mark.parametrize("index", [0, 1, 6, 8])
@pytest.mark.parametrize("lean", [-75, -50, -25, 25, 50, 75, 120])
def test_leaning_face_is_told_by_how_much_it_leans(
    auto: NetworkDetector, index: int, lean: int
) -> None:
    image = draw_picture(0, index, None)
    upright = auto.detect(Picture.of(image)).faces[0]
    assert upright.roll is not None
    matrix = cv2.getRotationMatrix2D(upright.box.center, -lean, 1.0)
    leaning = np.asarray(cv2.warpAffine(image, matrix, (640, 448), borderValue=(128, 128, 128)))
    face = auto.detect(Picture.of(leaning.astype(np.uint8))).faces[0]
    assert face.box.iou(upright.box) > 0.5
    assert face.roll == pytest.approx(upright.roll + lean, abs=8)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_aligned_crop_of_a_turned_face_is_upright(auto: NetworkDetector, turns: int) -> None:
    image = draw_picture(0, 0, None)
    angles = []
    for seen in (image, np.ascontiguousarray(np.rot90(image, -turns))):
        plan = plan_crop(auto.detect(Picture.of(seen)), CropParams(align=True))
        angles.append(plan.cuts[0].angle)
    assert (angles[1] - angles[0]) % 360 == pytest.approx(90 * turns, abs=10)


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


def test_small_face_in_a_large_picture_is_found_in_the_last_step(detector: NetworkDetector) -> None:
    drawn, person = draw_picture(0, 0, None), place_persons(0, 0)[0]
    image = np.full((1400, 2100, 3), drawn.mean(axis=(0, 1)).astype(np.uint8), np.uint8)
    part = cv2.resize(drawn, (224, 157), interpolation=cv2.INTER_AREA)
    image[900:1057, 1500:1724] = part
    detection = detector.detect(Picture.of(image))
    left, top, right, bottom = (0.35 * value for value in person.face_box.xyxy)
    assert detection.step in ("yunet", "tiles")
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


@pytest.mark.parametrize(
    ("kind", "last", "networks"),
    [("auto", "yunet", ["short", "yunet"]), ("mediapipe", "tiles", ["short", "full"])],
)
def test_further_networks_are_loaded_only_where_the_first_is_not_sure(
    kind: DetectorKind, last: Step, networks: list[str]
) -> None:
    with NetworkDetector(resolve_models(kind), CropParams(detector=kind)) as detector:
        detection = detector.detect(Picture.of(draw_picture(0, SURE_INDEX, None)))
        assert detection.step == "short"
        assert {face.model for face in detection.faces} == {"short"}
        assert list(detector._networks) == ["short"]
        assert detector.detect(BLANK) == Detection(60, 60, (), last)
        assert list(detector._networks) == networks


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


def test_auto_without_yunet_looks_as_mediapipe_does(models: tuple[DetectorModel, ...]) -> None:
    picture = Picture.of(draw_picture(0, 2, None))
    expected = CropParams(detector="mediapipe")
    with (
        NetworkDetector(models[:2], PARAMS) as detector,
        NetworkDetector(models[:2], expected) as other,
    ):
        assert detector.detect(picture) == other.detect(picture)
        assert detector.detect(BLANK).step == "tiles"


@pytest.mark.parametrize(("kind", "last"), [("auto", "turned"), ("mediapipe", "tiles")])
def test_stricter_score_goes_on_to_the_last_step(kind: DetectorKind, last: str) -> None:
    params = CropParams(detector=kind, min_score=1.0)
    with NetworkDetector(resolve_models(kind), params) as detector:
        detection = detector.detect(Picture.of(draw_picture(0, 0, None)))
        assert set(detector._networks) == {model.name for model in resolve_models(kind)}
    assert detection.step == last
    assert detection.faces[0].score > 0.5


def test_closing_twice_does_nothing(models: tuple[DetectorModel, ...]) -> None:
    detector = NetworkDetector(models, PARAMS)
    assert detector.detect(BLANK).step == "yunet"
    detector.close()
    detector.close()


SCRIPT = """
import numpy as np
from roi_cls.data.demo.picture import draw_picture
from roi_cls.roi import CropParams
from roi_cls.roi.detection.detector import NetworkDetector
from roi_cls.roi.detection.models import resolve_models
from roi_cls.roi.picture import Picture
from roi_cls.roi.plan import plan_crop

picture = Picture.of(np.ascontiguousarray(np.rot90(draw_picture(0, 0, None))))
with NetworkDetector(resolve_models("auto", fetch=False), CropParams()) as detector:
    detector.detect(Picture.of(np.full((60, 60, 3), 128, np.uint8)))
    print(len([face for face in detector.detect(picture).faces if face.score >= 0.5]))
    print(*sorted(detector._networks))
"""


@pytest.mark.usefixtures("models")
def test_process_that_detects_says_nothing_on_stderr() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\nfull short yunet\n", "")


def _detect_there(kind: DetectorKind, image: Image) -> Detection:
    with NetworkDetector(resolve_models(kind), CropParams(detector=kind)) as detector:
        return detector.detect(Picture.of(image))


def test_spawned_process_sees_the_same(models: tuple[DetectorModel, ...]) -> None:
    image = np.ascontiguousarray(np.rot90(draw_picture(0, 0, None)))  # each network is asked
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = {kind: pool.apply(_detect_there, (kind, image)) for kind in SEARCHES}
    assert there == {kind: _detect_there(kind, image) for kind in SEARCHES}
