"""What the settings leave to this machine: the number format, the batch size, the compiler.

Which format is fastest is timed; how many crops fit is tried on a GPU, and reckoned on a CPU.
"""

from __future__ import annotations

import contextlib
import copy
import statistics
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from roi_cls.base.errors import TrainingError
from roi_cls.base.machine import available_bytes
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.models.device import FORMATS, Backend, choose_backend
from roi_cls.classifier.training.batches import BatchSource
from roi_cls.classifier.training.checkpoint import load_checkpoint
from roi_cls.classifier.training.distributed import current_world

_TIMING_SECONDS = 2.0
"""About how long all timed steps together may take."""
_MOST_TIMED_STEPS = 7
"""Steps of each format at most."""
_TIMED_CROPS = 32
_MOST_TIMED_CROPS = 256
"""In a timed step, where the batch size is not decided: on a CPU, and at most."""
_LEAST_GAIN = 1.05
"""How much faster than fp32, which rounds least, another format must be."""
_LARGEST_BATCH = {"cpu": 64}
"""Larger batches make no CPU faster, and learn worse in few steps."""
_LARGEST_BATCH_ELSEWHERE = 1024
_PEAK_PER_KEPT_BYTE = 2.0
"""Memory at the peak of a step, per byte that the forward pass keeps for the way back. Measured on
the CPU: 0.8 to 1.4 for MobileNetV2, EfficientNet-B0, ResNet-18 and a small ViT, in fp32 and bf16;
the rest is for the optimiser and a running average."""
_PLANNED_SHARE = 0.8
"""Of the memory available, what may be planned with."""
_NO_MEMORY = ("can't allocate memory", "out of memory", "_ALLOC_FAILED")
"""How the CPU's allocator, the CUDA runtime, and cuBLAS and cuDNN say that there is none left."""


def settle(
    config: TrainConfig,
    model: nn.Module,
    source: BatchSource,
    backend: Backend,
    checkpoint: Path,
    on_note: Callable[[str], None] = lambda text: None,
) -> tuple[TrainConfig, Backend]:
    """Return settings without ``auto``, and the backend that they mean.

    A resumed run keeps what it was begun with; of several processes the first one decides.

    Args:
        config: The settings.
        model: What is trained; it is left as it was.
        source: Its training pictures.
        backend: The device.
        checkpoint: Where the run goes on from, if it is there.
        on_note: Told of the wait where formats are timed, and where something asked for cannot be
            had, and training goes on without.

    Raises:
        TrainingError: The checkpoint is damaged.
    """
    world = current_world()
    choices: dict[str, Any] = {}
    if world.is_first:
        kept = load_checkpoint(checkpoint).choices if checkpoint.exists() else {}
        choices = dict(kept) or _choose(config, model, source, backend, on_note)
    choices = world.from_first(choices)
    if config.compile and (reason := _no_compiler(backend.device)):
        on_note(f"Cannot compile the model: {reason}. Training goes on without --compile.")
        choices["compile"] = False
    settled = replace(config, **choices)
    return settled, choose_backend(settled.device, settled.precision)


def _choose(
    config: TrainConfig,
    model: nn.Module,
    source: BatchSource,
    backend: Backend,
    on_note: Callable[[str], None],
) -> dict[str, Any]:
    if config.precision == "auto" and backend.device.type != "mps":
        if len(_native_formats(backend.device)) > 1:
            # Seconds on an idle machine, a minute on a busy one: silence would look like a hang.
            on_note("Timing which number format trains faster here (--precision fp32 skips this)…")
        backend = Backend(backend.device, _timed_format(config, model, source, backend.device))
    size = config.batch_size
    return {
        "precision": next(name for name, dtype in FORMATS.items() if dtype == backend.format),
        "batch_size": largest_batch(model, source, backend) if size == "auto" else size,
    }


def _timed_format(
    config: TrainConfig, model: nn.Module, source: BatchSource, device: torch.device
) -> torch.dtype:
    """Return the format that is fastest for batches like those to come."""
    exact = Backend(device, torch.float32)
    try:
        count = min(len(source), _sample_size(config, model, source, exact))
        return fastest_format(model, source.plain_inputs(np.arange(count)), device)
    except RuntimeError as error:
        if not _is_out_of_memory(error):
            raise
    # That which takes least; if it takes too much, the first step says what would fit.
    _free(exact)
    return _native_formats(device)[-1]


def _sample_size(config: TrainConfig, model: nn.Module, source: BatchSource, exact: Backend) -> int:
    if config.batch_size != "auto":
        return config.batch_size
    if exact.device.type == "cpu":
        return _TIMED_CROPS
    # A GPU is done with a few crops before the next kernel is sent: all formats look alike.
    return min(_MOST_TIMED_CROPS, largest_batch(model, source, exact))


