"""How many crops fit: tried on a device that refuses, reckoned on the CPU."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from roi_cls.classifier.models.device import Backend, choose_backend
from roi_cls.classifier.models.timm_model import create_model
from roi_cls.classifier.training import settle as fitting_batch
from roi_cls.classifier.training.batches import Batch
from roi_cls.classifier.training.settle import largest_batch

CPU = choose_backend("cpu", "fp32")


class _Plain:
    """Crops of one value."""

    def __init__(self, count: int, side: int = 32) -> None:
        self.labels = np.zeros(count, np.int64)
        self.side = side

    def __len__(self) -> int:
        return len(self.labels)

    def train_batch(self, rows: NDArray[np.int64]) -> Batch:
        """Return as many crops."""
        return Batch(self.plain_inputs(rows), torch.eye(2)[torch.zeros(len(rows)).long()])

    def plain_inputs(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Return as many crops."""
        return torch.ones(len(rows), 3, self.side, self.side)


class _Refusing(nn.Module):
    """Has room for so many crops, as a GPU says it."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.layer = nn.Linear(3, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (B, 2) logits."""
        if len(images) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        logits: torch.Tensor = self.layer(images.mean((2, 3)))
        return logits


@pytest.mark.parametrize(
    ("room", "pictures", "expected"), [(9, 500, 8), (16, 500, 16), (0, 500, 1), (900, 100, 64)]
)
def test_a_device_that_is_no_cpu_is_tried(
    monkeypatch: pytest.MonkeyPatch, room: int, pictures: int, expected: int
) -> None:
    # The meta device stands for the GPU's name alone; all is computed on the CPU.
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, *a, **k: self)
    monkeypatch.setattr(Backend, "autocast", lambda self: torch.autocast("cpu", enabled=False))
    backend = Backend(torch.device("meta"), torch.float32)
    model = _Refusing(room)
    assert largest_batch(model, _Plain(pictures), backend) == expected
    assert all(parameter.grad is None for parameter in model.parameters())


def test_other_errors_of_a_trial_are_not_taken_for_a_lack_of_memory() -> None:
    class Broken(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        largest_batch(Broken(), _Plain(8), CPU)


def test_the_cpu_plans_with_what_is_available(monkeypatch: pytest.MonkeyPatch) -> None:
    model = create_model("test_efficientnet", "none", 2, 32)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    sizes = []
    for megabytes in (1, 4, 16, 64, 100_000):
        monkeypatch.setattr(fitting_batch, "available_bytes", lambda m=megabytes: m * 2**20)
        sizes.append(largest_batch(model, _Plain(500), CPU))
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2]
    assert sizes[-1] == 64  # more makes no CPU faster
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_larger_crops_need_more_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting_batch, "available_bytes", lambda: 16 * 2**20)
    model = create_model("test_efficientnet", "none", 2, 32)
    small, large = (largest_batch(model, _Plain(500, side), CPU) for side in (32, 96))
    assert small >= 4 * large


def test_unknown_memory_and_few_pictures_limit_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting_batch, "available_bytes", lambda: None)
    assert largest_batch(nn.Linear(1, 1), _Plain(500), CPU) == 64
    assert largest_batch(nn.Linear(1, 1), _Plain(20), CPU) == 16
