"""What gives probabilities of crops, whatever computes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from roi_cls.classifier.config import BATCH_SIZE
from roi_cls.classifier.runs.bundle import ModelBundle
from roi_cls.roi import CropParams


class Scorer(Protocol):
    """A model that is ready to score crops."""

    @property
    def bundle(self) -> ModelBundle:
        """Its facts: labels, threshold, recipes."""
        ...

    @property
    def views(self) -> tuple[CropParams, ...]:
        """The crops of a picture that it wants; of an ensemble, each that a member wants, once."""
        ...

    def probabilities(
        self, pixels_by_view: Sequence[NDArray[np.uint8]], batch_size: int = BATCH_SIZE
    ) -> NDArray[np.float64]:
        """Return (N, K) probabilities; rows sum to 1.

        Args:
            pixels_by_view: For each of ``views``, the crops of the N pictures,
                (N, size_px, size_px, 3) RGB.
            batch_size: Pictures scored at once.
        """
        ...
