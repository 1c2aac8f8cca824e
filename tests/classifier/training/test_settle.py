"""What is left to the machine, the batch and the number format, is decided once and told."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from roi_cls.base.errors import TrainingError
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.models.device import Backend, choose_backend
from roi_cls.classifier.models.timm_model import create_model
from roi_cls.classifier.training import settle as settle_module
from roi_cls.classifier.training.batches import Batch
from roi_cls.classifier.training.checkpoint import Checkpoint, Progress, save_checkpoint
from roi_cls.classifier.training.distributed import World
from roi_cls.classifier.training.settle import fastest_format, largest_batch, settle, time_steps

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
        monkeypatch.setattr(settle_module, "available_bytes", lambda m=megabytes: m * 2**20)
        sizes.append(largest_batch(model, _Plain(500), CPU))
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2]
    assert sizes[-1] == 64  # more makes no CPU faster
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_larger_crops_need_more_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle_module, "available_bytes", lambda: 16 * 2**20)
    model = create_model("test_efficientnet", "none", 2, 32)
    small, large = (largest_batch(model, _Plain(500, side), CPU) for side in (32, 96))
    assert small >= 4 * large


def test_unknown_memory_and_few_pictures_limit_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle_module, "available_bytes", lambda: None)
    assert largest_batch(nn.Linear(1, 1), _Plain(500), CPU) == 64
    assert largest_batch(nn.Linear(1, 1), _Plain(20), CPU) == 16


MODEL = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))


def _settle(path: Path, notes: list[str] | None = None, **changes: Any) -> tuple[Any, ...]:
    config = TrainConfig(device="cpu", **changes)
    note = (notes if notes is not None else []).append
    settled, backend = settle(config, MODEL, _Plain(40, 2), CPU, path / "c", note)
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


@pytest.mark.parametrize(
    ("formats", "expected"),
    [
        (
            (torch.float32, torch.bfloat16),
            ["Timing which number format trains faster here (--precision fp32 skips this)…"],
        ),
        ((torch.float32,), []),
    ],
)
def test_the_wait_for_the_timing_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    formats: tuple[torch.dtype, ...],
    expected: list[str],
) -> None:
    monkeypatch.setattr(settle_module, "_native_formats", lambda device: formats)
    monkeypatch.setattr(settle_module, "fastest_format", lambda *a: torch.float32)
    notes: list[str] = []
    _settle(tmp_path, notes, batch_size=8)
    assert notes == expected


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


DEVICE = torch.device("cpu")
FORMATS = (torch.float32, torch.bfloat16)


def _model() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.5), nn.Linear(4 * 36, 2)
    )


@pytest.mark.parametrize(
    ("exact", "short", "expected"),
    [
        (1.0, 0.5, torch.bfloat16),
        (1.0, 1.2, torch.float32),
        (1.0, 0.99, torch.float32),  # as good as alike: fp32 rounds least
    ],
)
def test_the_faster_format_wins_by_a_margin(
    exact: float, short: float, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = {torch.float32: exact, torch.bfloat16: short}

    def fake(model: nn.Module, sample: torch.Tensor, backend: Backend) -> float:
        return seconds[backend.format]

    monkeypatch.setattr(settle_module, "_time_step", fake)
    monkeypatch.setattr(settle_module, "_native_formats", lambda device: FORMATS)
    assert fastest_format(_model(), torch.rand(4, 3, 8, 8), DEVICE) == expected


def test_timing_leaves_model_and_random_state_as_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settle_module, "_native_formats", lambda device: FORMATS)
    monkeypatch.setattr(settle_module, "_TIMING_SECONDS", 0.05)
    model = _model().eval()
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    assert fastest_format(model, torch.ones(4, 3, 8, 8), DEVICE) in FORMATS
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not model.training
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), random)


def test_every_format_is_timed_as_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle_module, "_MOST_TIMED_STEPS", 3)
    backends = [Backend(DEVICE, dtype) for dtype in FORMATS]
    times = time_steps(_model(), torch.rand(4, 3, 8, 8), backends)
    assert [len(each) for each in times] == [3, 3]
    assert min(map(min, times)) > 0


def test_a_model_that_gives_a_map_in_training_is_timed_too() -> None:
    class Mapping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 2, 8)

        def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            places = self.layer(inputs)
            return places.flatten(1), places

    assert time_steps(Mapping(), torch.rand(2, 3, 8, 8), [Backend(DEVICE, torch.float32)])[0]


def test_batch_of_one_small_crop_is_timed_too() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 8), nn.BatchNorm2d(2), nn.Flatten())
    assert time_steps(model, torch.rand(1, 3, 8, 8), [Backend(DEVICE, torch.float32)])[0]


def test_one_candidate_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle_module, "_native_formats", lambda device: (torch.float32,))
    monkeypatch.setattr(settle_module, "time_steps", None)
    assert fastest_format(_model(), torch.rand(2, 3, 8, 8), DEVICE) == torch.float32


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_BAD_PARAM"), False),
    ],
)
def test_lack_of_memory_is_known_by_any_librarys_words(error: RuntimeError, expected: bool) -> None:
    assert settle_module._is_out_of_memory(error) == expected


def test_one_of_several_processes_tries_nothing_and_names_the_half(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settle_module, "current_world", lambda: World(1, 2))
    model = _Refusing(0)
    with (
        pytest.raises(TrainingError) as caught,
        settle_module.telling_what_fits(model, _Plain(9), 24, 2, CPU),
    ):
        model(torch.ones(24, 3, 4, 4))
    assert str(caught.value) == (
        "Cannot train with batches of 24: the CPU's memory is too small. Use --batch-size 12 "
        "--accumulate 4, which learns alike, or smaller crops or a smaller model."
    )


def test_batch_that_is_too_large_to_be_timed_gets_to_its_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    formats = (torch.float32, torch.bfloat16)
    monkeypatch.setattr(settle_module, "_native_formats", lambda device: formats)
    config = TrainConfig(batch_size=16, device="cpu")
    found, backend = settle(config, _Refusing(15), _Plain(64), CPU, tmp_path / "none")
    assert (found.precision, found.batch_size) == ("bf16", 16)
    assert backend.format == torch.bfloat16


def test_other_troubles_of_timing_are_not_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> torch.dtype:
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(settle_module, "fastest_format", fail)
    with pytest.raises(RuntimeError, match="shapes"):
        settle(TrainConfig(device="cpu"), _Refusing(9), _Plain(64), CPU, tmp_path / "none")


@pytest.mark.parametrize(
    ("device", "fitting", "expected"), [("cpu", 64, 32), ("cuda", 128, 128), ("cuda", 1024, 256)]
)
def test_a_gpu_is_timed_with_a_batch_like_the_one_it_will_get(
    monkeypatch: pytest.MonkeyPatch, device: str, fitting: int, expected: int
) -> None:
    monkeypatch.setattr(settle_module, "largest_batch", lambda model, source, backend: fitting)
    exact = Backend(torch.device(device), torch.float32)
    config = TrainConfig(batch_size="auto")
    found = settle_module._sample_size(config, _Refusing(0), _Plain(1), exact)
    assert found == expected
