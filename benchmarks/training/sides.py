"""The sides of a training epoch: what takes training steps, and what they are made from."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.portraits import draw_portrait
from roi_cls.base.torchvision import ensure_torchvision
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.models.device import Backend
from roi_cls.classifier.models.score import in_batches, pick_pixels, shuffled_rows
from roi_cls.classifier.models.timm_model import create_model, normalisation
from roi_cls.classifier.runs.bundle import Normalisation
from roi_cls.classifier.training.batches import Batch, BatchSource, PixelSource
from roi_cls.classifier.training.distributed import current_world
from roi_cls.classifier.training.learner import Learner, Loss
from roi_cls.data.crops import CropArray

ensure_torchvision()
from torchvision.transforms import v2  # noqa: E402  (declares its operators first)

Side = Callable[[], None]
"""One epoch of training."""
_DRAWN = 24
"""Portraits; more crops repeat them, mirrored and shaded."""


def draw_crops(count: int, size_px: int) -> CropArray:
    """Return crops of drawn portraits, in two classes."""
    random = np.random.default_rng(0)
    faces = [
        cv2.resize(draw_portrait(i), (size_px, size_px), interpolation=cv2.INTER_AREA)
        for i in range(min(_DRAWN, count))
    ]
    pixels = np.empty((count, size_px, size_px, 3), np.uint8)
    for i, light in enumerate(random.uniform(0.7, 1, count)):
        pixels[i] = faces[i % len(faces)] * light
    return CropArray(pixels, np.arange(count) % 2, ())


class OneBatch:
    """A source whose every batch is the same one, ready on the device: the least possible."""

    def __init__(self, source: PixelSource, batch_size: int) -> None:
        self.labels = source.labels
        self._batch = source.train_batch(np.arange(batch_size))

    def __len__(self) -> int:
        return len(self.labels)

    def train_batch(self, rows: NDArray[np.int64]) -> Batch:
        """Return the batch."""
        return Batch(self._batch.inputs[: len(rows)], self._batch.targets[: len(rows)])

    def plain_inputs(self, rows: NDArray[np.int64]) -> Tensor:
        """Return the batch's input."""
        return self._batch.inputs[: len(rows)]


