"""What a run was started with, so that it may be resumed; and, at its end, how it came about."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from roi_cls.base.atomic import write_atomically
from roi_cls.base.errors import BundleError, TrainingError
from roi_cls.base.location import hash_file
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.models.device import Backend
from roi_cls.classifier.models.origin import find_package, weights_origin
from roi_cls.classifier.models.saved import NAMELESS
from roi_cls.classifier.models.weights import find_weights
from roi_cls.classifier.runs.bundle import package_versions
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.training.data import TrainingData
from roi_cls.classifier.training.distributed import current_world
from roi_cls.classifier.training.job import TrainJob
from roi_cls.data.crops import CropArray

# Data may move, unreadable pictures are in no part, and the parts themselves are compared.
_MOVES = ("source", "errors", "group_regex")
_GIT_PATIENCE_S = 5.0


def collect_settings(job: TrainJob, data: TrainingData) -> dict[str, Any]:
    """Return everything that decides the result; equal settings, equal run."""
    config = job.config
    return {
        "source": str(data.source.absolute()),
        "config": config.to_dict(),
        "crop": data.recipes[0].params.to_dict(),
        "labels": list(data.labels.names),
        "target": data.labels.target,
        "data_digest": data.digest,
        "parts_digest": _parts_digest(data),
        **describe_weights(config),
        "errors": len(data.errors),
        "train_images": len(data.train),
        "validation_images": len(data.validation),
        "majority_label": data.labels.names[int(np.bincount(data.train.labels).argmax())],
        **job.facts,
        "label_names": job.label_names,
        "group_regex": job.split.group_regex,
        "abstain": job.abstain,
    }


def describe_weights(config: TrainConfig) -> dict[str, Any]:
    """Return where the start weights come from, and the SHA-256 of their file where it is known."""
    if config.method in NAMELESS:
        return {"weights_from": None, "weights_sha256": None}
    origin, sha256 = weights_origin(config), None
    if origin.startswith("package "):
        package = find_package(config.model)
        sha256 = package.sha256 if package else None
    elif origin not in ("hub", "none"):
        file = find_weights(config.model, config.weights)
        origin, sha256 = file.name, hash_file(file)
    return {"weights_from": origin, "weights_sha256": sha256}


def _parts_digest(data: TrainingData) -> str:
    """Return a digest of which pictures are learned from, and which are validated on."""

    def words(part: str, crops: CropArray) -> list[str]:
        return sorted(f"{part} {record.sha256}" for record in crops.records)

    rows = words("train", data.train) + words("validation", data.validation)
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def is_done(run: RunFolder, settings: Mapping[str, Any]) -> bool:
    """Whether the run is finished with these settings; refuses to resume one with others.

    Raises:
        TrainingError: The run was started with other settings, or they cannot be read.
    """
    if not run.settings.exists():
        return False
    try:
        kept = json.loads(run.settings.read_bytes())
    except ValueError as error:
        raise TrainingError(
            f"Cannot go on with run {run.path.name!r}: {str(run.settings)!r} is damaged. "
            f"Choose another name or folder (--run, -o) or delete {str(run.path)!r}."
        ) from error
    odd = [name for name in settings if name not in _MOVES and kept.get(name) != settings[name]]
    if odd:
        differences = (_difference(name, kept.get(name), settings[name]) for name in odd)
        details = "; ".join(dict.fromkeys(differences))
        raise TrainingError(
            f"Cannot go on with run {run.path.name!r}: it was started with other settings "
            f"({details}). Choose another name or folder (--run, -o) or delete {str(run.path)!r}."
        )
    return run.is_finished


def _difference(name: str, kept: object, given: object) -> str:
    if isinstance(kept, dict) and isinstance(given, dict):
        keys = [key for key in given if kept.get(key) != given[key]]
        return ", ".join(f"{key} {kept.get(key)} then, {given[key]} now" for key in keys)
    if name in ("data_digest", "parts_digest"):
        return "the pictures, their labels or their parts were others"
    return f"{name} differs"


class Beginning:
    """Writes the settings, and what the caller adds, at the first of its calls."""

    def __init__(
        self, run: RunFolder, settings: dict[str, Any], on_begin: Callable[[], None] | None
    ) -> None:
        self._run, self._settings, self._on_begin = run, settings, on_begin

    def __call__(self) -> None:
        """Write them, unless that was done or is another process's part."""
        if self._on_begin is None:
            return
        text = json.dumps(self._settings, indent=2) + "\n"
        write_atomically(self._run.settings, text.encode())
        self._on_begin()
        self._on_begin = None


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


def _peak_memory() -> int | None:
    """Return the most memory that this process held at once, in bytes; None: unknown here."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def describe_git(folder: Path) -> dict[str, Any] | None:
    """Return commit and ``dirty`` of the repository that a folder lies in; None: there is none.

    Files that git does not follow, such as a contact sheet drawn beside the code, change no code.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": bool(changed)}


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


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():  # platform.processor() is empty or "x86_64" on Linux
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


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
