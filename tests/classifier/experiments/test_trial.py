"""One budget for all systems: limits hold, what a recipe asks for below them stays."""

import pytest

from roi_cls.classifier.ensembles.train import systems_of
from roi_cls.classifier.experiments.trial import Budget
from roi_cls.classifier.recipe import load_recipe, parse_recipe


@pytest.mark.parametrize(
    ("text", "budget", "expected"),
    [
        ("epochs = 20\nhead_epochs = 10", Budget(epochs=4), {"epochs": 4, "head_epochs": 2}),
        ("epochs = 20", Budget(epochs=4), {"epochs": 4, "head_epochs": None}),
        ("epochs = 3", Budget(epochs=4), {"epochs": 3}),
        ("", Budget(weights="folder"), {"weights": "folder"}),
        ("weights = 'none'", Budget(weights="folder"), {"weights": "none"}),
        ("lr = 0.5", Budget(settings={"batch_size": 8}), {"batch_size": 8}),
    ],
)
def test_budget_limits_a_recipe(text: str, budget: Budget, expected: dict[str, object]) -> None:
    recipe = budget.apply(parse_recipe("mine", f"[train]\n{text}\n"))
    assert {name: getattr(recipe.config, name) for name in expected} == expected


def test_folds_and_crops_are_shared() -> None:
    recipe = Budget(folds=3, size_px=64).apply(load_recipe("best"))
    assert (recipe.folds, recipe.crop_params.size_px) == (3, 64)
    assert Budget().apply(recipe) == recipe


def test_clip_keeps_the_size_that_it_sees() -> None:
    assert Budget(size_px=64).apply(load_recipe("clip-mlp")).crop_params.size_px == 224


def test_members_of_an_ensemble_each_keep_within_the_budget() -> None:
    recipe = parse_recipe("mine", "members = ['resnet18-frozen', 'classical', 'best']")
    budget = Budget(epochs=15, weights="folder")
    systems = systems_of(budget.apply(recipe), {}, budget.apply)
    assert [s.config.epochs for s in systems] == [10, 10, 15]  # of those, the least
    assert [s.config.weights for s in systems] == ["folder", "none", "folder"]


@pytest.mark.parametrize(("crop", "sizes"), [("", [64, 224]), ("[crop]\nsize_px = 96", [64, 64])])
def test_clip_keeps_the_size_that_it_sees_beside_other_members(crop: str, sizes: list[int]) -> None:
    recipe = parse_recipe("mine", f"members = ['classical', 'clip-mlp']\n{crop}\n")
    budget = Budget(size_px=64)
    systems = systems_of(budget.apply(recipe), {}, budget.apply)
    assert [system.crop.size_px for system in systems] == sizes


def test_value_that_the_settings_refuse_is_refused() -> None:
    with pytest.raises(ValueError, match="size_px must be between"):
        Budget(size_px=1).apply(load_recipe("best"))
