"""What the training loop learns from: batches on the device, wherever they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Model input and what is to be answered, on the device."""

    inputs: Tensor
    """What the model takes: (B*V, 3, S, S) normalised crops, the V views of one picture next to
    each other, or (B, F) embeddings; float32."""
    targets: Tensor
    """(B, K) float32 share of each class; rows sum to 1."""
    evidence: Tensor | None = None
    """(B, H, W) float32, 0 to 1: where the target's evidence lies; NaN throughout a picture of
    which it is unknown."""


class BatchSource(Protocol):
    """Labelled pictures, or their embeddings, that give batches by row numbers.

    Whatever is random in ``train_batch`` is drawn from torch's global generator, so that a resumed
    run draws what an uninterrupted one draws.
    """

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,) index of each picture's class."""
        ...

    def __len__(self) -> int:
        """How many pictures there are."""
        ...

    def train_batch(self, rows: NDArray[np.int64]) -> Batch:
        """Return the pictures at ``rows``, changed at random as training wants them."""
        ...

    def plain_inputs(self, rows: NDArray[np.int64]) -> Tensor:
        """Return the model's input for the pictures at ``rows``, unchanged."""
        ...
