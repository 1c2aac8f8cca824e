"""Two processes end where one with the same global batch does; determinism is put back."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from roi_cls.base.errors import TrainingError
from roi_cls.classifier.training.distributed import World, current_world, deterministic

LONE = World()


def _arguments(source: Path, folder: Path, name: str) -> list[str]:
    return [
        *("train", str(source), "--run", name),
        *("--runs", str(folder), "--cache", str(folder / "cache"), "--workers", "0"),
        # Without batch norms, whose averages differ between a batch and its shares.
        *("--crop", "full", "--size", "32", "--model", "test_vit", "--weights", "none"),
        *("--epochs", "3", "--head-epochs", "1", "--device", "cpu", "--precision", "fp32"),
        *("--batch-size", "4", "--accumulate", "2", "--augmentation", "none", "--drop-rate", "0"),
        # Adam's steps are as long for the smallest gradients: rounding would decide their sign.
        *("--optimiser", "sgd", "--lr", "0.05", "--head-lr", "0.05", "--ema", "0.5"),
    ]


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(
    tmp_path: Path, draw_set: Callable[..., Path], command: Callable[..., Any]
) -> None:
    source = draw_set(tmp_path / "set", red=14, blue=19)  # the last batch is no even one
    runs = tmp_path / "runs"
    # After "--", torchrun does not take our --run for the start of its own --run-path.
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    words = [
        *torchrun,
        "--nproc-per-node",
        "2",
        "-m",
        "--",
        "roi_cls",
        *_arguments(source, runs, "two"),
    ]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("is ready in") == 1  # the first one speaks alone
    assert done.stderr.count("epoch   1/3 head") == 1
    alone = command(*_arguments(source, runs, "one"))
    assert alone.returncode == 0, alone.stderr
    weights = [load_file(runs / name / "model.safetensors") for name in ("one", "two")]
    for key, value in weights[0].items():
        np.testing.assert_allclose(weights[1][key], value, atol=1e-5, err_msg=key)
    rows = [
        [json.loads(line) for line in (runs / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    for one, two in zip(*rows, strict=True):
        for field in ("epoch", "phase", "lr", "average_precision", "roc_auc", "best"):
            assert one[field] == pytest.approx(two[field]), field
        for field in ("train_loss", "validation_loss"):
            assert one[field] == pytest.approx(two[field], abs=1e-5), field
    records = [json.loads((runs / name / "record.json").read_text()) for name in ("one", "two")]
    assert [record["processes"] for record in records] == [1, 2]
    assert (runs / "one" / "split.csv").read_bytes() == (runs / "two" / "split.csv").read_bytes()


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_shares_are_all_rows_once(size: int, count: int) -> None:
    shares = [World(rank, size).share(np.arange(count)) for rank in range(size)]
    assert sorted(np.concatenate(shares).tolist()) == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_process_alone_joins_nothing() -> None:
    assert current_world() == LONE
    assert LONE.is_first
    values = np.ones((3, 2), np.float32)
    assert LONE.join_shares(values, 3) is values
    assert LONE.from_first({"a": 1}) == {"a": 1}
    assert float(LONE.sum(torch.tensor(2.0))) == 2.0
    LONE.wait()


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


def test_products_before_it_was_asked_for_are_told() -> None:
    with pytest.raises(TrainingError) as caught, deterministic(True):
        raise RuntimeError(
            "Deterministic behavior was enabled, but this operation is not deterministic because "
            "it uses CuBLAS. You must set CUBLAS_WORKSPACE_CONFIG=:4096:8 or :16:8."
        )
    assert str(caught.value) == (
        "Cannot train deterministically here: cuBLAS computed before in this process, and does not "
        "repeat its results since. Set the variable CUBLAS_WORKSPACE_CONFIG=:4096:8 before Python "
        "starts, or leave --deterministic out."
    )
