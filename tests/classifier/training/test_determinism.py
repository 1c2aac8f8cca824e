"""Deterministic algorithms are on inside, and as before afterwards."""

import os

import pytest
import torch

from roi_cls.base.errors import TrainingError
from roi_cls.classifier.training.distributed import deterministic


def test_it_is_on_inside_and_restored_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with deterministic(True):
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert not torch.are_deterministic_algorithms_enabled()
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ


def test_it_is_restored_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    with pytest.raises(RuntimeError, match="shapes"), deterministic(True):
        raise RuntimeError("shapes cannot be multiplied")
    assert not torch.are_deterministic_algorithms_enabled()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


def test_unwanted_it_changes_nothing() -> None:
    with deterministic(False):
        assert not torch.are_deterministic_algorithms_enabled()


def test_operation_without_a_deterministic_algorithm_is_told() -> None:
    with pytest.raises(TrainingError) as caught, deterministic(True):
        raise RuntimeError(
            "adaptive_max_pool2d_backward_cuda does not have a deterministic implementation, but "
            "you set 'torch.use_deterministic_algorithms(True)'. You can turn off determinism just "
            "for this operation."
        )
    assert str(caught.value) == (
        "Cannot train deterministically here: adaptive_max_pool2d_backward_cuda does not have a "
        "deterministic implementation, but you set 'torch.use_deterministic_algorithms(True)'. "
        "Leave --deterministic out, use --device cpu or another --model."
    )
