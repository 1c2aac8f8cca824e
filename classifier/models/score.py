"""What a network says of crops; which rows come in a batch, and their pixels."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from roi_cls.classifier.config import BATCH_SIZE
from roi_cls.classifier.models.device import Backend
from roi_cls.classifier.runs.bundle import Normalisation


def compute_logits(
    model: nn.Module,
    pixels: NDArray[np.uint8],
    normalisation: Normalisation,
    backend: Backend,
    batch_size: int = BATCH_SIZE,
    *,
    mirror: bool = False,
) -> NDArray[np.float32]:
    """Return (N, K) logits of (N, S, S, 3) or (N, V, S, S, 3) RGB uint8 crops.

    The model is put into evaluation mode and stays in it. With ``mirror``, the logits are the mean
    of those of the crops and of their mirror images.
    """
    apply = _with_mirror(model.eval()) if mirror else model.eval()
    return compute_outputs(apply, pixels, normalisation, backend, batch_size)


def _with_mirror(model: nn.Module) -> Callable[[Tensor], Tensor]:
    def apply(inputs: Tensor) -> Tensor:
        both: Tensor = model(inputs).float() + model(inputs.flip(-1)).float()
        return both / 2

    return apply


def compute_logits_apart(
    model: nn.Module,
    pixels: NDArray[np.uint8],
    normalisation: Normalisation,
    *,
    mirror: bool = False,
) -> NDArray[np.float32]:
    """Return ``compute_logits`` of the CPU in fp32, each picture by itself: the same in any batch.

    Torch picks its kernels by the size of a batch, and the probabilities of trained networks
    differed by 9e-7 between 1 and 32. One at a time is no slower but for tiny networks. Each thread
    has a picture of its own: threads that share one wait for each other actively, and beside
    processes that decode, that took 10 times as long as one thread alone.
    """
    apply = _with_mirror(model.eval()) if mirror else model.eval()
    cpu = torch.device("cpu")

    def score(row: int) -> NDArray[np.float32]:
        with torch.inference_mode():
            inputs = normalisation.apply(pick_pixels(pixels, np.array([row])), cpu)
            return np.asarray(apply(inputs).numpy(), np.float32)

    with _threads_apart(len(pixels)) as threads:
        return np.concatenate(list(threads.map(score, range(len(pixels)))))


@contextlib.contextmanager
def _threads_apart(most: int) -> Iterator[ThreadPoolExecutor]:
    """Give as many threads as torch may use, ``most`` at most, each to compute alone."""
    before = torch.get_num_threads()
    alone = partial(torch.set_num_threads, 1)
    threads = ThreadPoolExecutor(min(before, most), "roi-cls-score", alone)
    try:
        yield threads
    finally:
        threads.shutdown(cancel_futures=True)
        torch.set_num_threads(before)  # those of other threads that are yet to come


def compute_outputs(
    apply: Callable[[Tensor], Tensor],
    pixels: NDArray[np.uint8],
    normalisation: Normalisation,
    backend: Backend,
    batch_size: int = BATCH_SIZE,
) -> NDArray[np.float32]:
    """Return what ``apply`` makes of the crops as model input, batch by batch."""
    outputs = []
    with torch.inference_mode(), backend.autocast():
        for start in range(0, len(pixels), batch_size):
            rows = np.arange(start, min(start + batch_size, len(pixels)))
            batch = normalisation.apply(pick_pixels(pixels, rows), backend.device)
            outputs.append(apply(batch).float().cpu().numpy())
    return np.concatenate(outputs)


def pair_logits(score: Tensor, target_index: int) -> Tensor:
    """Return (B, 2) logits of what (B,) scores say of the target; the other class's is 0."""
    zero = torch.zeros_like(score)
    return torch.stack((score, zero) if target_index == 0 else (zero, score), dim=1)


def pick_pixels(pixels: NDArray[np.uint8], rows: NDArray[np.int64]) -> Tensor:
    """Return the crops at ``rows`` as (B*V, 3, S, S) uint8, channels last.

    Args:
        pixels: (N, S, S, 3), or (N, V, S, S, 3): the views of a picture come next to each other.
        rows: (B,) numbers of pictures.
    """
    size_px = pixels.shape[-2]
    return torch.from_numpy(pixels[rows].reshape(-1, size_px, size_px, 3)).permute(0, 3, 1, 2)


def shuffled_rows(count: int, generator: torch.Generator) -> NDArray[np.int64]:
    """Return the row numbers 0 to ``count`` - 1, each once, in random order."""
    return np.asarray(torch.randperm(count, generator=generator).numpy(), np.int64)


def balanced_rows(labels: NDArray[np.int64], generator: torch.Generator) -> NDArray[np.int64]:
    """Return as many row numbers as there are labels, every class drawn as often on average.

    Drawn with replacement: a rare picture comes several times an epoch, a common one at times not.
    """
    weights = torch.from_numpy(1.0 / np.bincount(labels)[labels])
    rows = torch.multinomial(weights, len(labels), replacement=True, generator=generator)
    return np.asarray(rows.numpy(), np.int64)


def in_batches(rows: NDArray[np.int64], batch_size: int) -> Iterator[NDArray[np.int64]]:
    """Yield the rows in order, ``batch_size`` at a time.

    A last batch of a single row joins the one before: batch statistics need two.
    """
    starts = list(range(0, len(rows), batch_size))
    if len(starts) > 1 and len(rows) - starts[-1] == 1:
        starts.pop()
    for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        yield rows[start:end]
