"""The face detector's model files: which are wanted, where they lie, and how they are fetched.

They come out of a MediaPipe wheel, with pip.
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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from roi_cls.base.atomic import write_atomically
from roi_cls.base.errors import DetectorModelError, StorageError
from roi_cls.base.location import hash_file, user_cache_dir
from roi_cls.roi.params import DetectorKind

ModelName = Literal["short", "full", "custom"]
_OFFICIAL_SHORT_SHA256 = "b4578f35940bf5a1a655214a1cce5cab13eba73c1297cd78e1a04c2380b0152f"
# mediapipe 1.x ships no models; this older wheel holds both, for every platform alike, and pip
# reaches it wherever it could install mediapipe itself, also from a mirror.
_REQUIREMENT = "mediapipe==0.10.21"
_WHEEL_FOLDER = "mediapipe/modules/face_detection"
_PIP_OPTIONS = (
    *("--disable-pip-version-check", "--retries", "1", "--timeout", "15"),
    *("--no-deps", "--only-binary=:all:"),
    *("--platform", "manylinux_2_28_x86_64", "--python-version", "3.12"),
)
_PIP_LIMIT_S = 180
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DetectorModel:
    """A model file that was found and has the content its hash says."""

    name: ModelName
    path: Path
    sha256: str


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model file pinned by its content."""

    name: Literal["short", "full"]
    file_name: str
    sha256: str

    def path_in(self, folder: Path) -> Path:
        """Return where a cache folder keeps the file."""
        return _path_in(folder, self.sha256)


def _path_in(folder: Path, sha256: str) -> Path:
    return folder / f"{sha256}.tflite"