class CropByCrop:
    """A source that changes each crop by itself with torchvision: the usual way."""

    def __init__(self, crops: CropArray, scale: Normalisation, device: torch.device) -> None:
        self.labels = crops.labels
        self._pixels, self._scale, self._device = crops.pixels, scale, device
        self._change = v2.Compose(
            [
                v2.RandomHorizontalFlip(),
                v2.RandomAffine(
                    5,
                    (0.05, 0.05),
                    (0.95, 1.05),
                    interpolation=v2.InterpolationMode.BILINEAR,
                    fill=114,
                ),
                v2.ColorJitter(brightness=0.1),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def train_batch(self, rows: NDArray[np.int64]) -> Batch:
        """Return the pictures at ``rows``, changed at random."""
        changed = torch.stack([self._change(crop) for crop in pick_pixels(self._pixels, rows)])
        labels = torch.from_numpy(self.labels[rows]).to(self._device)
        targets = torch.nn.functional.one_hot(labels, 2).float()
        return Batch(self._scale.apply(changed, self._device), targets)

    def plain_inputs(self, rows: NDArray[np.int64]) -> Tensor:
        """Return the pictures at ``rows``, unchanged."""
        return self._scale.apply(pick_pixels(self._pixels, rows), self._device)


def our_sides(
    config: TrainConfig, crops: CropArray, backend: Backend, batch: int
) -> dict[str, Side]:
    """Return epochs of our training step over three sources, on one model."""
    model = create_model(config.model, "none", 2, crops.pixels.shape[1], 0.2, None)
    scale = Normalisation(*normalisation(model))
    learner = Learner(config, model, backend, current_world())
    learner.set_rate(1e-5)  # the weights stay what they are, and no value becomes odd
    learner.train_mode()
    loss = Loss(config, np.array([0.5, 0.5])).to(backend.device)
    source = PixelSource(crops, 2, scale, backend.device, config, 0)

    def epoch(source: BatchSource) -> None:
        generator = torch.Generator().manual_seed(0)
        for rows in in_batches(shuffled_rows(len(source), generator), batch):
            learner.step(source, rows, loss)

    sources: dict[str, Any] = {  # of a BatchSource, what training asks
        "one batch": OneBatch(source, batch),
        "roi-cls": source,
        "crop by crop": CropByCrop(crops, scale, backend.device),
    }
    return {name: partial(epoch, each) for name, each in sources.items()}


def write_pictures(crops: CropArray, folder: Path, kind: str = "png") -> None:
    """Write the crops as files of this kind, a folder for each class."""
    for i, (pixels, label) in enumerate(zip(crops.pixels, crops.labels, strict=True)):
        path = folder / str(label) / f"{i}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))


@contextmanager
def timm_side(
    name: str, size_px: int, folder: Path, backend: Backend, batch: int, workers: int
) -> Iterator[Side]:
    """Yield an epoch as timm's ``train.py`` takes it, built of the library's parts.

    That script is not in timm's wheel. Its data path (``create_dataset``, ``create_loader`` with
    the default training transforms and ``workers`` processes, which stay between epochs), its
    optimiser (``create_optimizer_v2``), its step (torch's autocast, ``NativeScaler`` in fp16, else
    backward and step) and its settings for GPUs (cuDNN tries its algorithms, TF32) are followed
    here, with the same model, batch size, precision and channels last. What it reads of each step's
    loss, which makes a GPU wait, is left out.
    """
    data, optim = importlib.import_module("timm.data"), importlib.import_module("timm.optim")
    device = backend.device
    model = create_model(name, "none", 2, size_px, 0.2, None)
    model = model.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]  # torch's stubs lack this form
    mean, std = normalisation(model)
    loader = data.create_loader(
        data.create_dataset("", root=str(folder), split="", is_training=True),
        input_size=(3, size_px, size_px),
        batch_size=batch,
        is_training=True,
        color_jitter=0.4,
        interpolation="random",
        mean=mean,
        std=std,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        device=device,
        persistent_workers=workers > 0,
    )
    optimiser = optim.create_optimizer_v2(model, opt="adamw", lr=1e-5, weight_decay=0.02)
    loss_function = torch.nn.CrossEntropyLoss()
    is_half = backend.format == torch.float16
    scaler = importlib.import_module("timm.utils").NativeScaler(device.type) if is_half else None
    rounded = backend.format != torch.float32

    def epoch() -> None:
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=True):
            for inputs, targets in loader:
                images = inputs.contiguous(memory_format=torch.channels_last)
                with torch.autocast(device.type, dtype=backend.format, enabled=rounded):
                    loss = loss_function(model(images), targets)
                if scaler is not None:
                    scaler(loss, optimiser)
                else:
                    loss.backward()
                    optimiser.step()
                optimiser.zero_grad()

    yield epoch


def plain_steps(
    name: str, size_px: int, backend: Backend, batch: int, steps: int, *, channels_last: bool
) -> Side:
    """Return steps on one batch in a number format and an order of axes."""
    order = torch.channels_last if channels_last else torch.contiguous_format
    model = create_model(name, "none", 2, size_px, 0.2, None)
    model = model.to(backend.device, memory_format=order).train()  # type: ignore[call-overload]  # torch's stubs lack this form
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-5)
    images = torch.randn(batch, 3, size_px, size_px, device=backend.device)
    images = images.contiguous(memory_format=order)
    labels = torch.arange(batch, device=backend.device) % 2

    def epoch() -> None:
        for _ in range(steps):
            with backend.autocast():
                logits = model(images)
            torch.nn.functional.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimiser.step()
            optimiser.zero_grad()

    return epoch
