"""How large a trained model is, and how fast it scores crops that are ready."""

from __future__ import annotations

import statistics
import time

import numpy as np

from roi_cls.classifier.config import BATCH_SIZE
from roi_cls.classifier.inference.loaded import LoadedModel
from roi_cls.classifier.inference.scorer import Scorer

ROUNDS = 3
"""Of which the median counts: other work on the machine slows one, seldom two."""


def count_parameters(model: LoadedModel) -> int:
    """Return how many numbers the model has learned, of all members of an ensemble together."""
    if model.model is None:
        return sum(count_parameters(member) for member in model.members)
    learned = sum(parameter.numel() for parameter in model.model.parameters())
    # A model that no gradient trained, like an SVM, holds what it learned in buffers.
    return learned or sum(buffer.numel() for buffer in model.model.buffers())


def measure_ms(model: Scorer) -> float:
    """Return milliseconds per picture, in the batches that prediction uses, crops at hand."""
    random = np.random.default_rng(0)  # what is in the picture does not change the time
    pixels = [
        random.integers(0, 256, (BATCH_SIZE, view.size_px, view.size_px, 3), dtype=np.uint8)
        for view in model.views
    ]
    model.probabilities(pixels)  # the first call prepares what the others reuse
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        model.probabilities(pixels)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds) / BATCH_SIZE * 1000
