"""A model's folder, facts and weights: all that is needed to use it as it was trained.

Imports torch only where it is used: an exported model is read without it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any

from roi_cls.base.atomic import write_atomically
from roi_cls.base.errors import BundleError
from roi_cls.base.location import hash_file
from roi_cls.data.sample import LabelSet
from roi_cls.roi import CropParams

if TYPE_CHECKING:
    import torch
    from torch import Tensor

BUNDLE_FORMAT = 3
"""Of the ``roi_cls`` part of config.json."""
WEIGHTS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"
MEMBERS_NAME = "members"
ENSEMBLE = "ensemble"
"""The kind of a bundle that is the mean of its members."""
PLAIN = "timm"
"""The kind of a network that timm builds by itself."""
_SEAL = "config_sha256"
_PACKAGES = (
    *("roi-cls", "mediapipe", "opencv-contrib-python", "torch", "timm", "onnxruntime"),
    *("numpy", "pillow"),
)
_PLACES = ("source", "weights", "captions")
"""Settings that may be a path: of the data, of the start weights, of the captions' file."""


@dataclass(frozen=True, slots=True)
class Normalisation:
    """Mean and standard deviation per RGB channel, 0 to 1, that the weights expect."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != 3 or len(self.std) != 3:
            raise ValueError(f"mean and std must be per RGB channel, got {self.mean}, {self.std}")
        if not (all(map(math.isfinite, self.mean)) and all(0 < s < math.inf for s in self.std)):
            raise ValueError(f"mean must be finite and std above 0, got {self.mean}, {self.std}")

    def apply(self, pixels: Tensor, device: torch.device) -> Tensor:
        """Return (B, 3, H, W) uint8 as normalised float32 on ``device``, channels last."""
        import torch  # here: a model that was exported predicts without torch

        on_device = pixels.to(device, non_blocking=True)
        values = on_device.to(torch.float32, memory_format=torch.channels_last)
        # (B, 3, H, W) -> (B, H, W*3), in place: whole rows at once, 8 times as fast on a CPU as
        # three channels at a time.
        lines = values.permute(0, 2, 3, 1).flatten(2)
        width = pixels.shape[-1]
        # Made here and sent: torch.tensor(…, device=…) waits for all that the GPU has to do.
        mean, std = (
            (torch.tensor(each) * 255).repeat(width).to(device, non_blocking=True)
            for each in (self.mean, self.std)
        )
        lines.sub_(mean).div_(std)
        return values


@dataclass(frozen=True, slots=True)
class ModelBundle:
    """A trained model's facts. The weights lie beside them."""

    model: str
    """Name of the architecture, mostly timm's."""
    views: tuple[CropParams, ...]
    """The recipes, one for each crop that it sees side by side; prediction crops by no other."""
    labels: LabelSet
    """Class names in output order, and the one that is looked for."""
    normalisation: Normalisation
    temperature: float
    """Logits are divided by it before the softmax."""
    offsets: tuple[float, ...]
    """Then added to them, one for each class; all 0: nothing was fitted."""
    threshold: float | None
    """Probability of the target from which it is the answer; None for three classes or more."""
    data_digest: str
    """Names the split it was trained on, see ``split_digest``."""
    threshold_rule: str = "f1"
    """By which the threshold was chosen on validation."""
    abstain: float = 0.0
    """Half the width of the band of probabilities in which an answer is told as unsure."""
    mirror: bool = False
    """Whether logits are the mean of those of the crop and of its mirror image."""
    network: Mapping[str, Any] = field(default_factory=lambda: {"kind": PLAIN})
    """How the model is built: its ``kind`` and that kind's arguments."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """The settings it was trained with."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of the packages that decide pixels and scores."""
    weights_sha256: str = ""
    """Of the weights file; of an ensemble, over its members' configurations."""

    def __post_init__(self) -> None:
        if not self.views:
            raise ValueError("views must name at least one crop recipe")
        if not 0 <= self.abstain < 1:
            raise ValueError(f"abstain must be from 0 to below 1, got {self.abstain}")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"temperature must be above 0 and finite, got {self.temperature}")
        if len(self.offsets) != len(self.labels.names) or not all(map(math.isfinite, self.offsets)):
            raise ValueError(f"offsets must be finite, one per class, got {self.offsets}")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must be between 0 and 1, got {self.threshold}")

    @property
    def crop(self) -> CropParams:
        """The recipe of the first view, whose faces and boxes are shown."""
        return self.views[0]


