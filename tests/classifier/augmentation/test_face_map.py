"""A keypoint lies in the crop where the crop path put the picture's pixels."""

import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from roi_cls.cache.record import CropRecord, ok_record
from roi_cls.classifier.augmentation.face_map import crop_keypoints
from roi_cls.roi.crop import cut_crops
from roi_cls.roi.face import Box, Detection, Face
from roi_cls.roi.image import Image
from roi_cls.roi.params import CropParams
from roi_cls.roi.picture import Picture
from roi_cls.roi.plan import plan_crop

HEIGHT, WIDTH = 380, 460
POINTS = (
    (190.5, 140.5),
    (262.5, 168.5),
    (214.5, 190.5),
    (205.5, 221.5),
    (170.5, 150.5),
    (290.5, 195.5),
)
FACE = Face(Box(160, 110, 300, 250), 0.9, POINTS, "short")
DETECTION = Detection(HEIGHT, WIDTH, (FACE,), "short")


def row(detection: Detection, params: CropParams) -> CropRecord:
    return ok_record(Path("a.png"), "0" * 64, detection, plan_crop(detection, params), params)


def dotted(x: float, y: float) -> Image:
    """Return a black picture with one soft white dot; the first pixel reaches from 0 to 1."""
    ys, xs = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    light = 255 * np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * 4.0**2))
    return np.repeat(light.round().astype(np.uint8)[..., None], 3, axis=2)


def middle(crop: Image) -> tuple[float, float]:
    light = np.clip(crop[..., 0] - 130.0, 0, None)  # a grey border has 124
    x = (light.sum(axis=0) * (np.arange(crop.shape[1]) + 0.5)).sum() / light.sum()
    y = (light.sum(axis=1) * (np.arange(crop.shape[0]) + 0.5)).sum() / light.sum()
    return float(x), float(y)


@pytest.mark.parametrize(
    "options",
    [
        {"margin": 0.3},
        {"margin": 0.3, "align": True},
        {"margin": 0.9, "align": True, "border": "shift"},
        {"margin": 1.2, "border": "constant"},
        {"margin": 0.5, "align": True, "size_px": 224},
        {"margin": 0.4, "size_px": 97, "resampling": "lanczos"},
    ],
)
def test_keypoints_lie_on_the_marks_of_the_crop(options: dict[str, object]) -> None:
    params = replace(CropParams(size_px=128), **options)  # type: ignore[arg-type]  # a test's own
    found = crop_keypoints(row(DETECTION, params))
    cuts = plan_crop(DETECTION, params).cuts
    for point, expected in zip(POINTS, found, strict=True):
        crop = cut_crops(Picture.of(dotted(*point)), cuts, params)[0]
        assert middle(crop) == pytest.approx(tuple(expected), abs=0.3)


def test_aligned_eyes_are_level() -> None:
    right, left = crop_keypoints(row(DETECTION, CropParams(align=True)))[:2]
    lean = math.degrees(math.atan2(left[1] - right[1], left[0] - right[0]))
    assert lean == pytest.approx(0, abs=1)  # unaligned, 21; the mouth has its say


def test_large_faces_keep_their_keypoints_when_the_picture_is_reduced() -> None:
    params = CropParams(size_px=32, margin=0.1)
    large = Detection(
        HEIGHT * 4,
        WIDTH * 4,
        (
            Face(
                Box(*(4 * v for v in FACE.box.xyxy)),
                0.9,
                tuple((4 * x, 4 * y) for x, y in POINTS),
                "short",
            ),
        ),
        "short",
    )
    picture = cv2.resize(dotted(*POINTS[3]), (WIDTH * 4, HEIGHT * 4), interpolation=cv2.INTER_CUBIC)
    pixels = np.asarray(picture, dtype=np.uint8)
    crop = cut_crops(Picture.of(pixels), plan_crop(large, params).cuts, params)[0]
    expected = crop_keypoints(row(large, params))[3]
    assert middle(crop) == pytest.approx(tuple(expected), abs=0.3)


@pytest.mark.parametrize("points", [(), POINTS[:5], (*POINTS, (1.0, 2.0))])
def test_other_keypoints_than_the_six_are_unknown(points: tuple[tuple[float, float], ...]) -> None:
    detection = replace(DETECTION, faces=(replace(FACE, keypoints=points),))
    found = crop_keypoints(row(detection, CropParams()))
    assert found.shape == (6, 2)
    assert np.isnan(found).all()


def test_a_full_frame_has_no_keypoints() -> None:
    found = crop_keypoints(row(Detection(HEIGHT, WIDTH, ()), CropParams(crop="full")))
    assert found.dtype == np.float32
    assert np.isnan(found).all()
