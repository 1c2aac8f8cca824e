"""The classical comparison: a support vector machine on features made by hand.

They are the outlines and the fine texture of a grey picture, as one vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from torch import Tensor, nn

from roi_cls.base.errors import TrainingError
from roi_cls.classifier.models.score import pair_logits

PICTURE_PX = 128
"""Pixels to which each crop is brought: descriptors of equal length, whatever the crop's size."""
_CELL = 16  # px of a cell of gradients: 8 x 8 cells
_ORIENTATIONS = 9
_PATTERNS = ((8, 1), (16, 2))  # (points, radius in px)
_PARTS = 4  # the texture of each of 4 x 4 parts of the picture has its own histogram


class SvmNetwork(nn.Module):
    """(B*V, 3, S, S) crops -> (B, K) logits, by features made by hand and a machine or several.

    Two classes: one machine, for the target; the other's logit is 0. More: one for each class.
    """

    def __init__(
        self, target_index: int, classes: int, views: int, machines: Sequence[dict[str, Any]]
    ) -> None:
        """Make room for machines, each given by the arguments of ``Machine``."""
        super().__init__()
        self._facts = {"target_index": target_index, "classes": classes, "views": views}
        self._target, self._classes, self._views = target_index, classes, views
        self.machines = nn.ModuleList(Machine(**arguments) for arguments in machines)
        self.pretrained_cfg = {"mean": (0.0,) * 3, "std": (1.0,) * 3}

    def _apply(self, fn: Any, recurse: bool = True) -> SvmNetwork:
        # Stays on the CPU in float64, whatever device is asked for: that is where features are
        # computed, and not every device has float64.
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, K) logits of images in 0 to 1."""
        pixels = (images.float() * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
        features = describe_views(pixels.cpu().numpy(), self._views)
        found = torch.stack([machine(torch.from_numpy(features)) for machine in self.machines], 1)
        if self._classes == 2:
            found = pair_logits(found[:, 0], self._target)
        return found.to(images.device, torch.float32)

    def describe(self) -> dict[str, Any]:
        """Return what ``load_kind`` builds it from."""
        machines = [
            {
                "support": len(machine.get_buffer("vectors")),
                "features": machine.get_buffer("vectors").shape[1],
                "kernel": machine.kernel,
            }
            for machine in self.machines
            if isinstance(machine, Machine)
        ]
        return {"kind": "svm", **self._facts, "machines": machines}


class Machine(nn.Module):
    """One machine's arrays: it tells one class from the others."""

    def __init__(self, support: int, features: int, kernel: str) -> None:
        """Make room for so many support vectors (of a linear machine: one, its weights)."""
        super().__init__()
        self.kernel = kernel
        for name, shape in {
            "mean": (features,),
            "scale": (features,),
            "vectors": (support, features),
            "coefficients": (support,),
            "intercept": (),
            "gamma": (),
            "slope": (),
            "shift": (),
        }.items():
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))

    @classmethod
    def of(cls, pipeline: Pipeline, slope: float, shift: float) -> Machine:
        """Return the arrays of scikit-learn's scaler and machine, with Platt's two numbers."""
        scaler, svc = pipeline[0], pipeline[-1]
        is_linear = svc.kernel == "linear"
        vectors = svc.coef_ if is_linear else svc.support_vectors_
        machine = cls(len(vectors), vectors.shape[1], svc.kernel)
        arrays = {
            "mean": scaler.mean_,
            "scale": scaler.scale_,
            "vectors": vectors,
            "coefficients": np.ones(1) if is_linear else svc.dual_coef_[0],
            "intercept": svc.intercept_[0],
            # What gamma="scale" came to has no public name.
            "gamma": 0.0 if is_linear else svc._gamma,
            "slope": slope,
            "shift": shift,
        }
        for name, values in arrays.items():
            getattr(machine, name).copy_(torch.tensor(values, dtype=torch.float64))
        return machine

    def decide(self, features: Tensor) -> Tensor:
        """Return the (B,) decision values of (B, D) float64 features."""
        vectors = self.get_buffer("vectors")
        scaled = (features - self.get_buffer("mean")) / self.get_buffer("scale")
        if self.kernel == "linear":
            closeness = scaled @ vectors.T
        else:
            closeness = torch.exp(-self.get_buffer("gamma") * torch.cdist(scaled, vectors) ** 2)
        return closeness @ self.get_buffer("coefficients") + self.get_buffer("intercept")

    def forward(self, features: Tensor) -> Tensor:
        """Return the (B,) logits: the decision values on Platt's scale."""
        return self.get_buffer("slope") * self.decide(features) + self.get_buffer("shift")


def describe_views(pixels: NDArray[np.uint8], views: int) -> NDArray[np.float64]:
    """Return (B, V*D) features of (B*V, S, S, 3) crops."""
    features = describe_pictures(pixels)
    return features.reshape(len(features) // views, -1)


def describe_pictures(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the (N, D) descriptors of (N, S, S, 3) RGB crops. Raises ``TrainingError``."""
    check_skimage()
    return np.stack([_describe(picture) for picture in pixels])


def check_skimage() -> None:
    """Raise ``TrainingError`` where scikit-image is missing."""
    try:
        import skimage.feature  # noqa: F401  (only whether it is there)
    except ImportError as error:
        raise TrainingError(
            "Cannot compute hand-made features: scikit-image is not installed. "
            "Install it: pip install 'roi-cls[classical]'."
        ) from error


def _describe(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    from skimage.feature import hog

    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    grey = cv2.resize(grey, (PICTURE_PX, PICTURE_PX), interpolation=cv2.INTER_AREA)
    outlines = hog(grey, _ORIENTATIONS, (_CELL, _CELL), (2, 2), block_norm="L2-Hys")
    return np.concatenate([outlines, *(_texture(grey, *pattern) for pattern in _PATTERNS)])


def _texture(grey: NDArray[np.generic], points: int, radius: int) -> NDArray[np.float64]:
    """Return the shares of each uniform pattern in each part of the picture."""
    from skimage.feature import local_binary_pattern

    find = local_binary_pattern
    codes = find(grey, points, radius, "uniform").astype(np.int64)  # type: ignore[no-untyped-call]  # its signature alone is typed
    side, count = PICTURE_PX // _PARTS, points + 2
    parts = codes.reshape(_PARTS, side, _PARTS, side).swapaxes(1, 2).reshape(_PARTS**2, -1)
    counts = [np.bincount(part, minlength=count) for part in parts]
    return np.concatenate(counts) / side**2
