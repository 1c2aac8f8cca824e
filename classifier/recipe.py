"""Training recipes: whole systems as TOML files, by name or by path. Imports nothing heavy.

A recipe of crops alone is ``CropParams``; this one also says what is trained on them, and how.
"""

from __future__ import annotations

import difflib
import json
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal, cast, get_args

from roi_cls.base.errors import TrainingError
from roi_cls.classifier.config import TrainConfig
from roi_cls.roi import CropParams

Combine = Literal["mean", "greedy"]
RECIPE_SUFFIX = ".toml"
_NOT_GIVEN = ("detector_sha256",)  # found out, not given


@dataclass(frozen=True, slots=True)
class TrainingRecipe:
    """A whole system: what is cut, what is trained, and how several models become one."""

    name: str
    description: str = ""
    """One sentence."""
    train: Mapping[str, Any] = field(default_factory=dict)
    """Fields of ``TrainConfig`` that differ from their defaults."""
    crop: Mapping[str, Any] = field(default_factory=dict)
    """Fields of ``CropParams`` that differ from their defaults."""
    folds: int = 0
    """Models trained on all but one fold of the training data each; 0: one validation part."""
    seeds: int = 1
    """Models trained alike but for the seed."""
    members: tuple[str, ...] = ()
    """Recipes whose models make one ensemble; none: this recipe is a model of its own."""
    abstain: float = 0.0
    """Answers this near to the threshold are told as unsure."""
    combine: Combine = "mean"
    """How the members' scores become one: their ``mean``, or a ``greedy`` selection."""
    weights: tuple[float, ...] = ()
    """Of each member in their mean, above 0; none: all alike."""
    stands_in_for: str = ""
    """The model that the recipe names, where its weights could not be had and another took its
    place; no key of a recipe's file."""

    def __post_init__(self) -> None:
        if self.folds < 0 or self.folds == 1:
            raise ValueError(f"folds must be 0, or 2 or more, got {self.folds}")
        if self.seeds < 1:
            raise ValueError(f"seeds must be at least 1, got {self.seeds}")
        if not 0 <= self.abstain < 1:
            raise ValueError(f"abstain must be from 0 to below 1, got {self.abstain}")
        if self.combine not in get_args(Combine):
            raise ValueError(f"combine must be one of {get_args(Combine)}, got {self.combine!r}")
        if len(set(self.members)) != len(self.members) or len(self.members) == 1:
            raise ValueError(f"members must be two or more different recipes, got {self.members}")
        if self.weights and (len(self.weights) != len(self.members) or min(self.weights) <= 0):
            raise ValueError(
                f"weights must be above 0, one for each of {len(self.members)} members, got "
                f"{self.weights}"
            )

    @property
    def fields(self) -> dict[str, Any]:
        """The value of each setting that the recipe decides, training and crop together."""
        return {**self.train, **self.crop}

    @property
    def config(self) -> TrainConfig:
        """How the recipe trains."""
        return TrainConfig(**self.train)

    @property
    def crop_params(self) -> CropParams:
        """How the recipe cuts."""
        return CropParams(**self.crop)

    def changed(self, values: Mapping[str, Any]) -> TrainingRecipe:
        """Return the recipe with settings replaced, each by the name of its field.

        Raises:
            ValueError: A value is refused by the settings.
        """
        crop = {name: values[name] for name in values if name in crop_fields()}
        train = {name: values[name] for name in values if name in train_fields()}
        changed = replace(self, train={**self.train, **train}, crop={**self.crop, **crop})
        _ = changed.config, changed.crop_params  # they check themselves
        return changed

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values: the name, and what the file says that decides a result."""
        return {
            "name": self.name,
            "train": dict(self.train),
            "crop": dict(self.crop),
            "folds": self.folds,
            "seeds": self.seeds,
            "members": list(self.members),
            "combine": self.combine,
            "abstain": self.abstain,
            **({"weights": list(self.weights)} if self.weights else {}),
            **({"stands_in_for": self.stands_in_for} if self.stands_in_for else {}),
        }


def train_fields() -> frozenset[str]:
    """Return the names that may stand under ``[train]``."""
    return frozenset(entry.name for entry in fields(TrainConfig))


def crop_fields() -> frozenset[str]:
    """Return the names that may stand under ``[crop]``."""
    return frozenset(f.name for f in fields(CropParams) if f.name not in _NOT_GIVEN)


def recipe_names() -> tuple[str, ...]:
    """Return the names of the recipes that come with the program, sorted."""
    files = resources.files("roi_cls.recipes").iterdir()
    return tuple(
        sorted(f.name.removesuffix(RECIPE_SUFFIX) for f in files if f.name.endswith(RECIPE_SUFFIX))
    )


def load_recipe(name: str) -> TrainingRecipe:
    """Return the recipe of this name, or in this ``.toml`` file.

    Raises:
        TrainingError: There is no such recipe, or its file says what no setting knows.
    """
    if not name.endswith(RECIPE_SUFFIX):
        known = recipe_names()
        if name not in known:
            raise TrainingError(
                f"Cannot use the recipe {name!r}: there is none of this name{_nearest(name, known)}"
                f" Choose one of {', '.join(known)}, or give the path of a {RECIPE_SUFFIX} file."
            )
        text = (resources.files("roi_cls.recipes") / f"{name}{RECIPE_SUFFIX}").read_text(
            encoding="utf-8"
        )
        return parse_recipe(name, text)
    path = Path(name)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise TrainingError(
            f"Cannot read the recipe {name!r}: {reason}. Give a {RECIPE_SUFFIX} file, or "
            "one of the names that `roi-cls recipes` lists."
        ) from error
    return parse_recipe(path.name.removesuffix(RECIPE_SUFFIX), text)


def parse_recipe(name: str, text: str) -> TrainingRecipe:
    """Return the recipe that a TOML text describes.

    Raises:
        TrainingError: It is no TOML, has an unknown key, or a value that no setting takes.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _refused(name, f"it is no TOML: {error}") from error
    known = [f.name for f in fields(TrainingRecipe) if f.name not in ("name", "stands_in_for")]
    _check_keys(name, "", values, known)
    hints = typing.get_type_hints(TrainingRecipe)
    for part, settings in (("train", TrainConfig), ("crop", CropParams)):
        table = values.get(part, {})
        if not isinstance(table, dict):
            raise _refused(name, f"{part} must be a table, [{part}]")
        names = train_fields() if part == "train" else crop_fields()
        _check_keys(name, f"[{part}] ", table, names)
        _check_types(name, table, typing.get_type_hints(settings))
    if "members" in values:
        values["members"] = _names(name, values["members"])
    if "weights" in values:
        values["weights"] = _numbers(name, values["weights"])
    plain = ("description", "folds", "seeds", "combine", "abstain")
    _check_types(name, {key: values[key] for key in plain if key in values}, hints)
    try:
        recipe = TrainingRecipe(name=name, **values)
        return recipe.changed({})
    except ValueError as error:
        raise _refused(name, str(error)) from error


