"""Make a timm model with the weights asked for; fail within seconds where they cannot be had."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import nn

from roi_cls.base.errors import ModelNameError, TrainingError, WeightsError
from roi_cls.base.torchvision import ensure_torchvision
from roi_cls.classifier.models.origin import (
    WeightsPackage,
    check_package,
    find_package,
    hub_error,
    hub_failure,
    is_cached,
    published,
)
from roi_cls.classifier.models.weights import find_weights, read_state

ensure_torchvision()

import timm  # noqa: E402  (timm imports torchvision)


def create_model(
    name: str,
    weights: str,
    classes: int,
    size_px: int,
    drop_rate: float = 0.0,
    global_pool: str | None = None,
) -> nn.Module:
    """Return the model with a new head.

    Args:
        name: Of timm's registry.
        weights: ``auto``, ``hub``, ``none``, a file with a state dict of this model, or a folder of
            such.
        classes: Outputs of the new head.
        size_px: Side of the crops it will see; models of a fixed size are built for it.
        drop_rate: Dropout before the head, 0 to 1.
        global_pool: See ``TrainConfig``; None: the model's own.

    Raises:
        ModelNameError: timm knows no such model.
        WeightsError: The weights cannot be had or do not fit.
        TrainingError: The model cannot see crops of this size, or pool like this.
    """
    check_model_name(name)
    own = form_arguments(name, size_px, global_pool)
    arguments = {"num_classes": classes, "drop_rate": drop_rate, **own}
    try:
        model = _build(name, weights, arguments)
        # Most models tell only when they are run that a size does not suit them.
        with torch.no_grad():
            model.eval()(torch.zeros(1, 3, size_px, size_px))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise TrainingError(
            f"Cannot use the model {name!r} on crops of {size_px} px: "
            f"{_first_line(error)}. Use another --size, like 224, or another --model"
            f"{', or leave --global-pool out' if global_pool else ''}."
        ) from error
    return model.train()


def _build(name: str, weights: str, arguments: dict[str, Any]) -> nn.Module:
    package = find_package(name) if weights == "auto" else None
    if weights == "none":
        model = timm.create_model(name, **arguments)
    elif package:
        model = _from_package(name, package, arguments)
    elif weights in ("auto", "hub"):
        model = _from_hub(name, arguments)
    else:
        model = _from_file(name, find_weights(name, weights), arguments)
    _quiet_head(model)
    return model


def _from_hub(name: str, arguments: dict[str, Any]) -> nn.Module:
    # Of the client below the hub's own, httpx or requests: a broken transfer is not an OSError.
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # not re-exported

    config = published(name)
    if not config.has_weights:
        raise WeightsError(
            f"Cannot get pretrained weights for {name!r}: none were published. "
            "Use --weights none or --weights PATH."
        )
    repository = config.hf_hub_id
    path = f"{repository}/resolve/main/model.safetensors" if repository else ""
    failure = None if is_cached(repository) else hub_failure(path)
    if failure is None:
        try:
            return timm.create_model(name, pretrained=True, **arguments)
        except (OSError, RuntimeError, HTTPError) as error:
            failure = _first_line(error)
    raise hub_error(name, failure)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__


def _from_file(name: str, path: Path, arguments: dict[str, Any]) -> nn.Module:
    model = timm.create_model(name, **arguments)
    state = read_state(path)
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
            f"{str(error).splitlines()[-1].strip()} Give the file that belongs to --model; where "
            "only the position embeddings differ, use the --size it was trained with."
        ) from error
    return model


def _from_package(name: str, package: WeightsPackage, arguments: dict[str, Any]) -> nn.Module:
    """Return the model with a package's weights, whose tensors are known by their order alone."""
    tensors = list(read_state(check_package(package)).values())
    model = timm.create_model(name, **arguments)
    with torch.device("meta"):  # its names alone are asked for, and no random number is drawn
        names = timm.create_model(name).state_dict().keys()
    head = tuple(f"{part}." for part in _head_names(model))
    if len(names) != len(tensors):
        raise WeightsError(
            f"Cannot use the weights of the package {package.name!r}: they hold other tensors than "
            f"{name!r} of this version of timm. Use --weights hub, or another version of timm."
        )
    state = dict(zip(names, tensors, strict=True))
    body = {key: tensor for key, tensor in state.items() if not key.startswith(head)}
    own = {key: tensor for key, tensor in model.state_dict().items() if key.startswith(head)}
    model.load_state_dict({**body, **own}, strict=True)
    return model


def _head_names(model: nn.Module) -> tuple[str, ...]:
    names = cast(dict[str, Any], model.pretrained_cfg)["classifier"]
    return (names,) if isinstance(names, str) else tuple(names or ())


def _does_not_fit(name: str, path: Path, missing: list[str], extra: list[str]) -> WeightsError:
    odd = [f"lacks {missing[0]!r} and {len(missing) - 1} more"] if missing else []
    odd += [f"has {extra[0]!r} and {len(extra) - 1} more that the model lacks"] if extra else []
    return WeightsError(
        f"Cannot load the weights {str(path)!r} into {name!r}: the file {', '.join(odd)}. "
        "Give the file that belongs to --model."
    )


def _quiet_head(model: nn.Module) -> None:
    """Let the new head begin near zero: no class is favoured before anything is learned.

    Some of timm's own start values grow as the classes get fewer; an EfficientNet with two begins
    at a loss of 2 to 4 instead of 0.7.
    """
    for module in (module for head in heads(model) for module in head.modules()):
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.trunc_normal_(module.weight, std=0.01)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def heads(model: nn.Module) -> list[nn.Module]:
    """Return the layers that answer: one, or several in a distilled model."""
    found = cast(Any, model).get_classifier()
    return [found] if isinstance(found, nn.Module) else list(found)


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


def form_arguments(name: str, size_px: int, global_pool: str | None) -> dict[str, Any]:
    """Return what to build a model with, so that it pools like this and sees crops of this size."""
    arguments: dict[str, Any] = {"global_pool": global_pool} if global_pool else {}
    if published(name).fixed_input_size:
        arguments["img_size"] = size_px
    return arguments


def normalisation(model: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the (mean, standard deviation) per RGB channel, 0 to 1, that the weights expect."""
    config = cast(dict[str, Any], model.pretrained_cfg)
    return tuple(config["mean"]), tuple(config["std"])


def timm_model(name: str, **arguments: Any) -> nn.Module:
    """Return timm's model with random weights."""
    return timm.create_model(name, **arguments)


def load_local_model(folder: Path) -> nn.Module:
    """Return the model of a folder in timm's ``local-dir:`` layout, in evaluation mode.

    Raises:
        WeightsError: The folder holds no such model, or its weights do not fit.
    """
    try:
        model = timm.create_model(f"local-dir:{folder}", pretrained=True)
    except (OSError, RuntimeError, ValueError, KeyError, SafetensorError) as error:
        raise WeightsError(
            f"Cannot load the model in {str(folder)!r}: {error}. Copy the whole folder again."
        ) from error
    return model.eval()
