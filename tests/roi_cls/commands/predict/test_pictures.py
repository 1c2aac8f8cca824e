"""Crops and drawings of rows: what they are called, what they hold, where they never go."""

import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PillowImage

from roi_cls.base.errors import DataError
from roi_cls.classifier.inference.prediction import Looked, Prediction, Source
from roi_cls.commands.predict import pictures as drawn_row
from roi_cls.commands.predict.pictures import RowPictures
from roi_cls.drawing import frame as drawn_frame
from roi_cls.drawing.file import check_output_folder, row_name
from roi_cls.roi import Box, Cut, Detection, Face
from roi_cls.roi.crop import Crops
from roi_cls.roi.image import Image
from roi_cls.roi.image_header import MAX_PIXELS
from roi_cls.roi.plan import CropPlan

FACES = [
    Face(Box(10 + 40 * i, 10, 40 + 40 * i, 40), 0.9, ((20.0, 20.0),) * 6, "short") for i in (0, 1)
]


def crops_of(value: int, faces: int, size_px: int = 8) -> Crops:
    cuts = tuple(Cut(face.box, 0.0, face) for face in FACES[:faces]) or (Cut(Box(0, 0, 100, 60)),)
    source = "face" if faces else "full_frame"
    plan = CropPlan(source, None, cuts, faces, 0.9 if faces else None)  # type: ignore[arg-type]  # as above
    pixels = np.full((len(cuts), size_px, size_px, 3), value, np.uint8)
    pixels[..., 0] += np.arange(len(cuts), dtype=np.uint8)[:, None, None]
    return Crops(pixels, plan, Detection(60, 100, tuple(FACES[:faces])))


def ok(path: str, **values: object) -> Prediction:
    scores = {"odd": 0.75, "plain": 0.25}
    return Prediction(path, "ok", None, "odd", 0.75, scores, **values)  # type: ignore[arg-type]  # any


def pixels(path: Path) -> Image:
    return np.array(PillowImage.open(path))


@pytest.mark.parametrize(
    ("path", "time_s", "name"),
    [
        ("photos/a.png", None, "000007-a"),
        ("../../etc/passwd", None, "000007-passwd"),
        ("/", None, "000007-"),
        ("..", None, "000007-."),
        (".hidden", None, "000007-.hidden"),
        ("a.b.tar.png", None, "000007-a.b.tar"),
        (r"C:\Users\me\a b.png", None, "000007-a_b"),
        ("ü 顔\n.png", None, "000007-ü_顔_"),
        ("\udcff.png", None, "000007-_"),
        ("-", None, "000007-stdin"),
        ("https://host/x/a.png?size=../1", None, "000007-a"),
        ("https://host", None, "000007-"),
        ("clip.mp4", 1.5, "000007-clip-1.5s"),
        ("s3://bucket/clip.mp4", 0.0, "000007-clip-0s"),
    ],
)
def test_name_begins_with_the_row(path: str, time_s: float | None, name: str) -> None:
    assert row_name(7, ok(path, time_s=time_s)) == name


@given(st.text(), st.integers(1, 10**7))
def test_name_never_leads_out_of_its_folder(path: str, number: int) -> None:
    name = row_name(number, ok(path))
    assert Path("folder", f"{name}.png").parent == Path("folder")
    assert len(os.fsencode(name)) < 130
    assert name.startswith(f"{number:06}-")


def test_crops_of_each_view_and_face_are_kept_as_they_were_scored(tmp_path: Path) -> None:
    looked = Looked(ok("a.png"), (crops_of(10, 0), crops_of(20, 2)))
    RowPictures(tmp_path, None, MAX_PIXELS).keep(3, Source("a.png"), looked, 1, "odd")
    kept = {path.name: pixels(path)[0, 0].tolist() for path in tmp_path.iterdir()}
    assert kept == {
        "000003-a.png": [20, 20, 20],
        "000003-a-face2.png": [21, 20, 20],
        "000003-a-view2.png": [10, 10, 10],
    }


def test_row_in_error_has_no_pictures(tmp_path: Path) -> None:
    looked = Looked(Prediction("a.png", "error", "Cannot read."), None)
    RowPictures(tmp_path, tmp_path, MAX_PIXELS).keep(1, Source("a.png"), looked, 0, "odd")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("faces", [0, 1, 2])
