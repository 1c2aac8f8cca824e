"""A run has one writer: who comes second is told who it is."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from roi_cls.base.errors import BundleError, RunInUseError
from roi_cls.base.location import is_remote
from roi_cls.base.lock import HeldError, hold
from roi_cls.base.machine import is_first_process
from roi_cls.classifier.runs.folder import RunFolder

LOCK_NAME = ".lock"
"""File in a run while somebody writes into it."""
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_ELSEWHERE = "give the run another folder (--runs, in Python run=)"
OTHER_OUTPUT = "give another place with --output"
"""What to do where a command cannot write, of those that write beside a run as well."""


@contextlib.contextmanager
def hold_run(
    run: RunFolder, *, only_unfinished: bool = False, elsewhere: str = _ELSEWHERE
) -> Iterator[None]:
    """Keep all others from writing into the run in a block; also a folder of several runs.

    The folder is made, and is gone again where nothing was written. Of several processes that
    torchrun started the first one does this for all.

    Args:
        run: It; need not be there.
        only_unfinished: What is finished is left as it is, and may lie where nobody can write.
        elsewhere: What to do where nobody can write there.

    Raises:
        RunInUseError: Somebody else writes into it.
        BundleError: Nobody can write there.
    """
    path = run.path
    is_other = path.exists() and not path.is_dir()  # to be refused by who knows what it is for
    if is_other or is_remote(path) or not is_first_process():
        yield
        return
    with contextlib.ExitStack() as stack:
        try:
            _enter(stack, path)
        except HeldError as error:
            raise RunInUseError(path, error.holder) from None
        except OSError as error:
            if not (only_unfinished and run.is_finished):
                raise _refuse(path, error, elsewhere) from error
        yield


def hold_place(run: RunFolder, output: Path) -> contextlib.AbstractContextManager[None]:
    """Hold the run where what is written lies in it; else nothing."""
    is_inside = output.resolve().is_relative_to(run.path.resolve())
    if not is_inside:
        return contextlib.nullcontext()
    return hold_run(run, elsewhere=OTHER_OUTPUT)


def is_unused(path: Path) -> bool:
    """Whether a run may be made there: nothing is, or a folder that at most we hold."""
    if not path.exists():
        return True
    return path.is_dir() and all(each.name == LOCK_NAME for each in path.iterdir())


def _enter(stack: contextlib.ExitStack, path: Path) -> None:
    """Make the folder and hold its lock; again, where somebody removed it empty in between."""
    for is_last in (False, False, True):
        try:
            for folder in _make_folders(path):
                stack.callback(_remove_empty, folder)
            stack.enter_context(hold(path / LOCK_NAME))
        except FileNotFoundError:
            if is_last:
                raise
        else:
            return


def _make_folders(path: Path) -> list[Path]:
    """Make the folder and those above it; return those that were missing, the lowest last."""
    missing = [each for each in (path, *path.parents) if not each.exists()][::-1]
    path.mkdir(parents=True, exist_ok=True)
    return missing


def _remove_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # something is in it
        folder.rmdir()


def _refuse(path: Path, error: OSError, elsewhere: str) -> BundleError:
    reason = error.strerror or str(error)
    remedy = elsewhere
    if error.errno in _FORBIDDEN and path.is_dir():
        remedy = f"copy it to a folder that can be written, or {elsewhere}"
    elif error.errno in _FULL:
        remedy = f"free space there, or {elsewhere}"
    return BundleError(
        f"Cannot write into the run {path.name!r}: {str(path)!r}: {reason}. "
        f"{remedy[0].upper()}{remedy[1:]}."
    )
