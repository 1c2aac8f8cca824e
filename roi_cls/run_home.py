"""Where a run lies that Python code trained: in a folder to keep, or in one that goes with it."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roi_cls.base.errors import StorageError, TrainingError
from roi_cls.classifier.runs.folder import RunFolder

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
    if is_other or (names - {PICTURES} and not RunFolder(folder).settings.is_file()):
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
