"""A run's model, ready to score: one network, or an ensemble of them. The one way to a probability.

Evaluation, prediction and verification get their probabilities here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from roi_cls.classifier.bundle import (
    ENSEMBLE,
    ModelBundle,
    load_bundle,
    load_model,
    member_folders,
)
from roi_cls.classifier.device import Backend
from roi_cls.classifier.score import BATCH_SIZE, compute_logits, to_probabilities
from roi_cls.errors import BundleError
from roi_cls.roi import CropParams


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A bundle with its network, or with its members."""

    bundle: ModelBundle
    model: nn.Module | None
    """None: an ensemble."""
    members: tuple[LoadedModel, ...] = ()

    @property
    def views(self) -> tuple[CropParams, ...]:
        """The crops of a picture that it wants; of an ensemble, each that a member wants, once."""
        return self.bundle.views

    def probabilities(
        self,
        pixels_by_view: Sequence[NDArray[np.uint8]],
        backend: Backend,
        batch_size: int = BATCH_SIZE,
    ) -> NDArray[np.float64]:
        """Return (N, K) probabilities; rows sum to 1.

        Args:
            pixels_by_view: For each of ``views``, the crops of the N pictures,
                (N, size_px, size_px, 3) RGB.
            backend: Of the device that the model was loaded on.
            batch_size: Pictures scored at once.
        """
        if self.model is None:
            found = [
                member.probabilities(
                    [pixels_by_view[self.views.index(view)] for view in member.views],
                    backend,
                    batch_size,
                )
                for member in self.members
            ]
            bundle = self.bundle
            return join_scores(found, bundle.network["weights"], bundle.temperature, bundle.offsets)
        is_one = len(pixels_by_view) == 1
        pixels = pixels_by_view[0] if is_one else np.stack(pixels_by_view, axis=1)
        scale, mirror = self.bundle.normalisation, self.bundle.mirror
        logits = compute_logits(self.model, pixels, scale, backend, batch_size, mirror=mirror)
        return to_probabilities(logits, self.bundle.temperature, self.bundle.offsets)


def load_any(folder: Path, device: torch.device) -> LoadedModel:
    """Return the model of a run, with all of its members, on ``device``.

    Raises:
        BundleError: It is missing, incomplete, changed, or of another format.
        WeightsError: The weights do not fit the model.
    """
    bundle = load_bundle(folder)
    if bundle.network["kind"] != ENSEMBLE:
        return LoadedModel(bundle, load_model(folder, bundle).to(device))
    members = tuple(load_any(path, device) for path in member_folders(folder, bundle))
    missing = [m for m in members if not set(m.views) <= set(bundle.views)]
    if missing or not members or len(bundle.network["weights"]) != len(members):
        raise BundleError(
            f"Cannot use the model in {str(folder)!r}: its members are not the ones its facts "
            "describe. Copy the whole folder again."
        )
    return LoadedModel(bundle, None, members)


def join_scores(
    probabilities: Sequence[NDArray[np.float64]],
    weights: Sequence[float],
    temperature: float = 1.0,
    offsets: ArrayLike = 0.0,
) -> NDArray[np.float64]:
    """Return the weighted mean of the members' (N, K) probabilities.

    Temperature and offsets then act on its logarithm, as they do on logits.
    """
    mean = np.average(np.stack(probabilities), axis=0, weights=np.asarray(weights, np.float64))
    if temperature == 1.0 and not np.any(offsets):
        return np.asarray(mean, np.float64)
    with np.errstate(divide="ignore"):  # the logarithm of 0 becomes the probability 0 again
        return to_probabilities(np.log(mean), temperature, offsets)
