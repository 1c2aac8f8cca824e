"""Runs in the hands of Python code: where one lies, kept or temporary, and how it is opened."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roi_cls.base.closing import Closing
from roi_cls.base.errors import StorageError, TrainingError
from roi_cls.base.quiet import import_tqdm_quietly
from roi_cls.classifier.config import Device, Runtime
from roi_cls.classifier.inference.prediction import PredictOptions
from roi_cls.classifier.inference.predictor import Predictor, open_predictor
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.writing import LOCK_NAME

PICTURES = "pictures"
"""Folder within a run of the pictures that came as arrays or bytes."""


@dataclass(frozen=True, slots=True)
class KeptRun:
    """A run that stays where it is, and travels as its path."""

    path: Path
    """Folder of a run, or an exported file."""


class TemporaryRun:
    """A run that is removed when nobody holds it any more, at the latest when Python ends.

    It travels as its files: a copy in another process, or one loaded by joblib, does not depend on
    this one. They are JSON, CSV and safetensors, as in every run.
    """

    def __init__(self) -> None:
        self._hold()

    @property
    def path(self) -> Path:
        """Folder of the run; it is not there before the run begins."""
        return self._folder / "run"

    def __getstate__(self) -> dict[str, Any]:
        """Return the files, without pictures: the model has learned from them."""
        files = (path for path in sorted(self.path.rglob("*")) if path.is_file())
        names = ((path.relative_to(self.path), path) for path in files)
        return {n.as_posix(): f.read_bytes() for n, f in names if n.parts[0] != PICTURES}

    def __setstate__(self, files: dict[str, bytes]) -> None:
        self._hold()
        for name, data in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def _hold(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="roi-cls-"))
        weakref.finalize(self, _remove, self._folder, os.getpid())


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # a forked process has a copy of the object, not of the folder
        shutil.rmtree(folder, ignore_errors=True)


def check_place(folder: Path) -> None:
    """Raise ``TrainingError`` where a run's folder holds something else."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    is_other = folder.exists() and not folder.is_dir()
    if is_other or (names - {PICTURES, LOCK_NAME} and not RunFolder(folder).settings.is_file()):
        raise TrainingError(
            f"Cannot train into {str(folder)!r}: it is there and is no run. Give run= another "
            "folder, or None for a temporary one."
        )


def copy_run(source: Path, folder: Path) -> Path:
    """Copy a run, or an exported file, to a new folder; return where it lies now.

    Raises:
        StorageError: The folder is there already, or cannot be written.
    """
    try:
        if source.is_dir():
            return Path(shutil.copytree(source, folder))
        folder.mkdir(parents=True)
        return Path(shutil.copy2(source, folder))
    except FileExistsError as error:
        raise StorageError(folder, "it is there already") from error
    except (OSError, shutil.Error) as error:
        raise StorageError(folder, getattr(error, "strerror", None) or str(error)) from error


class FittedRun(Closing):
    """Keeps predictors of the run open, until it is asked for others or nobody holds it."""

    def __init__(self, home: KeptRun | TemporaryRun) -> None:
        self._home = home
        self._asked: object = None
        self._predictors: dict[Runtime, Predictor] = {}
        self._closers: list[weakref.finalize[..., FittedRun]] = []

    @property
    def path(self) -> Path:
        """Folder of the run, or the exported file."""
        return self._home.path

    def predictor(self, device: Device, runtime: Runtime, options: PredictOptions) -> Predictor:
        """Return the run's predictor; the same one for the same arguments.

        One of another runtime stays open beside it: explanations may need torch, answers do not.

        Raises:
            RoiClsError: The run cannot be used here.
        """
        if self._asked != (device, options):
            self.close()
            self._asked = device, options
        if runtime not in self._predictors:
            import_tqdm_quietly()
            found = open_predictor([self.path], device, runtime=runtime, options=options)
            self._predictors[runtime] = found
            # An unclosed face detector prints an error when Python ends.
            self._closers.append(weakref.finalize(self, found.close))
        return self._predictors[runtime]

    def close(self) -> None:
        """Free model and detectors; they are opened again when asked for."""
        for closer in self._closers:
            closer()
        self._predictors, self._closers = {}, []

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle as a closed one."""
        return FittedRun, (self._home,)