def to_facts(bundle: ModelBundle, weights_sha256: str) -> dict[str, Any]:
    """Return what config.json keeps of a bundle under the key ``roi_cls``."""
    return {
        "format": BUNDLE_FORMAT,
        "network": dict(bundle.network),
        "views": [view.to_dict() for view in bundle.views],
        "labels": list(bundle.labels.names),
        "target": bundle.labels.target,
        "normalisation": {"mean": bundle.normalisation.mean, "std": bundle.normalisation.std},
        "temperature": bundle.temperature,
        "offsets": list(bundle.offsets),
        "threshold": bundle.threshold,
        "threshold_rule": bundle.threshold_rule,
        "abstain": bundle.abstain,
        "mirror": bundle.mirror,
        "data_digest": bundle.data_digest,
        "training": dict(bundle.training),
        "versions": package_versions(),
        "weights_sha256": weights_sha256,
    }


def package_versions() -> dict[str, str]:
    """Return the versions of what decides pixels and scores on this machine.

    A package that is not installed under its name is left out: a cluster's image may have another
    build of OpenCV, and where crops are whole pictures MediaPipe is not missed. A long training
    must not end in that.
    """
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def shareable_facts(bundle: ModelBundle) -> dict[str, Any]:
    """Return ``to_facts`` of a finished bundle: of every path in its training the name alone.

    The versions are those of the training, not of the machine that exports.
    """
    bundle = make_shareable(bundle)
    return {**to_facts(bundle, bundle.weights_sha256), "versions": dict(bundle.versions)}


def make_shareable(bundle: ModelBundle) -> ModelBundle:
    """Return a bundle that knows of every path in its training the name alone."""
    return replace(bundle, training=_names_only(bundle.training))


def _names_only(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _names_only(value)
        if isinstance(value, Mapping)
        else _name(value)
        if key in _PLACES and isinstance(value, str)
        else value
        for key, value in settings.items()
    }


def _name(place: str) -> str:
    """Return a path's name, also on another system than the one that it is of."""
    windows = PureWindowsPath(place)
    return windows.name if windows.drive else Path(place).name


