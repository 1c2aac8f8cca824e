"""What only a GPU can show: it gives the CPU's answers, is never waited for, and says what fits."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.gpu.setting import Setting
from roi_cls.base.errors import TrainingError
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.models.device import Backend, choose_backend
from roi_cls.classifier.models.network import build_network
from roi_cls.classifier.models.score import compute_logits
from roi_cls.classifier.models.timm_model import create_model, normalisation
from roi_cls.classifier.runs.bundle import Normalisation
from roi_cls.classifier.training.batches import PixelSource
from roi_cls.classifier.training.checkpoint import load_checkpoint
from roi_cls.classifier.training.distributed import World
from roi_cls.classifier.training.job import EpochReport, Observers
from roi_cls.classifier.training.learner import Learner, Loss

pytestmark = pytest.mark.gpu
GPU, CPU = torch.device("cuda"), torch.device("cpu")
SIDE = 64
COUNT = 16
ROWS = np.arange(8)


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    """A few drawn crops of two classes, and a place for runs."""
    folder = tmp_path_factory.mktemp("gpu")
    made = Setting(GPU, folder, ("test_efficientnet",), SIDE, 4, COUNT // 4, is_tiny=True)
    made.draw()
    return made


@pytest.fixture
def waiting_allowed() -> Iterator[None]:
    """Let the CPU wait for the GPU again, after a test in which that was an error."""
    yield
    torch.cuda.set_sync_debug_mode("default")


def _source(setting: Setting, device: torch.device, **changes: Any) -> PixelSource:
    config = TrainConfig(weights="none", **changes)
    scale = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return PixelSource(setting.crops(COUNT), 2, scale, device, config, 0)


@pytest.mark.parametrize("augmentation", ["none", "light", "strong"])
def test_a_gpu_changes_crops_as_the_cpu_does(setting: Setting, augmentation: str) -> None:
    batches = []
    for device in (CPU, GPU):
        torch.manual_seed(3)
        source = _source(setting, device, augmentation=augmentation, mixup=0.5)
        batches.append(source.train_batch(ROWS))
    one, other = batches
    torch.testing.assert_close(other.inputs.cpu(), one.inputs, rtol=0, atol=0.01)
    torch.testing.assert_close(other.targets.cpu(), one.targets)
    assert other.inputs.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("model", ["test_efficientnet", "test_resnet", "test_vit"])
def test_a_gpu_scores_as_the_cpu_does(setting: Setting, model: str) -> None:
    torch.manual_seed(0)
    network = create_model(model, "none", 2, SIDE)
    scale = Normalisation(*normalisation(network))
    pixels = np.array(setting.crops(COUNT).pixels)
    one = compute_logits(network, pixels, scale, choose_backend("cpu", "fp32"))
    other = compute_logits(network.to(GPU), pixels, scale, choose_backend("cuda", "fp32"))
    np.testing.assert_allclose(other, one, rtol=0, atol=1e-4 * np.abs(one).max())


def test_slopes_of_fp32_are_those_of_the_cpu() -> None:
    images = torch.randn(4, 8, 32, 32, generator=torch.Generator().manual_seed(0))
    found = []
    for device in (CPU, GPU):
        torch.manual_seed(0)
        layer = torch.nn.Conv2d(8, 64, 3).to(device)
        backend = Backend(device, torch.float32)
        with backend.autocast():
            loss = layer(images.to(device)).square().sum()
        with backend.rounding():
            loss.backward()
        assert layer.weight.grad is not None
        found.append(layer.weight.grad.cpu())
    # TF32 would be 1e-3 off.
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-4 * float(found[0].std()))


@pytest.mark.parametrize(
    "changes",
    [
        {"augmentation": "light"},
        {"augmentation": "strong", "mixup": 0.5, "ema": 0.9},
        {"augmentation": "strong", "cutmix": 0.5, "focal_gamma": 2.0},
        {"head": "evidence"},
    ],
    ids=lambda changes: "-".join(changes),
)
@pytest.mark.usefixtures("waiting_allowed")
def test_a_step_waits_for_nothing(setting: Setting, changes: dict[str, Any]) -> None:
    config = TrainConfig(model="test_efficientnet", weights="none", batch_size=len(ROWS), **changes)
    source = _source(setting, GPU, **changes)
    model = build_network(config, 2, SIDE, 1, 0)
    learner = Learner(config, model, choose_backend("cuda", "bf16"), World())
    learner.train_mode()
    loss = Loss(config, np.array([0.5, 0.5])).to(GPU)
    learner.step(source, ROWS, loss)  # the first one makes what the others reuse
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    learner.step(source, ROWS, loss)


class _CutError(Exception):
    """A lost machine."""


def test_fp16_goes_on_with_its_loss_scale(setting: Setting) -> None:
    options: dict[str, Any] = {"precision": "fp16", "batch_size": 4, "epochs": 4}
    whole = setting.learn("fp16", COUNT, **options)

    def cut(report: EpochReport) -> None:
        if report.epoch == 2:
            raise _CutError

    with pytest.raises(_CutError):
        setting.learn("fp16-cut", COUNT, Observers(on_epoch=cut), **options)
    state = load_checkpoint(setting.folder / "runs" / "fp16-cut" / "checkpoint.safetensors")
    assert state.scaler["scale"] > 0
    resumed = setting.learn("fp16-cut", COUNT, **options)
    assert [epoch.train_loss for epoch in resumed] == pytest.approx(
        [epoch.train_loss for epoch in whole[2:]], rel=0.02
    )


def test_too_little_memory_names_what_fits(setting: Setting, tmp_path: Path) -> None:
    options: dict[str, Any] = {"precision": "fp32", "epochs": 1}
    setting.learn("warm", COUNT, batch_size=2, **options)
    large = np.tile(setting.crops(COUNT).pixels, (64, 1, 1, 1))
    np.save(tmp_path / "crops.npy", large)
    many = replace(setting, folder=tmp_path)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    room_for_few = torch.cuda.memory_reserved() + 160 * 2**20
    torch.cuda.set_per_process_memory_fraction(room_for_few / total)
    try:
        with pytest.raises(TrainingError) as caught:
            many.learn("large", len(large), batch_size=len(large), **options)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    pattern = (
        r"Cannot train with batches of 1024: the GPU's memory is too small\. (\d+) would fit: "
        r"use --batch-size \1 --accumulate \d+, which learns alike, or smaller crops or a smaller "
        r"model\."
    )
    assert re.fullmatch(pattern, str(caught.value))


_EXACT = """
import sys
from pathlib import Path
import torch
from benchmarks.gpu.setting import Setting
setting = Setting(torch.device("cuda"), Path(sys.argv[1]), ("test_efficientnet",), 64, 4, 4)
for name in ("one", "two"):
    for epoch in setting.learn(name, 16, batch_size="auto", deterministic=True):
        print(epoch.train_loss, epoch.validation_loss)
"""


def test_a_deterministic_training_repeats_itself(setting: Setting) -> None:
    # In a process of its own: in this one cuBLAS has computed before.
    words = [sys.executable, "-c", _EXACT, str(setting.folder)]
    root = Path(__file__).parents[2]
    done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 6
    assert lines[:3] == lines[3:]
