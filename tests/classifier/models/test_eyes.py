"""The eyes close up: what the network sees of a crop, and where what it found lies."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from roi_cls.base.errors import TrainingError
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.models.eyes import EyesNetwork
from roi_cls.classifier.models.network import build_network
from roi_cls.classifier.models.saved import describe, load_kind, save_weights
from roi_cls.classifier.models.timm_model import normalisation
from roi_cls.classifier.training.optimiser import freeze_for

CONFIG = TrainConfig(model="test_efficientnet", weights="none", drop_rate=0, eyes=True)
SIZE, STRIDE = 320, 32
TOP, HEIGHT = 2 * STRIDE, 3 * STRIDE
"""The band of a crop of 320 px: 0.2 and 2/7 of ten places are two and three."""


def _build(size_px: int = SIZE, name: str = CONFIG.model) -> EyesNetwork:
    torch.manual_seed(0)
    network = build_network(replace(CONFIG, model=name), 2, size_px).eval()
    assert isinstance(network, EyesNetwork)
    return network


def _images(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def test_the_canvas_holds_the_face_and_both_halves_of_the_band(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, seen, images = _build(), [], _images()

    def keep(canvas: torch.Tensor) -> torch.Tensor:
        seen.append(canvas)
        return canvas

    monkeypatch.setattr(network.backbone, "forward_features", keep)
    network.maps(images)
    (canvas,) = seen
    half = SIZE // 2
    assert canvas.shape == (2, 3, half + 2 * HEIGHT, half)
    face = images.view(2, 3, half, 2, half, 2).mean((3, 5))
    torch.testing.assert_close(canvas[:, :, :half], face)
    band = images[:, :, TOP : TOP + HEIGHT]
    torch.testing.assert_close(canvas[:, :, half : half + HEIGHT], band[..., :half])
    torch.testing.assert_close(canvas[:, :, half + HEIGHT :], band[..., half:])


def test_each_picture_is_answered_by_itself_and_fine_detail_of_the_eyes_counts() -> None:
    network, images = _build(), _images()
    with torch.no_grad():
        network.get_parameter("head.1.weight").normal_()
        logits = network(images)
        assert logits.shape == (2, 2)
        torch.testing.assert_close(network(images[1:]), logits[1:])
        checks = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(16, 16)
        for top, is_seen in ((TOP + 32, True), (SIZE - 32, False)):
            changed = images.clone()
            changed[1, :, top : top + 32, 64:96] += checks  # gone where two by two become one
            other = network(changed)
            assert torch.allclose(other[0], logits[0], atol=1e-5)
            assert torch.allclose(other[1], logits[1], atol=1e-5) != is_seen


def test_what_a_place_does_is_laid_where_it_lies_in_the_crop() -> None:
    network = _build()
    side = SIZE // 2 // STRIDE
    rows = side + 2 * HEIGHT // STRIDE
    effects = torch.zeros(3, rows, side)
    effects[0, 4, 1] = 1  # the face's fifth row, second column
    effects[1, side, 0] = 1  # the right half's first
    effects[2, rows - 1, side - 1] = 1  # the left half's last
    found = network.spread(effects)
    assert found.shape == (3, 2 * side, 2 * side)
    torch.testing.assert_close(found.sum((1, 2)), torch.ones(3))
    assert found[0].nonzero().tolist() == [[8, 2], [8, 3], [9, 2], [9, 3]]
    assert found[1].nonzero().tolist() == [[2, 0]]
    assert found[2].nonzero().tolist() == [[4, 2 * side - 1]]


@pytest.mark.parametrize(("size_px", "used"), [(224, 256), (200, 192), (48, 64), (20, 64)])
def test_crops_of_other_sizes_are_brought_to_the_nearest_that_fits(size_px: int, used: int) -> None:
    network, fitting = _build(size_px), _build(used)
    images = _images()[:, :, :size_px, :size_px]
    resized = torch.nn.functional.interpolate(images, (used, used), mode="bilinear")
    with torch.no_grad():
        torch.testing.assert_close(network.maps(images), fitting.maps(resized))


def test_it_is_rebuilt_from_its_description(tmp_path: Path) -> None:
    network, images = _build(), _images(1)
    save_weights(tmp_path / "model.safetensors", network)
    again = load_kind(describe(network), tmp_path / "model.safetensors")
    with torch.no_grad():
        assert torch.equal(again(images), network(images))
    assert normalisation(again) == normalisation(network)


def test_the_head_can_learn_alone() -> None:
    network = _build()
    freeze_for(network, 0)
    assert {n for n, p in network.named_parameters() if p.requires_grad} == {
        "head.1.weight",
        "head.1.bias",
    }


@pytest.mark.parametrize(
    ("name", "features"),
    [
        ("test_efficientnet", 256),
        ("test_resnet", 96),
        ("test_convnext", 64),
        ("mobilenetv3_small_050", 1024),
        ("ghostnet_050", 1280),
        ("lcnet_035", 1280),
        ("vgg11", 512),
    ],
)
def test_all_that_learns_of_a_backbone_is_used(name: str, features: int, tmp_path: Path) -> None:
    network = _build(128, name).train()
    assert network.get_parameter("head.1.weight").shape == (2, 2 * features)
    network(_images()[..., :128, :128]).sum().backward()
    assert [n for n, p in network.named_parameters() if p.grad is None] == []
    save_weights(tmp_path / "model.safetensors", network)
    again = load_kind(describe(network), tmp_path / "model.safetensors")
    images = _images(1)[..., :128, :128]
    with torch.no_grad():
        assert torch.equal(again(images), network.eval()(images))


@pytest.mark.parametrize(
    ("name", "is_same"),
    [("test_efficientnet", True), ("test_resnet", True), ("test_convnext", False)],
)
def test_runs_that_tell_of_no_end_answer_by_the_plain_mean(name: str, is_same: bool) -> None:
    network, images = _build(SIZE, name), _images()
    facts = {key: value for key, value in network.describe().items() if key not in ("kind", "end")}
    old = EyesNetwork(**facts).eval()
    with torch.no_grad():
        network.get_parameter("head.1.weight").normal_()
        assert old.state_dict().keys() == network.state_dict().keys()
        old.load_state_dict(network.state_dict())
        maps = old.maps(images)
        parts = (maps[:, :, : SIZE // 64], maps[:, :, SIZE // 64 :])
        plain = old.head(torch.cat([part.mean((2, 3)) for part in parts], dim=1))
        assert torch.equal(old(images), plain)
        assert torch.equal(network(images), plain) == is_same


@pytest.mark.parametrize(
    ("changes", "size_px", "words"),
    [
        ({"model": "test_vit"}, 320, "--eyes with the model 'test_vit'"),
        ({"frame": True}, 320, "--eyes with --frame"),
        ({"head": "evidence"}, 320, "--eyes with --head evidence"),
        ({"global_pool": "max"}, 320, "--eyes with --global-pool max"),
        ({"model": "open_clip:ViT-B-32"}, 320, "--eyes with --model open_clip"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], size_px: int, words: str) -> None:
    with pytest.raises(TrainingError, match=words):
        build_network(replace(CONFIG, **changes), 2, size_px)
