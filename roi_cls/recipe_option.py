"""The option ``--recipe``: its values stand in for what the command line does not say."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from roi_cls.base.errors import TrainingError
from roi_cls.classifier.recipe import TrainingRecipe, crop_fields, load_recipe, train_fields

_GIVEN = ("COMMANDLINE", "ENVIRONMENT")


def given_settings(context: typer.Context) -> dict[str, Any]:
    """Return the settings of training and crop that the command line itself gives."""
    names = (train_fields() | crop_fields()) & context.params.keys()
    return {name: context.params[name] for name in sorted(names) if _is_given(context, name)}


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name in _GIVEN


def _parse(name: str) -> TrainingRecipe:
    try:
        return load_recipe(name)
    except TrainingError as error:
        raise typer.BadParameter(str(error)) from error


def _use(context: typer.Context, recipe: TrainingRecipe | None) -> TrainingRecipe | None:
    """Let the recipe's settings be the defaults of all options that are parsed after it."""
    if recipe is not None:
        own = {name: getattr(recipe, name) for name in ("folds", "seeds", "abstain")}
        context.default_map = {**(context.default_map or {}), **recipe.fields, **own}
    return recipe


Recipe = Annotated[
    TrainingRecipe | None,
    typer.Option(
        "--recipe",
        parser=_parse,
        callback=_use,
        is_eager=True,  # before the options whose defaults it sets
        metavar="NAME|PATH",
        help="A whole system, by the name that 'roi-cls recipes' lists or as a .toml file; other "
        "options replace its settings.",
    ),
]


def check_folds(folds: int | None) -> int | None:
    """Return the number of folds; one fold alone is wrong usage."""
    if folds == 1:
        raise typer.BadParameter("must be 0, or 2 or more, got 1")
    return folds


Folds = Annotated[
    int,
    typer.Option(
        min=0,
        callback=check_folds,
        help="Cross-validate: a model per fold of the training data, joined into one run with "
        "out-of-fold scores; 0: one model and one validation part.",
    ),
]
