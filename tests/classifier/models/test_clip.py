"""CLIP: the real code path on a tiny tower with random weights, and every way it can fail."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from roi_cls.base.errors import ModelNameError, TrainingError, WeightsError
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.models import clip, origin
from roi_cls.classifier.models.backbone import build_backbone
from roi_cls.classifier.models.clip import ClipTower, build_tower, check_clip_name, load_clip
from roi_cls.classifier.models.network import FeatureNetwork, build_network
from roi_cls.classifier.models.saved import describe, load_kind, load_model, save_weights
from roi_cls.classifier.models.timm_model import normalisation
from roi_cls.classifier.runs.bundle import load_bundle
from roi_cls.classifier.training.job import Observers, TrainJob
from roi_cls.classifier.training.methods.zero_shot import parse_captions
from roi_cls.classifier.training.optimiser import freeze_for
from roi_cls.classifier.training.run import train_run
from roi_cls.roi import CropParams

open_clip = clip.import_open_clip()
MakeJob = Callable[..., TrainJob]
NAME = "tiny-test"
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
VISION: dict[str, dict[str, Any]] = {
    "vit": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "resnet": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "head_width": 16},
}


@pytest.fixture(params=["vit", "resnet"])
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a tiny CLIP that open_clip knows during the test."""
    folder = tmp_path_factory.mktemp("clip")
    vision = VISION[request.param]
    config = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": TEXT}
    (folder / f"{NAME}.json").write_text(json.dumps(config))
    before = dict(open_clip.factory._MODEL_CONFIGS)
    open_clip.add_model_config(folder)
    yield NAME
    open_clip.factory._MODEL_CONFIGS.clear()
    open_clip.factory._MODEL_CONFIGS.update(before)


only_vit = pytest.mark.parametrize("tiny", ["vit"], indirect=True)


def _images(name: str, count: int = 3) -> torch.Tensor:
    side = open_clip.get_model_config(name)["vision_cfg"]["image_size"]
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def test_tower_gives_the_clips_own_embeddings(tiny: str) -> None:
    whole = load_clip(tiny, "none")
    images = _images(tiny)
    tower, facts = clip.tower_of(whole, tiny, images.shape[-1])
    with torch.no_grad():
        wanted = whole.encode_image(images)  # type: ignore[operator]  # a method
        assert torch.equal(tower(images), wanted)
    assert json.loads(json.dumps(facts)) == facts
    assert normalisation(tower)[0] == pytest.approx((0.48145466, 0.4578275, 0.40821073))


def test_network_around_a_tower_is_built_again(tiny: str, tmp_path: Path) -> None:
    images = _images(tiny, 4)
    backbone = build_backbone(f"open_clip:{tiny}", "none", images.shape[-1])
    assert backbone.features == 16
    network = FeatureNetwork.around(backbone, 3, views=2, hidden=4).eval()
    save_weights(tmp_path / "w.safetensors", network)
    open_clip.factory._MODEL_CONFIGS.pop(tiny)  # a bundle needs no registry
    read = load_kind(describe(network), tmp_path / "w.safetensors")
    with torch.no_grad():
        assert torch.equal(read(images), network(images))
    assert not any("text" in name or "token_embedding" in name for name in read.state_dict())


def test_tower_can_be_trained_in_phases(tiny: str) -> None:
    side = _images(tiny).shape[-1]
    config = TrainConfig(model=f"open_clip:{tiny}", weights="none")
    network = build_network(config, 2, side)
    freeze_for(network, 1)
    names = {name for name, p in network.named_parameters() if p.requires_grad}
    assert any(name.startswith("head.") for name in names)
    assert any(name.startswith("backbone.") for name in names)
    stem = [name for name, p in network.named_parameters() if not p.requires_grad]
    assert "backbone.visual.conv1.weight" in stem
    network(_images(tiny)).sum().backward()


@only_vit
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_weights_come_from_a_file(tiny: str, tmp_path: Path, suffix: str) -> None:
    torch.manual_seed(3)
    whole = load_clip(tiny, "none")
    path = tmp_path / f"{NAME}_weights{suffix}"
    if suffix == ".pt":
        torch.save(whole.state_dict(), path)
    else:
        save_weights(path, whole)
    for given in (path, tmp_path):
        tower, _ = build_tower(tiny, str(given), 32)
        assert torch.equal(tower.visual.conv1.weight, whole.visual.conv1.weight)  # type: ignore[union-attr, arg-type]  # the stubs know no submodule


