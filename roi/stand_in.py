"""Import a library without the libraries that only parts of it need which are not used here."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any


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
