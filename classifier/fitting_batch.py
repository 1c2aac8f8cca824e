"""How many crops fit into memory at once: found by trying on a GPU, by reckoning on the CPU."""

from __future__ import annotations

import contextlib
import copy
import traceback
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from roi_cls.base.errors import TrainingError
from roi_cls.base.memory import available_bytes
from roi_cls.classifier.batch_source import BatchSource
from roi_cls.classifier.models.device import Backend

_LARGEST = {"cpu": 64}
"""Larger batches make no CPU faster, and learn worse in few steps."""
_LARGEST_ELSEWHERE = 1024
_BACKWARD = 2.0
"""Memory at the peak of a step, per byte that the forward pass keeps for the way back. Measured on
the CPU: 0.8 to 1.4 for MobileNetV2, EfficientNet-B0, ResNet-18 and a small ViT, in fp32 and bf16;
the rest is for the optimiser and a running average."""
_SHARE = 0.8
"""Of the memory available, what may be planned with."""


def largest_batch(model: nn.Module, source: BatchSource, backend: Backend) -> int:
    """Return the largest power of two of crops that a training step has memory for, 1 at least.

    The model is left as it was.
    """
    trial = copy.deepcopy(model).to(backend.device)
    most = min(_LARGEST.get(backend.device.type, _LARGEST_ELSEWHERE), len(source))
    if backend.device.type == "cpu":
        available = available_bytes()
        if available is None:
            return _power_of_two(most)
        needed = _bytes_per_crop(trial, source, backend) * _BACKWARD
        return _power_of_two(min(most, int(available * _SHARE / max(1.0, needed))))
    # Room for what an optimiser and a running average add to the copy's weights and gradients.
    weights = sum(p.numel() * p.element_size() for p in trial.parameters())
    reserved = torch.empty(3 * weights, dtype=torch.uint8, device=backend.device)
    size = _largest_tried(1, most, lambda n: _fits(trial, source, n, backend))
    del reserved
    return max(1, size)


@contextlib.contextmanager
def telling_what_fits(
    model: nn.Module, source: BatchSource, size: int, accumulate: int, backend: Backend
) -> Iterator[None]:
    """Turn a lack of memory in a step into a message that says what would fit.

    Args:
        model: What is trained; unusable after such an error.
        source: Where its batches come from.
        size: Crops of a batch.
        accumulate: Batches of a step.
        backend: Where it is computed.

    Raises:
        TrainingError: The memory is too small.
    """
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        if not _is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)  # they hold the failed step's tensors
        reason = f"the {'CPU' if backend.device.type == 'cpu' else 'GPU'}'s memory is too small"
    else:
        return
    fitting = _largest_tried(1, max(1, size - 1), lambda n: _fits(model, source, n, backend))
    parts = -(-size * accumulate // max(1, fitting))
    remedy = (
        f"{fitting} would fit: use --batch-size {fitting} --accumulate {parts}, which learns "
        "alike, or smaller crops or a smaller model."
        if fitting
        else "Not even one crop fits: use smaller crops (--size) or a smaller --model."
    )
    raise TrainingError(f"Cannot train with batches of {size}: {reason}. {remedy}")


def _largest_tried(first: int, most: int, fits: Callable[[int], bool]) -> int:
    """Return the largest power of two from ``first`` to ``most`` that fits; 0: not even that."""
    size = 0
    trial = first
    while trial <= most and fits(trial):
        size, trial = trial, trial * 2
    return size


def _fits(model: nn.Module, source: BatchSource, size: int, backend: Backend) -> bool:
    """Whether forward and backward pass of a batch have room."""
    _free(backend)
    try:
        _backward(model, source, size, backend)
    except RuntimeError as error:
        if not _is_out_of_memory(error):
            raise
        return False
    finally:
        model.zero_grad(set_to_none=True)
        _free(backend)
    return True


def _free(backend: Backend) -> None:
    if backend.device.type == "cuda":
        torch.cuda.empty_cache()


def _backward(model: nn.Module, source: BatchSource, size: int, backend: Backend) -> None:
    # Of a small source some rows come twice: what the crops show takes no memory.
    batch = source.train_batch(np.arange(size) % len(source))
    # In evaluation mode one crop is enough for a batch norm; it keeps as much for the way back.
    model.train(size > 1)
    with backend.autocast():
        output = model(batch.inputs)
    logits = output[0] if isinstance(output, tuple) else output
    loss = functional.cross_entropy(logits.float(), batch.targets)
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped


def _bytes_per_crop(model: nn.Module, source: BatchSource, backend: Backend) -> float:
    """Return what the forward pass keeps for the way back, per crop."""
    kept = [_kept_bytes(model, source, size, backend) for size in (2, 4)]
    return (kept[1] - kept[0]) / 2


def _kept_bytes(model: nn.Module, source: BatchSource, size: int, backend: Backend) -> int:
    storages: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        _backward(model, source, size, backend)
    return sum(storages.values())


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _power_of_two(most: int) -> int:
    return 1 << max(0, most.bit_length() - 1)
