"""The packages of ONNX, so that they tell nobody that they run: they are imported here first.

Since 1.29 onnxruntime sends a report of each process that opens a model to its maker, and keeps an
identifier of the machine in the user's cache: ``Privacy.md`` beside its ``__init__.py`` says so.
"""

from __future__ import annotations

import importlib
import os


def import_onnx_package(name: str) -> None:
    """Import ``onnx``, ``onnxscript`` or ``onnxruntime``.

    No telemetry is sent unless the environment asks for it by ``ORT_DISABLE_TELEMETRY=0``.

    Raises:
        ImportError: It is not installed.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read once, at onnxruntime's import
    importlib.import_module(name)
