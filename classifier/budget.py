"""What every system of an experiment may spend, whatever its recipe says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from roi_cls.classifier.recipe import TrainingRecipe


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits and settings that all systems share."""

    seeds: int = 1
    """Times that each system is trained and tested, with other seeds."""
    epochs: int | None = None
    """Epochs at most; None: each recipe's own."""
    folds: int | None = None
    """As in a recipe; None: each recipe's own."""
    weights: str | None = None
    """In place of the recipes' own, but for those that start from nothing."""
    size_px: int | None = None
    """Side of all crops, but of CLIP's, which sees one size alone; None: each recipe's own."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """More settings, by the name of their field."""

    def apply(self, recipe: TrainingRecipe) -> TrainingRecipe:
        """Return the recipe within the budget; to an ensemble's members it is applied, too.

        Raises:
            ValueError: A value is refused by the settings.
        """
        changed = recipe.changed({**self.settings, **self._size(recipe)})
        values: dict[str, Any] = {}
        # What an ensemble's recipe leaves to its members must stay with them.
        own = changed.train if changed.members else changed.config.to_dict()
        if self.weights is not None and own.get("weights", "none") != "none":
            values["weights"] = self.weights
        if self.epochs is not None and own.get("epochs", 0) > self.epochs:
            values["epochs"] = self.epochs
            if own.get("head_epochs") is not None:  # both phases shrink alike
                values["head_epochs"] = own["head_epochs"] * self.epochs // own["epochs"]
        changed = changed.changed(values)
        return changed if self.folds is None else replace(changed, folds=self.folds)

    def to_dict(self) -> dict[str, Any]:
        """Return what a reader of the results should know, by names that read well."""
        return {
            "epochs_at_most": self.epochs,
            "folds": self.folds,
            "seeds": self.seeds,
            "weights": self.weights and Path(self.weights).name,
            "size_px": self.size_px,
            **self.settings,
        }

    def _size(self, recipe: TrainingRecipe) -> dict[str, Any]:
        if recipe.members:  # else its own size would win over that of a member with a CLIP
            is_free = "size_px" in recipe.crop
        else:
            is_free = not recipe.config.model.startswith("open_clip:")
        return {"size_px": self.size_px} if is_free and self.size_px is not None else {}
