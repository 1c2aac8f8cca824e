"""``--recipe``: the command line wins over the recipe, the recipe over the defaults."""

from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from roi_cls.classifier.config import TrainConfig
from roi_cls.console.fields import RecipeName, given_settings, settings_options
from roi_cls.roi import CropParams

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
