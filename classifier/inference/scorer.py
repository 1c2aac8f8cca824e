"""What gives probabilities of crops, whatever computes them; and the one that a path names, opened.

Imports torch only where a run is opened: an exported model predicts without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from roi_cls.base.errors import BundleError
from roi_cls.classifier.config import BATCH_SIZE, Device
from roi_cls.classifier.runs.bundle import ModelBundle
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.roi import CropParams

EXPORTED_SUFFIX = ".onnx"
"""Suffix of an exported model."""


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


@dataclass(frozen=True, slots=True, eq=False)
class OpenedModel:
    """A model to predict with, and what cropping for it needs."""

    name: str
    """As messages call it."""
    scorer: Scorer
    detector_folders: tuple[Path, ...]
    """Where the face detector's model files lie that it was trained with."""


def open_scorer(
    models: Sequence[Path], device: Device = "auto", *, half: bool = False
) -> OpenedModel:
    """Return the model that the paths name.

    Args:
        models: Folders of finished runs, several for the mean of their probabilities; or one
            exported ``.onnx`` file.
        device: Where to compute.
        half: Compute in bf16 or fp16 where the device is fast in it: quicker, and probabilities
            may differ by 1e-2. Without it, in fp32 like every score that is shown or stored.

    Raises:
        BundleError, WeightsError: A model cannot be used, or not in half precision.
        TrainingError: There is no such device.
        ValueError: No model is named.
    """
    exported = [path for path in models if path.suffix.lower() == EXPORTED_SUFFIX]
    if not models:
        raise ValueError("models must name at least one run or file")
    if exported and len(models) > 1:
        raise BundleError(
            f"Cannot join {str(exported[0])!r} with other models: an exported file stands alone. "
            "Join the runs with `roi-cls ensemble` and export that."
        )
    name = "+".join(path.name for path in models)
    if exported:
        if half:
            raise BundleError(
                f"Cannot compute in half precision (--half): {str(exported[0])!r} computes in the "
                "numbers that it was exported with. Leave --half out, or name a --run."
            )
        from roi_cls.classifier.inference.onnx_model import open_onnx

        model = open_onnx(exported[0], device)
        return OpenedModel(name, model, (model.detector_folder,))
    from roi_cls.classifier.inference.loaded import load_runs
    from roi_cls.classifier.models.device import choose_backend

    scorer = load_runs(models, choose_backend(device, "auto" if half else "fp32"))
    return OpenedModel(name, scorer, tuple(RunFolder(path).detector for path in models))
