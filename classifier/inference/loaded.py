"""A run's model, ready to score with torch: one network, or an ensemble of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from roi_cls.base.errors import BundleError
from roi_cls.classifier.config import BATCH_SIZE
from roi_cls.classifier.metrics.decision import join_scores, to_probabilities
from roi_cls.classifier.models.device import Backend
from roi_cls.classifier.models.saved import load_model
from roi_cls.classifier.models.score import compute_logits, compute_logits_apart
from roi_cls.classifier.runs.bundle import ENSEMBLE, ModelBundle, load_bundle, member_folders
from roi_cls.classifier.runs.ensemble import average_runs
from roi_cls.roi import CropParams


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A bundle with its network, or with its members: a ``Scorer``."""

    bundle: ModelBundle
    backend: Backend
    model: nn.Module | None
    """None: an ensemble."""
    members: tuple[LoadedModel, ...] = ()

    @property
    def views(self) -> tuple[CropParams, ...]:
        """The crops of a picture that it wants; of an ensemble, each that a member wants, once."""
        return self.bundle.views

    @property
    def member_views(self) -> list[list[int]]:
        """For each member the views that it sees, as indices of ``views``."""
        return [[self.views.index(view) for view in member.views] for member in self.members]

    def probabilities(
        self, pixels_by_view: Sequence[NDArray[np.uint8]], batch_size: int = BATCH_SIZE
    ) -> NDArray[np.float64]:
        """Return (N, K) probabilities; rows sum to 1. See ``Scorer``."""
        bundle = self.bundle
        if self.model is None:
            found = [
                member.probabilities([pixels_by_view[i] for i in places], batch_size)
                for member, places in zip(self.members, self.member_views, strict=True)
            ]
            return join_scores(found, bundle.network["weights"], bundle.temperature, bundle.offsets)
        is_one = len(pixels_by_view) == 1
        pixels = pixels_by_view[0] if is_one else np.stack(pixels_by_view, axis=1)
        scale, mirror = bundle.normalisation, bundle.mirror
        if self.backend.is_exact_cpu:
            logits = compute_logits_apart(self.model, pixels, scale, mirror=mirror)
        else:
            logits = compute_logits(
                self.model, pixels, scale, self.backend, batch_size, mirror=mirror
            )
        return to_probabilities(logits, bundle.temperature, bundle.offsets)


def load_any(folder: Path, backend: Backend) -> LoadedModel:
    """Return the model of a run, with all of its members, on the backend's device.

    Raises:
        BundleError: It is missing, incomplete, changed, or of another format.
        WeightsError: The weights do not fit the model.
    """
    bundle = load_bundle(folder)
    if bundle.network["kind"] != ENSEMBLE:
        return LoadedModel(bundle, backend, _send(load_model(folder, bundle), backend))
    members = tuple(load_any(path, backend) for path in member_folders(folder, bundle))
    missing = [m for m in members if not set(m.views) <= set(bundle.views)]
    if missing or not members or len(bundle.network["weights"]) != len(members):
        raise BundleError(
            f"Cannot use the model in {str(folder)!r}: its members are not the ones its facts "
            "describe. Copy the whole folder again."
        )
    return LoadedModel(bundle, backend, None, members)


def _send(model: nn.Module, backend: Backend) -> nn.Module:
    if backend.device.type == "cpu":
        return model
    # As crops come: else a GPU gives the weights that order in each batch anew.
    return model.to(backend.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]  # torch's stubs lack this form


def load_runs(folders: Sequence[Path], backend: Backend) -> LoadedModel:
    """Return the model of a run; of several, the mean of their probabilities: ``average_runs``.

    Raises:
        BundleError: As ``load_any``; or the runs tell other classes apart.
        WeightsError: The weights do not fit the model.
    """
    members = tuple(load_any(folder, backend) for folder in folders)
    if len(members) == 1:
        return members[0]
    return LoadedModel(average_runs(folders), backend, None, members)
