"""The most that a chip can compute, by its maker's data sheet."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Chip:
    """A GPU whose data sheet is known."""

    name: str
    """Words of what CUDA calls it."""
    flops: float
    """FLOP/s of its tensor cores in bf16 with sums in fp32, dense; older ones: in fp16."""
    source: str
    """The data sheet. Those that give figures with sparsity alone are halved."""


CHIPS = (
    Chip("B200", 2.25e15, "NVIDIA DGX B200 datasheet: 36 PFLOPS with sparsity, of 8 GPUs"),
    Chip("H200 NVL", 835e12, "NVIDIA H200 datasheet, column NVL"),
    Chip("H200", 989e12, "NVIDIA H200 datasheet, column SXM"),
    Chip("GH200", 990e12, "NVIDIA GH200 Grace Hopper Superchip datasheet"),
    Chip("H100 NVL", 835e12, "NVIDIA H100 datasheet, column NVL"),
    Chip("H100 PCIe", 756e12, "NVIDIA H100 datasheet of 2022, column PCIe"),
    Chip("H100", 989e12, "NVIDIA H100 datasheet, column SXM"),
    Chip("A100", 312e12, "NVIDIA A100 datasheet"),
    Chip("A30", 165e12, "NVIDIA A30 datasheet"),
    Chip("A40", 149.7e12, "NVIDIA A40 datasheet"),
    Chip("A10G", 70e12, "NVIDIA A10G, AWS G5 product page: 70 TFLOPS"),
    Chip("A10", 125e12, "NVIDIA A10 datasheet"),
    Chip("L40S", 362e12, "NVIDIA L40S datasheet"),
    Chip("L40", 181e12, "NVIDIA L40 datasheet"),
    Chip("L4", 121e12, "NVIDIA L4 datasheet, half of what it gives with sparsity"),
    Chip("V100", 125e12, "NVIDIA V100 datasheet, fp16, column SXM2"),
    Chip("T4", 65e12, "NVIDIA T4 datasheet, fp16"),
    Chip("RTX 5090", 209.5e12, "NVIDIA RTX Blackwell GPU architecture paper"),
    Chip("RTX 4090", 165.2e12, "NVIDIA Ada GPU architecture paper"),
    Chip("RTX 3090", 71e12, "NVIDIA Ampere GA102 GPU architecture paper"),
)
"""A longer name stands before one that is a part of it."""


def find_chip(device: str) -> Chip | None:
    """Return the chip whose name is in the device's, by whole words; None: it is not known."""
    if "Laptop" in device:  # slower than the card of that name
        return None
    return next((chip for chip in CHIPS if re.search(rf"\b{chip.name}\b", device)), None)
