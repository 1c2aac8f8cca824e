"""Fitting the support vector machine: its grid, by cross-validation on training pictures."""

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
from torch import nn

from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.models.device import Backend
from roi_cls.classifier.models.svm import Machine, SvmNetwork, describe_views
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.training.data import TrainingData
from roi_cls.classifier.training.job import Observers

FOLDS = 5
GRID = [
    {"svc__kernel": ["linear"], "svc__C": [1e-4, 1e-3, 1e-2]},
    {"svc__kernel": ["rbf"], "svc__C": [0.1, 1.0, 10.0]},
]
"""A linear machine on thousands of features wants far more slack than one by distances."""


def fit_svm(
    config: TrainConfig, data: TrainingData, backend: Backend, run: RunFolder, observers: Observers
) -> nn.Module:
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
    return network.eval()


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
