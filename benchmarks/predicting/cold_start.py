"""The sides that are commands: one answer, or only the imports it needs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_TORCH_TIMM = (
    "from roi_cls.base.torchvision import ensure_torchvision; ensure_torchvision(); "
    "import torch, timm"
)
"""timm imports torchvision, which beside a CPU build of torch needs that help."""


@dataclass(frozen=True, slots=True)
class Start:
    """One command, from its start to its exit."""

    seconds: float
    """Of the clock."""
    processor_s: float
    """Of the processor: what other work on the machine changes least."""


def time_command(command: list[str]) -> Start:
    """Run a command that must end well."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    if status:
        raise RuntimeError(f"{command} ended with {status}")
    process.returncode = 0
    return Start(seconds, usage.ru_utime + usage.ru_stime)


def cold_sides(run: Path, picture: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each side and its command."""
    predict = [sys.executable, "-m", "roi_cls", "predict", str(picture), "--run", str(run)]
    yield "import_torch", [sys.executable, "-c", "import torch"]
    yield "import_torch_timm", [sys.executable, "-c", _TORCH_TIMM]
    yield "import_all", [sys.executable, "-c", f"{_TORCH_TIMM}; import cv2, mediapipe"]
    yield "predict", predict
    yield "predict_torch", [*predict, "--runtime", "torch"]
