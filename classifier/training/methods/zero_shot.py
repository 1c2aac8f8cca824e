"""A classifier from captions: the class whose text a CLIP finds nearest to the picture."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from roi_cls.base.errors import TrainingError
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.models.backbone import Backbone
from roi_cls.classifier.models.clip import (
    import_open_clip,
    load_clip,
    tower_of,
)
from roi_cls.classifier.models.device import Backend
from roi_cls.classifier.models.network import CosineHead, FeatureNetwork
from roi_cls.classifier.models.origin import CLIP_PREFIX, hub_error
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.training.data import TrainingData
from roi_cls.classifier.training.job import Observers
from roi_cls.data.sample import MOST_LISTED, name_some


def fit_zero_shot(
    config: TrainConfig, data: TrainingData, backend: Backend, run: RunFolder, observers: Observers
) -> nn.Module:
    """Return the classifier that captions make of a CLIP; nothing is trained.

    The captions' embeddings become the directions of a head by similarity, so that the model is the
    image tower and that head alone.

    Raises:
        RoiClsError: The model cannot be had, or the captions do not name the classes.
    """
    captions = parse_captions(config.captions, data.labels.names)
    name = config.model.removeprefix(CLIP_PREFIX)
    clip = load_clip(name, config.weights)
    tower, facts = tower_of(clip, name, data.train.pixels.shape[-2])
    views = len(data.train.by_view)
    directions = _embed_texts(clip, name, captions)  # (K, F)
    backbone = Backbone(tower, directions.shape[1], facts)
    network = FeatureNetwork.around(backbone, len(captions), views, cosine=True)
    head = cast(CosineHead, network.head)
    with torch.no_grad():
        head.weight.copy_(directions.repeat(1, views))
        head.scale.copy_(cast(Tensor, clip.logit_scale).exp().reshape(()))
    observers.on_start(
        Backend(backend.device, torch.float32), sum(p.numel() for p in network.parameters())
    )
    return network.eval()


def parse_captions(text: str | None, names: Sequence[str]) -> tuple[str, ...]:
    """Return the caption of each class, of ``name=caption,name=caption``; captions may have commas.

    Raises:
        TrainingError: A class has none, or several.
    """
    starts = "|".join(re.escape(name) for name in names)
    parts = re.split(rf"(?:^|,)\s*({starts})=", text or "")
    found = dict(zip(parts[1::2], (caption.strip() for caption in parts[2::2]), strict=True))
    if parts[0].strip() or set(found) != set(names) or len(parts) != 1 + 2 * len(names):
        example = ",".join(f"{name}=a photo that shows {name}" for name in names[:MOST_LISTED])
        raise TrainingError(
            f"Cannot compare with the captions {text!r}: one is needed for each of "
            f"{name_some(names)}. Give them as --captions '{example}'."
        )
    return tuple(found[name] for name in names)


def _embed_texts(clip: nn.Module, name: str, captions: Sequence[str]) -> Tensor:
    model_name = name.partition(":")[0]
    try:
        tokens = import_open_clip().get_tokenizer(model_name)(list(captions))
    except OSError as error:  # some read text by a tokenizer of the hub
        raise hub_error(CLIP_PREFIX + name, type(error).__name__) from error
    with torch.no_grad():
        return cast(Callable[..., Tensor], clip.encode_text)(tokens, normalize=True)