@only_vit
@pytest.mark.parametrize("content", [b"no weights", b""])
def test_file_that_holds_no_weights_is_told(tiny: str, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.pt"
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        build_tower(tiny, str(path), 32)
    message = str(caught.value)
    assert message.startswith(f"Cannot load the weights {str(path)!r} into 'open_clip:{tiny}': ")
    assert message.endswith("of this model; files that hold code are refused.")


@only_vit
def test_weights_of_another_model_are_told(tiny: str, tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", torch.nn.Linear(2, 2))
    with pytest.raises(WeightsError, match="Cannot load the weights"):
        build_tower(tiny, str(tmp_path / "w.safetensors"), 32)


@only_vit
def test_crops_of_another_size_are_told(tiny: str) -> None:
    with pytest.raises(TrainingError) as caught:
        build_tower(tiny, "none", 48)
    assert str(caught.value) == (
        f"Cannot use the model 'open_clip:{tiny}' on crops of 48 px: it sees 32 px. Use --size 32."
    )


def test_unknown_names_are_told_with_the_nearest() -> None:
    with pytest.raises(ModelNameError) as caught:
        check_clip_name("ViT-B-23")
    assert str(caught.value).startswith(
        "Cannot build the model 'open_clip:ViT-B-23': open_clip does not know it. Did you mean "
    )
    assert "ViT-B-32" in str(caught.value)
    with pytest.raises(ModelNameError, match=r"See open_clip\.list_models"):
        check_clip_name("§")
    with pytest.raises(ModelNameError) as caught:
        check_clip_name("ViT-B-32:openia")
    message = "Cannot build the model 'open_clip:ViT-B-32:openia': open_clip has no weights 'openia"
    assert str(caught.value).startswith(message)
    assert "There are openai, laion400m_e31, " in str(caught.value)
    check_clip_name("ViT-B-32:openai")


def test_hub_that_cannot_be_reached_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def fail(path: str) -> str:
        asked.append(path)
        return "no answer"

    monkeypatch.setattr(clip, "hub_failure", fail)
    monkeypatch.setattr(clip, "is_cached", lambda repository: False)
    with pytest.raises(WeightsError) as caught:
        build_tower("ViT-B-32", "hub", 224)
    message = str(caught.value)
    assert message.startswith(
        "Cannot get the pretrained weights of 'open_clip:ViT-B-32' from the hub: no answer. "
        "Choose: (1) --model tf_efficientnet_lite0"
    )
    assert asked == ["timm/vit_base_patch32_clip_224.openai/resolve/main/open_clip_config.json"]
    assert origin.HUB_REMEDIES[3] in message


@only_vit
def test_model_without_published_weights_is_told(tiny: str) -> None:
    with pytest.raises(WeightsError) as caught:
        load_clip(tiny, "hub")
    assert str(caught.value) == (
        f"Cannot get pretrained weights for 'open_clip:{tiny}': none were published. "
        "Use --weights none or --weights PATH."
    )


def test_missing_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(TrainingError) as caught:
        build_backbone("open_clip:ViT-B-32", "none", 224)
    assert str(caught.value) == (
        "Cannot use a CLIP model: open_clip is not installed. "
        "Install it: pip install 'roi-cls[clip]'."
    )


def test_openais_towers_keep_their_activation() -> None:
    vision = VISION["vit"]
    quick = ClipTower(16, vision, (0,) * 3, (1,) * 3, quick_gelu=True)
    plain = ClipTower(16, vision, (0,) * 3, (1,) * 3)
    plain.load_state_dict(quick.state_dict())
    images = torch.randn(2, 3, 32, 32)
    assert clip._has_quick_gelu(quick)
    assert not clip._has_quick_gelu(plain)
    with torch.no_grad():
        assert not torch.equal(quick(images), plain(images))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("red=a red wall,blue=the sea", ("a red wall", "the sea")),
        ("blue= the sea, at noon ,red=a=b", ("a=b", "the sea, at noon")),
        ("blue=x, red=y", ("y", "x")),
    ],
)
def test_captions_are_read_in_the_order_of_the_classes(text: str, found: tuple[str, str]) -> None:
    assert parse_captions(text, ("red", "blue")) == found


@pytest.mark.parametrize("text", [None, "", "red=x", "x", "red=x,red=y,blue=z", "q,red=x,blue=y"])
def test_captions_that_do_not_name_each_class_once_are_told(text: str | None) -> None:
    with pytest.raises(TrainingError) as caught:
        parse_captions(text, ("red", "blue"))
    assert str(caught.value) == (
        f"Cannot compare with the captions {text!r}: one is needed for each of red, blue. "
        "Give them as --captions 'red=a photo that shows red,blue=a photo that shows blue'."
    )


@only_vit
def test_zero_shot_run_scores_as_the_clip_itself(
    tiny: str, toy_set: Path, make_job: MakeJob, tmp_path: Path
) -> None:
    torch.manual_seed(5)
    whole = load_clip(tiny, "none")
    save_weights(tmp_path / "w.safetensors", whole)
    job = make_job(
        toy_set,
        tmp_path / "run",
        method="zero_shot",
        model=f"open_clip:{tiny}",
        weights=str(tmp_path / "w.safetensors"),
        captions="red=a red wall,blue=the blue sea",
        calibrate=False,
    )
    assert train_run(job, Observers()).trained
    bundle = load_bundle(job.run.path)
    network = load_model(job.run.path, bundle)
    tokens = open_clip.get_tokenizer(tiny)(
        [{"red": "a red wall", "blue": "the blue sea"}[name] for name in bundle.labels.names]
    )
    images = _images(tiny)
    with torch.no_grad():
        wanted, _ = whole.get_logits(images, tokens)  # type: ignore[operator]  # a method
        torch.testing.assert_close(network(images), wanted, atol=1e-5, rtol=1e-5)
    assert bundle.crop == CropParams(crop="full", size_px=32)


def test_zero_shot_wants_a_clip(toy_set: Path, make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(toy_set, tmp_path / "run", method="zero_shot", captions="red=a,blue=b")
    with pytest.raises(TrainingError) as caught:
        train_run(job, Observers())
    assert str(caught.value) == (
        "Cannot compare with captions by 'test_efficientnet': it reads no text. "
        "Use --model open_clip:ViT-B-32 or another CLIP."
    )


@only_vit
def test_mlp_on_clip_embeddings_learns(
    tiny: str, toy_set: Path, make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job(
        toy_set,
        tmp_path / "run",
        method="embedding",
        model=f"open_clip:{tiny}",
        hidden=8,
        epochs=10,
        lr=0.02,
    )
    assert train_run(job, Observers()).trained
    lines = job.run.metrics.read_text().splitlines()
    assert max(json.loads(line)["roc_auc"] for line in lines) > 0.9
    assert np.isfinite([json.loads(line)["train_loss"] for line in lines]).all()
