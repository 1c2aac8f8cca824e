"""Rows to batches: which crops come when, as the numbers that weights expect."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


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
