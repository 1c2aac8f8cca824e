"""Start weights on this machine: which file is meant, and what is in it."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError

from roi_cls.base.errors import WeightsError
from roi_cls.base.torchvision import ensure_torchvision
from roi_cls.classifier.models.origin import CLIP_PREFIX

_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
UNREADABLE = (
    *(OSError, RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError),
    SafetensorError,  # derives from Exception alone
    *(AttributeError, TypeError),  # it holds something else than a state dict
)
"""What reading a file that holds no weights may raise."""


def find_weights(name: str, weights: str) -> Path:
    """Return the file that ``--weights`` means for a model.

    Args:
        name: Of the model. In a folder, its file is the one whose name begins with it.
        weights: Path of a file, or of a folder with the weights of several models.

    Raises:
        WeightsError: There is no such file, or several in the folder could be meant.
    """
    path = Path(weights)
    if path.is_file():
        return path
    if not path.is_dir():
        raise WeightsError(
            f"Cannot load the weights {str(path)!r}: there is no such file. "
            "Give --weights auto, hub, none, or the path of a .safetensors or .pth file, or of a "
            "folder with such files."
        )
    # open_clip:NAME:TAG and NAME.TAG have one file per architecture.
    own = name.removeprefix(CLIP_PREFIX).partition(":")[0].partition(".")[0]
    # resnet18 is not resnet18d, and resnet1 not resnet18.
    begins = re.compile(rf"{re.escape(own)}(?![A-Za-z0-9])")
    files = [file for file in sorted(path.iterdir()) if file.suffix in _SUFFIXES]
    found = [file for file in files if begins.match(file.name)]
    if len(found) != 1:
        names = ", ".join(file.name for file in found or files) or "no file of weights"
        what = "several files are" if found else "no file is"
        raise WeightsError(
            f"Cannot choose weights for {name!r} in {str(path)!r}: {what} named like it "
            f"(there: {names}). Give --weights the path of one file."
        )
    return found[0]


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a file of weights, by name; nothing in it is run.

    Raises:
        WeightsError: It is no plain state dict.
    """
    ensure_torchvision()
    from timm.models import load_state_dict

    try:
        return cast(
            dict[str, torch.Tensor],
            load_state_dict(str(path), use_ema=True, weights_only=True),
        )
    except UNREADABLE as error:
        raise WeightsError(
            f"Cannot load the weights {str(path)!r}: they are neither safetensors nor a plain "
            f"torch state dict ({type(error).__name__}). Files that hold code are refused."
        ) from error