def fastest_format(model: nn.Module, sample: Tensor, device: torch.device) -> torch.dtype:
    """Return the format in which a few steps of training took the least time.

    Takes 3 seconds, or four steps where one takes longer. Model and random state stay as they are.

    Args:
        model: What is to be trained, of any method.
        sample: A batch of its input, as large as it will be.
        device: Where it will be trained.
    """
    formats = _native_formats(device)
    if len(formats) == 1:
        return formats[0]
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        times = time_steps(model, sample.to(device), [Backend(device, f) for f in formats])
    medians = {f: statistics.median(each) for f, each in zip(formats, times, strict=True)}
    fastest = min(formats, key=lambda f: medians[f])
    return fastest if medians[fastest] * _LEAST_GAIN < medians[torch.float32] else torch.float32


def _native_formats(device: torch.device) -> tuple[torch.dtype, ...]:
    """Return the formats that the device computes in by itself."""
    if device.type == "cuda":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.float32, torch.bfloat16 if has_bf16 else torch.float16
    if device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        # Emulated bf16 (AVX-512 without its BF16 part, or AVX2) is slower than fp32.
        is_native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return (torch.float32, torch.bfloat16) if is_native else (torch.float32,)
    return (torch.float32,)


def time_steps(model: nn.Module, sample: Tensor, backends: list[Backend]) -> list[list[float]]:
    """Return seconds per step of each backend, in turns: what disturbs one disturbs all."""
    trained = copy.deepcopy(model).to(sample.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack this form
    trained.train(len(sample) > 1)  # of a single crop there are no statistics, see norms_for
    for backend in backends:  # the first step of each makes kernels and takes memory
        _time_step(trained, sample, backend)
    times: list[list[float]] = [[] for _ in backends]
    begin = time.perf_counter()
    while len(times[0]) < _MOST_TIMED_STEPS and (
        not times[0] or time.perf_counter() - begin < _TIMING_SECONDS
    ):
        for backend, each in zip(backends, times, strict=True):
            each.append(_time_step(trained, sample, backend))
    return times


def _time_step(model: nn.Module, sample: Tensor, backend: Backend) -> float:
    """Return the seconds of one forward and backward pass."""
    _wait(backend.device)
    begin = time.perf_counter()
    with backend.autocast():
        output = model(sample)
    logits = output[0] if isinstance(output, tuple) else output
    with backend.rounding():
        logits.float().square().mean().backward()
    model.zero_grad(set_to_none=True)
    _wait(backend.device)
    return time.perf_counter() - begin


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def largest_batch(model: nn.Module, source: BatchSource, backend: Backend) -> int:
    """Return the largest power of two of crops that a training step has memory for, 1 at least.

    The model is left as it was.
    """
    trial = copy.deepcopy(model).to(backend.device)
    most = min(_LARGEST_BATCH.get(backend.device.type, _LARGEST_BATCH_ELSEWHERE), len(source))
    if backend.device.type == "cpu":
        available = available_bytes()
        if available is None:
            return _power_of_two(most)
        needed = _bytes_per_crop(trial, source, backend) * _PEAK_PER_KEPT_BYTE
        return _power_of_two(min(most, int(available * _PLANNED_SHARE / max(1.0, needed))))
    # Room for what an optimiser and a running average add to the copy's weights and gradients.
    weights = sum(p.numel() * p.element_size() for p in trial.parameters())
    reserved = torch.empty(3 * weights, dtype=torch.uint8, device=backend.device)
    size = _largest_tried(1, most, lambda n: _fits(trial, source, n, backend))
    del reserved
    return max(1, size)


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


def _power_of_two(most: int) -> int:
    return 1 << max(0, most.bit_length() - 1)


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
    if current_world().size > 1:  # a trial would wait for the others, who are in the step still
        half = max(1, size // 2)
        raise TrainingError(
            f"Cannot train with batches of {size}: {reason}. Use --batch-size {half} --accumulate "
            f"{-(-size * accumulate // half)}, which learns alike, or smaller crops or a smaller "
            "model."
        )
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


def _backward(model: nn.Module, source: BatchSource, size: int, backend: Backend) -> None:
    # Of a small source some rows come twice: what the crops show takes no memory.
    batch = source.train_batch(np.arange(size) % len(source))
    # In evaluation mode one crop is enough for a batch norm; it keeps as much for the way back.
    model.train(size > 1)
    with backend.autocast():
        output = model(batch.inputs)
    logits = output[0] if isinstance(output, tuple) else output
    loss = functional.cross_entropy(logits.float(), batch.targets)
    with backend.rounding():
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped


def _free(backend: Backend) -> None:
    if backend.device.type == "cuda":
        torch.cuda.empty_cache()


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch's allocator or one of the libraries below it has said so."""
    return isinstance(error, torch.OutOfMemoryError) or any(w in str(error) for w in _NO_MEMORY)


def _no_compiler(device: torch.device) -> str:
    """Return why torch.compile does not work here, or nothing."""
    try:
        torch.compile(_probe)(torch.ones(2, device=device))
    except (ImportError, OSError, RuntimeError) as error:  # what it raises derives from the last
        return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
    return ""


def _probe(values: torch.Tensor) -> torch.Tensor:
    return values.sin() + 1
