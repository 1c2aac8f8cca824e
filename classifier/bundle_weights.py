"""The weights of a bundle: written beside its facts, and loaded into the network they describe."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from roi_cls.base.errors import StorageError
from roi_cls.classifier.bundle import (
    CONFIG_NAME,
    PLAIN,
    WEIGHTS_NAME,
    ModelBundle,
    describe_bundle,
    to_facts,
    write_config,
)
from roi_cls.classifier.checkpoint import save_weights
from roi_cls.classifier.kinds import NAMELESS, describe, load_kind
from roi_cls.roi.models import hash_file


def save_bundle(folder: Path, model: nn.Module, bundle: ModelBundle) -> None:
    """Write weights, then facts: a folder with facts is a complete bundle.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    save_weights(folder / WEIGHTS_NAME, model)
    network = describe(model)
    kind = network["kind"]
    bundle = replace(bundle, network=network, model=kind if kind in NAMELESS else bundle.model)
    facts = to_facts(bundle, hash_file(folder / WEIGHTS_NAME))
    if kind == PLAIN:
        write_config(folder, _describe_timm(folder, model, bundle, facts))
    else:
        write_config(folder, describe_bundle(bundle, facts))


def load_model(folder: Path, bundle: ModelBundle) -> nn.Module:
    """Return the bundle's model with its weights, in evaluation mode, on the CPU.

    Args:
        folder: Where the bundle lies.
        bundle: Its facts, as ``load_bundle`` returned them.

    Raises:
        WeightsError: The weights do not fit the network that the facts describe.
    """
    if bundle.network["kind"] == PLAIN:
        from roi_cls.classifier.model import load_local_model

        return load_local_model(folder)
    return load_kind(bundle.network, folder / WEIGHTS_NAME)


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
    try:
        save_config_for_hf(model, str(draft), model_config=model_config, data_config=data_config)
        config: dict[str, Any] = json.loads(draft.read_text(encoding="utf-8"))
        draft.unlink()
    except OSError as error:
        raise StorageError(draft, error.strerror or str(error)) from error
    return config
