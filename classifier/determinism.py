"""Results that repeat bit for bit on one machine, where torch has the algorithms for it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch

from roi_cls.base.errors import TrainingError

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


@contextlib.contextmanager
def deterministic(is_wanted: bool) -> Iterator[None]:
    """Let torch use deterministic algorithms alone inside, where that is wanted.

    Raises:
        TrainingError: The model needs an operation that has none.
    """
    if not is_wanted:
        yield
        return
    before, level = os.environ.get(_WORKSPACE), torch.get_deterministic_debug_mode()
    os.environ.setdefault(_WORKSPACE, ":4096:8")  # what cuBLAS asks for; read at its first use
    torch.use_deterministic_algorithms(True)
    try:
        yield
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        reason = str(error).partition(". ")[0].partition(" You ")[0].strip().rstrip(".")
        raise TrainingError(
            f"Cannot train deterministically here: {reason}. "
            "Leave --deterministic out, use --device cpu or another --model."
        ) from error
    finally:
        torch.set_deterministic_debug_mode(level)
        if before is None:
            os.environ.pop(_WORKSPACE, None)
