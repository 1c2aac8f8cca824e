"""A run's whole way from crops to probabilities as one torch module, for exporting it.

What ``LoadedModel.probabilities`` does in numpy and torch is told here once more in operations that
ONNX has; every exported file is compared with it on real crops before it gets its name.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from roi_cls.classifier.loaded import LoadedModel
from roi_cls.classifier.runs.bundle import ModelBundle


def probability_graph(loaded: LoadedModel) -> nn.Module:
    """Return a module in evaluation mode: a uint8 (N, S, S, 3) tensor per view -> (N, K) float32.

    loaded: On the CPU.
    """
    return _Rounded(_as_module(loaded)).eval()


def _as_module(loaded: LoadedModel) -> nn.Module:
    if loaded.model is not None:
        return _NetworkGraph(loaded.model, loaded.bundle)
    return _EnsembleGraph([_as_module(m) for m in loaded.members], loaded)


class _Rounded(nn.Module):
    """Probabilities are computed in float64, as in numpy, and given in float32."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner  # not "graph": torch.export makes a GraphModule, which has one

    def forward(self, *crops: Tensor) -> Tensor:
        probabilities: Tensor = self.inner(*crops)
        return probabilities.float()


class _NetworkGraph(nn.Module):
    """One network: normalise, score, scale."""

    def __init__(self, network: nn.Module, bundle: ModelBundle) -> None:
        super().__init__()
        self.network, self._mirror = network, bundle.mirror
        self.scaling = _Scaling(bundle)
        scale = bundle.normalisation
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(scale.mean) * 255)
        self.register_buffer("std", torch.tensor(scale.std) * 255)

    def forward(self, *crops: Tensor) -> Tensor:
        """Return (N, K) float64 probabilities."""
        # (N, S, S, 3) per view -> (N*V, S, S, 3): the views of a picture next to each other
        pixels = crops[0] if len(crops) == 1 else torch.stack(crops, 1).flatten(0, 1)
        images = ((pixels.float() - self.mean) / self.std).permute(0, 3, 1, 2)
        if not self._mirror:
            return self.scaling(self.network(images))  # type: ignore[no-any-return]  # a module's
        # One pass for both: the graph holds the network once.
        logits = self.network(torch.cat((images, images.flip(-1))))
        return self.scaling(logits.unflatten(0, (2, -1)).mean(0))  # type: ignore[no-any-return]  # as above


class _EnsembleGraph(nn.Module):
    """Several networks: the weighted mean of their probabilities, scaled."""

    def __init__(self, members: Sequence[nn.Module], loaded: LoadedModel) -> None:
        super().__init__()
        bundle = loaded.bundle
        self.members = nn.ModuleList(members)
        self._views = [[loaded.views.index(v) for v in member.views] for member in loaded.members]
        weights = torch.tensor(bundle.network["weights"], dtype=torch.float64)
        self._weights: list[float] = (weights / weights.sum()).tolist()
        is_scaled = bundle.temperature != 1.0 or any(bundle.offsets)
        self.scaling = _Scaling(bundle) if is_scaled else None

    def forward(self, *crops: Tensor) -> Tensor:
        """Return (N, K) float64 probabilities."""
        parts = [
            weight * member(*(crops[i] for i in views))
            for member, views, weight in zip(self.members, self._views, self._weights, strict=True)
        ]
        mean = torch.stack(parts).sum(0)
        return mean if self.scaling is None else self.scaling(mean.log())


class _Scaling(nn.Module):
    """Softmax of logits over the temperature, with the offsets, in float64."""

    def __init__(self, bundle: ModelBundle) -> None:
        super().__init__()
        self._temperature = bundle.temperature
        self.offsets: Tensor
        self.register_buffer("offsets", torch.tensor(bundle.offsets, dtype=torch.float64))

    def forward(self, logits: Tensor) -> Tensor:
        """Return (N, K) probabilities."""
        return (logits.double() / self._temperature + self.offsets).softmax(1)
