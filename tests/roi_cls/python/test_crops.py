"""``crop_faces``: the crop stage alone, from paths, bytes and arrays, with and without a cache."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from PIL import Image as PillowImage
from upath import UPath

from roi_cls import CropParams, FaceCrop, crop_faces
from roi_cls.cache import builder
from roi_cls.roi.image import Image, read_image
from roi_cls.roi.picture import Picture
from tests.helpers.pictures import noise
from tests.helpers.stored import stored_crops

SMALL = CropParams(size_px=16, margin=0.0)
pytestmark = pytest.mark.usefixtures("white_faces")


@pytest.fixture
def face() -> Image:
    """Return a white face of 20 x 20 px at (30, 10) on noise."""
    pixels = noise(60, 80, 3, high=80)
    pixels[10:30, 30:50] = 255
    return pixels


@pytest.fixture
def path(face: Image, tmp_path: Path) -> Path:
    """Return the face as a file."""
    PillowImage.fromarray(face).save(tmp_path / "face.png")
    return tmp_path / "face.png"


def only(found: Iterator[FaceCrop]) -> FaceCrop:
    (crop,) = found
    return crop


def pixels_of(crop: FaceCrop) -> Image:
    assert crop.pixels is not None, crop.error
    return crop.pixels


def test_path_bytes_and_array_give_the_same_crop(face: Image, path: Path) -> None:
    found = list(crop_faces([path, str(path), path.read_bytes(), face], SMALL))
    assert [crop.path for crop in found] == [str(path), str(path), "X[2]", "X[3]"]
    assert {(c.status, c.source, c.box, c.faces) for c in found} == {
        ("ok", "face", (30.0, 10.0, 50.0, 30.0), 1)
    }
    assert (pixels_of(found[0]) == 255).all()
    assert pixels_of(found[0]).shape == (16, 16, 3)
    for crop in found[1:]:
        np.testing.assert_array_equal(pixels_of(crop), pixels_of(found[0]))


@pytest.mark.parametrize("cached", [False, True])
def test_remote_pictures_are_paths_too(path: Path, tmp_path: Path, cached: bool) -> None:
    remote = cast(Path, UPath("memory://crop-faces/face.png"))  # taken for one, see location.py
    remote.write_bytes(path.read_bytes())
    cache = tmp_path / "crops" if cached else None
    found = list(crop_faces([str(remote), remote], SMALL, cache=cache))
    assert [crop.path for crop in found] == ["memory://crop-faces/face.png"] * 2
    assert [crop.source for crop in found] == ["face"] * 2


def test_cached_crops_are_those_made_anew(path: Path, tmp_path: Path) -> None:
    fresh, first, again = (
        only(crop_faces([path], SMALL, cache=cache)) for cache in (None, *[tmp_path / "crops"] * 2)
    )
    assert stored_crops(tmp_path / "crops")
    for crop in (first, again):
        np.testing.assert_array_equal(pixels_of(crop), pixels_of(fresh))
        assert (crop.box, crop.face_score) == (fresh.box, fresh.face_score)


def test_second_look_at_a_cache_detects_nothing(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(crop_faces([path], SMALL, cache=tmp_path / "crops"))
    monkeypatch.setattr(builder, "detect_faces", None)
    wider = CropParams(size_px=16, margin=0.5)
    assert only(crop_faces([path], wider, cache=tmp_path / "crops")).status == "ok"


def test_full_frame_says_why() -> None:
    black = np.zeros((20, 30, 3), np.uint8)
    crop = only(crop_faces([black], SMALL))
    assert (crop.source, crop.reason, crop.box, crop.boxes) == ("full_frame", "no_face", None, ())
    assert pixels_of(crop).shape == (16, 16, 3)


@pytest.mark.parametrize("cached", [False, True])
def test_each_picture_in_error_is_a_row_in_its_place(
    path: Path, tmp_path: Path, cached: bool
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    inputs = [broken, path, tmp_path / "gone.png"]
    found = list(crop_faces(inputs, SMALL, cache=tmp_path / "crops" if cached else None))
    assert [crop.status for crop in found] == ["error", "ok", "error"]
    assert [crop.path for crop in found] == list(map(str, inputs))
    assert found[0].pixels is None
    assert "broken.png" in str(found[0].error)
    assert f"Cannot read '{inputs[2]}': no such file. Check the path." == found[2].error


@pytest.mark.parametrize("cached", [False, True])
def test_skipped_picture_has_no_crop(tmp_path: Path, cached: bool) -> None:
    black = tmp_path / "black.png"
    PillowImage.new("RGB", (20, 20)).save(black)
    params = CropParams(size_px=16, fallback="skip")
    crop = only(crop_faces([black], params, cache=tmp_path / "crops" if cached else None))
    assert (crop.status, crop.reason, crop.pixels, crop.error) == ("skipped", "no_face", None, None)


@pytest.mark.parametrize("cached", [False, True])
def test_all_faces_are_cut_where_the_recipe_says_so(
    face: Image, tmp_path: Path, cached: bool
) -> None:
    face[40:55, 5:20] = 255
    PillowImage.fromarray(face).save(tmp_path / "two.png")
    params = CropParams(size_px=16, face="all")
    cache = tmp_path / "crops" if cached else None
    crop = only(crop_faces([tmp_path / "two.png"], params, cache=cache))
    assert crop.boxes == ((30.0, 10.0, 50.0, 30.0), (5.0, 40.0, 20.0, 55.0))
    assert crop.crops is not None
    assert crop.crops.shape == (2, 16, 16, 3)


def test_results_come_as_they_are_asked_for(face: Image) -> None:
    taken = 0

    def endless() -> Iterator[Image]:
        nonlocal taken
        while True:
            taken += 1
            yield face

    found = crop_faces(endless(), SMALL)
    assert [next(found).status for _ in range(3)] == ["ok"] * 3
    found.close()
    assert taken < 64


def test_large_picture_is_refused(path: Path) -> None:
    crop = only(crop_faces([path], SMALL, max_pixels=100))
    assert crop.status == "error"
    assert "100" in str(crop.error)


def test_full_frames_need_no_detector(path: Path, face: Image) -> None:
    crop = only(crop_faces([path], CropParams(crop="full", size_px=16)))
    assert (crop.source, crop.reason, crop.face_score) == ("full_frame", None, None)
    np.testing.assert_array_equal(read_image(path), Picture.of(face).pixels())


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_may_be_of_any_kind(path: Path, kind: type) -> None:
    assert only(crop_faces([kind(path.read_bytes())], SMALL)).source == "face"


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        ("a.png", "X must be a list of pictures, got one: 'a.png'. Use [X]."),
        (Path("a.png"), "X must be a list of pictures, got one: 'a.png'. Use [X]."),
        (np.zeros((4, 4, 3), np.uint8), "or an (N, height, width, 3) array, got shape (4, 4, 3)."),
        (np.zeros((4, 4), np.uint8), "a table's column of paths is given as table['path']."),
        ([3], "X[0] must be a path, the bytes of a file, or a (height, width, 3) RGB uint8 array,"),
        ([np.zeros((4, 4, 3))], "X[0] must be (height, width, 3) RGB uint8 with values 0 to 255,"),
        ([np.zeros((4, 4), np.uint8)], "got shape (4, 4) of uint8. Grey: np.stack([x] * 3, axis"),
        ([np.zeros((0, 4, 3), np.uint8)], "got shape (0, 4, 3) of uint8."),
        ([io.BytesIO()], "got BytesIO."),
    ],
    ids=lambda value: None if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_picture_is_told(pictures: object, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (each message is looked at below)
        list(crop_faces(pictures, SMALL))  # type: ignore[arg-type]  # what the test is about
    assert message in str(caught.value)


@pytest.mark.parametrize("cached", [False, True])
def test_of_no_pictures_there_are_no_crops(tmp_path: Path, cached: bool) -> None:
    assert list(crop_faces([], SMALL, cache=tmp_path if cached else None)) == []


def test_cache_takes_paths_alone(face: Image, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"X\[0\] is no path, and the crop cache is keyed by file"):
        crop_faces([face], SMALL, cache=tmp_path)
