"""Training recipes: the files that come with the program, and what a file may say."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from roi_cls.base.errors import TrainingError
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.recipe import (
    TrainingRecipe,
    crop_fields,
    format_recipe,
    load_recipe,
    parse_recipe,
    recipe_names,
    train_fields,
)
from roi_cls.roi import CropParams

PROMISED = {
    *("resnet18-full", "mobilenetv2-two-phase", "resnet18-frozen", "efficientnet-roi"),
    *("convnext-full", "resnet-full", "efficientnet-full", "autoencoder", "clip-zero-shot"),
    *("clip-mlp", "ensemble-all", "ensemble-selective", "classical", "roi-plus-frame", "best"),
    *("beside", "best-ensemble"),
}


def test_every_promised_recipe_is_there() -> None:
    assert set(recipe_names()) >= PROMISED


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_of_the_program_is_sound(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.description.endswith(".")
    assert isinstance(recipe.config, TrainConfig)
    assert recipe.crop_params.size_px >= 32
    for member in recipe.members:
        assert not load_recipe(member).members


def test_no_setting_of_training_is_also_one_of_the_crop() -> None:
    assert not train_fields() & crop_fields()


def test_settings_come_from_the_file_and_else_from_the_defaults() -> None:
    recipe = parse_recipe(
        "mine",
        'description = "x"\nseeds = 2\n[train]\nlr = 1\nweights = "none"\n[crop]\nmargin = 0\n',
    )
    assert recipe.config == TrainConfig(lr=1.0, weights="none")
    assert recipe.crop_params == CropParams(margin=0.0)
    assert (recipe.name, recipe.folds, recipe.seeds, recipe.members) == ("mine", 0, 2, ())


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_is_read_back_from_its_text(name: str) -> None:
    recipe = load_recipe(name)
    assert parse_recipe(name, format_recipe(recipe, "said\nof it")) == recipe


def test_text_of_a_recipe_holds_every_kind_of_value() -> None:
    train = {"lr": 1e-5, "weights": 'C:\\a "b"\x7fé.pth', "epochs": 3, "frame": True}
    recipe = TrainingRecipe("x", "A.", {**train, "head_epochs": None}, {"margin": 0.0}, abstain=0.1)
    text = format_recipe(recipe, "One line.")
    assert parse_recipe("x", text) == replace(recipe, train=train)
    assert text.startswith('description = "A."\n# One line.\nabstain = 0.1\n\n[train]\n')


def test_changed_replaces_each_setting_where_it_belongs() -> None:
    recipe = parse_recipe("mine", "[train]\nepochs = 3\n").changed({"epochs": 1, "size_px": 64})
    assert (recipe.config.epochs, recipe.crop_params.size_px) == (1, 64)
    with pytest.raises(ValueError, match="epochs must be at least 1"):
        recipe.changed({"epochs": 0})


def test_written_form_holds_all_that_decides_a_result() -> None:
    recipe = load_recipe("ensemble-selective")
    written = TrainingRecipe(**recipe.to_dict(), description=recipe.description)
    assert replace(written, members=recipe.members) == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[train]\nepoch = 3", "[train] has no key 'epoch'; did you mean 'epochs'?"),
        ("[crop]\nmargn = 3", "[crop] has no key 'margn'; did you mean 'margin'?"),
        ("[crop]\ndetector_sha256 = []", "[crop] has no key 'detector_sha256'"),
        ("fold = 3", "has no key 'fold'; did you mean 'folds'?"),
        ("zzz = 3", "has no key 'zzz'."),
        ("train = 3", "train must be a table, [train]"),
        ("[train]\nepochs = '3'", "epochs cannot be '3'"),
        ("[train]\nepochs = 2.5", "epochs cannot be 2.5"),
        ("[train]\nepochs = true", "epochs cannot be True"),
        ("[train]\nframe = 1", "frame cannot be 1"),
        ("[train]\nepochs = 0", "epochs must be at least 1, got 0"),
        ("[train]\noptimiser = 'lion'", "optimiser must be one of"),
        ("[crop]\nmargin = 9", "margin must be between 0 and 5, got 9.0"),
        ("folds = 1", "folds must be 0, or 2 or more, got 1"),
        ("seeds = 0", "seeds must be at least 1, got 0"),
        ("combine = 'vote'", "combine must be one of"),
        (
            "members = ['best', 'beside']\nweights = [1]",
            "weights must be above 0, one for each of 2",
        ),
        ("members = ['best', 'beside']\nweights = [1, 0]", "weights must be above 0, one for each"),
        ("weights = [1]", "weights must be above 0, one for each of 0 members"),
        ("members = ['best', 'beside']\nweights = 'many'", "weights must be a list of numbers"),
        ("members = ['best', 'beside']\nweights = [true, 1]", "weights must be a list of numbers"),
        ("members = 'best'", "members must be a list of recipes' names, got 'best'"),
        ("members = ['best']", "members must be two or more different recipes"),
        ("epochs", "it is no TOML"),
    ],
)
def test_wrong_file_is_refused_in_words(text: str, message: str) -> None:
    with pytest.raises(TrainingError, match=re.escape(message)) as caught:
        parse_recipe("mine", text)
    assert str(caught.value).startswith("Cannot use the recipe 'mine': ")
    assert str(caught.value).endswith("`roi-cls train --help-all` names the settings.")


def test_unknown_name_lists_all_recipes() -> None:
    with pytest.raises(TrainingError) as caught:
        load_recipe("resnet18-fulll")
    message = str(caught.value)
    assert "there is none of this name; did you mean 'resnet18-full'?" in message
    assert all(name in message for name in PROMISED)


def test_recipe_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[train]\nepochs = 3\n")
    assert load_recipe(str(path)) == TrainingRecipe("mine", train={"epochs": 3})


@pytest.mark.parametrize(("data", "reason"), [(None, "No such file"), (b"\xff", "no UTF-8 text")])
def test_file_that_cannot_be_read_is_told(tmp_path: Path, data: bytes | None, reason: str) -> None:
    path = tmp_path / "mine.toml"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(TrainingError, match=reason):
        load_recipe(str(path))
