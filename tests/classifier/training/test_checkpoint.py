"""The state to resume from: what is read is what was written, and a damaged file is told."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from roi_cls.base.errors import TrainingError
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.models.saved import save_weights
from roi_cls.classifier.training.checkpoint import (
    Checkpoint,
    Progress,
    load_checkpoint,
    optimiser_tensors,
    restore_model,
    restore_optimiser,
    save_checkpoint,
)
from roi_cls.classifier.training.optimiser import make_optimiser


def _trained() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack this form
    optimiser = make_optimiser(model, TrainConfig(), 0.01)
    model(torch.randn(2, 3, 8, 8)).square().sum().backward()
    optimiser.step()
    return model, optimiser


def _state(model: nn.Module, optimiser: torch.optim.Optimizer, **facts: Any) -> Checkpoint:
    parts = {"model": model.state_dict(), "optimiser": optimiser_tensors(optimiser)}
    return Checkpoint(Progress(3, 1, 0.1 + 0.2, 0.5, 12, 1), parts, **facts)


def test_state_is_read_back_bit_for_bit(tmp_path: Path) -> None:
    model, optimiser = _trained()
    path = tmp_path / "checkpoint.safetensors"
    scaler = torch.amp.GradScaler("cpu").state_dict()
    choices = {"precision": "bf16", "batch_size": 16}
    save_checkpoint(path, _state(model, optimiser, scaler=scaler, choices=choices))
    found_state = load_checkpoint(path)
    assert found_state.progress == Progress(3, 1, 0.1 + 0.2, 0.5, 12, 1)
    assert found_state.scaler == scaler
    assert found_state.choices == choices

    other, fresh = _trained()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    restore_model(other, found_state.parts["model"])
    fresh = make_optimiser(other, TrainConfig(), 0.01)
    restore_optimiser(fresh, found_state.parts["optimiser"])
    assert all(other.state_dict()[k].equal(v) for k, v in model.state_dict().items())
    wanted, found = optimiser.state_dict()["state"], fresh.state_dict()["state"]
    assert wanted.keys() == found.keys()
    for place, state in wanted.items():
        assert all(torch.equal(value, found[place][name]) for name, value in state.items())


def test_restored_moments_lie_as_their_parameters_do(tmp_path: Path) -> None:
    model, optimiser = _trained()
    save_checkpoint(tmp_path / "c", _state(model, optimiser))
    fresh = make_optimiser(model, TrainConfig(), 0.01)
    restore_optimiser(fresh, load_checkpoint(tmp_path / "c").parts["optimiser"])
    weights = model.get_parameter("0.weight")
    assert weights.stride() == (27, 1, 9, 3)  # channels last
    assert fresh.state[weights]["exp_avg"].stride() == weights.stride()
    assert fresh.state[weights]["exp_avg_sq"].stride() == weights.stride()


def test_optimiser_without_steps_is_restored_as_new(tmp_path: Path) -> None:
    model, _ = _trained()
    save_checkpoint(tmp_path / "c", _state(model, make_optimiser(model, TrainConfig(), 0.1)))
    optimiser = make_optimiser(model, TrainConfig(), 0.1)
    restore_optimiser(optimiser, load_checkpoint(tmp_path / "c").parts.get("optimiser", {}))
    assert optimiser.state_dict()["state"] == {}


def test_weights_are_plain_safetensors(tmp_path: Path) -> None:
    model, _ = _trained()
    save_weights(tmp_path / "w.safetensors", model)
    found = load_file(tmp_path / "w.safetensors")
    assert found.keys() == model.state_dict().keys()
    assert all(found[name].equal(value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("damage", ["absent", "truncated", "garbage", "no facts", "odd facts"])
def test_damaged_checkpoint_is_told(tmp_path: Path, damage: str) -> None:
    model, optimiser = _trained()
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, _state(model, optimiser))
    if damage == "absent":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-7])
    elif damage == "garbage":
        path.write_bytes(b"no tensors")
    else:
        facts = {"facts": '{"epochs": 1}'} if damage == "odd facts" else None
        save_file({"a": torch.zeros(1)}, path, facts)
    with pytest.raises(TrainingError) as caught:
        load_checkpoint(path)
    assert str(caught.value) == (
        f"Cannot resume from {str(path)!r}: the file is damaged. "
        "Delete the run's folder, or train under another --run NAME."
    )


def test_checkpoint_of_another_model_is_told(tmp_path: Path) -> None:
    model, optimiser = _trained()
    save_checkpoint(tmp_path / "c", _state(model, optimiser))
    with pytest.raises(TrainingError) as caught:
        restore_model(nn.Linear(2, 2), load_checkpoint(tmp_path / "c").parts["model"])
    assert str(caught.value) == (
        "Cannot resume: the checkpoint belongs to another model. "
        "Delete the run's folder, or train under another --run NAME."
    )
