"""A model's folder: every field is read back, timm reads it, tampering is told, no pickle."""

import importlib
import json
import pickle
from collections.abc import Callable
from dataclasses import fields, replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from roi_cls.base.errors import BundleError, StorageError
from roi_cls.classifier.models.saved import load_model, save_bundle
from roi_cls.classifier.models.timm_model import create_model
from roi_cls.classifier.runs import bundle as bundle_module
from roi_cls.classifier.runs.bundle import (
    ModelBundle,
    Normalisation,
    load_bundle,
    make_shareable,
    package_versions,
    write_config,
)
from roi_cls.data.sample import LabelSet
from roi_cls.roi import CropParams

BUNDLE = ModelBundle(
    model="test_efficientnet",
    views=(
        CropParams(detector_sha256=("ab", "cd"), margin=0.1, size_px=32, align=True),
        CropParams(crop="full", size_px=48),
    ),
    labels=LabelSet(("zwei", "eins"), "eins"),
    normalisation=Normalisation((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)),
    temperature=0.1 + 0.2,
    offsets=(-1 / 3, 0.0),
    threshold=1 / 3,
    threshold_rule="recall>=0.8",
    abstain=0.05,
    mirror=True,
    data_digest="ff",
    training={"source": "somewhere", "config": {"lr": 1e-3}, "label_names": None},
)


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, nn.Module]:
    """A folder with a bundle of two classes, and its model in evaluation mode."""
    folder = tmp_path / "run #1 100% ü"
    folder.mkdir()
    torch.manual_seed(0)
    model = create_model(BUNDLE.model, "none", 2, 32)
    model(torch.randn(4, 3, 32, 32))
    save_bundle(folder, model, BUNDLE)
    return folder, model.eval()


@pytest.mark.parametrize("threshold", [None, 0.0, 0.25, 1.0])
def test_every_field_is_read_back(saved: tuple[Path, nn.Module], threshold: float | None) -> None:
    folder, model = saved
    bundle = replace(BUNDLE, threshold=threshold)
    save_bundle(folder, model, bundle)
    found = load_bundle(folder)
    for field in fields(ModelBundle):
        if field.name not in ("versions", "weights_sha256"):
            assert getattr(found, field.name) == getattr(bundle, field.name), field.name
    assert found.crop.digest == bundle.crop.digest
    assert found.versions == package_versions()
    assert len(found.weights_sha256) == 64
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("name", ["test_efficientnet", "test_vit"])
def test_timm_reads_the_folder_with_its_label_names(tmp_path: Path, name: str) -> None:
    model = create_model(name, "none", 2, 64)
    bundle = replace(BUNDLE, model=name, views=(CropParams(size_px=64),))
    save_bundle(tmp_path, model, bundle)
    timm = importlib.import_module("timm")  # not above: torchvision is made importable first
    read = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(read(images), model.eval()(images))
    assert read.pretrained_cfg["label_names"] == ["zwei", "eins"]
    assert tuple(read.pretrained_cfg["mean"]) == (0.1, 0.2, 0.3)
    assert tuple(read.pretrained_cfg["input_size"]) == (3, 64, 64)


