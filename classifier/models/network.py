"""Networks of ours around a backbone: what a configuration asks for, and what each is made of.

One answers by features of the whole crop, or of several views together; the other scores every
place of a picture and answers by the strongest places.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from roi_cls.base.errors import TrainingError
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.models.backbone import (
    Backbone,
    HeadedNetwork,
    build_backbone,
    probing,
)
from roi_cls.classifier.models.eyes import EyesNetwork
from roi_cls.classifier.models.origin import CLIP_PREFIX
from roi_cls.classifier.models.score import pair_logits
from roi_cls.classifier.models.timm_model import create_model


def build_network(
    config: TrainConfig, classes: int, size_px: int, views: int = 1, target_index: int = 0
) -> nn.Module:
    """Return the network of ``config``, (B*V, 3, S, S) -> (B, K) logits, with its start weights.

    One view of a timm model with a pooling head: that model itself. For CLIP, for several views,
    for the eyes close up and for evidence: a network of ours around the backbone.

    Args:
        config: Model, weights, head, dropout; draws from torch's global generator.
        classes: K.
        size_px: S, the side of the crops.
        views: V, the crops of one picture, next to each other in the batch.
        target_index: The class that evidence speaks for.

    Raises:
        RoiClsError: The model, its weights or its head cannot be had; in words for the user.
    """
    if config.eyes:
        _check_eyes(config)
        backbone = build_backbone(config.model, config.weights, size_px // 2)
        return EyesNetwork.around(backbone, size_px, classes, drop_rate=config.drop_rate)
    if config.head == "evidence":
        _check_evidence(config, classes)
        backbone = build_backbone(config.model, config.weights, size_px)
        return EvidenceNetwork.around(
            backbone, size_px, target_index, views, drop_rate=config.drop_rate
        )
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


def _check_eyes(config: TrainConfig) -> None:
    others = {
        "--frame": config.frame,
        "--head evidence": config.head == "evidence",
        f"--global-pool {config.global_pool}": config.global_pool is not None,
        f"--model {config.model}": config.model.startswith(CLIP_PREFIX),
    }
    if given := [name for name, is_given in others.items() if is_given]:
        raise TrainingError(
            f"Cannot use --eyes with {given[0]}: it lays the face and the eyes before one "
            "convolutional network and averages each. Leave one of them out."
        )


def _check_evidence(config: TrainConfig, classes: int) -> None:
    if classes != 2:
        raise TrainingError(
            f"Cannot use --head evidence for {classes} classes: it scores the places that speak "
            "for one class against one other. Use --head pool."
        )
    if config.global_pool:
        raise TrainingError(
            f"Cannot use --global-pool {config.global_pool} with --head evidence: it answers by "
            "the strongest places and pools nothing. Leave one of them out."
        )


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
        super().__init__(backbone, module)
        self._facts = {"backbone": dict(backbone), "features": features, "head": dict(head or {})}
        self._classes, self._views = classes, views
        self.head = _make_head(features * views, classes, **(head or {}))

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


def _make_head(
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


EVIDENCE_PLACES = 4
"""The strongest places whose mean is the picture's score: one alone is noise."""
EVIDENCE_PRIOR = -3.0
"""Local logit before anything is learned: one place in twenty shows something."""
EVIDENCE_HIDDEN = 64
"""Channels between a place's fine features and its local logit."""
EVIDENCE_STRIDE = 16
"""Pixels between places: the finest stage that still sees a good part of a face."""


