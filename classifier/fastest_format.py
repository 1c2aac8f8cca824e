"""Which number format trains a model fastest on this machine: timed, because it depends on both.

A tiny EfficientNet takes 1.3 times as long in bf16 as in fp32 on a CPU with bf16 units, a
ResNet-18 half as long: what is gained in the products may be lost in the casts.
"""

from __future__ import annotations

import copy
import statistics
import time

import torch
from torch import Tensor, nn

from roi_cls.classifier.models.device import Backend

_SECONDS = 2.0
"""About how long all timed steps together may take."""
_ROUNDS = 7
"""Steps of each format at most."""
_GAIN = 1.05
"""How much faster than fp32, which rounds least, another format must be."""


def fastest_format(model: nn.Module, sample: Tensor, device: torch.device) -> torch.dtype:
    """Return the format in which a few steps of training took the least time.

    Takes 3 seconds, or four steps where one takes longer. Model and random state stay as they are.

    Args:
        model: What is to be trained, of any method.
        sample: A batch of its input, as large as it will be.
        device: Where it will be trained.
    """
    formats = _candidates(device)
    if len(formats) == 1:
        return formats[0]
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        times = time_steps(model, sample.to(device), [Backend(device, f) for f in formats])
    medians = {f: statistics.median(each) for f, each in zip(formats, times, strict=True)}
    fastest = min(formats, key=lambda f: medians[f])
    return fastest if medians[fastest] * _GAIN < medians[torch.float32] else torch.float32


def time_steps(model: nn.Module, sample: Tensor, backends: list[Backend]) -> list[list[float]]:
    """Return seconds per step of each backend, in turns: what disturbs one disturbs all."""
    trained = copy.deepcopy(model).to(sample.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack this form
    trained.train()
    for backend in backends:  # the first step of each makes kernels and takes memory
        _time_step(trained, sample, backend)
    times: list[list[float]] = [[] for _ in backends]
    begin = time.perf_counter()
    while len(times[0]) < _ROUNDS and (not times[0] or time.perf_counter() - begin < _SECONDS):
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
    logits.float().square().mean().backward()
    model.zero_grad(set_to_none=True)
    _wait(backend.device)
    return time.perf_counter() - begin


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _candidates(device: torch.device) -> tuple[torch.dtype, ...]:
    """Return the formats that the device computes in by itself."""
    if device.type == "cuda":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.float32, torch.bfloat16 if has_bf16 else torch.float16
    if device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        # Emulated bf16 (AVX-512 without its BF16 part, or AVX2) is slower than fp32.
        is_native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return (torch.float32, torch.bfloat16) if is_native else (torch.float32,)
    return (torch.float32,)
