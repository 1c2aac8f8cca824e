"""The benchmark of training runs, compares what it says, and prints what it measured."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks.training import run as training


@pytest.mark.slow
# timm's reader of a dataset leaves closing its pictures to Python.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_quick_run_measures_every_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "training.json"
    training.main(["--quick", "--device", "cpu", "--workers", "0", "--json", str(target)])
    (case,) = json.loads(target.read_text())["cases"]
    assert set(case["images_per_second"]) == {
        "one batch",
        "roi-cls",
        "crop by crop",
        "timm's training",
    }
    assert min(case["images_per_second"].values()) > 0
    assert case["flops_per_second"] > 0
    table = capsys.readouterr().out
    assert f"| an epoch : the same steps on one batch | {case['epoch_to_one_batch']:.3f} |" in table
    assert "share of the chip's peak" not in table  # not known of a CPU


def test_ratios_are_medians_of_rounds() -> None:
    assert training.ratio({"a": [2.0, 9.0, 3.0], "b": [1.0, 3.0, 2.0]}, "a", "b") == 2.0


def test_sides_take_turns_and_the_first_epoch_is_not_counted() -> None:
    order: list[str] = []
    sides = {name: lambda name=name: order.append(name) for name in ("a", "b")}
    times = training.time_in_turns(sides, 2, torch.device("cpu"))
    assert "".join(order) == "baabba"
    assert [len(each) for each in times.values()] == [2, 2]


@pytest.mark.parametrize(
    ("device", "dtype", "chip", "expected"),
    [
        ("cpu", torch.bfloat16, "cpu", None),
        ("cuda", torch.float32, "NVIDIA H100 80GB HBM3", None),
        ("cuda", torch.bfloat16, "NVIDIA H100 80GB HBM3", 989e12),
        ("cuda", torch.bfloat16, "NVIDIA H100 PCIe", 756e12),
        ("cuda", torch.bfloat16, "NVIDIA L40S", 362e12),
        ("cuda", torch.float16, "Tesla T4", 65e12),
        ("cuda", torch.bfloat16, "Another", None),
    ],
)
def test_peak_is_told_of_known_chips_alone(
    device: str, dtype: torch.dtype, chip: str, expected: float | None
) -> None:
    backend: Any = SimpleNamespace(device=torch.device(device), format=dtype, name=f"{chip} (bf16)")
    assert training.find_peak(backend) == expected


def test_operations_are_those_of_one_picture() -> None:
    once = training.count_flops(training.Case("test_efficientnet", 32, 4, 1))
    larger = training.count_flops(training.Case("test_efficientnet", 64, 4, 1))
    assert once > 1e5
    assert 3 < larger / once < 5
