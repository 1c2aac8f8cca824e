"""BlazeFace alone on drawn people; its model files; mediapipe without what it does not use."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from roi_cls.base.errors import DetectorModelError
from roi_cls.data.demo.picture import draw_picture, place_persons
from roi_cls.roi.detection import mediapipe
from roi_cls.roi.detection.mediapipe import NOISY_CALLS, BlazeFace, stand_ins
from roi_cls.roi.detection.models import DetectorModel, resolve_models

FLOOR = 0.2


@pytest.fixture(scope="module")
def models() -> tuple[DetectorModel, ...]:
    return resolve_models("mediapipe")


@pytest.fixture(scope="module")
def short(models: tuple[DetectorModel, ...]) -> Iterator[BlazeFace]:
    with BlazeFace(models[0], FLOOR) as network:
        yield network


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("range_", [0, 1])
def test_drawn_face_is_found_where_it_was_drawn(
    models: tuple[DetectorModel, ...], range_: int, index: int
) -> None:
    (person,) = place_persons(0, index)
    with BlazeFace(models[range_], FLOOR) as network:
        face = max(network.see(draw_picture(0, index, None)), key=lambda face: face.score)
    assert face.model == ("short", "full")[range_]
    assert face.score >= 0.5
    assert face.box.iou(person.face_box) > 0.3
    assert len(face.keypoints) == 6
    (right_x, _), (left_x, _) = face.keypoints[:2]
    assert face.box.left < right_x < left_x < face.box.right


def test_array_that_is_a_view_has_the_same_answer(short: BlazeFace) -> None:
    image = draw_picture(0, 0, None)
    assert short.see(np.asfortranarray(image)) == short.see(image)


def test_picture_too_long_is_shrunk_and_its_face_told_in_its_own_pixels(
    short: BlazeFace, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = draw_picture(0, 0, None)
    face = short.see(image)[0]
    monkeypatch.setattr(mediapipe, "LONGEST_SIDE_PX", 320)
    shrunk = short.see(image)[0]
    assert shrunk.box.iou(face.box) > 0.7
    assert shrunk.keypoints[0] == pytest.approx(face.keypoints[0], abs=12)
    assert shrunk != face


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (3, 2), (17, 5), (1, 40_000), (40_000, 3)])
def test_picture_of_any_shape_has_an_answer(short: BlazeFace, shape: tuple[int, int]) -> None:
    faces = short.see(np.full((*shape, 3), 128, np.uint8))
    assert [face for face in faces if face.score >= 0.5] == []


def test_native_log_stays_off_stderr(
    models: tuple[DetectorModel, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    with BlazeFace(models[0], FLOOR) as network:
        for i in range(NOISY_CALLS + 2):
            network.see(np.full((60, 60 + i, 3), 128, np.uint8))
    assert capfd.readouterr() == ("", "")


def test_closing_twice_does_nothing(models: tuple[DetectorModel, ...]) -> None:
    network = BlazeFace(models[0], FLOOR)
    network.close()
    network.close()


@pytest.mark.parametrize("content", [b"", b"no model", b"\x1c\0\0\0TFL3 and no more"])
def test_damaged_model_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(DetectorModelError) as caught:
        BlazeFace(DetectorModel("custom", path, "0" * 64), FLOOR)
    message = str(caught.value)
    assert message.startswith(f"Cannot load the face detector {str(path)!r}: ")
    assert message.endswith(
        ". Give a MediaPipe face detection model (.tflite) or leave --detector-model out."
    )
    assert "\n" not in message


def test_model_that_vanished_is_told(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    with pytest.raises(DetectorModelError, match=r"^Cannot load the face detector .*No such file"):
        BlazeFace(DetectorModel("custom", path, "0" * 64), FLOOR)


def test_cut_model_is_told(tmp_path: Path, models: tuple[DetectorModel, ...]) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(models[0].path.read_bytes()[:100_000])
    with pytest.raises(DetectorModelError, match=r"Give a MediaPipe face detection model \(\.tfl"):
        BlazeFace(DetectorModel("custom", path, "0" * 64), FLOOR)


def test_missing_library_is_told(
    monkeypatch: pytest.MonkeyPatch, models: tuple[DetectorModel, ...]
) -> None:
    monkeypatch.setitem(sys.modules, "mediapipe.tasks.python", None)
    with pytest.raises(DetectorModelError, match=r"^Cannot load MediaPipe: .*apt-get install -y "):
        BlazeFace(models[0], FLOOR)


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
from roi_cls.roi.detection.mediapipe import import_mediapipe
import_mediapipe()
from mediapipe.tasks.python import vision
print("matplotlib" in sys.modules, "sounddevice" in sys.modules)
print(vision.drawing_utils.plt.figure.__module__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\nmatplotlib.pyplot\n"
