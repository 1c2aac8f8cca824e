"""Whether the hub gives weights, and what to do where it does not. Imports nothing heavy."""

from __future__ import annotations

import http.client
import os
import urllib.request
from functools import partial

from roi_cls.base.background import run_in_background
from roi_cls.base.errors import WeightsError
from roi_cls.classifier.config import DEFAULT_MODEL

_PUBLIC_HUB = "https://huggingface.co"
HUB_REMEDIES = (
    f"--model {DEFAULT_MODEL} (its weights come with roi-cls)",
    "--weights none (random weights; needs no network)",
    "--weights PATH (a .safetensors or .pth file of this model)",
    "HF_ENDPOINT=URL (a mirror of the hub), or run once where the hub can be reached: "
    "weights are kept in its cache",
)
"""What to do without the hub."""


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
