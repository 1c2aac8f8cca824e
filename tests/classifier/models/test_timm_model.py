"""Models of timm: their names, and weights from a file, from the hub or none."""

import importlib
import os
import pickle
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from roi_cls.base.errors import ModelNameError, TrainingError, WeightsError
from roi_cls.classifier.models import timm_model as model_module
from roi_cls.classifier.models.saved import save_weights
from roi_cls.classifier.models.timm_model import create_model, load_local_model, normalisation

NAME = "test_efficientnet"
REMEDIES = (
    "Choose: (1) --model tf_efficientnet_lite0 (its weights come with roi-cls); (2) --weights none "
    "(random weights; needs no network); (3) --weights PATH (a "
    ".safetensors or .pth file of this model); (4) HF_ENDPOINT=URL (a mirror of the hub), or run "
    "once where the hub can be reached: weights are kept in its cache."
)


class _Code:
    """Unpickling it would make a folder."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.mark),)


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    """A model with five classes whose batch norms have seen something."""
    torch.manual_seed(5)
    model = create_model(NAME, "none", 5, 32)
    model(torch.randn(8, 3, 32, 32))
    return model


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("efficientnet_bo", "timm does not know it. Did you mean efficientnet_b"),
        ("resnet180", "Did you mean resnet18"),
        ("§§§", "timm does not know it. See timm.list_models()."),
        ("hf-hub:someone/model", "timm does not know it."),
        ("resnet18.nope", "timm has no weights 'nope' for it. There are a1_in1k"),
    ],
)
def test_unknown_name_suggests_near_ones(name: str, message: str) -> None:
    with pytest.raises(ModelNameError) as caught:
        create_model(name, "none", 2, 32)
    assert str(caught.value).startswith(f"Cannot build the model {name!r}: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(("name", "size_px"), [(NAME, 33), ("test_vit", 64), ("test_resnet", 32)])
def test_random_model_sees_crops_of_its_size(name: str, size_px: int) -> None:
    torch.manual_seed(0)
    model = create_model(name, "none", 3, size_px, drop_rate=0.5)
    torch.manual_seed(0)
    again = create_model(name, "none", 3, size_px, drop_rate=0.5)
    assert all(again.state_dict()[k].equal(v) for k, v in model.state_dict().items())
    assert model.training
    assert model(torch.zeros(2, 3, size_px, size_px)).shape == (2, 3)


def test_fresh_head_favours_no_class() -> None:
    model = create_model(NAME, "none", 2, 32).eval()
    shares = model(torch.randn(4, 3, 32, 32)).softmax(1)
    torch.testing.assert_close(shares, torch.full((4, 2), 0.5), atol=0.1, rtol=0)


@pytest.mark.parametrize(
    ("name", "size_px", "why"),
    [
        ("test_vit", 40, "Input height (40) should be divisible by patch size (16)"),
        ("test_coatnet", 40, "The size of tensor a"),
    ],
)
def test_size_that_does_not_suit_the_model_is_told(name: str, size_px: int, why: str) -> None:
    with pytest.raises(TrainingError) as caught:
        create_model(name, "none", 2, size_px)
    message = str(caught.value)
    assert message.startswith(f"Cannot use the model {name!r} on crops of {size_px} px: {why}")
    assert message.endswith(". Use another --size, like 224, or another --model.")


def test_normalisation_is_that_of_the_weights() -> None:
    assert normalisation(create_model(NAME, "none", 2, 32))[0] == (0.485, 0.456, 0.406)
    assert normalisation(create_model("test_vit", "none", 2, 32)) == ((0.5,) * 3, (0.5,) * 3)


@pytest.mark.parametrize("form", [".pth", ".safetensors", "wrapped", "headless"])
def test_file_gives_every_tensor_but_the_heads(
    tmp_path: Path, trained: nn.Module, form: str
) -> None:
    path = tmp_path / f"weights{form if form[0] == '.' else '.pt'}"
    state = trained.state_dict()
    if form == ".safetensors":
        save_weights(path, trained)
    elif form == "wrapped":
        torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 3}, path)
    elif form == "headless":
        torch.save({k: v for k, v in state.items() if "classifier" not in k}, path)
    else:
        torch.save(state, path)
    found = create_model(NAME, str(path), 2, 32).state_dict()
    assert found["classifier.weight"].shape == (2, 256)
    body = [key for key in state if not key.startswith("classifier.")]
    assert all(found[key].equal(state[key]) for key in body)


def _damage(path: Path, model: nn.Module, mark: Path) -> None:
    kind = path.stem
    if kind == "truncated" and path.suffix == ".safetensors":
        save_weights(path, model)
    elif kind == "truncated":
        torch.save(model.state_dict(), path)
    elif kind == "code":
        path.write_bytes(pickle.dumps(_Code(mark), protocol=2))
    elif kind in ("zip", "module", "list"):
        torch.save({"zip": _Code(mark), "module": model, "list": [1, 2]}[kind], path)
    else:
        path.write_bytes(b"hello world" * 9 if kind == "garbage" else b"")
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:-9999])


@pytest.mark.parametrize(
    "kind",
    [
        *("truncated.pth", "truncated.safetensors", "garbage.pth", "garbage.safetensors"),
        *("empty.pth", "empty.safetensors", "code.pth", "zip.pth", "module.pth", "list.pth"),
    ],
)
def test_file_that_is_no_state_dict_is_refused_and_runs_nothing(
    tmp_path: Path, trained: nn.Module, kind: str
) -> None:
    path = tmp_path / kind
    _damage(path, trained, tmp_path / "mark")
    with pytest.raises(WeightsError) as caught:
        create_model(NAME, str(path), 2, 32)
    message = str(caught.value)
    assert message.startswith(
        f"Cannot load the weights {str(path)!r}: they are neither safetensors nor a plain torch "
        "state dict ("
    )
    assert message.endswith("). Files that hold code are refused.")
    assert not (tmp_path / "mark").exists()


def test_absent_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "absent.pth"
    with pytest.raises(WeightsError) as caught:
        create_model(NAME, str(path), 2, 32)
    assert str(caught.value) == (
        f"Cannot load the weights {str(path)!r}: there is no such file. "
        "Give --weights auto, hub, none, or the path of a .safetensors or .pth file, or of a "
        "folder with such files."
    )


def test_file_of_another_model_is_told(tmp_path: Path, trained: nn.Module) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, trained)
    with pytest.raises(WeightsError) as caught:
        create_model("test_resnet", str(path), 2, 32)
    message = str(caught.value)
    assert message.startswith(f"Cannot load the weights {str(path)!r} into 'test_resnet': the file")
    assert "lacks 'conv1.0.weight' and " in message
    assert " more that the model lacks. Give the file that belongs to --model." in message


def test_tensors_of_another_shape_are_told(tmp_path: Path, trained: nn.Module) -> None:
    path = tmp_path / "w.pth"
    torch.save({k: v[..., :1] if v.ndim == 4 else v for k, v in trained.state_dict().items()}, path)
    with pytest.raises(WeightsError) as caught:
        create_model(NAME, str(path), 2, 32)
    assert "size mismatch for " in str(caught.value)
    assert "Give the file that belongs to --model" in str(caught.value)


def test_vit_from_a_file_keeps_its_positions_or_says_that_it_cannot(tmp_path: Path) -> None:
    vit = create_model("test_vit", "none", 2, 64)
    path = tmp_path / "vit.safetensors"
    save_weights(path, vit)
    same = create_model("test_vit", str(path), 2, 64).state_dict()
    assert same["pos_embed"].equal(vit.state_dict()["pos_embed"])
    with pytest.raises(WeightsError) as caught:
        create_model("test_vit", str(path), 2, 32)
    assert "size mismatch for pos_embed" in str(caught.value)
    assert str(caught.value).endswith(
        "where only the position embeddings differ, use the --size it was trained with."
    )


def test_hub_that_cannot_be_reached_names_the_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_module, "is_cached", lambda repository: False)
    monkeypatch.setattr(model_module, "hub_failure", lambda path: f"no answer to {path}")
    with pytest.raises(WeightsError) as caught:
        create_model(NAME, "hub", 2, 32)
    assert str(caught.value) == (
        f"Cannot get the pretrained weights of {NAME!r} from the hub: no answer to "
        f"timm/test_efficientnet.r160_in1k/resolve/main/model.safetensors. {REMEDIES}"
    )


def test_automatic_weights_of_no_package_are_asked_of_the_hub(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(model_module, "is_cached", lambda repository: False)
    monkeypatch.setattr(model_module, "hub_failure", lambda path: "no answer")
    with pytest.raises(WeightsError, match="from the hub: no answer"):
        create_model(NAME, "auto", 2, 32)


def test_offline_switch_is_an_error_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    started = time.monotonic()
    with pytest.raises(WeightsError) as caught:
        create_model(NAME, "hub", 2, 32)
    assert time.monotonic() - started < 5
    assert ": HF_HUB_OFFLINE is set. Choose: " in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "text", "why"),
    [
        ("OSError", "We lost it.\nmore", "We lost it"),
        ("OSError", "", "OSError"),
        ("HTTPError", "peer closed connection", "peer closed connection"),
    ],
)
def test_download_that_breaks_is_told_on_one_line(
    monkeypatch: pytest.MonkeyPatch, kind: str, text: str, why: str
) -> None:
    errors = {"OSError": OSError, "HTTPError": sys.modules["huggingface_hub.errors"].HTTPError}

    def fail(*args: object, **kwargs: object) -> None:
        raise errors[kind](text)

    monkeypatch.setattr(model_module, "is_cached", lambda repository: True)
    monkeypatch.setattr("timm.create_model", fail)
    with pytest.raises(WeightsError) as caught:
        create_model(NAME, "hub", 2, 32)
    assert str(caught.value).endswith(f"from the hub: {why}. {REMEDIES}")


def test_hub_weights_are_asked_of_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module("timm").create_model
    asked: list[dict[str, Any]] = []

    def create(name: str, *, pretrained: bool = False, **arguments: Any) -> nn.Module:
        asked.append({"name": name, "pretrained": pretrained})
        model: nn.Module = real(name, **arguments)
        return model

    monkeypatch.setattr(model_module, "hub_failure", lambda path: None)
    monkeypatch.setattr(model_module, "is_cached", lambda repository: False)
    monkeypatch.setattr("timm.create_model", create)
    create_model(f"{NAME}.r160_in1k", "hub", 2, 32)
    assert asked == [{"name": f"{NAME}.r160_in1k", "pretrained": True}]


def test_model_without_published_weights_is_told() -> None:
    with pytest.raises(WeightsError) as caught:
        create_model("botnet50ts_256", "hub", 2, 32)
    assert str(caught.value) == (
        "Cannot get pretrained weights for 'botnet50ts_256': none were published. "
        "Use --weights none or --weights PATH."
    )


def test_folder_without_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        load_local_model(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"Cannot load the model in {str(tmp_path)!r}: Config file not found")
    assert message.endswith(". Copy the whole folder again.")
