"""Fields of the settings' dataclasses as options: one name, one default, one help text.

The values of ``--recipe`` stand in for what the command line does not say. Options that are no
field of a dataclass are in ``arguments``.
"""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import textwrap
import typing
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Annotated, Any, Literal, TypeVar

import typer

from roi_cls.base.errors import TrainingError
from roi_cls.classifier.recipe import (
    TrainingRecipe,
    crop_fields,
    load_recipe,
    recipe_names,
    train_fields,
)

Command = TypeVar("Command", bound=Callable[..., None])
NumberOrAuto = int | Literal["auto"]
_UNITS = ("_px",)  # a field says its unit, an option says it in its help
_NOT_OPTIONS = frozenset({"detector_sha256", "cache", "max_pixels"})
"""Fields that are found out, or that an option with an environment variable sets."""
_GIVEN = ("COMMANDLINE", "ENVIRONMENT")
_PANELS = {"CropParams": "Crop", "TrainConfig": "Training", "SplitParams": "Split"}


def settings_options(command: Command) -> Command:
    """Return the command with each settings parameter spread out into options.

    A value that the settings refuse is a usage error (exit code 2).
    """
    hints = typing.get_type_hints(command, include_extras=True)
    signature = inspect.signature(command)
    groups = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in signature.parameters.items():
        if name in groups:
            parameters += _spread(typing.cast(type, groups[name]))
        else:
            keyword = inspect.Parameter.KEYWORD_ONLY
            parameters.append(parameter.replace(annotation=hints[name], kind=keyword))

    @functools.wraps(command)
    def run(**values: Any) -> None:
        for name, settings in groups.items():
            chosen = {
                field.name: values.pop(field.name)
                for field in _option_fields(typing.cast(type, settings))
            }
            try:
                values[name] = typing.cast(Callable[..., Any], settings)(**chosen)
            except ValueError as error:
                raise typer.BadParameter(_in_options(str(error))) from error
        command(**values)

    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # what typer reads
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    del run.__wrapped__  # typer would look through to the settings parameters
    return typing.cast(Command, run)


def _spread(settings: type) -> list[inspect.Parameter]:
    hints = typing.get_type_hints(settings)
    helps = _docs_once(settings)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=_annotate(
                field, hints[field.name], helps[field.name], _PANELS[settings.__name__]
            ),
        )
        for field in _option_fields(settings)
    ]


def _annotate(field: Field[Any], hint: Any, text: str, panel: str) -> Any:
    names = _option_names(field, hint)
    if hint == NumberOrAuto:  # typer takes no union; its parser makes either kind of the word
        option = typer.Option(
            *names, help=text, rich_help_panel=panel, parser=_number_or_auto, metavar="N|auto"
        )
        return Annotated[str, option]
    return Annotated[hint, typer.Option(*names, help=text, rich_help_panel=panel)]


def _number_or_auto(word: str | int) -> NumberOrAuto:
    if word == "auto":
        return "auto"
    try:
        return int(word)
    except ValueError as error:
        raise typer.BadParameter(f"{word!r} is neither a number nor auto") from error


def _option_fields(settings: type) -> list[Field[Any]]:
    return [f for f in fields(settings) if f.name not in _NOT_OPTIONS and f.default is not MISSING]


def _option_names(field: Field[Any], hint: object) -> list[str]:
    option = _option(field.name)
    return [f"{option}/--no-{option[2:]}"] if hint is bool else [option]


def _option(name: str) -> str:
    for unit in _UNITS:
        name = name.removesuffix(unit)
    return "--" + name.replace("_", "-")


def changed_options(settings: Any) -> list[str]:
    """Return the words of the command line that give what differs from the settings' defaults."""
    words = []
    for field in _option_fields(type(settings)):
        value, option = getattr(settings, field.name), _option(field.name)
        if value == field.default:
            continue
        if isinstance(value, bool):
            words.append(option if value else f"--no-{option[2:]}")
        else:
            words += [option, str(value)]
    return words


def _in_options(message: str) -> str:
    """Return a settings' message with the option for the field that it begins with."""
    name, space, rest = message.partition(" ")
    return f"{_option(name)}{space}{rest}"


@functools.cache  # several commands spread the same settings, and each start pays for it
def _docs_once(settings: type) -> dict[str, str]:
    return field_docs(settings)


def field_docs(settings: type) -> dict[str, str]:
    """Return the string under each field of a dataclass, on one line."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(settings)))
    body = typing.cast(ast.ClassDef, tree.body[0]).body
    docs = {}
    for field, text in itertools.pairwise(body):
        is_text = isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and is_text:
            value = typing.cast(ast.Constant, typing.cast(ast.Expr, text).value).value
            docs[field.target.id] = " ".join(str(value).split()).replace("``", "'")
    return docs


def _parse_recipe(name: str) -> TrainingRecipe:
    try:
        return load_recipe(name)
    except TrainingError as error:
        raise typer.BadParameter(str(error)) from error


def _use_recipe(context: typer.Context, recipe: TrainingRecipe | None) -> TrainingRecipe | None:
    """Let the recipe's settings be the defaults of all options that are parsed after it."""
    if recipe is not None:
        own = {name: getattr(recipe, name) for name in ("folds", "seeds", "abstain")}
        context.default_map = {**(context.default_map or {}), **recipe.fields, **own}
    return recipe


def suggest_recipes(incomplete: str) -> list[str]:
    """Return the recipes whose names begin so, for a shell; behind a comma, one more."""
    given, comma, begun = incomplete.rpartition(",")
    return [given + comma + name for name in recipe_names() if name.startswith(begun)]


RecipeName = Annotated[
    TrainingRecipe | None,
    typer.Option(
        "--recipe",
        parser=_parse_recipe,
        autocompletion=suggest_recipes,
        callback=_use_recipe,
        is_eager=True,  # before the options whose defaults it sets
        metavar="NAME|PATH",
        help="A whole system by name, or a .toml file; 'roi-cls recipes' lists them, other options "
        "replace its settings.",
    ),
]


def given_settings(context: typer.Context) -> dict[str, Any]:
    """Return the settings of training and crop that the command line itself gives."""
    names = (train_fields() | crop_fields()) & context.params.keys()
    return {name: context.params[name] for name in sorted(names) if _is_given(context, name)}


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name in _GIVEN
