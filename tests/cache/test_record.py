"""A row says what was cut, or why nothing was."""

import json
from pathlib import Path

from roi_cls.cache.record import CropRecord, ok_record
from roi_cls.roi import Box, CropParams, Detection, Face, plan_crop

POINTS = tuple((float(i), float(i + 1)) for i in range(6))
FACE = Face(Box(10, 20, 50, 60), 0.75, POINTS, "short")


def test_row_of_a_face_tells_where_it_was() -> None:
    params, detection = CropParams(margin=0.5), Detection(100, 200, (FACE,))
    row = ok_record(Path("a.png"), "s", detection, plan_crop(detection, params), params)
    assert row == CropRecord(
        Path("a.png"), "ok", None, "s", 100, 200, "face", None, (10, 20, 50, 60), 0.75, 1,
        POINTS, (-10.0, 0.0, 70.0, 80.0), 0.0, params.digest,
    )  # fmt: skip


def test_row_of_a_full_frame_tells_why() -> None:
    params, detection = CropParams(min_score=0.9), Detection(100, 200, (FACE,))
    row = ok_record(Path("a.png"), "s", detection, plan_crop(detection, params), params)
    assert (row.source, row.reason, row.face_score) == ("full_frame", "low_score", 0.75)
    assert (row.box, row.keypoints, row.faces) == (None, None, 0)
    assert row.region == (0, -50, 200, 150)


def test_row_is_plain_json() -> None:
    params, detection = CropParams(), Detection(100, 200, (FACE,))
    row = ok_record(Path("a.png"), "s", detection, plan_crop(detection, params), params)
    values = json.loads(json.dumps(row.to_dict()))
    assert (values["path"], values["keypoints"][1]) == ("a.png", [1.0, 2.0])
