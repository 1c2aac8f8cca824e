"""Which of two runtimes predicts with runs, torch or ONNX Runtime: chosen without importing torch.

On a CPU it is ONNX Runtime, for runs that hold their model as an ONNX file: it computes in less
time, and starts without the seconds that importing torch takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roi_cls.base.errors import BundleError
from roi_cls.base.machine import may_have_gpu
from roi_cls.classifier.config import BATCH_SIZE, Device, Runtime
from roi_cls.classifier.inference.onnx_model import OnnxModel, import_onnx_package, open_own_onnx
from roi_cls.classifier.metrics.decision import join_scores
from roi_cls.classifier.runs.bundle import ModelBundle
from roi_cls.classifier.runs.ensemble import average_runs
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.roi import CropParams


@dataclass(frozen=True, slots=True)
class RuntimeChoice:
    """What predicts, and why."""

    is_onnx: bool
    lack: str = ""
    """What ONNX Runtime lacks that would predict here; empty: it was not to."""


def choose_runtime(
    runs: Sequence[RunFolder], device: Device, wanted: Runtime, *, half: bool = False
) -> RuntimeChoice:
    """Return the runtime for runs that are used together.

    ``auto`` is ONNX Runtime on a CPU, if it is installed and each run has the file, else torch:
    on a GPU, in half precision, and for models that have no ONNX form.

    Raises:
        BundleError: ONNX Runtime is asked for, and cannot be had.
    """
    if wanted == "onnx":
        _check_onnx(runs, half=half)
        return RuntimeChoice(True)
    if wanted == "torch" or half or device not in ("auto", "cpu"):
        return RuntimeChoice(False)
    if device == "auto" and _has_gpu():
        return RuntimeChoice(False)
    lack = _find_lack(runs)
    return RuntimeChoice(not lack, lack)


def _has_gpu() -> bool:
    if not may_have_gpu():
        return False
    from roi_cls.classifier.models.device import choose_backend  # torch, which alone can tell

    return choose_backend("auto", "fp32").device.type != "cpu"


def _find_lack(runs: Sequence[RunFolder]) -> str:
    """Return what is missing, and what to do; empty where nothing is."""
    for run in runs:
        if not run.onnx.is_file():
            name = run.path.name
            return (
                f"run {name!r} has no {run.onnx.name} (`roi-cls export --run {name}` adds it, if "
                "the model can be exported)"
            )
    try:
        import_onnx_package("onnxruntime")
    except ImportError as error:
        return f"onnxruntime cannot be imported ({error}); install it: pip install onnxruntime"
    return ""


def _check_onnx(runs: Sequence[RunFolder], *, half: bool) -> None:
    if half:
        raise BundleError(
            "Cannot compute in half precision (--half) with --runtime onnx: the file computes in "
            "fp32. Leave one of them out."
        )
    if lack := _find_lack(runs):
        raise BundleError(
            f"Cannot predict with --runtime onnx: {lack}. Or leave --runtime out: torch predicts."
        )


@dataclass(frozen=True, slots=True, eq=False)
class OnnxMean:
    """Several runs' files as one model, the mean of their probabilities: a ``Scorer``."""

    bundle: ModelBundle
    members: tuple[OnnxModel, ...]

    @property
    def views(self) -> tuple[CropParams, ...]:
        """The crops of a picture that a member wants, each once."""
        return self.bundle.views

    @property
    def proven(self) -> float:
        """That of the member proven least; see ``OnnxModel``."""
        return max(member.proven for member in self.members)

    @property
    def place(self) -> str:
        """The device in words."""
        return self.members[0].place

    def probabilities(
        self, pixels_by_view: Sequence[NDArray[np.uint8]], batch_size: int = BATCH_SIZE
    ) -> NDArray[np.float64]:
        """Return (N, K) probabilities; rows sum to 1. See ``Scorer``."""
        found = [
            member.probabilities(
                [pixels_by_view[self.views.index(view)] for view in member.views], batch_size
            )
            for member in self.members
        ]
        return join_scores(found, self.bundle.network["weights"])


def open_onnx_runs(folders: Sequence[Path], device: Device) -> OnnxModel | OnnxMean:
    """Return the model of a run's own ONNX file; of several, the mean of their probabilities.

    Raises:
        BundleError: A run or its file cannot be used, or they tell other classes apart.
        TrainingError: onnxruntime cannot use the device.
    """
    members = tuple(open_own_onnx(RunFolder(folder), device) for folder in folders)
    return members[0] if len(members) == 1 else OnnxMean(average_runs(folders), members)
