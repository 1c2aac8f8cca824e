"""Grad-CAM finds a planted patch, and forgets it with the weights; maps are found by looks."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from roi_cls.classifier.explanation.grad_cam import (
    grad_cam,
    has_gradients,
    last_maps,
    recording,
    to_maps,
)
from roi_cls.classifier.explanation.heat import make_heat, rank_correlation
from roi_cls.classifier.explanation.occlusion import occlude
from roi_cls.classifier.inference.loaded import LoadedModel
from roi_cls.classifier.models.autoencoder import AutoencoderNetwork
from roi_cls.classifier.models.device import Backend
from roi_cls.classifier.models.eyes import EyesNetwork
from roi_cls.classifier.models.network import EvidenceNetwork, FeatureNetwork
from roi_cls.classifier.models.svm import SvmNetwork
from roi_cls.classifier.models.timm_model import timm_model
from roi_cls.classifier.runs.bundle import ENSEMBLE, ModelBundle, Normalisation
from roi_cls.data.sample import LabelSet
from roi_cls.roi import Box, CropParams, Cut

SIDE, PATCH = 64, 16
RED, BLUE = (200, 60, 60), (60, 60, 200)
FULL = CropParams(crop="full", size_px=SIDE)
SCALE = Normalisation((0.5,) * 3, (0.5,) * 3)
CPU = Backend(torch.device("cpu"), torch.float32)
NETWORKS: dict[str, dict[str, Any]] = {
    "test_efficientnet": {},
    "test_efficientnet max": {"global_pool": "max"},
    "test_vit": {"img_size": SIDE},
}

Pixels = NDArray[np.uint8]


def draw(count: int, seed: int) -> tuple[Pixels, list[tuple[int, int]]]:
    """Return grey noise with a blue patch on each and a red one on every other, and where it is."""
    random = np.random.default_rng(seed)
    pixels = random.integers(60, 190, (count, SIDE, SIDE, 3)).astype(np.uint8)
    places = []
    for i in range(count):
        pixels[i] = cv2.GaussianBlur(pixels[i], (0, 0), 2)
        for colour in (BLUE, RED)[: 1 + i % 2]:
            left, top = random.integers(0, SIDE - PATCH + 1, 2).tolist()
            pixels[i, top : top + PATCH, left : left + PATCH] = colour
            pixels[i, top : top + PATCH : 4, left : left + PATCH] = 255
        places.append((left, top))
    return pixels, places


def train(network: nn.Module, pixels: Pixels, rate: float) -> nn.Module:
    """Teach the network that every other picture is of class 1."""
    labels = torch.arange(len(pixels)) % 2
    images = SCALE.apply(torch.from_numpy(pixels).permute(0, 3, 1, 2), CPU.device)
    optimiser = torch.optim.AdamW(network.parameters(), rate)
    for _ in range(20):
        losses = []
        for rows in torch.randperm(len(pixels)).reshape(-1, 16):
            loss = nn.functional.cross_entropy(network.train()(images[rows]), labels[rows])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch's stubs
            optimiser.step()
            losses.append(float(loss.detach()))
        with torch.inference_mode():
            right = network.eval()(images).argmax(dim=1) == labels
        if np.mean(losses) < 0.1 and right.all():
            break
    return network


def load(network: nn.Module, views: int = 1, **facts: Any) -> LoadedModel:
    bundle = ModelBundle(
        model="test",
        views=tuple(replace(FULL, margin=i / 10) for i in range(views)),
        labels=LabelSet(("plain", "red"), "red"),
        normalisation=SCALE,
        temperature=1.0,
        offsets=(0.0, 0.0),
        threshold=0.5,
        data_digest="",
        **facts,
    )
    return LoadedModel(bundle, CPU, network.eval())


@pytest.fixture(scope="module")
def trained() -> Callable[[str], LoadedModel]:
    """Return the network of this name, trained on planted patches once."""
    known: dict[str, LoadedModel] = {}

    def get(name: str) -> LoadedModel:
        if name not in known:
            torch.manual_seed(0)
            network = timm_model(name.split()[0], num_classes=2, **NETWORKS[name])
            rate = 1e-3 if "vit" in name else 3e-3
            known[name] = load(train(network, draw(128, 0)[0], rate))
        return known[name]

    return get


def is_hit(model: LoadedModel, pixels: Pixels, place: tuple[int, int]) -> bool:
    """Return whether the peak lies in the patch, give or take half a place of the coarsest map."""
    effects = grad_cam(model, [pixels[None]], 1)
    assert effects is not None
    heat = make_heat(0, pixels, Cut(Box(0, 0, SIDE, SIDE)), effects[0])
    assert heat.peak is not None
    slack = SIDE / 4 / 2
    return all(
        start - slack <= at <= start + PATCH + slack
        for start, at in zip(place, heat.peak, strict=True)
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_peak_lies_in_the_planted_patch(trained: Callable[[str], LoadedModel], name: str) -> None:
    model, (pixels, places) = trained(name), draw(60, 1)
    answers = model.probabilities([pixels]).argmax(axis=1)
    assert np.mean(answers == np.arange(60) % 2) > 0.9
    hits = [is_hit(model, pixels[i], places[i]) for i in range(1, 60, 2)]
    assert np.mean(hits) >= 0.9


@pytest.mark.parametrize("name", ["test_efficientnet", "test_vit"])
def test_randomised_weights_change_the_map(
    trained: Callable[[str], LoadedModel], name: str
) -> None:
    """As J. Adebayo et al. ask of saliency maps, NeurIPS 2018."""
    model, (pixels, _) = trained(name), draw(20, 2)
    torch.manual_seed(1)
    blank = load(timm_model(name.split()[0], num_classes=2, **NETWORKS[name]))
    alike = []
    for one in pixels[1::2]:
        ours, theirs = (grad_cam(m, [one[None]], 1) for m in (model, blank))
        assert ours
        assert theirs
        alike.append(rank_correlation(ours[0], theirs[0]) or 0.0)
    assert abs(np.mean(alike)) < 0.4


@pytest.mark.parametrize("name", ["test_efficientnet", "test_vit"])
def test_map_agrees_with_occlusion(trained: Callable[[str], LoadedModel], name: str) -> None:
    model, (pixels, _) = trained(name), draw(12, 3)
    alike = []
    for one in pixels[1::2]:
        effects = grad_cam(model, [one[None]], 1)
        assert effects
        alike.append(rank_correlation(effects[0], occlude(model, [one[None]], 1)[0]) or 0.0)
    assert np.mean(alike) > 0.2


def test_what_speaks_for_one_class_speaks_against_the_other(
    trained: Callable[[str], LoadedModel],
) -> None:
    model, (pixels, _) = trained("test_efficientnet"), draw(2, 4)
    for_red, for_plain = (grad_cam(model, [pixels[1:]], i) for i in (1, 0))
    assert for_red
    assert for_plain
    np.testing.assert_allclose(for_red[0], -for_plain[0], rtol=1e-3, atol=1e-4)


def test_mirror_image_is_looked_at_too(trained: Callable[[str], LoadedModel]) -> None:
    model, (pixels, places) = trained("test_efficientnet"), draw(20, 5)
    both = replace(model, bundle=replace(model.bundle, mirror=True))
    assert np.mean([is_hit(both, pixels[i], places[i]) for i in range(1, 20, 2)]) >= 0.9
    one = pixels[1:2]
    straight, turned = (grad_cam(both, [each], 1) for each in (one, one[:, :, ::-1].copy()))
    assert straight
    assert turned
    np.testing.assert_allclose(straight[0], turned[0][:, ::-1], rtol=1e-3, atol=1e-4)


def test_each_view_has_its_own_map() -> None:
    torch.manual_seed(0)
    network = FeatureNetwork({"timm": "test_efficientnet", "arguments": {}}, 256, 2, views=2)
    pixels, _ = draw(2, 6)
    effects = grad_cam(load(network, views=2), [pixels[:1], pixels[1:]], 1)
    assert effects is not None
    assert [effect.shape for effect in effects] == [(SIDE, SIDE)] * 2
    assert rank_correlation(effects[0], effects[1]) != 1


def test_ensemble_has_the_weighted_mean_of_its_members_maps(
    trained: Callable[[str], LoadedModel],
) -> None:
    first, second = trained("test_efficientnet"), trained("test_vit")
    network = {"kind": ENSEMBLE, "members": ["a", "b"], "weights": [3.0, 1.0]}
    bundle = replace(first.bundle, network=network)
    both = LoadedModel(bundle, CPU, None, (first, second))
    pixels = [draw(2, 7)[0][1:]]
    maps = [grad_cam(model, pixels, 1) for model in (both, first, second)]
    assert maps[0]
    assert maps[1]
    assert maps[2]
    mean = 0.75 * maps[1][0] + 0.25 * maps[2][0]
    np.testing.assert_allclose(maps[0][0], mean, rtol=1e-4, atol=1e-5)


def test_autoencoder_shows_where_it_reconstructs_worst() -> None:
    torch.manual_seed(0)
    pixels = np.full((1, SIDE, SIDE, 3), 128, np.uint8)
    pixels[0, 40:56, 8:24] = 255  # an untrained decoder gives about grey
    effects = grad_cam(load(AutoencoderNetwork(SIDE, target_index=1)), [pixels], 1)
    assert effects is not None
    row, column = np.unravel_index(effects[0].argmax(), (SIDE, SIDE))
    assert 36 <= row < 60
    assert 4 <= column < 28
    against = grad_cam(load(AutoencoderNetwork(SIDE, target_index=1)), [pixels], 0)
    assert against is not None
    assert against[0][48, 16] < 0


def test_evidence_shows_its_own_map() -> None:
    torch.manual_seed(0)
    network = EvidenceNetwork({"timm": "test_efficientnet", "arguments": {}}, SIDE, 1).eval()
    pixels, _ = draw(1, 8)
    effects = grad_cam(load(network), [pixels], 1)
    assert effects is not None
    images = SCALE.apply(torch.from_numpy(pixels).permute(0, 3, 1, 2), CPU.device)
    with torch.no_grad():
        local = network.local_logits(images)[0].numpy()
    side = SIDE // len(local)
    places = effects[0].reshape(len(local), side, len(local), side).mean((1, 3))
    assert np.corrcoef(places.ravel(), local.ravel())[0, 1] > 0.9


def test_what_the_eyes_say_lies_at_the_eyes_and_adds_up() -> None:
    torch.manual_seed(0)
    side = 320
    network = EyesNetwork({"timm": "test_efficientnet", "arguments": {}}, side, 2).eval()
    pixels = np.random.default_rng(9).integers(0, 255, (1, side, side, 3)).astype(np.uint8)
    head = network.get_parameter("head.1.weight")
    with torch.no_grad():
        head.normal_()
        head[:, : head.shape[1] // 2] = 0  # the face says nothing
    effects = grad_cam(load(network), [pixels], 1)
    assert effects is not None
    rows = np.abs(effects[0]).sum(1)
    assert rows[64:160].sum() > 0.8 * rows.sum()  # 0.2 of the side and 2/7 of it
    images = SCALE.apply(torch.from_numpy(pixels).permute(0, 3, 1, 2), CPU.device)
    with torch.no_grad():
        logits = network(images)[0]
    per_place = 32**2  # pixels, each with its place's effect
    assert effects[0].sum() / per_place == pytest.approx(float(logits[1] - logits[0]), rel=0.02)


def test_machine_on_hand_made_features_has_no_gradients() -> None:
    svm = load(SvmNetwork(1, 2, 1, []))
    network = timm_model("test_efficientnet", num_classes=2)
    assert not has_gradients(svm)
    assert has_gradients(load(network))
    assert not has_gradients(LoadedModel(svm.bundle, CPU, None, (load(network), svm)))


def test_network_is_left_as_it_was(trained: Callable[[str], LoadedModel]) -> None:
    model, (pixels, _) = trained("test_efficientnet"), draw(2, 9)
    network = model.model
    assert network is not None
    network.zero_grad(set_to_none=True)
    wanted = [parameter.requires_grad for parameter in network.parameters()]
    before = model.probabilities([pixels])
    with torch.no_grad():
        assert grad_cam(model, [pixels[1:]], 1) is not None
    assert [parameter.requires_grad for parameter in network.parameters()] == wanted
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())
    assert not network.training
    np.testing.assert_array_equal(model.probabilities([pixels]), before)


@pytest.mark.parametrize(
    ("shape", "prefix", "expected"),
    [
        ((2, 5, 7, 7), 0, (2, 5, 7, 7)),
        ((2, 7, 7, 5), 0, (2, 5, 7, 7)),
        ((2, 49, 5), 0, (2, 5, 7, 7)),
        ((2, 50, 5), 1, (2, 5, 7, 7)),
        ((2, 53, 5), 4, (2, 5, 7, 7)),
        ((2, 50, 5), 0, (2, 5, 7, 7)),  # guessed
        ((2, 9, 5), 5, (2, 5, 2, 2)),
        ((2, 9, 5), 0, (2, 5, 3, 3)),
        ((2, 8, 3, 64), 0, None),
        ((8, 49, 5), 0, None),  # windows, not images
        ((2, 5), 0, None),
        ((2, 31, 5), 0, None),
    ],
    ids=str,
)
def test_output_as_maps(
    shape: tuple[int, ...], prefix: int, expected: tuple[int, ...] | None
) -> None:
    maps = to_maps(torch.zeros(shape), 2, prefix)
    assert (None if maps is None else tuple(maps.shape)) == expected


def test_tokens_lie_row_by_row_after_the_prefix() -> None:
    tokens = torch.arange(5.0).reshape(1, 5, 1)
    maps = to_maps(tokens, 1, 1)
    assert maps is not None
    assert maps[0, 0].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("name", "options", "size_px", "side", "are_tokens"),
    [
        ("test_efficientnet", {}, 224, 7, False),
        ("test_efficientnet", {}, 64, 8, False),  # the last map, 2 by 2, is too coarse
        ("test_efficientnet", {"global_pool": "max"}, 224, 7, False),
        ("test_convnext", {}, 224, 7, False),
        ("test_mambaout", {}, 224, 7, False),  # channels last
        ("test_vit", {"img_size": 64}, 64, 4, True),  # class token
        ("test_vit4", {"img_size": 64}, 64, 4, True),
        ("pit_ti_224", {"img_size": 64}, 64, 7, True),  # its stages give tuples
    ],
    ids=str,
)
def test_last_maps_that_the_score_depends_on(
    name: str, options: dict[str, Any], size_px: int, side: int, are_tokens: bool
) -> None:
    torch.manual_seed(0)
    network = timm_model(name, num_classes=2, **options).eval()
    images = torch.randn(2, 3, size_px, size_px, requires_grad=True)
    with recording(network) as outputs:
        logits = network(images)
    maps = last_maps(network, outputs, logits.sum(), 2)
    assert maps is not None
    assert maps.values.shape == maps.gradients.shape
    assert maps.values.shape[0] == 2
    assert maps.values.shape[2] == side
    assert maps.gradients.abs().sum() > 0
    assert maps.are_tokens == are_tokens
    assert not any(module._forward_hooks for module in network.modules())


def test_hooks_go_when_the_network_fails() -> None:
    network = timm_model("test_efficientnet", num_classes=2).eval()
    with pytest.raises(RuntimeError), recording(network):
        network(torch.zeros(1, 1, 8, 8))
    assert not any(module._forward_hooks for module in network.modules())


def test_what_another_thread_asks_is_not_recorded() -> None:
    network = timm_model("test_efficientnet", num_classes=2).eval()
    images = torch.zeros(1, 3, 32, 32, requires_grad=True)
    with recording(network) as outputs:
        thread = threading.Thread(target=network, args=(images,))
        thread.start()
        thread.join()
        assert outputs == []
        network(images)
    assert outputs
