"""A network that sees the whole face, and the eyes at twice its resolution, in one look.

An iris that looks aside is three pixels wide where the whole face is 224. The crop is cut at twice
the side: shrunk to half it shows the face, and the band of it where the eyes lie stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from roi_cls.base.errors import TrainingError
from roi_cls.classifier.models.backbone import Backbone, HeadedNetwork, drop_unused, probing

BAND = (0.2, 2 / 7)
"""Where the eyes lie in a face crop, as shares of its side: where the band begins, how high it is.

Of crops with a margin of 0.1 nine in ten have them between 0.26 and 0.43 (744 portraits; 0.32 and
0.45 at 0.3), and an eye with its lids reaches 0.06 up and down."""
End = Literal["own", "cut", "mean"]
"""What follows the mean of a part's features. ``own``: the layers that the backbone has after its
pooling, if any. ``cut``: nothing; the backbone does not pool by a mean, and such layers are taken
away. ``mean``: nothing, and they lie there unused, as in runs that tell of no end."""
_PROBED_PX = 128  # side of what a backbone is asked with: several places of any


class EyesNetwork(HeadedNetwork):
    """(B, 3, S, S) -> (B, K) logits.

    Face and eyes are laid above each other on one canvas, (B, 3, H, S/2): the face, the right half
    of the band, the left half. So one pass of one backbone sees both, and batch norms have one set
    of statistics. The features of both parts, each averaged and brought through the layers that the
    backbone has after its pooling, go side by side into the head. Where the places of the
    backbone's maps do not divide S, the crop is first brought to the nearest size that they do.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        size_px: int,
        classes: int,
        drop_rate: float = 0.0,
        module: nn.Module | None = None,
        end: End = "mean",
    ) -> None:
        """Build it.

        Args:
            backbone: What the backbone is built from, see ``Backbone.facts``.
            size_px: S, the side of the crops.
            classes: K.
            drop_rate: Dropout before the head.
            module: The backbone, where it is there already.
            end: See ``End``.

        Raises:
            TrainingError: The backbone gives no maps of features.
        """
        super().__init__(backbone, module)
        self._facts = {
            "backbone": dict(backbone),
            "size_px": size_px,
            "classes": classes,
            "drop_rate": drop_rate,
            "end": end,
        }
        self._end = end
        channels, self._stride = _probe(self.backbone, backbone)
        if end == "own":
            with probing(self.backbone):
                channels = _head(self.backbone, torch.zeros(1, channels, 1, 1)).shape[1]
        elif end == "cut":
            drop_unused(self.backbone, lambda image: _features(self.backbone, image))
        self._side = max(1, round(size_px / (2 * self._stride)))
        first, high = (round(share * 2 * self._side) for share in BAND)
        self._first, self._high = first, max(1, high)
        last = nn.Linear(2 * channels, classes)
        nn.init.trunc_normal_(last.weight, std=0.01)  # so that no class is favoured at first
        nn.init.zeros_(last.bias)
        self.head = nn.Sequential(nn.Dropout(drop_rate), last)

    @classmethod
    def around(
        cls, backbone: Backbone, size_px: int, classes: int, *, drop_rate: float = 0.0
    ) -> EyesNetwork:
        """Return a network with this backbone and a new head.

        Raises:
            TrainingError: As the constructor.
        """
        end: End = "own" if _ends_by_mean(backbone.module, backbone.facts) else "cut"
        return cls(backbone.facts, size_px, classes, drop_rate, backbone.module, end)

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, K) logits of (B, 3, S, S) images."""
        return self.answer(self.maps(images))

    def maps(self, images: Tensor) -> Tensor:
        """Return the canvas's features, (B, F, rows, S/2 by the stride)."""
        side_px = 2 * self._side * self._stride
        if images.shape[-1] != side_px:
            images = functional.interpolate(images, (side_px, side_px), mode="bilinear")
        top = self._first * self._stride
        band = images[:, :, top : top + self._high * self._stride]
        # Two by two pixels are one: what shrinking by area does.
        parts = (functional.avg_pool2d(images, 2), *band.chunk(2, dim=3))
        canvas = torch.cat(parts, dim=2).contiguous(memory_format=torch.channels_last)
        return _features(self.backbone, canvas)

    def answer(self, maps: Tensor) -> Tensor:
        """Return (B, K) logits of the canvas's features."""
        parts = (maps[:, :, : self._side], maps[:, :, self._side :])
        means = [part.mean((2, 3), keepdim=True) for part in parts]  # each (B, F, 1, 1)
        if self._end == "own":
            # One after the other: an exported graph of both as one batch knows one size of batch.
            ends = [_head(self.backbone, mean) for mean in means]
        else:
            ends = [mean.flatten(1) for mean in means]
        return cast(Tensor, self.head(torch.cat(ends, dim=1)))

    def spread(self, effects: Tensor) -> Tensor:
        """Return what each place of the canvas does as a map of the crop; the sum stays.

        effects: (B, rows, side) of the canvas -> (B, 2*side, 2*side) of the crop.
        """
        face, band = effects[:, : self._side], effects[:, self._side :]
        whole = face.repeat_interleave(2, 1).repeat_interleave(2, 2) / 4
        eyes = torch.cat(band.chunk(2, dim=1), dim=2)  # the halves beside each other again
        whole[:, self._first : self._first + self._high] += eyes
        return whole

    def describe(self) -> dict[str, Any]:
        """Return what ``load_kind`` builds it from."""
        return {"kind": "eyes", **self._facts}


