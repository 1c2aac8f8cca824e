"""Search spaces: the usual one, those of a list or a file, and what is refused."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from roi_cls.base.errors import TrainingError
from roi_cls.classifier.experiments import space
from roi_cls.classifier.experiments.space import (
    Choices,
    Range,
    SearchSpace,
    named_space,
    prepare_base,
    read_space,
    usual_space,
)
from roi_cls.classifier.recipe import TrainingRecipe, load_recipe, parse_recipe, recipe_names

PLAIN = TrainingRecipe("plain")
Read = Callable[[str], SearchSpace]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def write_and_read(text: str) -> SearchSpace:
        path = tmp_path / "space.toml"
        path.write_text(text, encoding="utf-8")
        return read_space(PLAIN, path)

    return write_and_read


@pytest.mark.parametrize("name", recipe_names())
def test_usual_space_holds_the_recipe_itself(name: str) -> None:
    recipe = load_recipe(name)
    if recipe.members:
        with pytest.raises(TrainingError, match="it has members"):
            prepare_base(recipe)
        return
    usual = usual_space(prepare_base(recipe))
    assert set(usual.start) == set(usual.settings)
    again = usual.recipe(usual.start)
    # Unset means what is then given.
    first_phase = {"head_epochs": usual.base.config.first_phase}
    assert (
        again.changed({}).config
        == usual.base.changed(first_phase if "head_epochs" in usual.settings else {}).config
    )
    assert again.crop_params == usual.base.crop_params


def test_usual_space_is_of_what_matters_for_the_recipe() -> None:
    assert set(usual_space(PLAIN).settings) == {
        *("model", "size_px", "margin", "frame", "lr", "head_epochs", "epochs", "imbalance"),
        *("augmentation", "ema", "label_smoothing"),
    }
    assert "self_blend" in usual_space(load_recipe("best")).settings
    assert {"margin", "frame"}.isdisjoint(usual_space(load_recipe("resnet18-full")).settings)
    assert {"model", "size_px"}.isdisjoint(usual_space(load_recipe("clip-mlp")).settings)
    random = PLAIN.changed({"weights": "none"})
    assert {"model", "head_epochs"}.isdisjoint(usual_space(random).settings)
    assert set(usual_space(load_recipe("classical")).settings) <= {"size_px", "margin", "frame"}


def test_last_epoch_is_kept_so_that_no_fold_chooses_its_own() -> None:
    config = prepare_base(PLAIN).config
    assert (config.metric, config.patience) == ("last", 0)


def test_list_names_settings_by_field_or_option() -> None:
    found = named_space(PLAIN, "size, --margin,global-pool,mirror,lr")
    assert list(found.settings) == ["size_px", "margin", "global_pool", "mirror", "lr"]
    assert found.settings["size_px"] == Choices((160, 224, 288))
    assert found.settings["mirror"] == Choices((False, True))
    assert found.settings["lr"] == Range(1e-4, 2.5e-3, log=True)
    assert found.settings["global_pool"].holds(None)
    assert found.start["global_pool"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("size,bogus", "Cannot tune over 'bogus': there is no such setting. "),
        ("lr,lr", "Cannot tune over 'lr,lr': a setting is named twice."),
        ("seed", "Cannot tune over 'seed': the best seed is the luckiest one. Leave it out."),
        ("fallback", "Cannot tune over 'fallback': other values score other pictures. Leave"),
        ("patience", "each model keeps its last epoch, so that no fold chooses its own"),
        ("captions", "Cannot tune over 'captions': no values are usual for it. Give some in a "),
        ("crop,frame", "'--over': crop and frame exclude each other: take one of them."),
    ],
)
def test_list_of_what_cannot_be_tuned_is_refused(words: str, message: str) -> None:
    with pytest.raises(TrainingError, match=re.escape(message)):
        named_space(PLAIN, words)


def test_setting_with_one_value_at_hand_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space, "find_package", lambda model: None)
    with pytest.raises(TrainingError) as caught:
        named_space(PLAIN, "model")
    assert str(caught.value) == (
        "Cannot tune over 'model': no other value than 'tf_efficientnet_lite0' is at hand. Give "
        'some in a file: --search space.toml with a line like model = ["first", "second"] under '
        "[train]."
    )
    assert "model" not in usual_space(PLAIN).settings


@pytest.mark.parametrize(
    ("own", "sizes"), [(32, (32, 64)), (48, (32, 48, 64)), (288, (192, 288, 384))]
)
def test_usual_sizes_are_whole_blocks_around_the_recipes_own(
    own: int, sizes: tuple[int, ...]
) -> None:
    found = named_space(PLAIN.changed({"size_px": own}), "size")
    assert found.settings["size_px"] == Choices(sizes)


def test_file_gives_lists_and_ranges(read: Read) -> None:
    found = read(
        "[train]\nlr = {low = 1e-4, high = 1e-2, log = true}\nepochs = {low = 2, high = 5}\n"
        'imbalance = ["sampling", "none"]\n[crop]\nmargin = {low = 0.1, high = 0.8, step = 0.3}\n'
    )
    assert found.settings == {
        "lr": Range(1e-4, 1e-2, log=True),
        "epochs": Range(2, 5, is_whole=True),
        "imbalance": Choices(("sampling", "none")),
        "margin": Range(0.1, 0.1 + 0.3 * 2, step=0.3),
    }
    # Of the defaults' own values, 10 epochs lie outside.
    assert found.start == {"lr": 5e-4, "imbalance": "sampling", "margin": 0.1}
    assert found.to_dict()["imbalance"] == ["sampling", "none"]
    assert found.to_dict()["margin"] == {
        "low": 0.1,
        "high": 0.1 + 0.3 * 2,
        "log": False,
        "step": 0.3,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr = [1]", "it may have the tables [train] and [crop], not 'lr'."),
        ("[model]\nlr = [1]", "it may have the tables [train] and [crop], not 'model'."),
        ("", "it names no setting."),
        ("[train]\nmargin = [0, 1]", "Cannot tune over 'margin': there is no such setting in [tr"),
        ("[train]\nlr = [0.1]", "lr needs two or more values, got [0.1]."),
        ("[train]\nlr = [0.1, [2]]", "lr needs two or more values, got [0.1, [2]]."),
        ("[train]\nlr = 0.1", "lr must be a list, or a range with low, high and maybe log or"),
        ("[train]\nlr = {low = 1}", "lr must be a list, or a range with low, high and maybe"),
        ("[train]\nlr = {low = 'a', high = 2}", "lr has a range of numbers, got"),
        ("[train]\nlr = {low = 2, high = 1}", "lr must begin below its end, with log or step"),
        ("[train]\nlr = {low = 0, high = 1, log = true}", "lr must begin above 0, with log or s"),
        ("[train]\nlr = {low = 1, high = 2, log = true, step = 1}", "with log or step alone"),
        ("[train]\nlr = {low = 1, high = 2, step = 3}", "the step of lr must fit its range"),
        ("[train]\nlr = [0.1, -1]", "Cannot use the recipe 'space.toml': lr must be above 0, "),
        ("[train]\nlr = [0.1, 'fast']", "Cannot use the recipe 'space.toml': lr cannot be 'fast'"),
        ("[train]\nepochs = {low = 1, high = 2.5}", "epochs cannot be 2.5."),
        ("[train]\nseed = [1, 2]", "the best seed is the luckiest one"),
        ("[train", "Cannot read the search space"),
    ],
)
def test_file_that_says_what_no_setting_takes_is_refused(
    read: Read, text: str, message: str
) -> None:
    with pytest.raises(TrainingError, match=re.escape(message)):
        read(text)


def test_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"gone.toml': No such file or directory. Give a file"):
        read_space(PLAIN, tmp_path / "gone.toml")


def test_values_that_are_refused_together_are_a_value_error() -> None:
    base = parse_recipe("mine", "[train]\nepochs = 3\n")
    found = SearchSpace(base, {"epochs": Choices((1, 2))})
    with pytest.raises(ValueError, match="epochs must be at least 1"):
        found.recipe({"epochs": 0})
