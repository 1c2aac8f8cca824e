"""Which models an ensemble is made of: systems, seeds and folds, multiplied out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from roi_cls.base.errors import TrainingError
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.recipe import TrainingRecipe, load_recipe
from roi_cls.roi import CropParams


@dataclass(frozen=True, slots=True)
class System:
    """One way to cut and to train, under a name."""

    name: str
    config: TrainConfig
    crop: CropParams

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "name": self.name,
            "config": self.config.to_dict(),
            "crop": self.crop.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class Member:
    """One model of an ensemble, before it is trained."""

    name: str
    """Of its folder."""
    system: System
    """With the member's own seed."""
    place: int
    """Of its system among all."""
    fold: int | None
    """The fold of the training data that it is judged by; None: the validation part."""


def systems_of(
    recipe: TrainingRecipe,
    given: Mapping[str, Any],
    adjust: Callable[[TrainingRecipe], TrainingRecipe] = lambda recipe: recipe,
) -> tuple[System, ...]:
    """Return what a recipe combines: its members, or itself.

    Args:
        recipe: Its own settings win over its members'.
        given: Settings by the name of their fields that win over those of every recipe.
        adjust: Applied to each member first.

    Raises:
        TrainingError: A member is no recipe, has members itself, or is called like another.
    """
    if not recipe.members:
        own = recipe.changed(given)
        return (System(own.name, own.config, own.crop_params),)
    systems: list[System] = []
    for name in recipe.members:
        member = load_recipe(name)
        if member.members:
            raise TrainingError(
                f"Cannot use the recipe {recipe.name!r}: its member {name!r} has members itself. "
                "Name those members instead."
            )
        changed = adjust(member).changed({**recipe.fields, **given})
        if any(member.name == system.name for system in systems):
            raise TrainingError(
                f"Cannot use the recipe {recipe.name!r}: two members are called {member.name!r}, "
                "and each needs a folder of its name. Rename one of the files."
            )
        systems.append(System(member.name, changed.config, changed.crop_params))
    return tuple(systems)


def plan_members(systems: Sequence[System], folds: int, seeds: int) -> tuple[Member, ...]:
    """Return the models to train: each system with each seed, and with each fold held out once.

    Args:
        systems: One, or several to be combined, of different names.
        folds: 0: all learn from the training part and are judged by the validation part.
        seeds: Counted on from each system's own.

    Raises:
        ValueError: There would be no member, or one fold, or two systems share a name.
    """
    if not systems or seeds < 1 or folds < 0 or folds == 1:
        raise ValueError(f"need systems, seeds and no single fold, got {folds=} {seeds=}")
    if len({system.name for system in systems}) != len(systems):
        raise ValueError("two systems of an ensemble share a name")
    members = []
    for place, system in enumerate(systems):
        for shift in range(seeds):
            seeded = replace(system, config=replace(system.config, seed=system.config.seed + shift))
            for fold in range(folds) if folds else (None,):
                parts = [
                    system.name if len(systems) > 1 else "",
                    f"seed-{seeded.config.seed}" if seeds > 1 else "",
                    f"fold-{fold + 1}" if fold is not None else "",
                ]
                name = "-".join(part for part in parts if part) or system.name
                members.append(Member(name, seeded, place, fold))
    return tuple(members)
