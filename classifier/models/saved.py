"""A bundle's network and its weights: built, written beside the facts, and loaded again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from roi_cls.base.atomic import telling_storage, write_atomically
from roi_cls.base.errors import BundleError, WeightsError
from roi_cls.base.location import hash_file
from roi_cls.classifier.runs.bundle import (
    CONFIG_NAME,
    PLAIN,
    WEIGHTS_NAME,
    ModelBundle,
    describe_bundle,
    package_versions,
    to_facts,
    write_config,
)

NAMELESS = ("autoencoder", "svm")
"""Kinds that are built without a named architecture: they go by the kind's own name."""
Tensors = dict[str, torch.Tensor]


def save_bundle(
    folder: Path,
    model: nn.Module,
    bundle: ModelBundle,
    on_facts: Callable[[ModelBundle], None] = lambda bundle: None,
) -> None:
    """Write weights, then facts: a folder with facts is a complete bundle.

    on_facts: called with the facts as they will be written, between the two.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    save_weights(folder / WEIGHTS_NAME, model)
    network = describe(model)
    kind = network["kind"]
    bundle = replace(
        bundle,
        network=network,
        model=kind if kind in NAMELESS else bundle.model,
        versions=package_versions(),
        weights_sha256=hash_file(folder / WEIGHTS_NAME),
    )
    on_facts(bundle)
    facts = to_facts(bundle, bundle.weights_sha256)
    if kind == PLAIN:
        write_config(folder, _describe_timm(folder, model, bundle, facts))
    else:
        write_config(folder, describe_bundle(bundle, facts))


def save_weights(path: Path, model: nn.Module) -> None:
    """Write the model's state dict, atomically."""
    write_atomically(path, save(to_plain(model.state_dict()), {"format": "pt"}))


def to_plain(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Return the tensors as safetensors takes them: on the host, contiguous, without gradients."""
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def describe(model: nn.Module) -> dict[str, Any]:
    """Return a model's ``kind`` and the arguments that ``load_kind`` builds it from.

    A model of a kind of ours has a method ``describe``; any other is timm's.
    """
    own = getattr(model, "describe", None)
    return {"kind": PLAIN} if own is None else cast(dict[str, Any], own())


def _describe_timm(
    folder: Path, model: nn.Module, bundle: ModelBundle, facts: dict[str, Any]
) -> dict[str, Any]:
    """Return the configuration as timm writes it."""
    from timm.models._hub import save_config_for_hf

    side, scale = bundle.crop.size_px, bundle.normalisation
    model_config = {"label_names": list(bundle.labels.names), "roi_cls": facts}
    data_config = {
        "input_size": (3, side, side),
        "crop_pct": 1.0,
        "crop_mode": "squash",
        "mean": scale.mean,
        "std": scale.std,
    }
    draft = folder / f".tmp-{CONFIG_NAME}"
    with telling_storage(draft):
        save_config_for_hf(model, str(draft), model_config=model_config, data_config=data_config)
        config: dict[str, Any] = json.loads(draft.read_text(encoding="utf-8"))
        draft.unlink()
    return config


def load_model(folder: Path, bundle: ModelBundle) -> nn.Module:
    """Return the bundle's model with its weights, in evaluation mode, on the CPU.

    Args:
        folder: Where the bundle lies.
        bundle: Its facts, as ``load_bundle`` returned them.

    Raises:
        WeightsError: The weights do not fit the network that the facts describe.
    """
    if bundle.network["kind"] == PLAIN:
        from roi_cls.classifier.models.timm_model import load_local_model

        return load_local_model(folder)
    return load_kind(bundle.network, folder / WEIGHTS_NAME)


def load_kind(network: Mapping[str, Any], weights: Path) -> nn.Module:
    """Return the network with its weights, in evaluation mode.

    Args:
        network: What ``describe`` returned when it was saved.
        weights: The safetensors file.

    Raises:
        BundleError: Another program wrote the kind, or the arguments are damaged.
        WeightsError: The weights do not fit it.
    """
    try:
        model = _build(network)
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"Cannot build the network of {str(weights.parent)!r}: its description is damaged "
            f"({type(error).__name__}: {error}). Copy the whole folder again."
        ) from error
    try:
        model.load_state_dict(load_file(str(weights)))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise WeightsError(
            f"Cannot load the model in {str(weights.parent)!r}: {error}. "
            "Copy the whole folder again."
        ) from error
    return model.eval()


def _build(network: Mapping[str, Any]) -> nn.Module:
    """Return the network with random weights. Each kind is imported when it is met."""
    kind, arguments = network["kind"], {k: v for k, v in network.items() if k != "kind"}
    if kind == "features":
        from roi_cls.classifier.models.network import FeatureNetwork

        return FeatureNetwork(**arguments)
    if kind == "evidence":
        from roi_cls.classifier.models.network import EvidenceNetwork

        return EvidenceNetwork(**arguments)
    if kind == "eyes":
        from roi_cls.classifier.models.eyes import EyesNetwork

        return EyesNetwork(**arguments)
    if kind == "autoencoder":
        from roi_cls.classifier.models.autoencoder import AutoencoderNetwork

        return AutoencoderNetwork(**arguments)
    if kind == "svm":
        from roi_cls.classifier.models.svm import SvmNetwork

        return SvmNetwork(**arguments)
    raise BundleError(
        f"Cannot build a network of the kind {kind!r}: this program does not know it. "
        "Install the roi-cls that wrote it."
    )
