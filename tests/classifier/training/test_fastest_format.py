"""The number format is timed on the model that will be trained, which stays as it was."""

import copy

import pytest
import torch
from torch import nn

from roi_cls.classifier.models.device import Backend
from roi_cls.classifier.training import settle as module
from roi_cls.classifier.training.settle import fastest_format, time_steps

CPU = torch.device("cpu")
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

    monkeypatch.setattr(module, "_time_step", fake)
    monkeypatch.setattr(module, "_native_formats", lambda device: FORMATS)
    assert fastest_format(_model(), torch.rand(4, 3, 8, 8), CPU) == expected


def test_timing_leaves_model_and_random_state_as_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_native_formats", lambda device: FORMATS)
    monkeypatch.setattr(module, "_TIMING_SECONDS", 0.05)
    model = _model().eval()
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    assert fastest_format(model, torch.ones(4, 3, 8, 8), CPU) in FORMATS
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not model.training
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), random)


def test_every_format_is_timed_as_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_TIMED_STEPS", 3)
    backends = [Backend(CPU, dtype) for dtype in FORMATS]
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

    assert time_steps(Mapping(), torch.rand(2, 3, 8, 8), [Backend(CPU, torch.float32)])[0]


def test_one_candidate_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_native_formats", lambda device: (torch.float32,))
    monkeypatch.setattr(module, "time_steps", None)
    assert fastest_format(_model(), torch.rand(2, 3, 8, 8), CPU) == torch.float32
