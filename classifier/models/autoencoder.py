"""A convolutional autoencoder that answers by how badly it reconstructs a crop.

It learns from pictures that are not of the target, so that what it has not learned scores higher.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from roi_cls.classifier.models.score import pair_logits

_CHANNELS = (32, 64, 128, 32)  # of each halving; the last is the bottleneck: 1/24 of the values


class AutoencoderNetwork(nn.Module):
    """(B*V, 3, S, S) -> (B, 2) logits from the error of the reconstruction."""

    def __init__(self, side: int, target_index: int, views: int = 1) -> None:
        """Build it for reconstructions of ``side`` px, a multiple of 16."""
        super().__init__()
        self._facts = {"side": side, "target_index": target_index, "views": views}
        self._side, self._target, self._views = side, target_index, views
        down = zip((3, *_CHANNELS), _CHANNELS, strict=False)
        up = zip(_CHANNELS[::-1], (*_CHANNELS[-2::-1], 16), strict=True)
        self.encoder = nn.Sequential(*(_block(i, o, stride=2) for i, o in down))
        self.decoder = nn.Sequential(
            *(nn.Sequential(nn.Upsample(scale_factor=2), _block(i, o, stride=1)) for i, o in up),
            nn.Conv2d(16, 3, 3, padding=1),
            nn.Tanh(),
        )
        self.slope: Tensor
        self.shift: Tensor
        self.register_buffer("slope", torch.ones(()))
        self.register_buffer("shift", torch.zeros(()))
        self.pretrained_cfg = {"mean": (0.5,) * 3, "std": (0.5,) * 3}  # -1 to 1, as tanh gives

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, 2) logits; the other class's is 0."""
        score = self.slope * self.errors(images).log() + self.shift
        return pair_logits(score, self._target)

    def errors(self, images: Tensor) -> Tensor:
        """Return the (B,) mean squared error over the views of each picture, in 0 to 4."""
        each = self.error_maps(images).mean((1, 2, 3))
        return each.reshape(-1, self._views).mean(1)

    def error_maps(self, images: Tensor) -> Tensor:
        """Return the (B*V, 3, side, side) squared errors of the reconstructed pixels."""
        size = (self._side, self._side)
        small = nn.functional.interpolate(images, size, mode="bilinear", antialias=True)
        rebuilt: Tensor = self.decoder(self.encoder(small))
        return (rebuilt - small).square()

    def describe(self) -> dict[str, Any]:
        """Return what ``load_kind`` builds it from."""
        return {"kind": "autoencoder", **self._facts}


def _block(channels_in: int, channels_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )
