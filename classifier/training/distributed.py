"""Where and how exactly torch computes: in several processes, or with results that repeat.

Processes that torchrun started train one model together; one by itself is a world of its own.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed, nn

from roi_cls.base.errors import TrainingError

Value = TypeVar("Value")
_PATIENCE = timedelta(days=1)
"""That a process waits for the others: one crops for all. torchrun ends all when one fails."""
_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
"""Variable that cuBLAS repeats its results by."""


@dataclass(frozen=True, slots=True)
class World:
    """This process's place among those that train together."""

    rank: int = 0
    """Counted from 0; the first one writes the files and speaks."""
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def share(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return this process's part of the rows: every ``size``-th."""
        return rows[self.rank :: self.size]

    def join_shares(self, values: NDArray[np.float32], count: int) -> NDArray[np.float32]:
        """Return the values of all ``count`` rows, from each process's of its share; to all."""
        if self.size == 1:
            return values
        parts: list[Any] = [None] * self.size
        distributed.all_gather_object(parts, values)
        joined = np.empty((count, *parts[0].shape[1:]), values.dtype)  # the first has a row if any
        for rank, part in enumerate(parts):
            if len(part):
                joined[rank :: self.size] = part
        return joined

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        """Return the sum over processes."""
        if self.size > 1:
            distributed.all_reduce(value)
        return value

    def from_first(self, value: Value) -> Value:
        """Return the first process's value; plain Python values."""
        if self.size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def wait(self) -> None:
        """Go on when all processes have come here."""
        if self.size > 1:
            distributed.barrier()


def current_world() -> World:
    """Return this process's place in the group that ``join_processes`` joined, or that of one."""
    if distributed.is_available() and distributed.is_initialized():
        return World(distributed.get_rank(), distributed.get_world_size())
    return World()


@contextlib.contextmanager
def join_processes(device: torch.device) -> Iterator[World]:
    """Join the processes that torchrun started beside this one, and leave them at the end.

    Within another such block it gives the same place again.

    Args:
        device: Where to compute: each process on a machine takes a GPU of its own (NCCL), or all
            compute on the CPU (gloo).
    """
    joined = distributed.is_available() and distributed.is_initialized()
    if joined or int(os.environ.get("WORLD_SIZE", "1")) == 1 or "RANK" not in os.environ:
        yield current_world()
        return
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    kind = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(kind, timeout=_PATIENCE)
    try:
        yield current_world()
    finally:
        distributed.destroy_process_group()


def synchronise(model: nn.Module, device: torch.device, world: World) -> nn.Module:
    """Return what computes like the model and averages its gradients over the processes.

    On GPUs, batch norms average over the whole global batch. On the CPU torch has no such norm:
    each process then normalises by its own share, and the first one's averages are kept.
    """
    if world.size == 1:
        return model
    own = [torch.cuda.current_device()] if device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(model, device_ids=own)


def share_batch_norms(model: nn.Module, device: torch.device, world: World) -> nn.Module:
    """Return the model with batch norms that average over all processes, where there are any."""
    if world.size == 1 or device.type != "cuda":
        return model
    from timm.layers.norm_act import convert_sync_batchnorm

    return cast(nn.Module, convert_sync_batchnorm(model))  # type: ignore[no-untyped-call]  # timm leaves it untyped


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
        if _WORKSPACE in str(error):
            raise TrainingError(
                "Cannot train deterministically here: cuBLAS computed before in this process, and "
                f"does not repeat its results since. Set the variable {_WORKSPACE}=:4096:8 before "
                "Python starts, or leave --deterministic out."
            ) from error
        reason = str(error).partition(". ")[0].partition(" You ")[0].strip().rstrip(".")
        raise TrainingError(
            f"Cannot train deterministically here: {reason}. "
            "Leave --deterministic out, use --device cpu or another --model."
        ) from error
    finally:
        torch.set_deterministic_debug_mode(level)
        if before is None:
            os.environ.pop(_WORKSPACE, None)
