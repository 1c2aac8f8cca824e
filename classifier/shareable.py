"""A bundle as it may leave this machine: without the places of files on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from roi_cls.classifier.bundle import ModelBundle, to_facts

_PLACES = ("source", "weights", "captions")
"""Settings that may be a path: of the data, of the start weights, of the captions' file."""


def shareable_facts(bundle: ModelBundle) -> dict[str, Any]:
    """Return ``to_facts`` of a finished bundle: of every path in its training the name alone.

    The versions are those of the training, not of the machine that exports.
    """
    bundle = replace(bundle, training=_names_only(bundle.training))
    return {**to_facts(bundle, bundle.weights_sha256), "versions": dict(bundle.versions)}


def _names_only(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _names_only(value)
        if isinstance(value, Mapping)
        else Path(value).name
        if key in _PLACES and isinstance(value, str)
        else value
        for key, value in settings.items()
    }