def format_recipe(recipe: TrainingRecipe, comment: str = "") -> str:
    """Return the TOML text that ``parse_recipe`` reads as this recipe.

    Settings that are unset stay out: so is the default of each that can be unset.

    comment: lines for people, below the description.
    """
    plain = TrainingRecipe(recipe.name)
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    for key in ("folds", "seeds", "members", "weights", "abstain", "combine"):
        if (value := getattr(recipe, key)) != getattr(plain, key):
            lines.append(f"{key} = {_toml(value)}")
    for table in ("train", "crop"):
        given = {k: v for k, v in getattr(recipe, table).items() if v is not None}
        if given:
            lines += [
                "",
                f"[{table}]",
                *(f"{key} = {_toml(value)}" for key, value in given.items()),
            ]
    return "\n".join([f"description = {_toml(recipe.description)}", *lines]) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    # Of text, numbers and truth TOML and JSON have one form, but for a character no key makes.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _check_keys(recipe: str, place: str, table: Mapping[str, Any], known: Iterable[str]) -> None:
    for key in table:
        if key not in known:
            raise _refused(recipe, f"{place}has no key {key!r}{_nearest(key, known)}", dot="")


def _check_types(recipe: str, table: Mapping[str, Any], hints: Mapping[str, Any]) -> None:
    """Refuse text for a number and the like; which values are allowed, the settings know."""
    for key, value in table.items():
        if not _fits(value, hints[key]):
            raise _refused(recipe, f"{key} cannot be {value!r}")


def _fits(value: object, hint: Any) -> bool:
    """Whether a TOML value may stand for a field of this type."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return any(_fits(value, part) for part in get_args(hint))
    if typing.get_origin(hint) is Literal:
        return type(value) in {type(choice) for choice in get_args(hint)}
    if hint is float:
        return type(value) in (int, float)
    return type(value) is hint


def _names(recipe: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _refused(recipe, f"members must be a list of recipes' names, got {value!r}")
    return tuple(value)


def _numbers(recipe: str, value: object) -> tuple[float, ...]:
    is_list = isinstance(value, list) and all(
        isinstance(item, int | float) and not isinstance(item, bool) for item in value
    )
    if not is_list:
        raise _refused(recipe, f"weights must be a list of numbers, got {value!r}")
    return tuple(cast(list[float], value))


def _nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that says what may have been meant."""
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else "."


def _refused(recipe: str, why: str, dot: str = ".") -> TrainingError:
    return TrainingError(
        f"Cannot use the recipe {recipe!r}: {why}{dot} "
        "`roi-cls train --help-all` names the settings."
    )
