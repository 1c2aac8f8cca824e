"""Systems, seeds and folds become members, each with its own name, seed and held-out fold."""

from pathlib import Path

import pytest

from roi_cls.base.errors import TrainingError
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.ensembles.train import System, plan_members, systems_of
from roi_cls.classifier.recipe import TrainingRecipe, load_recipe, parse_recipe
from roi_cls.roi import CropParams

A = System("a", TrainConfig(seed=3), CropParams())
B = System("b", TrainConfig(epochs=2), CropParams(crop="full"))


@pytest.mark.parametrize(
    ("systems", "folds", "seeds", "names"),
    [
        ([A], 0, 1, ["a"]),
        ([A], 0, 2, ["seed-3", "seed-4"]),
        ([A], 2, 1, ["fold-1", "fold-2"]),
        ([A], 2, 2, ["seed-3-fold-1", "seed-3-fold-2", "seed-4-fold-1", "seed-4-fold-2"]),
        ([A, B], 0, 1, ["a", "b"]),
        ([A, B], 2, 1, ["a-fold-1", "a-fold-2", "b-fold-1", "b-fold-2"]),
        ([A, B], 0, 2, ["a-seed-3", "a-seed-4", "b-seed-0", "b-seed-1"]),
    ],
)
def test_members_are_multiplied_out(
    systems: list[System], folds: int, seeds: int, names: list[str]
) -> None:
    assert [member.name for member in plan_members(systems, folds, seeds)] == names


def test_member_keeps_its_system_but_for_the_seed() -> None:
    members = plan_members([A, B], 2, 2)
    assert [m.place for m in members] == [0] * 4 + [1] * 4
    assert [m.fold for m in members] == [0, 1] * 4
    assert [m.system.config.seed for m in members] == [3, 3, 4, 4, 0, 0, 1, 1]
    assert {m.system.config.epochs for m in members if m.place == 1} == {2}


@pytest.mark.parametrize(
    ("systems", "folds", "seeds"), [([], 0, 1), ([A], 1, 1), ([A], 0, 0), ([A, A], 0, 1)]
)
def test_what_makes_no_plan_is_refused(systems: list[System], folds: int, seeds: int) -> None:
    with pytest.raises(ValueError, match=r"need systems|share a name"):
        plan_members(systems, folds, seeds)


def test_members_of_a_recipe_take_what_is_given_over_their_own() -> None:
    recipe = parse_recipe(
        "both", "members = ['efficientnet-roi', 'convnext-full']\n[train]\nepochs = 4\nseed = 7"
    )
    roi, full = systems_of(recipe, {"epochs": 2, "size_px": 64})
    assert (roi.name, roi.crop.crop, full.name, full.crop.crop) == (
        *("efficientnet-roi", "face", "convnext-full", "full"),
    )
    assert {(s.config.epochs, s.config.seed, s.crop.size_px) for s in (roi, full)} == {(2, 7, 64)}


def test_recipe_without_members_is_its_own_system() -> None:
    (found,) = systems_of(load_recipe("best"), {"epochs": 1})
    assert (found.name, found.config.epochs) == ("best", 1)


def test_ensemble_of_ensembles_is_refused() -> None:
    nested = TrainingRecipe("mine", members=("best", "ensemble-all"))
    with pytest.raises(TrainingError, match="its member 'ensemble-all' has members itself"):
        systems_of(nested, {})


def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "best.toml"
    file.write_text("[train]\nepochs = 1\n")
    with pytest.raises(TrainingError, match=r"two members are called 'best'.*Rename one"):
        systems_of(TrainingRecipe("mine", members=("best", str(file))), {})
