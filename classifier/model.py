"""Make a timm model with the weights asked for; fail within seconds where they cannot be had."""

from __future__ import annotations

import difflib
import os
import pickle
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from roi_cls.classifier._torchvision import ensure_torchvision
from roi_cls.classifier.hub import REMEDIES, hub_failure
from roi_cls.errors import ModelNameError, WeightsError

ensure_torchvision()
import timm  # noqa: E402  (timm imports torchvision)
from timm.models import PretrainedCfg  # noqa: E402


def create_model(
    name: str, weights: str, classes: int, size_px: int, drop_rate: float = 0.0
) -> nn.Module:
    """Return the model with a new head.

    Args:
        name: Of timm's registry.
        weights: ``hub``, ``none`` or a file with a state dict of this model.
        classes: Outputs of the new head.
        size_px: Side of the crops it will see; models of a fixed size are built for it.
        drop_rate: Dropout before the head, 0 to 1.

    Raises:
        ModelNameError: timm knows no such model.
        WeightsError: The weights cannot be had or do not fit.
    """
    check_model_name(name)
    arguments: dict[str, Any] = {"num_classes": classes, "drop_rate": drop_rate}
    if _published(name).fixed_input_size:
        arguments["img_size"] = size_px
    if weights == "none":
        return timm.create_model(name, **arguments)
    if weights == "hub":
        return _from_hub(name, arguments)
    return _from_file(name, Path(weights), arguments)


def load_local_model(folder: Path) -> nn.Module:
    """Return the model of a folder in timm's ``local-dir:`` layout, in evaluation mode.

    Raises:
        WeightsError: The folder holds no such model, or its weights do not fit.
    """
    try:
        model = timm.create_model(f"local-dir:{folder}", pretrained=True)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise WeightsError(
            f"Cannot load the model in {str(folder)!r}: {error}. Copy the whole folder again."
        ) from error
    return model.eval()


def check_model_name(name: str) -> None:
    """Raise ``ModelNameError``, with the nearest names, unless timm can build ``name``."""
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=4, cutoff=0.5)
        hint = f"Did you mean {', '.join(near)}?" if near else "See timm.list_models()."
        raise ModelNameError(f"Cannot build the model {name!r}: timm does not know it. {hint}")
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise ModelNameError(
            f"Cannot build the model {name!r}: timm has no weights {tag!r} for it. "
            f"There are {', '.join(tags) or 'none'}."
        )


def normalisation(model: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the (mean, standard deviation) per RGB channel, 0 to 1, that the weights expect."""
    config = cast(dict[str, Any], model.pretrained_cfg)
    return tuple(config["mean"]), tuple(config["std"])


def _from_hub(name: str, arguments: dict[str, Any]) -> nn.Module:
    config = _published(name)
    if not config.has_weights:
        raise WeightsError(
            f"Cannot get pretrained weights for {name!r}: none were published. "
            "Use --weights none or --weights PATH."
        )
    failure = None if _is_cached(config.hf_hub_id) else hub_failure()
    if failure is None:
        os.environ.setdefault("HF_HUB_DOWNLOAD_TIMEOUT", "10")  # s without a byte, read on import
        try:
            return timm.create_model(name, pretrained=True, **arguments)
        except (OSError, RuntimeError) as error:
            failure = str(error).splitlines()[0] if str(error) else type(error).__name__
    remedies = "; ".join(f"({i}) {text}" for i, text in enumerate(REMEDIES, 1))
    raise WeightsError(
        f"Cannot get the pretrained weights of {name!r} from the hub: {failure}. "
        f"Choose: {remedies}."
    )


def _published(name: str) -> PretrainedCfg:
    """Return what timm knows of the model's published weights; an empty record if it has none."""
    return timm.get_pretrained_cfg(name) or PretrainedCfg()


def _is_cached(repository: str | None) -> bool:
    from huggingface_hub import try_to_load_from_cache

    if not repository:
        return False
    names = ("model.safetensors", "pytorch_model.bin", "open_clip_model.safetensors")
    return any(isinstance(try_to_load_from_cache(repository, name), str) for name in names)


def _from_file(name: str, path: Path, arguments: dict[str, Any]) -> nn.Module:
    if not path.is_file():
        raise WeightsError(
            f"Cannot load the weights {str(path)!r}: there is no such file. "
            "Give --weights hub, none, or the path of a .safetensors or .pth file."
        )
    model = timm.create_model(name, **arguments)
    state = _read_state(path)
    head = {f"{part}." for part in _head_names(model)}
    body = {key: value for key, value in state.items() if not key.startswith(tuple(head))}
    wanted = {key for key in model.state_dict() if not key.startswith(tuple(head))}
    missing, extra = sorted(wanted - body.keys()), sorted(body.keys() - wanted)
    if missing or extra:
        raise _does_not_fit(name, path, missing, extra)
    try:
        model.load_state_dict(body, strict=False)
    except RuntimeError as error:
        raise WeightsError(
            f"Cannot load the weights {str(path)!r} into {name!r}: "
            f"{str(error).splitlines()[-1].strip()} Give the file that belongs to --model."
        ) from error
    return model


def _read_state(path: Path) -> dict[str, torch.Tensor]:
    from timm.models import load_state_dict

    try:
        return cast(
            dict[str, torch.Tensor],
            load_state_dict(str(path), use_ema=True, weights_only=True),
        )
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError) as error:
        raise WeightsError(
            f"Cannot load the weights {str(path)!r}: they are neither safetensors nor a plain "
            f"torch state dict ({type(error).__name__}). Files that hold code are refused."
        ) from error


def _head_names(model: nn.Module) -> tuple[str, ...]:
    names = cast(dict[str, Any], model.pretrained_cfg)["classifier"]
    return (names,) if isinstance(names, str) else tuple(names)


def _does_not_fit(name: str, path: Path, missing: list[str], extra: list[str]) -> WeightsError:
    odd = [f"lacks {missing[0]!r} and {len(missing) - 1} more"] if missing else []
    odd += [f"has {extra[0]!r} and {len(extra) - 1} more that the model lacks"] if extra else []
    return WeightsError(
        f"Cannot load the weights {str(path)!r} into {name!r}: the file {', '.join(odd)}. "
        "Give the file that belongs to --model."
    )