class EvidenceHead(nn.Module):
    """Maps of features -> one map of local logits, and from it the picture's logit."""

    def __init__(self, fine: int, coarse: int, drop_rate: float) -> None:
        """Build it for ``fine`` and ``coarse`` channels of the two maps."""
        super().__init__()
        self.drop = nn.Dropout2d(drop_rate)
        last = _quiet(nn.Conv2d(EVIDENCE_HIDDEN, 1, 1), EVIDENCE_PRIOR)
        self.fine = nn.Sequential(nn.Conv2d(fine, EVIDENCE_HIDDEN, 1), nn.ReLU(), last)
        self.coarse = _quiet(nn.Conv2d(coarse, 1, 1), 0.0)
        self.scale = nn.Parameter(torch.ones(()))
        # The strongest of many places lies above the prior also where there is nothing, so less
        # than that is made up for: a picture's logit begins near -1.
        self.shift = nn.Parameter(torch.tensor(2.0))

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Return (B, h, w) local logits of (B, C, h, w) and coarser (B, D, i, j) features."""
        local: Tensor = self.fine(self.drop(fine))
        wide: Tensor = self.coarse(self.drop(coarse))
        wide = nn.functional.interpolate(wide, size=local.shape[-2:], mode="bilinear")
        return (local + wide)[:, 0].float()

    def answer(self, local: Tensor) -> Tensor:
        """Return (B,) logits: the mean of the strongest places, scaled and shifted."""
        places = local.flatten(1)
        strongest = places.topk(min(EVIDENCE_PLACES, places.shape[1]), dim=1).values.mean(1)
        return self.scale * strongest + self.shift


def _quiet(layer: nn.Conv2d, bias: float) -> nn.Conv2d:
    """Return the layer with weights near zero, so that it begins at ``bias`` everywhere."""
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.constant_(cast(Tensor, layer.bias), bias)
    return layer


class EvidenceNetwork(HeadedNetwork):
    """(B*V, 3, S, S) -> (B, 2) logits; in training also the first view's (B, h, w) local logits.

    The other class's logit is 0. Views are joined by log-sum-exp, a soft "or": evidence in one view
    is enough, and unlike with the maximum both views learn from every picture.
    """

    head: EvidenceHead

    def __init__(
        self,
        backbone: Mapping[str, Any],
        size_px: int,
        target_index: int,
        views: int = 1,
        drop_rate: float = 0.0,
        module: nn.Module | None = None,
    ) -> None:
        """Build it.

        Args:
            backbone: What the backbone is built from, see ``Backbone.facts``.
            size_px: Side of the crops.
            target_index: The class that evidence speaks for, 0 or 1.
            views: V.
            drop_rate: Share of feature channels dropped before the map.
            module: The backbone, where it is there already.

        Raises:
            TrainingError: The backbone gives no maps of features.
        """
        super().__init__(backbone, module)
        self._facts = {
            "backbone": dict(backbone),
            "size_px": size_px,
            "target_index": target_index,
            "views": views,
            "drop_rate": drop_rate,
        }
        self._target, self._views = target_index, views
        self._stage = _fine_stage(self.backbone, backbone)
        with probing(self.backbone):
            fine, coarse = self._maps(torch.zeros(1, 3, size_px, size_px))
        self.head = EvidenceHead(fine.shape[1], coarse.shape[1], drop_rate)

    @classmethod
    def around(
        cls,
        backbone: Backbone,
        size_px: int,
        target_index: int,
        views: int,
        *,
        drop_rate: float = 0.0,
    ) -> EvidenceNetwork:
        """Return a network with this backbone and a new head.

        Raises:
            TrainingError: The backbone gives no maps of features.
        """
        return cls(backbone.facts, size_px, target_index, views, drop_rate, backbone.module)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Return (B, 2) logits, in training with the (B, h, w) local logits of the first view."""
        local = self.local_logits(images)
        score = self.head.answer(local).view(-1, self._views).logsumexp(1)
        logits = pair_logits(score, self._target)
        return (logits, local[:: self._views]) if self.training else logits

    def local_logits(self, images: Tensor) -> Tensor:
        """Return what each place of (B*V, 3, S, S) images says of the target, (B*V, h, w)."""
        return cast(Tensor, self.head(*self._maps(images)))

    def _maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return feature maps at ``EVIDENCE_STRIDE``, or the nearest finer one, and the last."""
        backbone = cast(Any, self.backbone)
        last, (fine,) = backbone.forward_intermediates(images, indices=[self._stage], norm=True)
        is_map = last.ndim == 4 and getattr(backbone, "output_fmt", "NCHW") == "NCHW"
        return fine, last if is_map else fine

    def describe(self) -> dict[str, Any]:
        """Return what ``load_kind`` builds it from."""
        return {"kind": "evidence", **self._facts}


def _fine_stage(backbone: nn.Module, facts: Mapping[str, Any]) -> int:
    """Return the index of the last stage whose features lie ``EVIDENCE_STRIDE`` apart, or less."""
    info = getattr(backbone, "feature_info", None)
    if not hasattr(backbone, "forward_intermediates") or not info:
        name = facts.get("timm") or "open_clip"
        raise TrainingError(
            f"Cannot use --head evidence with the model {name!r}: timm gives no feature maps of "
            "it. Use --head pool, or another --model."
        )
    stages = info.get_dicts() if hasattr(info, "get_dicts") else info
    fine = [i for i, stage in enumerate(stages) if stage["reduction"] <= EVIDENCE_STRIDE]
    return fine[-1] if fine else 0