def test_verdict_is_drawn_on_the_upright_frame(tmp_path: Path, faces: int) -> None:
    frame = np.full((60, 100, 3), (40, 90, 160), np.uint8)
    data = cv2.imencode(".png", frame[..., ::-1])[1].tobytes()
    pictures = RowPictures(None, tmp_path, MAX_PIXELS)
    looked = Looked(ok("a.png"), (crops_of(0, faces),))
    for number, source in enumerate([Source("a.png", data), Source("a.png", image=frame)], 1):
        pictures.keep(number, pictures.remember(source), looked, 0, "odd")
    first, second = (pixels(path) for path in sorted(tmp_path.iterdir()))
    assert first.shape == second.shape
    assert min(first.shape[:2]) > 400
    middle = first[first.shape[0] - 60, first.shape[1] // 2].astype(int)
    assert abs(middle - np.array([40, 90, 160]) * (0.6 if faces else 1)).max() < 12
    assert abs(first.astype(int) - second).mean() < 2  # a frame goes through JPEG


@pytest.mark.parametrize(
    ("odd", "threshold", "words", "tag", "mark"),
    [
        (0.75, 0.3, "", "odd 0.75", None),
        (0.15, 0.12, "Threshold 0.120. ", "odd 0.150, threshold 0.120", 0.12),
        (0.6, 0.7, "Threshold for odd 0.700. ", "plain 0.400, threshold for odd 0.700", 0.3),
    ],
)
def test_threshold_is_drawn_where_it_alone_decided(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    odd: float,
    threshold: float,
    words: str,
    tag: str,
    mark: float | None,
) -> None:
    written: list[str] = []
    for module in (drawn_frame, drawn_row):
        monkeypatch.setattr(module, "write", lambda pen, at, text, *_: written.append(text))
    label = "odd" if odd >= threshold else "plain"
    scores = {"odd": odd, "plain": 1 - odd}
    row = Prediction("a.png", "ok", None, label, scores[label], scores, threshold=threshold)
    looked = Looked(replace(row, source="full_frame"), (crops_of(0, 1),))
    pictures = RowPictures(None, tmp_path, MAX_PIXELS)
    source = pictures.remember(Source("a.png", image=np.full((60, 100, 3), 90, np.uint8)))
    pictures.keep(1, source, looked, 0, "odd")
    assert written == [tag, f"{label} {scores[label]:.3f}", f"{words}Full frame.", "a.png"]
    (drawn,) = (pixels(path) for path in tmp_path.iterdir())
    above = drawn[16 + 26 + 10 - 2, 16:-16].mean(axis=1)  # the mark stands out of the bar
    dark = np.flatnonzero(above < 120)
    assert len(dark) == (0 if mark is None else 3)
    assert mark is None or abs(dark.mean() / len(above) - mark) < 0.01


def test_nothing_is_remembered_that_is_not_drawn(tmp_path: Path) -> None:
    source = Source("a.png", b"data", np.zeros((4, 4, 3), np.uint8))
    kept = RowPictures(tmp_path, None, MAX_PIXELS).remember(source)
    assert (kept.path, kept.data, kept.image) == ("a.png", None, None)
    kept = RowPictures(None, tmp_path, MAX_PIXELS).remember(source)
    assert kept.image is None
    assert kept.data is not None


def test_picture_that_is_gone_meanwhile_has_no_drawing(tmp_path: Path) -> None:
    looked = Looked(ok("gone.png"), (crops_of(0, 1),))
    RowPictures(None, tmp_path, MAX_PIXELS).keep(1, Source("gone.png"), looked, 0, "odd")
    assert list(tmp_path.iterdir()) == []


def test_folder_of_an_input_is_refused(tmp_path: Path) -> None:
    check_output_folder(tmp_path / "out", [str(tmp_path / "in"), "http://host/", "-"])
    (tmp_path / "in").mkdir()
    for folder in (tmp_path / "in", tmp_path / "in" / "deep", tmp_path / "out" / ".." / "in"):
        with pytest.raises(DataError, match=r"Cannot write pictures to .* it lies in .*, an input"):
            check_output_folder(folder, [str(tmp_path / "in")])
