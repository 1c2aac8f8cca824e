"""The estimator's parameters as what a fit is asked to do, and a run's settings as parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from numbers import Integral
from pathlib import Path
from typing import Any, get_args

import numpy as np
from sklearn.utils import check_random_state

from roi_cls.classifier.config import TrackerName, TrainConfig
from roi_cls.classifier.recipe import TrainingRecipe, crop_fields, load_recipe, train_fields
from roi_cls.classifier.runs.bundle import ENSEMBLE, ModelBundle
from roi_cls.data.split import SplitParams
from roi_cls.python.labels import Errors
from roi_cls.python.pictures import optional_path
from roi_cls.roi import CropParams

DIRECT = (
    *("model", "weights", "epochs", "batch_size", "lr", "augmentation", "imbalance"),
    *("crop", "margin", "size_px", "validation_share"),
)
"""Settings that are parameters of the estimator by their own names."""
_SEVERAL = frozenset({"folds", "seeds", "combine", "abstain"})
_SPLIT = frozenset(field.name for field in fields(SplitParams)) - {"test_share"}
_ELSEWHERE = {"seed": "random_state", "device": "device", "test_share": "cross_val_score"}


@dataclass(frozen=True, slots=True)
class FitJob:
    """What a fit is asked to do, whatever the pictures are."""

    recipe: TrainingRecipe
    """The system that is trained, with everything that was given."""
    given: Mapping[str, Any]
    """What was given, by field; it wins over the members of an ensemble, too."""
    split: SplitParams
    base: TrainingRecipe | None
    """The recipe as it was named; None: none was."""
    target: str | None
    """The class that is looked for."""
    cache: Path | None
    """Folder of the crop cache; None: a temporary one."""
    workers: int | None
    max_pixels: int
    detector_model: Path | None
    errors: Errors
    """``nan``: learn from the other pictures where some cannot be read."""
    log: tuple[TrackerName, ...]
    """Experiment trackers that are told."""
    verbose: bool
    """Whether progress is shown."""
    export: bool
    """Whether the run ends with its ONNX file."""


def read_parameters(params: Mapping[str, Any]) -> FitJob:
    """Return what the estimator's parameters ask for.

    Raises:
        ValueError: A field is unknown, or refuses its value.
        TrainingError: There is no such recipe.
    """
    more = dict(params["settings"] or {})
    _check_names(more)
    seed = _draw_seed(params["random_state"])
    direct = {name: params[name] for name in DIRECT if params[name] is not None}
    values = {"seed": seed, "split_seed": seed, "device": params["device"], **direct, **more}
    own = {name: value for name, value in values.items() if name in _SEVERAL}
    given = {n: v for n, v in values.items() if n in train_fields() or n in crop_fields()}
    split = {name: value for name, value in values.items() if name in _SPLIT}
    base = load_recipe(params["recipe"]) if params["recipe"] else None
    whole = replace((base or TrainingRecipe("model")).changed(given), **own)
    # All that fit() is given is learned from: whoever wants a test part keeps it back.
    return FitJob(
        recipe=whole,
        given=given,
        split=SplitParams(**split, test_share=0.0),
        base=base,
        target=None if params["target"] is None else str(params["target"]),
        cache=optional_path(params["cache"]),
        workers=params["workers"],
        max_pixels=params["max_pixels"],
        detector_model=optional_path(params["detector_model"]),
        errors=params["errors"],
        log=_read_log(params["log"]),
        verbose=bool(params["verbose"]),
        export=params["run"] is not None if params["export"] is None else bool(params["export"]),
    )


def _read_log(given: TrackerName | Sequence[TrackerName] | None) -> tuple[TrackerName, ...]:
    names = (given,) if isinstance(given, str) else tuple(given or ())
    known = get_args(TrackerName)
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"log must be of {', '.join(known)}, got {unknown[0]!r}")
    return names


def _check_names(more: Mapping[str, Any]) -> None:
    known = (train_fields() | crop_fields() | _SPLIT | _SEVERAL) - _ELSEWHERE.keys()
    for name in more:
        if name in DIRECT or name in _ELSEWHERE:
            place = name if name in DIRECT else _ELSEWHERE[name]
            raise ValueError(f"settings must not name {name!r}: it is set by {place}")
        if name not in known:
            raise ValueError(
                f"settings has no field {name!r}; there are {', '.join(sorted(known))}"
            )


def _draw_seed(state: int | np.random.RandomState | None) -> int:
    if isinstance(state, Integral):
        return int(state)
    return int(check_random_state(state).randint(np.iinfo(np.int32).max))


def parameters_of(bundle: ModelBundle) -> dict[str, Any]:
    """Return the estimator's parameters that a run was trained with.

    None of an ensemble: its members may differ.
    """
    training = bundle.training
    params: dict[str, Any] = {}
    if bundle.network["kind"] != ENSEMBLE and "config" in training:
        # In a bundle of an older version fields may be absent, or there may be more of them.
        config, crop = dict(training["config"]), asdict(bundle.crop)
        known = {**asdict(TrainConfig()), **asdict(CropParams())}
        names = (train_fields() | crop_fields()) - {"seed", "device"}
        changed = {
            name: value
            for name, value in {**config, **crop}.items()
            if name in names and value != known[name]
        }
        params = {name: changed.pop(name) for name in DIRECT if name in changed}
        params |= {"settings": changed or None, "random_state": config.get("seed", 0)}
    return params
