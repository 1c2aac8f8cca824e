"""A row says what was cut or why nothing was; its file is trusted where its times can tell."""

import json
import os
import time
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roi_cls.cache.record import CropRecord, FileStamp, ok_record, read_stamp, stamp_of
from roi_cls.roi import Box, CropParams, Detection, Face, plan_crop
from roi_cls.roi.face import Step
from tests.helpers.pictures import LONG_AGO

POINTS = tuple((float(i), float(i + 1)) for i in range(6))
FACE = Face(Box(10, 20, 50, 60), 0.75, POINTS, "short")
FAR = Face(Box(150, 20, 180, 50), 0.95, POINTS, "full")
SEEN = Detection(100, 200, (FAR, FACE), "full")


def row_of(detection: Detection, params: CropParams) -> CropRecord:
    return ok_record(Path("a.png"), "s", detection, plan_crop(detection, params), params)


def test_row_of_a_face_tells_where_it_was() -> None:
    params = CropParams(margin=0.5)
    assert row_of(SEEN, params) == CropRecord(
        path=Path("a.png"),
        status="ok",
        error=None,
        sha256="s",
        height=100,
        width=200,
        source="face",
        reason=None,
        box=(10, 20, 50, 60),
        face_score=0.75,
        faces=2,
        keypoints=POINTS,
        model="short",
        step="full",
        region=(0, 0, 80, 80),
        angle=0.0,
        more=(),
        size_px=224,
        border="shift",
        resampling="area",
        color="srgb",
        recipe=params.digest,
        roll=FACE.roll,
    )


def test_row_of_a_full_frame_tells_why() -> None:
    row = row_of(Detection(100, 200, (FACE,), "tiles"), CropParams(min_score=0.9))
    assert (row.status, row.source, row.reason) == ("ok", "full_frame", "low_score")
    assert (row.face_score, row.box, row.keypoints, row.model, row.faces) == (
        0.75, None, None, None, 0,
    )  # fmt: skip
    assert (row.region, row.step, row.roll) == ((0, -50, 200, 150), "tiles", None)


def test_skipped_picture_has_a_row_without_a_region() -> None:
    row = row_of(Detection(100, 200, (), "tiles"), CropParams(fallback="skip"))
    assert (row.status, row.error, row.source, row.reason) == ("skipped", None, None, "no_face")
    assert (row.region, row.more, row.cuts, row.height) == (None, (), (), 100)


def test_row_of_all_faces_holds_each_with_its_region() -> None:
    params = CropParams(face="all", align=True)
    row = row_of(SEEN, params)
    assert (row.box, row.face_score, row.faces, len(row.more)) == (FACE.box.xyxy, 0.75, 2, 1)
    other = row.more[0]
    assert (other.box, other.face_score, other.model) == (FAR.box.xyxy, 0.95, "full")
    assert (other.keypoints, other.roll, other.angle) == (POINTS, FAR.roll, FAR.roll)


@st.composite
def detections(draw: st.DrawFn) -> Detection:
    whole, places = st.integers(1, 5000), st.floats(-1e5, 1e5)
    points = st.lists(st.tuples(places, places), max_size=6).filter(lambda p: len(p) != 1)
    faces = []
    for _ in range(draw(st.integers(0, 3))):
        left, top = draw(places), draw(places)
        box = Box(left, top, left + draw(st.floats(1, 3e3)), top + draw(st.floats(1, 3e3)))
        score, model = draw(st.floats(0, 1)), draw(st.sampled_from(["short", "full", "yunet"]))
        faces.append(Face(box, score, tuple(draw(points)), model))
    step = draw(st.sampled_from([None, *get_args(Step)]))
    return Detection(draw(whole), draw(whole), tuple(faces), step)


@st.composite
def recipes(draw: st.DrawFn) -> CropParams:
    return CropParams(
        crop=draw(st.sampled_from(["face", "full"])),
        face=draw(st.sampled_from(["largest", "confident", "central", "all"])),
        margin=draw(st.floats(0, 5)),
        size_px=draw(st.integers(8, 600)),
        fallback=draw(st.sampled_from(["full", "center", "skip"])),
        full_frame=draw(st.sampled_from(["pad", "crop", "squash"])),
        border=draw(st.sampled_from(["replicate", "constant", "shift"])),
    )


@given(detections(), recipes())
def test_json_gives_back_the_same_row_and_what_was_planned(
    detection: Detection, params: CropParams
) -> None:
    row = row_of(detection, params)
    again = CropRecord.from_dict(row.path, json.loads(json.dumps(row.to_dict())))
    assert again == row
    assert hash(again) == hash(row)
    assert again.cuts == plan_crop(detection, params).cuts


def test_row_read_back_is_of_the_path_it_is_asked_for() -> None:
    values = row_of(SEEN, CropParams()).to_dict()
    assert values["path"] == "a.png"
    assert CropRecord.from_dict(Path("b.png"), values).path == Path("b.png")


def test_row_in_error_comes_back() -> None:
    row = CropRecord(Path("a.png"), "error", "Cannot read it.", "5" * 64, recipe="r")
    assert CropRecord.from_dict(row.path, json.loads(json.dumps(row.to_dict()))) == row
    assert row.cuts == ()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"box": 3}, TypeError),
        ({"keypoints": [[1]]}, ValueError),
        ({"more": [{"box": [1, 2, 3, 4]}]}, KeyError),
        ({"colour": "red"}, TypeError),
    ],
)
def test_values_of_another_form_are_refused(
    changes: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        CropRecord.from_dict(Path("a"), {**row_of(SEEN, CropParams()).to_dict(), **changes})


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    path.write_bytes(b"content")
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def test_stamp_of_an_old_file_is_its_size_and_times(picture: Path) -> None:
    status = picture.stat()
    assert read_stamp(picture) == FileStamp(7, LONG_AGO * 10**9, status.st_ctime_ns)


@pytest.mark.parametrize("seconds_old", [0.0, 1.5, -1.0, -3600.0])
def test_file_too_new_or_of_the_future_is_not_trusted(picture: Path, seconds_old: float) -> None:
    changed = time.time() - seconds_old
    os.utime(picture, (changed, changed))
    assert read_stamp(picture) is None


def test_clock_set_back_distrusts_what_was_trusted(
    picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_stamp(picture)
    monkeypatch.setattr(time, "time_ns", lambda: (LONG_AGO - 10) * 10**9)
    assert read_stamp(picture) is None


@pytest.mark.parametrize("mtime_ns", [2**64, -(2**64)])
def test_time_beyond_the_integers_of_sqlite_is_not_trusted(picture: Path, mtime_ns: int) -> None:
    status = os.stat_result((*picture.stat()[:7], 0, 0, 0), {"st_mtime_ns": mtime_ns})
    assert stamp_of(status) is None


@pytest.mark.parametrize("name", ["missing", "nul\0", "a.png/below"])
def test_what_is_no_file_has_no_stamp(picture: Path, name: str) -> None:
    assert read_stamp(picture.parent / name) is None
