"""CLIP by open_clip: the image tower as a network of its own, or both towers with their weights."""

from __future__ import annotations

import contextlib
import copy
import difflib
import logging
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, cast

from torch import Tensor, nn

from roi_cls.base.errors import ModelNameError, TrainingError, WeightsError
from roi_cls.base.torchvision import ensure_torchvision
from roi_cls.classifier.models.origin import CLIP_PREFIX, hub_error, hub_failure, is_cached
from roi_cls.classifier.models.weights import UNREADABLE, find_weights

_NO_TEXT = {"context_length": 1, "vocab_size": 1, "width": 8, "heads": 1, "layers": 1}
"""The smallest text tower: a bundle holds the image tower alone."""


def build_tower(name: str, weights: str, size_px: int) -> tuple[ClipTower, dict[str, Any]]:
    """Return the image tower of a CLIP, and the facts that it can be built from again.

    Args:
        name: Of open_clip's models, ``NAME`` or ``NAME:TAG`` of its published weights.
        weights: ``auto`` or ``hub``, ``none``, or where a file lies.
        size_px: Side of the crops it will see.

    Raises:
        ModelNameError, TrainingError, WeightsError: It cannot be had, or not for this size.
    """
    return tower_of(load_clip(name, weights), name, size_px)


def load_clip(name: str, weights: str) -> nn.Module:
    """Return a whole CLIP, both towers, in evaluation mode. Raises as ``build_tower``."""
    open_clip = import_open_clip()
    model_name, _, tag = name.partition(":")
    check_clip_name(name)
    pretrained, quick_gelu = None, False
    if weights in ("auto", "hub"):
        pretrained = tag or _default_tag(name)
        quick_gelu = _check_hub(name, open_clip.get_pretrained_cfg(model_name, pretrained))
    elif weights != "none":
        pretrained = str(find_weights(model_name, weights))
    try:
        with _quiet():
            model = open_clip.create_model(
                model_name,
                pretrained=pretrained,
                pretrained_text=False,
                force_quick_gelu=quick_gelu,
            )
    except UNREADABLE as error:
        raise WeightsError(
            f"Cannot load the weights {str(pretrained)!r} into {CLIP_PREFIX + name!r}: "
            f"{type(error).__name__}. Give a .safetensors or .pt file with the state dict of this "
            "model; files that hold code are refused."
        ) from error
    return cast(nn.Module, model.eval())


def check_clip_name(name: str) -> None:
    """Raise ``ModelNameError``, with the nearest names, unless open_clip knows ``NAME[:TAG]``."""
    open_clip = import_open_clip()
    model, _, tag = name.partition(":")
    if open_clip.get_model_config(model) is None:
        near = difflib.get_close_matches(model, open_clip.list_models(), n=4, cutoff=0.4)
        hint = f"Did you mean {', '.join(near)}?" if near else "See open_clip.list_models()."
        raise ModelNameError(
            f"Cannot build the model {CLIP_PREFIX + name!r}: open_clip does not know it. {hint}"
        )
    tags = open_clip.list_pretrained_tags_by_model(model)
    if tag and tag not in tags:
        raise ModelNameError(
            f"Cannot build the model {CLIP_PREFIX + name!r}: open_clip has no weights {tag!r} for "
            f"it. There are {', '.join(tags) or 'none'}."
        )


def _default_tag(name: str) -> str:
    tags = import_open_clip().list_pretrained_tags_by_model(name)
    if not tags:
        raise WeightsError(
            f"Cannot get pretrained weights for {CLIP_PREFIX + name!r}: none were published. "
            "Use --weights none or --weights PATH."
        )
    return "openai" if "openai" in tags else str(tags[0])


def _check_hub(name: str, published: Mapping[str, Any]) -> bool:
    """Refuse weights that cannot be had, within seconds; return whether they want QuickGELU."""
    repository = str(published.get("hf_hub", "")).rpartition("/")[0]
    if not is_cached(repository):
        failure = hub_failure(f"{repository}/resolve/main/open_clip_config.json")
        if failure:
            raise hub_error(CLIP_PREFIX + name, failure)
    return bool(published.get("quick_gelu", False))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what open_clip logs of each step off stderr: it writes to the root logger."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)


def tower_of(clip: nn.Module, name: str, size_px: int) -> tuple[ClipTower, dict[str, Any]]:
    """Return the image tower of a loaded CLIP, see ``build_tower``."""
    open_clip = import_open_clip()
    visual = cast(Any, clip).visual
    sees = visual.image_size
    sees = sees if isinstance(sees, int) else sees[0]
    if sees != size_px:
        raise TrainingError(
            f"Cannot use the model {CLIP_PREFIX + name!r} on crops of {size_px} px: it sees "
            f"{sees} px. Use --size {sees}."
        )
    config = copy.deepcopy(open_clip.get_model_config(name.partition(":")[0]))
    scale = open_clip.get_model_preprocess_cfg(clip)
    facts = {
        "embed_dim": config["embed_dim"],
        # The weights come from the bundle, not from the hub.
        "vision_cfg": {**config["vision_cfg"], "timm_model_pretrained": False},
        "mean": list(scale["mean"]),
        "std": list(scale["std"]),
        "quick_gelu": bool(config.get("quick_gelu", False)) or _has_quick_gelu(visual),
    }
    return ClipTower(**facts, visual=visual), {"open_clip": facts}


def _has_quick_gelu(visual: nn.Module) -> bool:
    return any(type(module).__name__ == "QuickGELU" for module in visual.modules())


class ClipTower(nn.Module):
    """The image tower of a CLIP: (B, 3, S, S) images -> (B, F) embeddings, not normalised."""

    def __init__(
        self,
        embed_dim: int,
        vision_cfg: Mapping[str, Any],
        mean: Sequence[float],
        std: Sequence[float],
        quick_gelu: bool = False,
        visual: nn.Module | None = None,
    ) -> None:
        """Build it.

        Args:
            embed_dim: F.
            vision_cfg: Of open_clip's model configurations.
            mean: Per RGB channel, 0 to 1, that its images are normalised with.
            std: As above.
            quick_gelu: Whether it was trained with OpenAI's approximation.
            visual: The tower, where it is there already.
        """
        super().__init__()
        if visual is None:
            clip = import_open_clip().CLIP(embed_dim, dict(vision_cfg), _NO_TEXT, quick_gelu)
            visual = cast(nn.Module, clip.visual)
        self.visual = visual
        self.pretrained_cfg = {"mean": tuple(mean), "std": tuple(std)}

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, F) embeddings."""
        found = self.visual(images)
        # Towers made for captioning give the tokens, too.
        return cast(Tensor, found[0] if isinstance(found, tuple) else found)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return the layers' groups in timm's form: stem, blocks, and the rest as the last."""
        return {
            "stem": r"^visual\.(?:class_embedding|positional_embedding|ln_pre|conv\d|bn\d)",
            "blocks": [
                (r"^visual\.transformer\.resblocks\.(\d+)", None),
                (r"^visual\.layer(\d+)" if coarse else r"^visual\.layer(\d+)\.(\d+)", None),
            ],
        }


def import_open_clip() -> ModuleType:
    """Return the library. Raises ``TrainingError`` where it is not installed."""
    ensure_torchvision()
    try:
        import open_clip
    except ImportError as error:
        raise TrainingError(
            "Cannot use a CLIP model: open_clip is not installed. "
            "Install it: pip install 'roi-cls[clip]'."
        ) from error
    return cast(ModuleType, open_clip)