def _probe(backbone: nn.Module, facts: Mapping[str, Any]) -> tuple[int, int]:
    """Return the channels of the backbone's last map, and how many pixels its places lie apart."""
    with probing(backbone):
        maps, higher = (_last_maps(backbone, times) for times in (1, 2))
    if maps is None or higher is None or maps.shape[2] != maps.shape[3]:
        raise TrainingError(
            f"Cannot use --eyes with the model {facts.get('timm') or 'open_clip'!r}: it gives no "
            "maps of features of pictures that are higher than wide. Use a convolutional --model."
        )
    return maps.shape[1], _PROBED_PX // maps.shape[3]


def _features(backbone: nn.Module, images: Tensor) -> Tensor:
    return cast(Tensor, cast(Any, backbone).forward_features(images))


def _head(backbone: nn.Module, maps: Tensor) -> Tensor:
    """Return the features (B, F) that the backbone makes of its last maps: timm's own end."""
    return cast(Tensor, cast(Any, backbone).forward_head(maps, pre_logits=True))


def _ends_by_mean(backbone: nn.Module, facts: Mapping[str, Any]) -> bool:
    """Whether all that the backbone's end sees of its last maps is their mean."""
    channels, _ = _probe(backbone, facts)
    # Of a generator of its own: the head's start weights are drawn from the global one.
    maps = torch.rand(1, channels, 2, 2, generator=torch.Generator().manual_seed(0))
    try:
        with probing(backbone):
            whole, mean = _head(backbone, maps), _head(backbone, maps.mean((2, 3), keepdim=True))
    except (AssertionError, AttributeError, RuntimeError, TypeError):
        return False  # it has no such method, or one for maps of one size
    return whole.ndim == 2 and whole.shape == mean.shape and torch.allclose(whole, mean, atol=1e-5)


def _last_maps(backbone: nn.Module, times: int) -> Tensor | None:
    """Return the features of a picture that is so many times as high as wide; None: it has none."""
    image = torch.zeros(1, 3, times * _PROBED_PX, _PROBED_PX)
    try:
        maps = _features(backbone, image)
    except (AssertionError, AttributeError, RuntimeError):
        return None  # a transformer of one size, or a network that has no such method
    return maps if isinstance(maps, Tensor) and maps.ndim == 4 else None
