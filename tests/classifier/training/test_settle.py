"""What is left to the machine is decided once, kept by a resumed run, and told when it fails."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.models.device import choose_backend
from roi_cls.classifier.training import settle as settle_module
from roi_cls.classifier.training.batches import Batch
from roi_cls.classifier.training.checkpoint import Checkpoint, Progress, save_checkpoint
from roi_cls.classifier.training.settle import settle

CPU = choose_backend("cpu", "fp32")
MODEL = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))


class _Plain:
    labels = np.zeros(40, np.int64)

    def __len__(self) -> int:
        return 40

    def train_batch(self, rows: NDArray[np.int64]) -> Batch:
        return Batch(self.plain_inputs(rows), torch.eye(2)[torch.zeros(len(rows)).long()])

    def plain_inputs(self, rows: NDArray[np.int64]) -> torch.Tensor:
        return torch.ones(len(rows), 3, 2, 2)


def _settle(path: Path, notes: list[str] | None = None, **changes: Any) -> tuple[Any, ...]:
    config = TrainConfig(device="cpu", **changes)
    note = (notes if notes is not None else []).append
    settled, backend = settle(config, MODEL, _Plain(), CPU, path / "c", note)
    return settled.precision, settled.batch_size, settled.compile, backend.format


def test_fastest_format_and_largest_batch_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def fastest(model: nn.Module, sample: torch.Tensor, device: torch.device) -> torch.dtype:
        seen.append(tuple(sample.shape))
        return torch.bfloat16

    monkeypatch.setattr(settle_module, "fastest_format", fastest)
    assert _settle(tmp_path, batch_size=8) == ("bf16", 8, False, torch.bfloat16)
    assert _settle(tmp_path, batch_size="auto") == ("bf16", 32, False, torch.bfloat16)
    assert seen == [(8, 3, 2, 2), (32, 3, 2, 2)]


def test_what_is_given_is_kept(tmp_path: Path) -> None:
    assert _settle(tmp_path, precision="fp32", batch_size=5) == ("fp32", 5, False, torch.float32)


def test_resumed_run_keeps_what_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices = {"precision": "bf16", "batch_size": 4}
    save_checkpoint(tmp_path / "c", Checkpoint(Progress(1), {}, choices=choices))
    monkeypatch.setattr(settle_module, "fastest_format", lambda *a: pytest.fail("timed"))
    assert _settle(tmp_path, batch_size="auto") == ("bf16", 4, False, torch.bfloat16)


def test_training_goes_on_without_a_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(function: object) -> object:
        raise RuntimeError("Failed to find C compiler.\nPlease specify via CC.")

    monkeypatch.setattr(torch, "compile", fail)
    notes: list[str] = []
    found = _settle(tmp_path, notes, precision="fp32", compile=True)
    assert found == ("fp32", 32, False, torch.float32)
    assert notes == [
        "Cannot compile the model: Failed to find C compiler. Training goes on without --compile."
    ]


def test_with_a_compiler_the_model_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda function: function)
    notes: list[str] = []
    assert _settle(tmp_path, notes, precision="fp32", compile=True)[2] is True
    assert notes == []