KNOWN_MODELS = (
    KnownModel(
        "short",
        "face_detection_short_range.tflite",
        "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
    ),
    KnownModel(
        "full",
        "face_detection_full_range_sparse.tflite",
        "2c3728e6da56f21e21a320433396fb06d40d9088f2247c05e5635a688d45dfe1",
    ),
)
"""What is fetched, in the order ``auto`` asks them."""

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
    """Return the model files to ask, in order of use (``auto``: short, then full).

    ``given``, a file or a folder, replaces the known files and is remembered in ``cache_dir``.
    ``expected_sha256``, from a trained run's recipe, wins over ``detector``: exactly these files
    are returned. Files are looked up by content in ``given``, ``extra_dirs``, ``cache_dir``; then
    the known ones are fetched.

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
    if fetch and any(found.get(model.sha256, folder) is None for model in KNOWN_MODELS):
        fetch_models(folder)
        found = {sha256: path or _find(sha256, folders) for sha256, path in found.items()}
    if missing := [sha256 for sha256, path in found.items() if path is None]:
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
            return {hash_file(path): path for path in _tflite_files(given)}
        if not given.is_file():
            reason = "there is no such file" if not given.exists() else "it is not a file"
            raise DetectorModelError(
                f"Cannot use the detector model {str(given)!r}: {reason}. "
                "Give a .tflite file, or a folder that holds the known ones."
            )
        with given.open("rb") as file:
            head = file.read(8)
        if head[4:] != b"TFL3":  # the file identifier of every TensorFlow Lite flatbuffer
            raise DetectorModelError(
                f"Cannot use the detector model {str(given)!r}: it is not a TensorFlow Lite model. "
                "Give a .tflite file, or a folder that holds the known ones."
            )
        return {hash_file(given): given}
    except OSError as error:
        raise DetectorModelError(
            f"Cannot read the detector model {str(given)!r}: {error.strerror or error}. "
            "Make it readable, or leave --detector-model out."
        ) from error


def _choose(
    detector: DetectorKind, given: Path | None, offered: dict[str, Path]
) -> tuple[str, ...]:
    """Return the SHA-256 of each model to use where no trained run decides it."""
    known = [model for model in KNOWN_MODELS if detector in ("auto", model.name)]
    if given is None:
        return tuple(model.sha256 for model in known)
    if not given.is_dir():
        return tuple(offered)
    # `_NAMES` lists the file that is fetched before others of its name.
    chosen = {_NAMES[sha256]: sha256 for sha256 in reversed(_NAMES) if sha256 in offered}
    if missing := [model for model in known if model.name not in chosen]:
        raise DetectorModelError(
            f"Cannot use the detector models in {str(given)!r}: no file there is "
            f"{' or '.join(f'{m.file_name} (sha256 {m.sha256})' for m in missing)}. "
            "Copy it there, give one .tflite file, or leave --detector-model out."
        )
    return tuple(chosen[model.name] for model in known)


def _tflite_files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.glob("*.tflite")) if path.is_file())


def _find(sha256: str, folders: Sequence[Path]) -> Path | None:
    """Return the first file of that content; a name alone proves nothing."""
    for folder in folders:
        try:
            expected = _path_in(folder, sha256)
            others = (path for path in _tflite_files(folder) if path != expected)
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
                write_atomically(_path_in(folder, model.sha256), content, durable=True)
    except (OSError, StorageError) as error:
        _logger.info("Cannot keep a copy of the detector models given: %s", error)


def _unexpected(given: Path, offered: Iterable[str], wanted: Iterable[str]) -> DetectorModelError:
    return DetectorModelError(
        f"Cannot use the detector model {str(given)!r}: it has sha256 "
        f"{', '.join(offered) or '(no .tflite file)'}, but the run was trained with "
        f"{', '.join(wanted)}. Give that file, or leave --detector-model out."
    )


def _missing(hashes: Sequence[str], folders: Sequence[Path]) -> DetectorModelError:
    names = {model.sha256: f"{model.name} ({model.file_name})" for model in KNOWN_MODELS}
    files = ", ".join(f"{names.get(sha256, 'custom')} sha256 {sha256}" for sha256 in hashes)
    damaged = any(_path_in(folder, s).exists() for folder in folders for s in hashes)
    reason = "the only copy is damaged" if damaged else "it is not there"
    remedy = "Run `roi-cls doctor --fetch` where pip reaches a package index, copy the file from "
    if not names.keys() >= set(hashes):
        remedy = "It was given when the run was trained: copy it from "
    return DetectorModelError(
        f"Cannot find the face detector's model {files} in {', '.join(map(str, folders))}: "
        f"{reason}. {remedy}a machine that has it, or give it with `--detector-model PATH`."
    )


def fetch_models(folder: Path) -> None:
    """Fetch the known model files into ``folder``; safe when two processes do it at once.

    Raises:
        DetectorModelError: No pip, no package index, an unexpected file, or nowhere to write.
    """
    # A warning, so that the wait is explained also where nobody has configured logging.
    _logger.warning("Fetching the face detector's models (once, 36 MB)…")
    try:
        folder.mkdir(parents=True, exist_ok=True)  # before the wait, not after it
        with tempfile.TemporaryDirectory(prefix="roi-cls-") as temporary:
            _download_wheel(Path(temporary), folder)
            contents = _read_wheel(Path(temporary))
        for model, content in zip(KNOWN_MODELS, contents, strict=True):
            write_atomically(model.path_in(folder), content, durable=True)
    except (OSError, StorageError) as error:
        reason = error.reason if isinstance(error, StorageError) else error.strerror or error
        raise DetectorModelError(
            f"Cannot store the face detector's models in {str(folder)!r}: {reason}. "
            "Free some space, or set ROI_CLS_MODEL_DIR to a folder you may write to."
        ) from error


def _download_wheel(target: Path, folder: Path) -> None:
    if importlib.util.find_spec("pip") is None:
        raise _unfetched("this Python has no pip (try `python -m ensurepip`)", folder)
    # -P: a file called e.g. `random.py` beside the user's pictures must not be imported by pip.
    command = [sys.executable, "-P", "-m", "pip", "download", *_PIP_OPTIONS]
    # A constraint on mediapipe, right for this installation, would forbid the older wheel.
    environ = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}
    try:
        done = subprocess.run(
            [*command, "--dest", str(target), _REQUIREMENT],
            env=environ | {"PIP_NO_INPUT": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_PIP_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _unfetched(f"pip gave no answer within {_PIP_LIMIT_S} s", folder) from error
    except OSError as error:
        raise _unfetched(f"pip cannot be started ({error})", folder) from error
    if done.returncode != 0:
        lines = done.stderr.split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "no message")
        failed = "reach" if "connection" in done.stderr.lower() else "get it from"
        raise _unfetched(f"pip could not {failed} a package index ({last})", folder)


def _read_wheel(folder: Path) -> list[bytes]:
    """Return the content of each known model, out of the wheel in ``folder``."""
    try:
        wheel = next(folder.glob("mediapipe-*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            contents = [archive.read(f"{_WHEEL_FOLDER}/{m.file_name}") for m in KNOWN_MODELS]
    except (StopIteration, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _unpinned("it is damaged or holds no such models") from error
    for model, content in zip(KNOWN_MODELS, contents, strict=True):
        if hashlib.sha256(content).hexdigest() != model.sha256:
            raise _unpinned(f"its {model.file_name} differs from sha256 {model.sha256}")
    return contents


def _unpinned(reason: str) -> DetectorModelError:
    return DetectorModelError(
        f"Cannot use the {_REQUIREMENT} that the package index gave: {reason}. "
        "Let pip use another index (PIP_INDEX_URL), or give the files with `--detector-model PATH`."
    )


def _unfetched(reason: str, folder: Path) -> DetectorModelError:
    return DetectorModelError(
        f"Cannot fetch the face detector's models ({', '.join(m.file_name for m in KNOWN_MODELS)} "
        f"out of {_REQUIREMENT}): {reason}. Let pip reach a package index (PIP_INDEX_URL), copy "
        f"the .tflite files to {str(folder)!r} from a machine that has them (`roi-cls doctor` "
        "names the folder there), or give them with `--detector-model PATH`."
    )
