"""The way of several GPUs, walked by what is there: torchrun, NCCL, shared batch norms.

    torchrun --nproc-per-node 1 -m benchmarks.gpu.processes

One process is enough for NCCL, DistributedDataParallel and the batch norms' exchange to run; it
takes the first half of each batch, as the first of two would, and must learn what a process that
knows nothing of others learns from that half. With a process for each of several GPUs the whole
batch is compared.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed, nn

from benchmarks.gpu.rows import Book, from_file, to_file
from benchmarks.gpu.setting import Setting, choose_setting
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.models.device import Backend
from roi_cls.classifier.models.timm_model import create_model, normalisation
from roi_cls.classifier.runs.bundle import Normalisation
from roi_cls.classifier.training.batches import PixelSource
from roi_cls.classifier.training.distributed import World, current_world
from roi_cls.classifier.training.learner import Learner, Loss

PART = "processes"
ROOT = Path(__file__).parents[2]
_STEPS = 4
_APART = 1e-3
"""Relative difference of losses by the order of sums alone, in fp32 and after a few steps."""


def check_processes(setting: Setting, book: Book) -> None:
    """Run this file under torchrun, a process for each GPU but two at most; tell what it tells."""
    if not setting.has_gpu:
        check_here(setting, book)
        return
    told = setting.folder / f"{PART}-of-torchrun.jsonl"
    count = min(2, torch.cuda.device_count())
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    words = [*torchrun, "--nproc-per-node", str(count), "-m", "--", __name__]
    done = subprocess.run([*words, str(setting.folder), str(told)], cwd=ROOT, check=False)
    for row in from_file(told):
        book.pass_on(row)
    ended = f"exit code {done.returncode}"
    book.expect(f"torchrun, {count} of NCCL", ended, "exit code 0", is_right=not done.returncode)


def check_here(setting: Setting, book: Book) -> None:
    """Tell what a group of this process alone learns."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    kind = "nccl" if setting.has_gpu else "gloo"
    with book.trying(f"a group of one, {kind}"):
        distributed.init_process_group(kind, init_method=address, rank=0, world_size=1)
        try:
            _compare(setting, book)
        finally:
            distributed.destroy_process_group()


def _compare(setting: Setting, book: Book) -> None:
    """Compare the losses of a group with those of a process that learns the same rows by itself."""
    world = current_world()
    alone = world.size == 1
    size = 8 if setting.is_tiny else 64
    rows = np.arange(size)
    # As the first of two, where there is no second: then the group's way is gone all the same.
    member = _learn(setting, World(0, 2) if alone else world, rows, size)
    whole = _learn(setting, World(), rows[::2] if alone else rows, size // 2 if alone else size)
    losses = [float(world.sum(loss)) for loss in member]
    apart = max(abs(a / float(b) - 1) for a, b in zip(losses, whole, strict=True))
    if not world.is_first:
        return
    kind = "NCCL" if setting.has_gpu else "gloo"
    book.at_most(f"{world.size} of {kind}: losses to those of one process, apart by", apart, _APART)
    if setting.has_gpu and alone:
        with book.trying("batch norm over NCCL"):
            book.at_most("batch norm over NCCL to a plain one, apart by", _norm_apart(), _APART)
    elif alone:
        book.skip("batch norm over NCCL to a plain one, apart by")


def _learn(
    setting: Setting, world: World, rows: np.ndarray[Any, np.dtype[np.int64]], size: int
) -> list[torch.Tensor]:
    """Return the summed losses of a few steps over the same rows."""
    changes: dict[str, Any] = {"augmentation": "none", "drop_rate": 0.0, "optimiser": "sgd"}
    config = TrainConfig(model=setting.models[0], weights="none", batch_size=size, **changes)
    torch.manual_seed(0)
    model = create_model(config.model, "none", 2, setting.size_px)
    backend = Backend(setting.device, torch.float32)
    scale = Normalisation(*normalisation(model))
    source = PixelSource(setting.crops(len(rows) * 2), 2, scale, setting.device, config, 0)
    learner = Learner(config, model, backend, world)
    learner.set_rate(1e-3)
    learner.train_mode()
    loss = Loss(config, np.array([0.5, 0.5])).to(setting.device)
    return [learner.step(source, rows, loss) for _ in range(_STEPS)]


def _norm_apart() -> float:
    """Return how far outputs and gradients of a batch norm over NCCL are from a plain one's.

    In a group of one torch's module takes the plain way: its exchange is called by itself.
    """
    from torch.nn.modules._functions import SyncBatchNorm

    device = torch.device("cuda")
    torch.manual_seed(0)
    images = torch.randn(8, 16, 12, 12, device=device).contiguous(memory_format=torch.channels_last)
    norm = nn.BatchNorm2d(16, device=device)
    slant = torch.randn_like(images)  # else the slope would be next to zero
    outputs, slopes = [], []
    for shared in (False, True):
        inputs = images.clone().requires_grad_()
        if shared:
            group = distributed.group.WORLD
            facts = (norm.weight, norm.bias, None, None, norm.eps, 0.1, group, 1)
            output = SyncBatchNorm.apply(inputs, *facts)
        else:
            output = norm(inputs)
        (output * slant).sum().backward()
        assert inputs.grad is not None
        outputs.append(output.detach())
        slopes.append(inputs.grad)
    return max(float((a - b).abs().max()) for a, b in (outputs, slopes))


@contextlib.contextmanager
def _joined() -> Iterator[None]:
    """Join the processes that torchrun started, also where it started one alone."""
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("cpu:gloo,cuda:nccl")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def main() -> None:
    """Compare within torchrun's group, and write what was found for ``check_processes``."""
    folder, told = map(Path, sys.argv[1:])
    with _joined():
        _compare(choose_setting(folder, is_tiny=False), Book(PART, to_file(told)))


if __name__ == "__main__":
    main()
