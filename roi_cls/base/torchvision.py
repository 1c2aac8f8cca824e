"""Make torchvision importable beside a CPU-only torch.

The package index carries torchvision built for CUDA. Beside a CPU build of torch its compiled
operators do not load, and the import fails because two of them, which it decorates, are unknown
(https://github.com/pytorch/vision/issues/9085). Nothing here uses them; declaring their schemas is
enough. This module can go once the index carries a torchvision for CPU builds.
"""

from __future__ import annotations

import importlib
import sys

import torch

from roi_cls.base.quiet import settle_libraries

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_library: list[torch.library.Library] = []  # a schema lives only as long as its library object


def ensure_torchvision() -> bool:
    """Import torchvision; return whether it came with its compiled operators.

    Idempotent, and a no-op where torchvision imports by itself.
    """
    if _library:
        return False
    settle_libraries()
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    else:
        return True
    for name in [n for n in sys.modules if n == "torchvision" or n.startswith("torchvision.")]:
        del sys.modules[name]  # the failed import left its parts behind
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]  # untyped in torch
    for schema in _SCHEMAS:
        library.define(schema)  # type: ignore[no-untyped-call]  # untyped in torch
    _library.append(library)
    importlib.import_module("torchvision")
    return False
