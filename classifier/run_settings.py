"""What a run was started with: whether it may be resumed, and whether there is more to do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from roi_cls.base.atomic import write_atomically
from roi_cls.base.errors import TrainingError
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.models.saved import NAMELESS
from roi_cls.classifier.models.weights import find_weights
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.training_data import TrainingData
from roi_cls.data.crops import CropArray
from roi_cls.roi.models import hash_file

_MOVES = ("source", "errors")  # data may move, and unreadable pictures are in no part


def collect_settings(
    config: TrainConfig, data: TrainingData, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Return everything that decides the result; equal settings, equal run.

    facts: more of that, known to the caller alone; plain JSON values.
    """
    uses_file = config.weights not in ("hub", "none") and config.method not in NAMELESS
    file = find_weights(config.model, config.weights) if uses_file else None
    return {
        "source": str(data.source.absolute()),
        "config": config.to_dict(),
        "crop": data.views[0].to_dict(),
        "labels": list(data.labels.names),
        "target": data.labels.target,
        "data_digest": data.digest,
        "parts_digest": _parts_digest(data),
        "weights_sha256": hash_file(file) if file else None,
        "errors": len(data.errors),
        "train_images": len(data.train),
        "validation_images": len(data.validation),
        "majority_label": data.labels.names[int(np.bincount(data.train.labels).argmax())],
        **facts,
    }


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


def _parts_digest(data: TrainingData) -> str:
    """Return a digest of which pictures are learned from, and which are validated on."""

    def words(part: str, crops: CropArray) -> list[str]:
        return sorted(f"{part} {record.sha256}" for record in crops.records)

    rows = words("train", data.train) + words("validation", data.validation)
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


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
