"""The classical comparison: a support vector machine on features made by hand.

It is chosen and fitted by scikit-learn and kept as plain arrays: a pickle would run code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import Tensor, nn

from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.device import Backend
from roi_cls.classifier.fit import FitObservers, FittedModel
from roi_cls.classifier.hand_features import describe_pictures
from roi_cls.classifier.normalisation import Normalisation
from roi_cls.classifier.train import TrainFiles
from roi_cls.classifier.training_data import TrainingData

FOLDS = 5
GRID = [
    {"svc__kernel": ["linear"], "svc__C": [1e-4, 1e-3, 1e-2]},
    {"svc__kernel": ["rbf"], "svc__C": [0.1, 1.0, 10.0]},
]
"""A linear machine on thousands of features wants far more slack than one by distances."""


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
            zero = torch.zeros_like(found)
            found = torch.cat((found, zero) if self._target == 0 else (zero, found), dim=1)
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


def describe_views(pixels: NDArray[np.uint8], views: int) -> NDArray[np.float64]:
    """Return (B, V*D) features of (B*V, S, S, 3) crops."""
    features = describe_pictures(pixels)
    return features.reshape(len(features) // views, -1)


def fit_svm(
    config: TrainConfig,
    data: TrainingData,
    backend: Backend,
    files: TrainFiles,
    observers: FitObservers,
) -> FittedModel:
    """Return the machine that cross-validation within the training part likes best.

    Validation pictures play no part here: they stay for the temperature and the threshold.

    Raises:
        TrainingError: scikit-image is not installed.
    """
    names, target = data.labels.names, data.labels.target_index
    views, side = len(data.train.by_view), data.train.pixels.shape[-2]
    features = describe_views(data.train.pixels.reshape(-1, side, side, 3), views)
    sought = [target] if len(names) == 2 else range(len(names))
    groups = list(_groups(data))
    fitted = [
        fit_machine(features, data.train.labels == index, groups, config.seed) for index in sought
    ]
    network = SvmNetwork(target, len(names), views, [])
    network.machines.extend(found.machine for found in fitted)
    cpu = Backend(torch.device("cpu"), torch.float32)  # whatever was asked for
    observers.on_start(cpu, sum(buffer.numel() for buffer in network.buffers()))
    chosen = [found.settings for found in fitted]
    observers.on_fact(
        "svm", chosen[0] if len(chosen) == 1 else dict(zip(names, chosen, strict=True))
    )
    scale = network.pretrained_cfg
    return FittedModel(network.eval(), Normalisation(scale["mean"], scale["std"]))


@dataclass(frozen=True, slots=True, eq=False)
class FittedMachine:
    """A machine and how it was found."""

    machine: Machine
    pipeline: Pipeline
    """Of scikit-learn; not kept."""
    settings: dict[str, Any]
    """Kernel, C and the ROC-AUC of its cross-validation."""


def fit_machine(
    features: NDArray[np.float64],
    is_sought: NDArray[np.bool_],
    groups: Sequence[str],
    seed: int = 0,
) -> FittedMachine:
    """Return the machine with the best ROC-AUC in grouped cross-validation, on Platt's scale.

    Platt's two numbers come from decision values out of the folds: those of pictures that a machine
    has learned from lie too far apart.
    """
    pipeline = Pipeline([("scaler", StandardScaler()), ("svc", SVC(class_weight="balanced"))])
    units = [len({g for g, s in zip(groups, is_sought, strict=True) if s == of}) for of in (0, 1)]
    count = min(FOLDS, *units)
    if count < 2:  # nothing to hold out
        pipeline.fit(features, is_sought)
        values, settings = pipeline.decision_function(features), {"kernel": "rbf", "C": 1.0}
    else:
        folds = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
        split = list(folds.split(features, is_sought, groups))
        search = GridSearchCV(pipeline, GRID, scoring="roc_auc", cv=split)
        search.fit(features, is_sought)
        pipeline = search.best_estimator_
        settings = {name.removeprefix("svc__"): v for name, v in search.best_params_.items()}
        settings["cross_validated_roc_auc"] = float(search.best_score_)
        values = cross_val_predict(
            pipeline, features, is_sought, cv=split, method="decision_function"
        )
    platt = LogisticRegression(C=1e6).fit(values[:, None], is_sought)
    machine = Machine.of(pipeline, float(platt.coef_[0, 0]), float(platt.intercept_[0]))
    return FittedMachine(machine, pipeline, settings)


def _groups(data: TrainingData) -> Iterator[str]:
    """Yield what keeps training pictures together: a group, equal looks, else the picture alone."""
    groups = {sample.path: sample.group for sample in data.split.samples}
    alike = {
        data.records[i].path: f"near {n}" for n, places in enumerate(data.near) for i in places
    }
    for record in data.train.records:
        path = record.path
        yield groups.get(path) or alike.get(path) or str(path)
