"""Errors a user can act on: what, why, what to do. Printed without a traceback.

They end a command with 1 (`cli.py`). Inputs in error are rows, and end it with 3: `exit_with` in
`console/terminal.py`.
"""

from pathlib import Path


class RoiClsError(Exception):
    """Base of every expected failure."""


class ImageReadError(RoiClsError):
    """A file or a buffer is not a picture this project can decode."""

    def __init__(
        self, path: Path | str, reason: str, remedy: str, is_damaged: bool = False
    ) -> None:
        super().__init__(f"Cannot read {str(path)!r}: {reason}. {remedy}")
        self.path = path
        self.reason = reason
        self.remedy = remedy
        self.is_damaged = is_damaged
        """Whether it is a picture that is not whole: ``--damaged read`` may still take its rest."""

    @property
    def damage(self) -> str | None:
        """Why the picture is not whole; None where something else is wrong."""
        return self.reason if self.is_damaged else None

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        """Pickle by the constructor's arguments: worker processes send errors home."""
        return type(self), (self.path, self.reason, self.remedy, self.is_damaged)


class NoFaceError(RoiClsError):
    """No acceptable face was found and the recipe forbids a substitute (``fallback="error"``)."""


class DetectorModelError(RoiClsError):
    """A face detector's model file is missing, damaged, or cannot be fetched."""


DISK_FULL = "the disk is full"
"""The reason of a ``StorageError`` where there is no room."""


class StorageError(RoiClsError):
    """A file cannot be written: full disk, no permission."""

    def __init__(self, path: Path | str, reason: str, remedy: str | None = None) -> None:
        # Whoever cannot be called again in the same way says what to do instead.
        is_full = reason == DISK_FULL
        default = (
            f"{'Free space or give' if is_full else 'Give'} another folder (for crops with "
            "--cache DIR), then run the same command again: what is finished is kept."
        )
        super().__init__(f"Cannot write {str(path)!r}: {reason}. {remedy or default}")
        self.path = path
        self.reason = reason
        self.remedy = remedy

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        """Pickle by the constructor's arguments: worker processes send errors home."""
        return type(self), (self.path, self.reason, self.remedy)


class WorkerError(RoiClsError):
    """A worker process cannot be started: no input is to blame."""

    def __init__(self, exit_code: int | None, words: str) -> None:
        lines = [line.strip() for line in words.splitlines() if line.strip()]
        reason = lines[-1].rstrip(".") if lines else "it said nothing"
        if exit_code is not None:
            reason = f"it ended with exit code {exit_code} before the first picture ({reason})"
        remedy = (
            "Work without them (--workers 0, in Python workers=0); `roi-cls doctor` may tell more."
        )
        if exit_code == -9:  # SIGKILL
            remedy = "Memory may have run out: run again with fewer --workers."
        super().__init__(f"Cannot start a worker process: {reason}. {remedy}")
        self.exit_code = exit_code
        self.words = words

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        """Pickle by the constructor's arguments: worker processes send errors home."""
        return type(self), (self.exit_code, self.words)


class LibraryError(RoiClsError):
    """A library that this project uses cannot work on this machine."""


class CacheError(RoiClsError):
    """The crop cache cannot be read, or a picture changed under it."""


class DataError(RoiClsError):
    """A data set cannot be used as it is: no pictures, no labels, one class, a bad CSV."""


class WeightsError(RoiClsError):
    """Pretrained weights cannot be had, or do not fit the model."""


class ModelNameError(RoiClsError):
    """timm knows no model of this name."""


class BundleError(RoiClsError):
    """A run folder is missing, incomplete, tampered with, or of an unknown format."""


class RunInUseError(RoiClsError):
    """Somebody else writes into a run."""

    def __init__(self, path: Path | str, holder: str) -> None:
        super().__init__(
            f"Cannot write into {str(path)!r}: it is in use by {holder}. Wait until that is done, "
            "or stop it; another name (--run, --output) makes a run beside it."
        )
        self.path = path
        self.holder = holder

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        """Pickle by the constructor's arguments."""
        return type(self), (self.path, self.holder)


class ExportError(RoiClsError):
    """A run cannot be exported in this format, or the exported model answers otherwise."""


class VerificationError(RoiClsError):
    """Predictions from the raw files differ from the scores stored at evaluation."""


class TrainingError(RoiClsError):
    """Training cannot start or go on: bad settings, out of memory, nothing to resume."""


class ServerError(RoiClsError):
    """A server cannot start: a package is missing, or its address is taken."""
