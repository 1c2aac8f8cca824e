"""The network that a configuration asks for; and the one that judges several views together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.models.backbone import (
    Backbone,
    HeadedNetwork,
    build_backbone,
    rebuild_backbone,
)
from roi_cls.classifier.models.clip import CLIP_PREFIX
from roi_cls.classifier.models.timm_model import create_model


def build_network(
    config: TrainConfig, classes: int, size_px: int, views: int = 1, target_index: int = 0
) -> nn.Module:
    """Return the network of ``config``, (B*V, 3, S, S) -> (B, K) logits, with its start weights.

    One view and a pooling head: the timm model itself. Otherwise a network of ours around one.

    Args:
        config: Model, weights, head, dropout; draws from torch's global generator.
        classes: K.
        size_px: S, the side of the crops.
        views: V, the crops of one picture, next to each other in the batch.
        target_index: The class that evidence speaks for.

    Raises:
        RoiClsError: The model, its weights or its head cannot be had; in words for the user.
    """
    if config.head == "evidence":
        from roi_cls.classifier.models.evidence import build_evidence_network

        return build_evidence_network(config, classes, size_px, views, target_index)
    if views == 1 and not config.model.startswith(CLIP_PREFIX):
        return create_model(
            config.model,
            config.weights,
            classes,
            size_px,
            config.drop_rate,
            config.global_pool,
        )
    backbone = build_backbone(config.model, config.weights, size_px, config.global_pool)
    return FeatureNetwork.around(backbone, classes, views, drop_rate=config.drop_rate)


class FeatureNetwork(HeadedNetwork):
    """One backbone for all views; its features, side by side, go into one small head."""

    def __init__(
        self,
        backbone: Mapping[str, Any],
        features: int,
        classes: int,
        views: int = 1,
        head: Mapping[str, Any] | None = None,
        module: nn.Module | None = None,
    ) -> None:
        """Build it.

        Args:
            backbone: What the backbone is built from, see ``Backbone.facts``.
            features: Of the backbone, per view.
            classes: K.
            views: V.
            head: ``hidden`` units, ``drop_rate``, or ``cosine``; see ``make_head``.
            module: The backbone, where it is there already.
        """
        super().__init__()
        self._facts = {"backbone": dict(backbone), "features": features, "head": dict(head or {})}
        self._classes, self._views = classes, views
        self.backbone = rebuild_backbone(backbone) if module is None else module
        self.head = make_head(features * views, classes, **(head or {}))
        self.pretrained_cfg = getattr(self.backbone, "pretrained_cfg", {})

    @classmethod
    def around(
        cls,
        backbone: Backbone,
        classes: int,
        views: int,
        *,
        hidden: int = 0,
        drop_rate: float = 0.0,
        cosine: bool = False,
    ) -> FeatureNetwork:
        """Return a network with this backbone and a new head."""
        head = {"hidden": hidden, "drop_rate": drop_rate, "cosine": cosine}
        return cls(backbone.facts, backbone.features, classes, views, head, backbone.module)

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, K) logits of (B*V, 3, S, S) images."""
        return cast(Tensor, self.head(self.embed(images)))

    def embed(self, images: Tensor) -> Tensor:
        """Return the head's input: (B*V, 3, S, S) images -> (B, V*F)."""
        features = cast(Tensor, self.backbone(images))  # (B*V, F)
        return features.reshape(-1, self._views * features.shape[1])

    def describe(self) -> dict[str, Any]:
        """Return what ``load_kind`` builds it from."""
        return {
            "kind": "features",
            **self._facts,
            "classes": self._classes,
            "views": self._views,
        }


def make_head(
    features: int, classes: int, hidden: int = 0, drop_rate: float = 0.0, cosine: bool = False
) -> nn.Module:
    """Return a linear head, one with a hidden layer, or one by similarity.

    It begins near zero, so that no class is favoured before anything is learned.
    """
    if cosine:
        return CosineHead(features, classes)
    layers: list[nn.Module] = [nn.Dropout(drop_rate)]
    if hidden:
        layers += [nn.Linear(features, hidden), nn.ReLU()]
    last = nn.Linear(hidden or features, classes)
    nn.init.trunc_normal_(last.weight, std=0.01)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)


class CosineHead(nn.Module):
    """Logits by similarity: the cosine between features and each class's direction, scaled."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, features))
        """(K, F) directions."""
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, K) logits of (B, F) features."""
        directions = nn.functional.normalize(self.weight, dim=1)
        return self.scale * nn.functional.normalize(features, dim=1) @ directions.T
