"""What an exported file holds beside its graph, and whether it is the file that was written.

The packages of ONNX are imported here first, so that they tell nobody that they run.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LAYOUT = 1
"""Of inputs, outputs and properties."""
OUTPUT = "probabilities"
"""(N, K) float32, rows sum to 1."""
_CONFIG, _LAYOUT, _DETECTOR = "roi_cls", "roi_cls_layout", "roi_cls_detector/"
_NUMBERS = "roi_cls_numbers"
_DIGEST = "roi_cls_sha256"
_UNSEALED = b"0" * 64
# How protobuf writes the property: its name, then field 2 with 64 bytes.
_MARKER = _DIGEST.encode() + b"\x12\x40"


@dataclass(frozen=True, slots=True)
class OnnxProperties:
    """The properties of a file."""

    config: Mapping[str, Any]
    """As ``config.json`` of a bundle."""
    detectors: Mapping[str, bytes]
    """The face detector's model files by name."""
    quantised: bool = False
    """Whether it computes in int8, with ranges that it takes from each batch."""


def to_texts(properties: OnnxProperties) -> dict[str, str]:
    """Return the properties as ONNX keeps them, texts by name; the digest is yet to be filled."""
    files = properties.detectors.items()
    return {
        _LAYOUT: str(LAYOUT),
        _CONFIG: json.dumps(properties.config, sort_keys=True),
        **{f"{_DETECTOR}{name}": base64.b64encode(data).decode() for name, data in files},
        _NUMBERS: "int8" if properties.quantised else "fp32",
        _DIGEST: _UNSEALED.decode(),
    }


def from_texts(texts: Mapping[str, str]) -> OnnxProperties:
    """Return what ``to_texts`` was given.

    Raises:
        ValueError: They are of another layout, or none of ours.
    """
    if texts.get(_LAYOUT) != str(LAYOUT):
        raise ValueError(f"it has layout {texts.get(_LAYOUT)!r}, this program reads {LAYOUT}")
    config = json.loads(texts.get(_CONFIG, "null"))
    if not isinstance(config, dict):
        raise ValueError("it does not describe its model")
    detectors = {
        name.removeprefix(_DETECTOR): base64.b64decode(text, validate=True)
        for name, text in texts.items()
        if name.startswith(_DETECTOR)
    }
    return OnnxProperties(config, detectors, texts.get(_NUMBERS) == "int8")


def input_names(views: int) -> list[str]:
    """Return the graph's inputs: for each view a uint8 (N, size_px, size_px, 3) of RGB crops."""
    return ["crops"] if views == 1 else [f"crops_{i}" for i in range(views)]


def seal(data: bytes) -> bytes:
    """Return the file's bytes with the SHA-256 of all of them in the digest's place."""
    start = _digest_start(data)
    digest = hashlib.sha256(data).hexdigest().encode()
    return data[:start] + digest + data[start + len(digest) :]


def check_seal(data: bytes) -> None:
    """Raise ``ValueError``, in words for the user, unless these are the bytes that were written.

    Against damage and edits by hand, not against someone who seals it anew.
    """
    if data[:1] != b"\x08":  # the first field of every ONNX file, the version of its format
        raise ValueError("it is no ONNX file")
    start = _digest_start(data)
    stop = start + len(_UNSEALED)
    digest = hashlib.sha256(data[:start])
    digest.update(_UNSEALED)
    digest.update(memoryview(data)[stop:])
    if digest.hexdigest().encode() != data[start:stop]:
        raise ValueError("it was changed after it was written (its SHA-256 differs)")


def _digest_start(data: bytes) -> int:
    place = data.rfind(_MARKER)
    if place < 0:
        raise ValueError("`roi-cls export` did not write it: it says nothing of crops and classes")
    return place + len(_MARKER)


def import_onnx_package(name: str) -> None:
    """Import ``onnx``, ``onnxscript`` or ``onnxruntime``.

    No telemetry is sent unless the environment asks for it by ``ORT_DISABLE_TELEMETRY=0``.

    Raises:
        ImportError: It is not installed.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read once, at onnxruntime's import
    importlib.import_module(name)
