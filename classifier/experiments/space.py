"""What a tuning tries: which settings, which values of each, and how they become a recipe.

Knows settings and recipes, and nothing of who chooses among the values.
"""

from __future__ import annotations

import math
import tomllib
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

from roi_cls.base.errors import TrainingError
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.models.origin import CLIP_PREFIX, PACKAGES, find_package
from roi_cls.classifier.recipe import (
    TrainingRecipe,
    crop_fields,
    format_recipe,
    parse_recipe,
    train_fields,
)
from roi_cls.roi import CropParams

_BLOCK_PX = 32
"""By which networks reduce a crop: other sides waste pixels."""
_REFUSED: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("fallback", "damaged"), "other values score other pictures"),
        **dict.fromkeys(("threshold_rule", "calibrate"), "it changes no picture's rank"),
        **dict.fromkeys(("device", "precision", "compile"), "it changes the speed alone"),
        "deterministic": "it changes the speed alone",
        "face": "a label belongs to a picture, not to each of its faces",
        "patience": "each model keeps its last epoch, so that no fold chooses its own; take epochs",
        "metric": "each model keeps its last epoch, so that no fold chooses its own; take epochs",
        "seed": "the best seed is the luckiest one",
    }
)
"""Settings that are not tuned, and why."""


@dataclass(frozen=True, slots=True)
class Choices:
    """Some values of a setting, without an order."""

    values: tuple[Any, ...]

    def holds(self, value: object) -> bool:
        """Whether this value can be chosen."""
        return value in self.values

    def to_json(self) -> list[Any]:
        """Return it as a search file has it."""
        return list(self.values)


