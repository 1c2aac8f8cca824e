"""A network that scores every place of a picture and answers by the strongest places.

A defect is small: pooling over the whole crop dilutes it, and the few pictures that show one are
too few to learn where to look. A map of local logits can be taught places, where they are known
(see ``self_blend``), and says where it saw something.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from roi_cls.base.errors import TrainingError
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.models.backbone import HeadedNetwork, build_backbone, rebuild_backbone
from roi_cls.classifier.models.score import pair_logits

PLACES = 4
"""The strongest places whose mean is the picture's score: one alone is noise."""
PRIOR = -3.0
"""Local logit before anything is learned: one place in twenty shows something."""
HIDDEN = 64
STRIDE = 16
"""Pixels between places: the finest stage that still sees a good part of a face."""


class EvidenceHead(nn.Module):
    """Maps of features -> one map of local logits, and from it the picture's logit."""

    def __init__(self, fine: int, coarse: int, drop_rate: float) -> None:
        """Build it for ``fine`` and ``coarse`` channels of the two maps."""
        super().__init__()
        self.drop = nn.Dropout2d(drop_rate)
        last = _quiet(nn.Conv2d(HIDDEN, 1, 1), PRIOR)
        self.fine = nn.Sequential(nn.Conv2d(fine, HIDDEN, 1), nn.ReLU(), last)
        self.coarse = _quiet(nn.Conv2d(coarse, 1, 1), 0.0)
        self.scale = nn.Parameter(torch.ones(()))
        # The strongest of many places lies above the prior also where there is nothing.
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
        strongest = places.topk(min(PLACES, places.shape[1]), dim=1).values.mean(1)
        return self.scale * strongest + self.shift


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
        super().__init__()
        self._facts = {
            "backbone": dict(backbone),
            "size_px": size_px,
            "target_index": target_index,
            "views": views,
            "drop_rate": drop_rate,
        }
        self._target, self._views = target_index, views
        self.backbone = rebuild_backbone(backbone) if module is None else module
        self.pretrained_cfg = getattr(self.backbone, "pretrained_cfg", {})
        self._place = _fine_stage(self.backbone, backbone)
        was_training = self.backbone.training
        self.backbone.eval()  # batch norms are not to learn from zeros
        with torch.no_grad():
            fine, coarse = self._maps(torch.zeros(1, 3, size_px, size_px))
        self.backbone.train(was_training)
        self.head = EvidenceHead(fine.shape[1], coarse.shape[1], drop_rate)

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
        """Return feature maps at ``STRIDE``, or the nearest finer one, and at the last stage."""
        backbone = cast(Any, self.backbone)
        last, (fine,) = backbone.forward_intermediates(images, indices=[self._place], norm=True)
        is_map = last.ndim == 4 and getattr(backbone, "output_fmt", "NCHW") == "NCHW"
        return fine, last if is_map else fine

    def describe(self) -> dict[str, Any]:
        """Return what ``load_kind`` builds it from."""
        return {"kind": "evidence", **self._facts}


def build_evidence_network(
    config: TrainConfig, classes: int, size_px: int, views: int, target_index: int
) -> EvidenceNetwork:
    """Return the network with the configuration's start weights.

    Raises:
        TrainingError: There are not two classes, or the model gives no maps.
        RoiClsError: As ``build_backbone``.
    """
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
    made = build_backbone(config.model, config.weights, size_px)
    return EvidenceNetwork(made.facts, size_px, target_index, views, config.drop_rate, made.module)


def _quiet(layer: nn.Conv2d, bias: float) -> nn.Conv2d:
    """Return the layer with weights near zero, so that it begins at ``bias`` everywhere."""
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.constant_(cast(Tensor, layer.bias), bias)
    return layer


def _fine_stage(backbone: nn.Module, facts: Mapping[str, Any]) -> int:
    """Return the index of the last stage whose features lie at most ``STRIDE`` pixels apart."""
    info = getattr(backbone, "feature_info", None)
    if not hasattr(backbone, "forward_intermediates") or not info:
        name = facts.get("timm") or "open_clip"
        raise TrainingError(
            f"Cannot use --head evidence with the model {name!r}: timm gives no feature maps of "
            "it. Use --head pool, or another --model."
        )
    stages = info.get_dicts() if hasattr(info, "get_dicts") else info
    fine = [i for i, stage in enumerate(stages) if stage["reduction"] <= STRIDE]
    return fine[-1] if fine else 0
