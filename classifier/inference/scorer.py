"""What gives probabilities of crops, whatever computes them; and the one that a path names, opened.

Imports torch only where it is what predicts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from roi_cls.base.errors import BundleError
from roi_cls.classifier.config import BATCH_SIZE, Device, Runtime
from roi_cls.classifier.runs.bundle import ModelBundle
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.roi import CropParams

ROUNDING_TOLERANCE = 1e-5
"""Largest difference of a probability that rounding explains."""
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
    runtime: Runtime = "torch"
    """What computes: ``onnx`` (ONNX Runtime) or ``torch``."""
    engine: str = ""
    """The same with the device, in words; and why it is torch on a CPU, where it need not be."""


def open_scorer(
    models: Sequence[Path],
    device: Device = "auto",
    *,
    half: bool = False,
    runtime: Runtime = "auto",
) -> OpenedModel:
    """Return the model that the paths name.

    Args:
        models: Folders of finished runs, several for the mean of their probabilities; or one
            exported ``.onnx`` file.
        device: Where to compute.
        half: Compute in bf16 or fp16 where the device is fast in it: quicker, and probabilities
            may differ by 1e-2. Without it, in fp32 like every score that is shown or stored.
        runtime: What computes; see ``choose_runtime``.

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
    if exported:
        return _open_file(exported[0], device, runtime, half=half)
    return _open_runs(models, device, runtime, half=half)


def _open_file(path: Path, device: Device, runtime: Runtime, *, half: bool) -> OpenedModel:
    if half:
        raise BundleError(
            f"Cannot compute in half precision (--half): {str(path)!r} computes in the "
            "numbers that it was exported with. Leave --half out, or name a --run."
        )
    if runtime == "torch":
        raise BundleError(
            f"Cannot predict with --runtime torch: {str(path)!r} is a graph for ONNX Runtime. "
            "Leave --runtime out, or name the --run that it was exported from."
        )
    from roi_cls.classifier.inference.onnx_model import open_onnx

    model = open_onnx(path, device)
    engine = f"ONNX Runtime on {model.place}"
    return OpenedModel(path.name, model, (model.detector_folder,), "onnx", engine)


def _open_runs(
    models: Sequence[Path], device: Device, runtime: Runtime, *, half: bool
) -> OpenedModel:
    from roi_cls.classifier.inference.runtime import choose_runtime, open_onnx_runs

    name, runs = "+".join(path.name for path in models), [RunFolder(path) for path in models]
    folders = tuple(run.detector for run in runs)
    choice = choose_runtime(runs, device, runtime, half=half)
    lack = choice.lack
    if choice.is_onnx:
        model = open_onnx_runs(models, device if runtime == "onnx" else "cpu")
        if runtime == "onnx" or model.proven <= ROUNDING_TOLERANCE:
            return OpenedModel(name, model, folders, "onnx", f"ONNX Runtime on {model.place}")
        lack = (
            f"a run's model.onnx was not proven to answer within {ROUNDING_TOLERANCE:g} of it "
            "(`roi-cls export --run NAME` writes it anew)"
        )
    from roi_cls.classifier.inference.loaded import load_runs
    from roi_cls.classifier.models.device import choose_backend

    backend = choose_backend(device, "auto" if half else "fp32")
    engine = f"torch on {backend.name}{f': {lack}' if lack else ''}"
    return OpenedModel(name, load_runs(models, backend), folders, "torch", engine)