@dataclass(frozen=True, slots=True)
class Range:
    """All values of a setting between two, both included."""

    low: float
    high: float
    log: bool = False
    """Whether ratios are alike, as of learning rates, and not differences."""
    step: float | None = None
    """Between two values; None: any, of a whole number 1."""
    is_whole: bool = False

    def holds(self, value: object) -> bool:
        """Whether this value can be chosen."""
        if not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        steps = (value - self.low) / (self.step or 1)
        return (self.step is None and not self.is_whole) or math.isclose(
            steps, round(steps), abs_tol=1e-9
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as a search file has it."""
        return {"low": self.low, "high": self.high, "log": self.log, "step": self.step}


Values = Choices | Range
_Make = Callable[[Any], Values]


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """The settings that are tried, each by the name of its field, and the recipe they change."""

    base: TrainingRecipe
    """A single system; all that is not tried stays as it says."""
    settings: Mapping[str, Values]

    @property
    def start(self) -> dict[str, Any]:
        """The base recipe's own values, of the settings whose values hold it."""
        return {
            name: own
            for name, values in self.settings.items()
            if values.holds(own := _own_value(self.base, name))
        }

    def recipe(self, values: Mapping[str, Any]) -> TrainingRecipe:
        """Return the base recipe with these values.

        Raises:
            ValueError: They are refused together.
        """
        return self.base.changed(values)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {name: values.to_json() for name, values in self.settings.items()}


def prepare_base(recipe: TrainingRecipe) -> TrainingRecipe:
    """Return a recipe as a tuning trains it: one system, whose last epoch is kept.

    An epoch chosen by the fold that the model is then scored on would flatter, and most of all
    the systems with many epochs.

    Raises:
        TrainingError: It has members.
    """
    if recipe.members:
        raise TrainingError(
            f"Cannot tune the recipe {recipe.name!r}: it has members, each with settings of its "
            "own. Name one of them."
        )
    return recipe.changed({"metric": "last", "patience": 0})


def usual_space(base: TrainingRecipe) -> SearchSpace:
    """Return what is tried unless told otherwise: what matters for the method of the recipe.

    Synthetic defects are tried only where the recipe has them: other tasks have no defects.
    """
    config = base.config
    names = ["size_px", "margin", "frame"]
    if config.method == "embedding":
        names += ["lr", "epochs", "hidden"]
    elif config.method == "network":
        names = ["model", *names, "lr", "head_epochs", "epochs", "imbalance", "augmentation"]
        names += ["ema", "label_smoothing", *(["self_blend"] if config.self_blend else [])]
    if base.crop_params.crop == "full":
        names = [name for name in names if name not in ("margin", "frame")]
    if config.weights == "none":  # a frozen backbone of random weights gives nothing to a head
        names = [name for name in names if name not in ("model", "head_epochs")]
    if config.model.startswith(CLIP_PREFIX):  # which sees one size alone
        names = [name for name in names if name not in ("model", "size_px")]
    found = {name: _usual_values(base, name) for name in names}
    return SearchSpace(base, {n: v for n, v in found.items() if not _is_single(v)})


def named_space(base: TrainingRecipe, words: str) -> SearchSpace:
    """Return the space of the settings that a list names, like ``model,size,margin``.

    Raises:
        TrainingError: A name is that of no setting, is given twice, or has no usual values.
    """
    names = [_field_name(word.strip()) for word in words.split(",")]
    if len(set(names)) != len(names):
        raise TrainingError(f"Cannot tune over {words!r}: a setting is named twice.")
    settings = {}
    for name in names:
        settings[name] = _usual_values(base, name)
        if _is_single(settings[name]):
            raise TrainingError(
                f"Cannot tune over {name!r}: no other value than {_own_value(base, name)!r} is at "
                f"hand. Give some in a file: --search space.toml with a line like "
                f'{name} = ["first", "second"] under {_table_of(name)}.'
            )
    return _checked(SearchSpace(base, settings), "--over")


def read_space(base: TrainingRecipe, path: Path) -> SearchSpace:
    """Return the space that a TOML file describes: in ``[train]`` and ``[crop]`` lists or ranges.

    Raises:
        TrainingError: It cannot be read, or says what no setting takes.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or f"it is no TOML: {error}"
        raise TrainingError(
            f"Cannot read the search space {str(path)!r}: {reason}. Give a file with tables "
            "[train] and [crop], like margin = [0.1, 0.3] or "
            "lr = { low = 1e-4, high = 1e-2, log = true }."
        ) from error
    settings = {}
    for table, entries in tables.items():
        if table not in ("train", "crop") or not isinstance(entries, dict):
            raise _refused(path.name, f"it may have the tables [train] and [crop], not {table!r}")
        for name, entry in entries.items():
            _field_name(name, table)
            settings[name] = _read_values(path.name, name, entry)
    if not settings:
        raise _refused(path.name, "it names no setting")
    return _checked(SearchSpace(base, settings), path.name)


def _read_values(place: str, name: str, entry: object) -> Values:
    if isinstance(entry, list):
        is_plain = all(isinstance(value, bool | int | float | str) for value in entry)
        values = tuple(dict.fromkeys(entry)) if is_plain else ()
        if len(values) < 2:
            raise _refused(place, f"{name} needs two or more values, got {entry!r}")
        return Choices(values)
    if not isinstance(entry, dict) or not {"low", "high"} <= entry.keys() <= set(_RANGE_KEYS):
        raise _refused(
            place, f"{name} must be a list, or a range with low, high and maybe log or step"
        )
    if any(type(value) not in _RANGE_KEYS[key] for key, value in entry.items()):
        raise _refused(place, f"{name} has a range of numbers, got {entry!r}")
    found = replace(Range(**entry), is_whole=_is_whole(name))
    needs_low = found.log and found.low <= 0
    if not found.low < found.high or needs_low or (found.log and found.step):
        raise _refused(
            place,
            f"{name} must begin {'above 0' if needs_low else 'below its end'}, with log or step "
            f"alone, got {entry!r}",
        )
    if found.step is None:
        return found
    if found.step <= 0 or found.step > found.high - found.low:
        raise _refused(place, f"the step of {name} must fit its range, got {entry!r}")
    steps = math.floor((found.high - found.low) / found.step + 1e-9)
    return replace(found, high=found.low + steps * found.step)


_RANGE_KEYS: Mapping[str, tuple[type, ...]] = MappingProxyType(
    {"low": (int, float), "high": (int, float), "step": (int, float), "log": (bool,)}
)


def _checked(space: SearchSpace, place: str) -> SearchSpace:
    """Return the space, if each of its values is one that the setting takes.

    Raises:
        TrainingError: One is not.
    """
    if {"crop", "frame"} <= space.settings.keys():
        raise _refused(place, "crop and frame exclude each other: take one of them")
    for name, values in space.settings.items():
        ends = values.values if isinstance(values, Choices) else (values.low, values.high)
        for value in ends:
            part = {name: value}
            if name in crop_fields():
                tried = replace(space.base, crop={**space.base.crop, **part})
            else:
                tried = replace(space.base, train={**space.base.train, **part})
            parse_recipe(place, format_recipe(tried))  # as strict as of a recipe's file
    return space


def _field_name(word: str, table: str = "") -> str:
    """Return the field that an option's word or a field's name stands for."""
    known = {"train": train_fields(), "crop": crop_fields()}
    names = known[table] if table else known["train"] | known["crop"]
    name = word.lstrip("-").replace("-", "_")
    name = name if name in names else f"{name}_px"
    if name not in names:
        raise TrainingError(
            f"Cannot tune over {word!r}: there is no such setting{f' in [{table}]' * bool(table)}. "
            "`roi-cls train --help-all` names them."
        )
    if name in _REFUSED:
        raise TrainingError(f"Cannot tune over {word!r}: {_REFUSED[name]}. Leave it out.")
    return name


def _usual_values(base: TrainingRecipe, name: str) -> Values:
    own = _own_value(base, name)
    if name in _USUAL:
        return _USUAL[name](own)
    hint = _hints()[name]
    literal = next((h for h in (hint, *get_args(hint)) if typing.get_origin(h) is Literal), None)
    if hint is bool:
        return Choices((False, True))
    if literal is not None:
        return _choice(own, *get_args(literal))
    raise TrainingError(
        f"Cannot tune over {name!r}: no values are usual for it. Give some in a file: --search "
        f"space.toml with a line like {name} = [first, second] under {_table_of(name)}."
    )


def _choice(*values: Any) -> Choices:
    """Return different values: numbers in their order, words as they come."""
    unique = dict.fromkeys(values)
    numbers = all(isinstance(value, int | float) for value in unique)
    return Choices(tuple(sorted(unique) if numbers else unique))


def _near(*more: float) -> _Make:
    return lambda own: _choice(own, *more)


def _sizes(own: int) -> Choices:
    smaller, larger = math.floor(own * 0.75 / _BLOCK_PX), math.ceil(own * 1.25 / _BLOCK_PX)
    return _choice(own, *(max(1, blocks) * _BLOCK_PX for blocks in (smaller, larger)))


def _models(own: str) -> Choices:
    """Return the models whose weights are at hand without a network."""
    return _choice(own, *(p.model for p in PACKAGES if find_package(p.model)))


def _rates(own: float) -> Range:
    return Range(own / 5, own * 5, log=True)


def _epochs(own: int) -> Range:
    return Range(max(1, own // 2), own * 2, is_whole=True)


_USUAL: Mapping[str, _Make] = MappingProxyType(
    {
        "model": _models,
        "size_px": _sizes,
        "margin": _near(0.0, 0.1, 0.2, 0.3, 0.5),  # few, so that crops are found again
        "min_score": _near(0.3, 0.5, 0.7),
        "lr": _rates,
        "head_lr": _rates,
        "epochs": _epochs,
        "head_epochs": _near(0, 1, 2),
        "batch_size": _near(16, 32, 64),
        "hidden": _near(0, 128, 512),
        "ema": _near(0.0, 0.98, 0.99, 0.995),
        "label_smoothing": _near(0.0, 0.05, 0.1, 0.2),
        "self_blend": _near(0.0, 0.25, 0.5, 0.75),
        "weight_decay": _near(0.0, 0.02, 0.1),
        "drop_rate": _near(0.0, 0.2, 0.4),
        "layer_decay": _near(0.65, 0.8, 1.0),
        "mixup": _near(0.0, 0.2, 0.4),
        "cutmix": _near(0.0, 0.5, 1.0),
        "focal_gamma": _near(0.0, 1.0, 2.0),
    }
)
"""Makes the usual values of a setting from the base recipe's own, which is always among them."""


def _own_value(base: TrainingRecipe, name: str) -> Any:
    if name == "head_epochs":  # unset means a number, too
        return base.config.first_phase
    owner = base.crop_params if name in crop_fields() else base.config
    return getattr(owner, name)


def _is_single(values: Values) -> bool:
    return isinstance(values, Choices) and len(values.values) < 2


def _is_whole(name: str) -> bool:
    hint = _hints()[name]
    return int in (hint, *get_args(hint)) and float not in (hint, *get_args(hint))


def _hints() -> dict[str, Any]:
    return {**typing.get_type_hints(TrainConfig), **typing.get_type_hints(CropParams)}


def _table_of(name: str) -> str:
    return "[crop]" if name in crop_fields() else "[train]"


def _refused(place: str, why: str) -> TrainingError:
    return TrainingError(f"Cannot use the search space {place!r}: {why}.")