def describe_bundle(bundle: ModelBundle, facts: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of a model that timm alone cannot build."""
    names = list(bundle.labels.names)
    return {
        "architecture": bundle.model,
        "num_classes": len(names),
        "label_names": names,
        "roi_cls": facts,
    }


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Write a bundle's config.json, sealed. Raises ``StorageError``."""
    text = json.dumps(_seal_config(config), indent=2) + "\n"
    write_atomically(folder / CONFIG_NAME, text.encode())


def _seal_config(config: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration with the SHA-256 of all else that it says.

    It names the weights by theirs, so that one changed bit anywhere is noticed. Against damage and
    edits by hand, not against someone who seals it anew.
    """
    facts = {key: value for key, value in config["roi_cls"].items() if key != _SEAL}
    text = json.dumps({**config, "roi_cls": facts}, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {**config, "roi_cls": {**facts, _SEAL: digest}}


def load_bundle(folder: Path) -> ModelBundle:
    """Return the facts of a bundle, after checking that its weights are the ones it names.

    Raises:
        BundleError: It is missing, incomplete, changed, or of another format.
    """
    config = _read_config(folder)
    try:
        facts = bundle_facts(config)
    except ValueError as error:
        raise BundleError(
            f"Cannot use the model in {str(folder)!r}: {error}. "
            "Train again, or install the roi-cls that wrote it."
        ) from error
    if facts.get(_SEAL) != _seal_config(config)["roi_cls"][_SEAL]:
        raise BundleError(
            f"Cannot use the model in {str(folder)!r}: {CONFIG_NAME} was changed after it was "
            "written (its SHA-256 differs). Copy the whole folder again; to decide otherwise, "
            "use --threshold and --abstain."
        )
    bundle = bundle_from_facts(folder, str(config["architecture"]), facts)
    _check_weights(folder, bundle)
    if config.get("num_classes") != len(bundle.labels.names):
        raise BundleError(
            f"Cannot use the model in {str(folder)!r}: it has {config.get('num_classes')} outputs "
            f"for {len(bundle.labels.names)} classes. Copy the whole folder again."
        )
    return bundle


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
            f"Cannot use the model in {str(folder)!r}: {CONFIG_NAME} describes no model. "
            "Give the folder of a run."
        )
    return config


def bundle_facts(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a configuration keeps of a bundle.

    Raises:
        ValueError: It is of another format, or keeps nothing.
    """
    facts = config.get("roi_cls")
    found = facts.get("format") if isinstance(facts, dict) else None
    if not isinstance(facts, dict) or found != BUNDLE_FORMAT:
        raise ValueError(f"its facts have format {found!r}, this program reads {BUNDLE_FORMAT}")
    return facts


def bundle_from_facts(path: Path, architecture: str, facts: dict[str, Any]) -> ModelBundle:
    """Return the bundle that ``to_facts`` told of. Raises ``BundleError`` where it is damaged."""
    try:
        scale = facts["normalisation"]
        return ModelBundle(
            model=architecture,
            views=tuple(CropParams.from_dict(view) for view in facts["views"]),
            labels=LabelSet(tuple(facts["labels"]), facts["target"]),
            normalisation=Normalisation(tuple(scale["mean"]), tuple(scale["std"])),
            temperature=float(facts["temperature"]),
            offsets=tuple(map(float, facts["offsets"])),
            threshold=None if facts["threshold"] is None else float(facts["threshold"]),
            threshold_rule=str(facts["threshold_rule"]),
            abstain=float(facts["abstain"]),
            mirror=bool(facts["mirror"]),
            network={"kind": facts["network"]["kind"], **facts["network"]},
            data_digest=str(facts["data_digest"]),
            training=facts["training"],
            versions=facts["versions"],
            weights_sha256=str(facts.get("weights_sha256")),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"Cannot use the model in {str(path)!r}: its description is damaged "
            f"({type(error).__name__}: {error}). Copy the whole folder again."
        ) from error


def _check_weights(folder: Path, bundle: ModelBundle) -> None:
    """Raise ``BundleError`` unless the files of the model are the ones its facts name."""
    is_ensemble = bundle.network.get("kind") == ENSEMBLE
    what = f"{MEMBERS_NAME}/*/{CONFIG_NAME}" if is_ensemble else WEIGHTS_NAME
    try:
        members = member_folders(folder, bundle)
        found = digest_members(members) if is_ensemble else hash_file(folder / WEIGHTS_NAME)
    except OSError as error:
        raise BundleError(
            f"Cannot use the model in {str(folder)!r}: {what} is missing. "
            "Copy the whole folder again."
        ) from error
    if found != bundle.weights_sha256:
        raise BundleError(
            f"Cannot use the model in {str(folder)!r}: {what} is not the file its "
            f"{CONFIG_NAME} describes (its SHA-256 differs). Copy the whole folder again."
        )


def member_folders(folder: Path, bundle: ModelBundle) -> tuple[Path, ...]:
    """Return where the members of an ensemble lie, in order; of another bundle, nothing."""
    names = bundle.network.get(MEMBERS_NAME, ())
    return tuple(folder / MEMBERS_NAME / str(name) for name in names)


def digest_members(folders: Sequence[Path]) -> str:
    """Return one digest over the members' config.json, each of which names its own weights.

    Raises:
        OSError: A member is not there.
    """
    digests = "".join(hash_file(folder / CONFIG_NAME) for folder in folders)
    return hashlib.sha256(digests.encode()).hexdigest()
