"""Libraries that tell of each of their steps are kept to themselves."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drop what is printed, logged and warned of inside; errors are raised as ever."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def import_tqdm_quietly() -> None:
    """Import tqdm before torch and timm do.

    In a notebook without ipywidgets it warns at its import, and is not what shows progress here.
    """
    with quiet(), contextlib.suppress(ImportError):
        importlib.import_module("tqdm.auto")


@contextlib.contextmanager
def stderr_held(*, tells_failure: bool = True) -> Iterator[None]:
    """Keep what native code writes off stderr; show it where the block fails, unless not wanted.

    It goes to the file descriptor itself, and no log level of a Python package stops it.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() if tells_failure else open(os.devnull, "w+b") as log:
        kept = os.dup(2)
        os.dup2(log.fileno(), 2)
        try:
            yield
        except BaseException:
            log.seek(0)
            os.write(kept, log.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
