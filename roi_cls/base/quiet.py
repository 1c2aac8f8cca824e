"""Libraries that tell of each of their steps, or ask for what is not needed, kept to themselves."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import sys
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any


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


class _StandIn(ModuleType):
    """Is in the place of a module that nobody has used yet; once used, it passes all on to it."""

    def __getattr__(self, name: str) -> Any:
        _give_way()  # else the module would be looked for here
        return getattr(importlib.import_module(self.__name__), name)


@contextlib.contextmanager
def stand_ins(*names: str) -> Iterator[None]:
    """Let whoever imports these modules meanwhile get them when they are first used.

    Args:
        names: Full names, parents before their children. Those already imported stay as they are.
    """
    if any(name in sys.modules for name in names):
        names = ()
    for name in names:
        sys.modules[name] = stand_in = _StandIn(name)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, stand_in)
    try:
        yield
    finally:
        _give_way()


def _give_way() -> None:
    """Let the next import of each module be the true one."""
    for name, module in list(sys.modules.items()):
        if isinstance(module, _StandIn):
            sys.modules.pop(name, None)
