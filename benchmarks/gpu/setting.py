"""What is measured on: the device, the sizes that suit it, and drawn crops that the parts share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.training.sides import draw_crops, write_pictures
from roi_cls.base.machine import available_cores
from roi_cls.cache import CropRecord
from roi_cls.classifier.config import Device, Precision, TrainConfig
from roi_cls.classifier.models.device import choose_backend
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.training.data import TrainingData
from roi_cls.classifier.training.job import EpochReport, Observers
from roi_cls.classifier.training.methods.fit import fit_model
from roi_cls.data.crops import CropArray
from roi_cls.data.sample import LabelSet
from roi_cls.data.split import Split

GIB = 2**30
_LARGE_GPU = 38 * GIB
"""Less has no room for large batches of a ConvNeXt."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Where and how large."""

    device: torch.device
    folder: Path
    """Holds the crops that the parts share."""
    models: tuple[str, ...] = ("tf_efficientnet_lite0", "efficientnet_b0", "convnext_tiny")
    size_px: int = 224
    batch: int = 256
    steps: int = 20
    """In an epoch."""
    rounds: int = 5
    workers: int = 16
    """Of timm's loader."""
    scored: int = 128
    """Crops scored on the CPU, too."""
    asked: int = 2048
    """Pictures predicted, and as many sent to the server's batches."""
    is_tiny: bool = False

    @property
    def has_gpu(self) -> bool:
        """Whether the device is one."""
        return self.device.type == "cuda"

    @property
    def kind(self) -> Device:
        """The device's name as an option."""
        return "cuda" if self.has_gpu else "cpu"

    @property
    def fast(self) -> Precision:
        """Number format of the timed trainings."""
        if not self.has_gpu:
            return "fp32"
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"

    @property
    def _pictures(self) -> Path:
        return self.folder / "pictures"

    @property
    def _pixels(self) -> Path:
        return self.folder / "crops.npy"

    def wait(self) -> None:
        """Wait until the GPU has done all that it was told to."""
        if self.has_gpu:
            torch.cuda.synchronize(self.device)

    def draw(self) -> None:
        """Draw the crops, and write them also as files."""
        crops = draw_crops(self.batch * self.steps, self.size_px)
        for pixels, label in zip(crops.pixels, crops.labels, strict=True):
            # A class can be told by its colour: what learns at all learns this within an epoch.
            pixels[..., 0] = pixels[..., 0] // 2 + 128 * label - label
        np.save(self._pixels, crops.pixels)
        write_pictures(crops, self._pictures, "jpg")

    def pictures(self, count: int | None = None) -> Path:
        """Return a folder of the first crops, or all, as JPEG files by class."""
        if count is None:
            return self._pictures
        folder = self.folder / f"pictures-{count}"
        for i in range(0 if folder.exists() else count):
            path = folder / str(i % 2) / f"{i}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.hardlink_to(self._pictures / str(i % 2) / path.name)
        return folder

    def crops(self, count: int | None = None) -> CropArray:
        """Return the first of the crops that ``draw`` drew, or all; only to be read."""
        pixels = np.load(self._pixels, mmap_mode="r")[:count]
        records = tuple(CropRecord(Path(f"{i}.jpg"), "ok") for i in range(len(pixels)))
        return CropArray(pixels, np.arange(len(pixels)) % 2, records)

    def data(self, count: int | None = None) -> TrainingData:
        """Return training data of the first crops; the first eighth is validation, too."""
        crops = self.crops(count)
        some = self.crops(max(4, len(crops) // 8))
        labels = LabelSet(("artefact", "artefactless"), "artefact")
        split = Split((), (), ())
        return TrainingData(labels, crops, some, split, "", (), (), self.folder)

    def learn(
        self, name: str, count: int, observers: Observers | None = None, **changes: Any
    ) -> list[EpochReport]:
        """Train as ``train`` does; return the epochs."""
        epochs: list[EpochReport] = []
        watching = observers or Observers()

        def on_epoch(report: EpochReport) -> None:
            epochs.append(report)
            watching.on_epoch(report)

        self.train(name, count, replace(watching, on_epoch=on_epoch), **changes)
        return epochs

    def train(
        self, name: str, count: int, observers: Observers | None = None, **changes: Any
    ) -> nn.Module:
        """Train as ``roi-cls train`` does once the crops are cut; return the model.

        Args:
            name: Of the run; one that was interrupted goes on.
            count: Crops.
            observers: Who is told.
            changes: Settings, as fields of ``TrainConfig``.
        """
        plain = {"model": self.models[0], "weights": "none", "epochs": 3, "lr": 2e-3}
        config = TrainConfig(**{**plain, "device": self.kind, **changes})
        backend = choose_backend(self.kind, config.precision)
        run = RunFolder(self.folder / "runs" / name)
        run.path.mkdir(parents=True, exist_ok=True)
        return fit_model(config, self.data(count), backend, run, observers or Observers())


def choose_setting(folder: Path, *, is_tiny: bool) -> Setting:
    """Return what is measured here: on a GPU in earnest, without one or when asked a tiny form."""
    has_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if has_gpu else "cpu")
    if has_gpu and not is_tiny:
        total = torch.cuda.get_device_properties(device).total_memory
        batch = 256 if total > _LARGE_GPU else 64
        return Setting(device, folder, batch=batch, workers=min(16, available_cores()))
    models = ("test_efficientnet",)
    return Setting(device, folder, models, 32, 4, 3, 1, 0, 4, 40, is_tiny=True)


def describe_device(device: torch.device) -> dict[str, str]:
    """Return what the figures depend on: chip, versions, cores."""
    facts = {"chip": "no GPU", "torch": torch.__version__, "CUDA": str(torch.version.cuda)}
    if device.type == "cuda":
        chip = torch.cuda.get_device_properties(device)
        cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        facts |= {
            "chip": chip.name,
            "memory": f"{chip.total_memory / GIB:.0f} GiB",
            "cuDNN": str(cudnn),
            "capability": f"{chip.major}.{chip.minor}",
        }
    return facts | {"timm": version("timm"), "CPU cores": str(available_cores())}
