"""Pairs of training pictures made into one, with both labels: mixup and cutmix."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from roi_cls.base.torchvision import ensure_torchvision

ensure_torchvision()

from torchvision.transforms import v2  # noqa: E402  (declares its operators first)


class Mixer:
    """Mixes each picture of a batch with its neighbour, or leaves all as they are.

    Zhang et al. 2018, "mixup"; Yun et al. 2019, "CutMix". Where both are on, a batch gets one of
    them, by the toss of a coin. All is drawn from torch's global generator.
    """

    def __init__(self, classes: int, mixup: float = 0.0, cutmix: float = 0.0) -> None:
        """Take the a of each Beta(a, a) that the shares are drawn from; 0: not."""
        self._classes = classes
        ways = [
            way(alpha=alpha, num_classes=classes)
            for way, alpha in ((v2.MixUp, mixup), (v2.CutMix, cutmix))
            if alpha > 0
        ]
        self._mix = v2.RandomChoice(ways) if ways else None

    def apply(
        self, inputs: Tensor, labels: Tensor, maps: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the mixed inputs, targets and maps.

        Args:
            inputs: (B*V, 3, S, S); the views of a picture are mixed alike.
            labels: (B,) int64, on the same device.
            maps: (B, S, S); where NaN goes in, NaN comes out.

        Returns:
            Inputs as given; (B, K) float32, the share of each class; maps as given.
        """
        if self._mix is None:
            return inputs, functional.one_hot(labels, self._classes).float(), maps
        # (B*V, 3, S, S) -> (B, V*3, S, S), the map as one channel more: all get the same share.
        planes = inputs.reshape(len(labels), -1, *inputs.shape[2:])
        if maps is not None:
            planes = torch.cat([planes, maps[:, None]], 1)
        mixed, targets = self._mix(planes, labels)
        if maps is not None:
            mixed, maps = mixed[:, :-1], mixed[:, -1]
        result = mixed.reshape(inputs.shape).contiguous(memory_format=torch.channels_last)
        return result, targets, maps
