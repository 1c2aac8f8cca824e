"""Which file of weights is meant, and that a model takes them."""

from pathlib import Path

import pytest

from roi_cls.base.errors import WeightsError
from roi_cls.classifier.models.saved import save_weights
from roi_cls.classifier.models.timm_model import create_model
from roi_cls.classifier.models.weights import find_weights


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with files of several models, and other files."""
    for name in (
        *("resnet18_a1.pth", "resnet18d.safetensors", "resnet180.pth"),
        *("vit-b-32.bin", "twice_a.pth", "twice_b.pth", "resnet18.txt"),
    ):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("model", "file"),
    [
        ("resnet18", "resnet18_a1.pth"),
        ("resnet18.a1_in1k", "resnet18_a1.pth"),
        ("resnet18d", "resnet18d.safetensors"),
        ("vit-b-32", "vit-b-32.bin"),
        ("open_clip:vit-b-32:openai", "vit-b-32.bin"),
        ("twice_b", "twice_b.pth"),
    ],
)
def test_file_named_like_the_model_is_found(folder: Path, model: str, file: str) -> None:
    assert find_weights(model, str(folder)) == folder / file


def test_a_file_is_taken_whatever_its_name(folder: Path) -> None:
    assert find_weights("other", str(folder / "resnet180.pth")) == folder / "resnet180.pth"


def test_several_and_none_are_told(folder: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        find_weights("twice", str(folder))
    assert str(caught.value) == (
        f"Cannot choose weights for 'twice' in {str(folder)!r}: several files are named like it "
        "(there: twice_a.pth, twice_b.pth). Give --weights the path of one file."
    )
    with pytest.raises(WeightsError) as caught:
        find_weights("vgg", str(folder))
    assert str(caught.value) == (
        f"Cannot choose weights for 'vgg' in {str(folder)!r}: no file is named like it (there: "
        "resnet180.pth, resnet18_a1.pth, resnet18d.safetensors, twice_a.pth, twice_b.pth, "
        "vit-b-32.bin). Give --weights the path of one file."
    )


def test_empty_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no file is named like it \(there: no file of weight"):
        find_weights("resnet18", str(tmp_path))


def test_model_takes_its_weights_from_a_folder(tmp_path: Path) -> None:
    model = create_model("test_efficientnet", "none", 3, 32)
    save_weights(tmp_path / "test_efficientnet.old.safetensors", model)
    read = create_model("test_efficientnet", str(tmp_path), 2, 32)
    stem = model.state_dict()["conv_stem.weight"]
    assert read.state_dict()["conv_stem.weight"].equal(stem)
