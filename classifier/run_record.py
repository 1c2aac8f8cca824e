"""How a run came about: versions, code, machine, command, time and memory, beside its result."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from roi_cls.base.atomic import write_atomically
from roi_cls.base.errors import BundleError
from roi_cls.classifier.distributed import current_world
from roi_cls.classifier.models.device import Backend
from roi_cls.classifier.runs.bundle import package_versions

_GIT_PATIENCE_S = 5.0


@dataclass(slots=True)
class RunRecord:
    """Collects facts while a run goes on; ``write`` adds what is known at its end."""

    clock: Callable[[], float] = time.monotonic
    facts: dict[str, Any] = field(default_factory=dict)
    _began: float = field(init=False)

    def __post_init__(self) -> None:
        self._began = self.clock()
        self.facts |= {
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": list(sys.argv),
            "versions": package_versions(),
            "git": describe_git(Path.cwd()),
            "machine": describe_machine(),
        }

    def add(self, name: str, value: Any) -> None:
        """Keep a plain JSON value under a name."""
        self.facts[name] = value

    def write(self, path: Path, metrics: Path, backend: Backend) -> None:
        """Write the record, with time and peak memory of this process so far.

        Args:
            path: Where to.
            metrics: The run's line per epoch, also of the calls before an interrupt.
            backend: Where was computed.
        """
        epochs = read_metrics(metrics)
        rates = [epoch["images_per_second"] for epoch in epochs]
        self.facts |= {
            "seconds": round(self.clock() - self._began, 3),
            "epochs": len(epochs),
            "train_seconds": round(sum(epoch["seconds"] for epoch in epochs), 3),
            "images_per_second": round(statistics.median(rates), 1) if rates else None,
            "peak_memory_bytes": _peak_memory(),
            "peak_gpu_memory_bytes": torch.cuda.max_memory_allocated(backend.device)
            if backend.device.type == "cuda"
            else None,
            "processes": current_world().size,
        }
        write_atomically(path, (json.dumps(self.facts, indent=2) + "\n").encode())


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the lines of ``metrics.jsonl``; none where a method has no epochs.

    Raises:
        BundleError: The file is damaged.
    """
    if not path.exists():
        return []
    try:
        epochs = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if not all({"epoch", "best"} <= epoch.keys() for epoch in epochs):
            raise ValueError("a line is not of an epoch")
    except (AttributeError, ValueError) as error:
        raise BundleError(
            f"Cannot read {str(path)!r}, the course of the training: {error}. Copy the whole "
            "folder of the run again, or remove the file."
        ) from error
    return epochs


def describe_git(folder: Path) -> dict[str, Any] | None:
    """Return commit and ``dirty`` of the repository that a folder lies in; None: there is none."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "dirty": bool(_git(folder, "status", "--porcelain"))}


def describe_machine() -> dict[str, Any]:
    """Return system, processor, cores, threads of torch, and GPUs."""
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in gpus],
    }


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words],
            capture_output=True,
            text=True,
            timeout=_GIT_PATIENCE_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):  # no git, no repository, or a very slow disk
        return None
    return done.stdout.strip()


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():  # platform.processor() is empty or "x86_64" on Linux
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _peak_memory() -> int | None:
    """Return the most memory that this process held at once, in bytes; None: unknown here."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
