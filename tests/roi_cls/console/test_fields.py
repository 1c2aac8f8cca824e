"""Options are read off the settings; the command line wins over the recipe, it over defaults."""

import inspect
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from roi_cls.classifier.config import TrainConfig
from roi_cls.console import fields as module
from roi_cls.console.fields import RecipeName, field_docs, given_settings, settings_options
from roi_cls.data.split import SplitParams
from roi_cls.roi import CropParams

SETTINGS = (CropParams, TrainConfig, SplitParams)


@dataclass(frozen=True, slots=True)
class Paint:
    """How to paint."""

    width_px: int = 3
    """Of the ``brush``,
    in pixels."""
    is_dry: bool = False
    """Dry it."""
    max_pixels: int = 7
    """Set elsewhere."""

    def __post_init__(self) -> None:
        if self.width_px < 1:
            raise ValueError(f"width_px must be at least 1, got {self.width_px}")


def make_app(monkeypatch: pytest.MonkeyPatch, seen: list[Any]) -> typer.Typer:
    monkeypatch.setitem(module._PANELS, "Paint", "Paint")
    app = typer.Typer()

    @app.command()
    @settings_options
    def paint(target: str, settings: Paint, twice: bool = False) -> None:
        seen.extend([target, settings, twice])

    return app


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["wall"], ["wall", Paint(), False]),
        (["wall", "--width", "5", "--is-dry", "--twice"], ["wall", Paint(5, True), True]),
        (["wall", "--no-is-dry"], ["wall", Paint(), False]),
    ],
)
def test_options_become_the_settings(
    monkeypatch: pytest.MonkeyPatch, words: list[str], expected: list[Any]
) -> None:
    seen: list[Any] = []
    result = CliRunner().invoke(make_app(monkeypatch, seen), words)
    assert result.exit_code == 0, result.output
    assert seen == expected


def test_value_that_the_settings_refuse_is_a_usage_error_that_names_the_option(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Any] = []
    result = CliRunner().invoke(make_app(monkeypatch, seen), ["wall", "--width", "0"])
    assert result.exit_code == 2
    assert "--width must be at least 1, got 0" in result.output
    assert seen == []


def test_field_that_is_set_elsewhere_is_no_option(monkeypatch: pytest.MonkeyPatch) -> None:
    result = CliRunner().invoke(make_app(monkeypatch, []), ["wall", "--max-pixels", "9"])
    assert result.exit_code == 2
    assert "--max-pixels" in result.output


def test_help_is_the_text_under_the_field_on_one_line() -> None:
    assert field_docs(Paint) == {
        "width_px": "Of the 'brush', in pixels.",
        "is_dry": "Dry it.",
        "max_pixels": "Set elsewhere.",
    }


@pytest.mark.parametrize("settings", SETTINGS)
def test_every_field_of_the_settings_has_a_text(settings: type[Any]) -> None:
    assert set(field_docs(settings)) == {field.name for field in fields(settings)}


def test_no_two_settings_of_a_command_share_a_name() -> None:
    names = [field.name for settings in SETTINGS for field in fields(settings)]
    assert len(names) == len(set(names))


def test_defaults_are_those_of_the_settings() -> None:
    @settings_options
    def command(params: CropParams) -> None:
        pass

    parameters = inspect.signature(command).parameters
    assert {name: p.default for name, p in parameters.items()} == {
        field.name: field.default for field in fields(CropParams) if field.name in parameters
    }
    assert "detector_sha256" not in parameters
    assert "params" not in parameters


RECIPE = """
description = "Small."
folds = 3
[train]
epochs = 7
lr = 0.25
frame = true
batch_size = 9
[crop]
crop = "full"
size_px = 64
"""


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    path = tmp_path / "small.toml"
    path.write_text(RECIPE)
    return str(path)


def invoke(words: list[str]) -> dict[str, Any]:
    """Return what a command with the settings of training and crop makes of ``words``."""
    seen: dict[str, Any] = {}
    app = typer.Typer()

    @app.command()
    @settings_options
    def train(
        ctx: typer.Context,
        config: TrainConfig,
        params: CropParams,
        recipe: RecipeName = None,
        folds: int = 0,
        seeds: int = 1,
    ) -> None:
        seen.update(config=config, params=params, recipe=recipe, folds=folds, seeds=seeds)
        seen.update(given=given_settings(ctx))

    result = CliRunner().invoke(app, words)
    seen["code"], seen["output"] = result.exit_code, " ".join(result.output.split())
    return seen


def test_recipe_wins_over_defaults(recipe: str) -> None:
    seen = invoke(["--recipe", recipe])
    assert seen["config"] == TrainConfig(epochs=7, lr=0.25, frame=True, batch_size=9)
    assert seen["params"] == CropParams(crop="full", size_px=64)
    assert (seen["folds"], seen["seeds"]) == (3, 1)
    assert seen["given"] == {}


@pytest.mark.parametrize("is_first", [True, False])
def test_command_line_wins_over_the_recipe_wherever_it_stands(recipe: str, is_first: bool) -> None:
    words = ["--epochs", "2", "--no-frame", "--size", "32", "--folds", "0"]
    named = ["--recipe", recipe]
    seen = invoke([*named, *words] if is_first else [*words, *named])
    assert seen["config"] == TrainConfig(epochs=2, lr=0.25, batch_size=9)
    assert seen["params"] == CropParams(crop="full", size_px=32)
    assert seen["folds"] == 0
    assert seen["given"] == {"epochs": 2, "frame": False, "size_px": 32}


def test_without_a_recipe_defaults_stand() -> None:
    seen = invoke([])
    assert (seen["config"], seen["params"], seen["recipe"]) == (TrainConfig(), CropParams(), None)


def test_unknown_recipe_is_wrong_usage_and_lists_all() -> None:
    seen = invoke(["--recipe", "bets"])
    assert seen["code"] == 2
    assert "did you mean 'best'?" in seen["output"]
    assert "clip-mlp" in seen["output"]
