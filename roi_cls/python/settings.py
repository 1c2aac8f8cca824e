"""The estimator's parameters as the settings of a run, and its labels as a run's classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.recipe import TrainingRecipe, crop_fields, load_recipe, train_fields
from roi_cls.classifier.runs.bundle import ENSEMBLE, ModelBundle
from roi_cls.data.split import SplitParams
from roi_cls.roi import CropParams

_KINDS = (str, bool, int, float)
_ENDLESS = (float("inf"), float("-inf"))


def read_labels(y: ArrayLike) -> tuple[list[str], NDArray[Any]]:
    """Return the class name of each label, and the (K,) distinct labels, sorted.

    Raises:
        ValueError: They are not (N,) text, booleans or whole numbers of two classes or more.
    """
    labels = column_or_1d(y, warn=True)
    if any(value is None or value != value or value in _ENDLESS for value in labels.tolist()):
        raise ValueError("Input y contains NaN, infinity or None: every picture needs a label.")
    check_classification_targets(labels)
    classes = np.unique(labels)
    odd = [value for value in classes.tolist() if not isinstance(value, _KINDS) or value == ""]
    if odd:
        raise ValueError(f"Labels must be text, whole numbers or booleans, got {odd[0]!r} in y.")
    if len(classes) < 2:
        raise ValueError(
            f"y has only one class, {classes.tolist()[0]!r}: a classifier needs two at least."
        )
    return [str(value) for value in labels.tolist()], classes


def class_values(bundle: ModelBundle) -> NDArray[Any]:
    """Return the (K,) labels of a run, sorted, in the types that it was fitted with.

    A run that was trained from files has the names of its classes.
    """
    names = bundle.labels.names
    values = bundle.training.get("classes")
    is_ours = isinstance(values, list) and sorted(map(str, values)) == sorted(names)
    return np.array(values) if is_ours else np.unique(names)


def value_of(name: str, classes: NDArray[Any]) -> Any:
    """Return the label whose class is called ``name``."""
    return dict(zip(map(str, classes.tolist()), classes.tolist(), strict=True))[name]


DIRECT = (
    *("model", "weights", "epochs", "batch_size", "lr", "augmentation", "imbalance"),
    *("crop", "margin", "size_px", "validation_share"),
)
"""Settings that are parameters of the estimator by their own names."""
_SEVERAL = frozenset({"folds", "seeds", "combine", "abstain"})
_SPLIT = frozenset(field.name for field in fields(SplitParams)) - {"test_share"}
_ELSEWHERE = {"seed": "random_state", "device": "device", "test_share": "cross_val_score"}


@dataclass(frozen=True, slots=True)
class Settings:
    """What is trained: a system, what was given over its recipe's, and how parts are made."""

    recipe: TrainingRecipe
    """With everything that was given."""
    given: Mapping[str, Any]
    """What was given, by field; it wins over the members of an ensemble, too."""
    split: SplitParams
    base: TrainingRecipe | None
    """The recipe as it was named; None: none was."""


def read_settings(params: Mapping[str, Any]) -> Settings:
    """Return the settings that the estimator's parameters ask for.

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
    return Settings(whole, given, SplitParams(**split, test_share=0.0), base)


def settings_of(bundle: ModelBundle) -> dict[str, Any]:
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
