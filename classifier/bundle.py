"""The model file that describes itself: weights and all that is needed to use them alike.

Layout of timm's ``local-dir:`` models (``model.safetensors`` beside ``config.json``), with our
facts under the key ``roi_cls``. Nothing in it is pickled.
"""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import nn

from roi_cls.atomic import write_atomically
from roi_cls.classifier.batch import Normalisation
from roi_cls.classifier.checkpoint import save_weights
from roi_cls.data.labels import LabelSet
from roi_cls.errors import BundleError, StorageError
from roi_cls.roi import CropParams

FORMAT = 1
"""Of the ``roi_cls`` part of config.json."""
WEIGHTS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"
_PACKAGES = ("roi-cls", "mediapipe", "opencv-contrib-python", "torch", "timm", "numpy", "pillow")


@dataclass(frozen=True, slots=True)
class ModelBundle:
    """A trained model's facts. The weights lie beside them and are loaded by ``load_model``."""

    model: str
    """timm's name of the architecture."""
    crop: CropParams
    """The recipe; prediction crops by it and by nothing else."""
    labels: LabelSet
    """Class names in output order, and the one that is looked for."""
    normalisation: Normalisation
    temperature: float
    """Logits are divided by it before the softmax."""
    threshold: float | None
    """Probability of the target from which it is the answer; None for three classes or more."""
    data_digest: str
    """Names the split it was trained on, see ``split_digest``."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """The settings it was trained with."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of the packages that decide pixels and scores."""
    weights_sha256: str = ""
    """Of the weights file."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"temperature must be above 0 and finite, got {self.temperature}")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must be between 0 and 1, got {self.threshold}")


def package_versions() -> dict[str, str]:
    """Return the versions of what decides pixels and scores on this machine."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def save_bundle(folder: Path, model: nn.Module, bundle: ModelBundle) -> None:
    """Write weights, then facts: a folder with facts is a complete bundle.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    save_weights(folder / WEIGHTS_NAME, model)
    side = bundle.crop.size_px
    facts = {
        "format": FORMAT,
        "crop": bundle.crop.to_dict(),
        "labels": list(bundle.labels.names),
        "target": bundle.labels.target,
        "normalisation": {"mean": bundle.normalisation.mean, "std": bundle.normalisation.std},
        "temperature": bundle.temperature,
        "threshold": bundle.threshold,
        "data_digest": bundle.data_digest,
        "training": dict(bundle.training),
        "versions": package_versions(),
        "weights_sha256": _digest(folder / WEIGHTS_NAME),
    }
    data_config = {
        "input_size": (3, side, side),
        "crop_pct": 1.0,
        "crop_mode": "squash",
        "mean": bundle.normalisation.mean,
        "std": bundle.normalisation.std,
    }
    model_config = {"label_names": list(bundle.labels.names), "roi_cls": facts}
    _write_config(folder, model, model_config, data_config)


def _write_config(
    folder: Path, model: nn.Module, model_config: dict[str, Any], data_config: dict[str, Any]
) -> None:
    from timm.models._hub import save_config_for_hf

    draft = folder / f".tmp-{CONFIG_NAME}"
    try:
        save_config_for_hf(model, str(draft), model_config=model_config, data_config=data_config)
        text = draft.read_bytes()
        draft.unlink()
    except OSError as error:
        raise StorageError(draft, error.strerror or str(error)) from error
    write_atomically(folder / CONFIG_NAME, text)


def load_bundle(folder: Path) -> ModelBundle:
    """Return the facts of a bundle, after checking that its weights are the ones it names.

    Raises:
        BundleError: It is missing, incomplete, changed, or of another format.
    """
    config = _read_config(folder)
    facts = config.get("roi_cls")
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        found = facts.get("format") if isinstance(facts, dict) else None
        raise BundleError(
            f"Cannot use the model in {str(folder)!r}: its facts have format {found!r}, this "
            f"program reads {FORMAT}. Train again, or install the roi-cls that wrote it."
        )
    weights = folder / WEIGHTS_NAME
    if not weights.is_file():
        raise BundleError(
            f"Cannot use the model in {str(folder)!r}: {WEIGHTS_NAME} is missing. "
            "Copy the whole folder again."
        )
    if _digest(weights) != facts.get("weights_sha256"):
        raise BundleError(
            f"Cannot use the model in {str(folder)!r}: {WEIGHTS_NAME} is not the file its "
            f"{CONFIG_NAME} describes (its SHA-256 differs). Copy the whole folder again."
        )
    bundle = _bundle_from(folder, str(config["architecture"]), facts)
    if config.get("num_classes") != len(bundle.labels.names):
        raise BundleError(
            f"Cannot use the model in {str(folder)!r}: it has {config.get('num_classes')} outputs "
            f"for {len(bundle.labels.names)} classes. Copy the whole folder again."
        )
    return bundle


def load_model(folder: Path) -> nn.Module:
    """Return the bundle's model with its weights, in evaluation mode, on the CPU."""
    from roi_cls.classifier.model import load_local_model

    return load_local_model(folder)


def _bundle_from(folder: Path, architecture: str, facts: dict[str, Any]) -> ModelBundle:
    try:
        scale = facts["normalisation"]
        return ModelBundle(
            model=architecture,
            crop=CropParams.from_dict(facts["crop"]),
            labels=LabelSet(tuple(facts["labels"]), facts["target"]),
            normalisation=Normalisation(tuple(scale["mean"]), tuple(scale["std"])),
            temperature=float(facts["temperature"]),
            threshold=None if facts["threshold"] is None else float(facts["threshold"]),
            data_digest=str(facts["data_digest"]),
            training=facts["training"],
            versions=facts["versions"],
            weights_sha256=facts["weights_sha256"],
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"Cannot use the model in {str(folder)!r}: its {CONFIG_NAME} is damaged "
            f"({type(error).__name__}: {error}). Copy the whole folder again."
        ) from error


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BundleError(
            f"Cannot use {str(folder)!r}: there is no finished model in it. "
            "Train one with `roi-cls train DATA`, or finish it with --resume."
        ) from error
    except (OSError, ValueError) as error:
        raise BundleError(
            f"Cannot use the model in {str(folder)!r}: {CONFIG_NAME} cannot be read ({error}). "
            "Copy the whole folder again."
        ) from error
    if not isinstance(config, dict) or "architecture" not in config:
        raise BundleError(
            f"Cannot use the model in {str(folder)!r}: {CONFIG_NAME} describes no timm model. "
            "Give the folder of a run."
        )
    return config


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