def test_nothing_pickled_is_loaded_even_if_it_lies_there(
    saved: tuple[Path, nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, model = saved
    for name in ("pytorch_model.bin", "model.pth", "best.safetensors", "checkpoint.safetensors"):
        (folder / name).write_bytes(b"not the weights")

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("unpickled something")

    monkeypatch.setattr(pickle, "load", refuse)
    monkeypatch.setattr(pickle, "loads", refuse)
    monkeypatch.setattr(torch, "load", refuse)
    bundle = load_bundle(folder)
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(load_model(folder, bundle)(images), model(images))


Tamper = Callable[[Path, dict[str, Any]], None]
AGAIN = "Copy the whole folder again."


def _weights(folder: Path, config: dict[str, Any]) -> None:
    path = folder / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


@pytest.mark.parametrize(
    ("tamper", "why"),
    [
        (_weights, "model.safetensors is not the file its config.json describes"),
        (lambda d, c: (d / "model.safetensors").unlink(), "model.safetensors is missing."),
        (lambda d, c: c["roi_cls"].pop("weights_sha256"), "is not the file its config.json"),
        (lambda d, c: c["roi_cls"].pop("temperature"), "is damaged (KeyError: 'temperature')"),
        (lambda d, c: c["roi_cls"].update(temperature=0), "temperature must be above 0"),
        (lambda d, c: c["roi_cls"].update(temperature=float("nan")), "temperature must be above 0"),
        (lambda d, c: c["roi_cls"].update(offsets=[0]), "offsets must be finite, one per class"),
        (
            lambda d, c: c["roi_cls"].update(offsets=[0, float("inf")]),
            "offsets must be finite, one per class, got (0.0, inf)",
        ),
        (lambda d, c: c["roi_cls"].pop("mirror"), "is damaged (KeyError: 'mirror')"),
        (lambda d, c: c["roi_cls"].update(abstain=1), "abstain must be from 0 to below 1"),
        (lambda d, c: c["roi_cls"].update(views=[]), "views must name at least one crop recipe"),
        (lambda d, c: c["roi_cls"].update(network={}), "is damaged (KeyError: 'kind')"),
        (lambda d, c: c["roi_cls"].update(threshold=2), "threshold must be between 0 and 1"),
        (lambda d, c: c["roi_cls"].update(target="drei"), "target must be one of"),
        (
            lambda d, c: c["roi_cls"].update(labels=["a", "eins", "c"], offsets=[0, 0, 0]),
            "it has 2 outputs for 3",
        ),
        (lambda d, c: c["roi_cls"].update(labels=None), "is damaged (TypeError: "),
        (lambda d, c: c["roi_cls"].update(views=[[]]), "is damaged (AttributeError: "),
        (lambda d, c: c["roi_cls"]["normalisation"].update(std=[0, 0, 0]), "std above 0"),
        (lambda d, c: c["roi_cls"].update(normalisation=[]), "is damaged (TypeError: "),
    ],
)
def test_changed_folder_is_told(saved: tuple[Path, nn.Module], tamper: Tamper, why: str) -> None:
    folder, _ = saved
    config = json.loads((folder / "config.json").read_text())
    tamper(folder, config)
    write_config(folder, config)
    with pytest.raises(BundleError) as caught:
        load_bundle(folder)
    assert str(caught.value).startswith(f"Cannot use the model in {str(folder)!r}: ")
    assert why in str(caught.value)
    assert str(caught.value).endswith(AGAIN)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"threshold": 0.', '"threshold": 0.1'),
        ('"target": "eins"', '"target": "zwei"'),
        ('"margin": 0.1', '"margin": 0.4'),
        ('"num_classes": 2', '"num_classes": 3'),
    ],
)
def test_edited_configuration_is_told(saved: tuple[Path, nn.Module], old: str, new: str) -> None:
    path = saved[0] / "config.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(BundleError) as caught:
        load_bundle(saved[0])
    assert str(caught.value) == (
        f"Cannot use the model in {str(saved[0])!r}: config.json was changed after it was written "
        "(its SHA-256 differs). Copy the whole folder again; to decide otherwise, use --threshold "
        "and --abstain."
    )


@pytest.mark.parametrize(
    ("facts", "found"), [(None, "None"), ({"format": 1}, "1"), ("text", "None")]
)
def test_other_format_is_told(saved: tuple[Path, nn.Module], facts: object, found: str) -> None:
    folder, _ = saved
    config = json.loads((folder / "config.json").read_text())
    config["roi_cls"] = facts
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BundleError) as caught:
        load_bundle(folder)
    assert str(caught.value) == (
        f"Cannot use the model in {str(folder)!r}: its facts have format {found}, this "
        "program reads 3. Train again, or install the roi-cls that wrote it."
    )


@pytest.mark.parametrize("text", ["{", "[]", "{}", "\udcff"])
def test_config_that_is_none_is_told(saved: tuple[Path, nn.Module], text: str) -> None:
    folder, _ = saved
    (folder / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(BundleError) as caught:
        load_bundle(folder)
    message = str(caught.value)
    if text in ("[]", "{}"):
        why = "config.json describes no model. Give the folder of a run."
        assert message == f"Cannot use the model in {str(folder)!r}: {why}"
    else:
        assert "config.json cannot be read (" in message
        assert message.endswith(AGAIN)


def test_folder_without_a_finished_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(BundleError) as caught:
        load_bundle(tmp_path / "absent")
    assert str(caught.value) == (
        f"Cannot use {str(tmp_path / 'absent')!r}: there is no finished model in it. "
        "Train one with `roi-cls train DATA`, or finish it with --resume."
    )


def test_full_disk_leaves_no_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("timm.models._hub.save_config_for_hf", fail)
    with pytest.raises(StorageError, match="the disk is full"):
        save_bundle(tmp_path, create_model(BUNDLE.model, "none", 2, 32), BUNDLE)
    assert not (tmp_path / "config.json").exists()


def test_package_of_another_name_is_left_out_of_the_versions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def version(name: str) -> str:
        if name == "opencv-contrib-python":
            raise PackageNotFoundError(name)
        return "1.2"

    monkeypatch.setattr(bundle_module, "version", version)
    found = package_versions()
    assert found["torch"] == found["roi-cls"] == "1.2"
    assert "opencv-contrib-python" not in found


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (r"C:\data\set", "set"),
        ("C:/data/set", "set"),
        (r"\\server\share\set", "set"),
        ("/data/set", "set"),
        ("s3://bucket/set", "set"),
        ("set", "set"),
    ],
)
def test_shared_facts_tell_a_path_s_name_whatever_system_it_is_of(place: str, name: str) -> None:
    found = make_shareable(
        replace(BUNDLE, training={"source": place, "config": {"weights": place}})
    )
    assert found.training == {"source": name, "config": {"weights": name}}
