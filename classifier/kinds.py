"""The kinds of network beside timm's own: each is built from a few JSON values and its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from roi_cls.base.errors import BundleError, WeightsError
from roi_cls.classifier.bundle import PLAIN

NAMELESS = ("autoencoder", "svm")
"""Kinds that are built without a named architecture: they go by the kind's own name."""


def describe(model: nn.Module) -> dict[str, Any]:
    """Return a model's ``kind`` and the arguments that ``load_kind`` builds it from.

    A model of a kind of ours has a method ``describe``; any other is timm's.
    """
    own = getattr(model, "describe", None)
    return {"kind": PLAIN} if own is None else cast(dict[str, Any], own())


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
        from roi_cls.classifier.network import FeatureNetwork

        return FeatureNetwork(**arguments)
    if kind == "evidence":
        from roi_cls.classifier.evidence import EvidenceNetwork

        return EvidenceNetwork(**arguments)
    if kind == "autoencoder":
        from roi_cls.classifier.autoencoder import AnomalyNetwork

        return AnomalyNetwork(**arguments)
    if kind == "svm":
        from roi_cls.classifier.svm import SvmNetwork

        return SvmNetwork(**arguments)
    raise BundleError(
        f"Cannot build a network of the kind {kind!r}: this program does not know it. "
        "Install the roi-cls that wrote it."
    )
