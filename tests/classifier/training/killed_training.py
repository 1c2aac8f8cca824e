"""A training that kills itself without warning: ``python killed_training.py JOB PLACE``.

Run as a program of its own by test_run_resume.py, because nothing of a killed process runs on.
"""

import os
import pickle
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from roi_cls.classifier.training import learner, loop, run
from roi_cls.classifier.training.job import Observers
from roi_cls.classifier.training.run import train_run


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _kill(owner: Any, name: str, call: int, *, after: bool = False) -> None:
    """Let the process die before, or right after, a call of a function, counted from 1."""
    function: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def counting(*arguments: Any, **keywords: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and not after:
            _die()
        result = function(*arguments, **keywords)
        if calls == call:
            _die()
        return result

    setattr(owner, name, counting)


PLACES: dict[str, Callable[[], None]] = {
    "in the first epoch": lambda: _kill(learner.Learner, "step", 2),
    "in the second phase": lambda: _kill(learner.Learner, "step", 11),
    "between best weights and checkpoint": lambda: _kill(loop, "save_checkpoint", 2),
    "before the bundle": lambda: _kill(run, "save_bundle", 1),
    "after the bundle": lambda: _kill(run, "save_bundle", 1, after=True),
}
"""Where it dies."""

if __name__ == "__main__":
    PLACES[sys.argv[2]]()
    train_run(pickle.loads(Path(sys.argv[1]).read_bytes()), Observers())
