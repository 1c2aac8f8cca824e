"""Networks of several views: what goes in, what comes out, and what an optimiser asks of them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from roi_cls.base.errors import BundleError, TrainingError, WeightsError
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.models.backbone import build_backbone
from roi_cls.classifier.models.network import (
    EVIDENCE_PLACES,
    CosineHead,
    EvidenceNetwork,
    FeatureNetwork,
    build_network,
)
from roi_cls.classifier.models.saved import describe, load_kind, save_weights
from roi_cls.classifier.models.timm_model import create_model, heads, normalisation
from roi_cls.classifier.training.optimiser import freeze_for

CONFIG = TrainConfig(model="test_efficientnet", weights="none", drop_rate=0)
EVIDENCE = replace(CONFIG, head="evidence")
IMAGES = torch.randn(6, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def _build(config: TrainConfig, views: int = 1, target: int = 0) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_network(config, 2, 64, views, target)


def test_one_view_is_the_timm_model_itself() -> None:
    found = _build(CONFIG).state_dict()
    torch.manual_seed(0)
    wanted = create_model("test_efficientnet", "none", 2, 64).state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("name", ["test_efficientnet", "test_vit", "test_convnext"])
def test_views_are_judged_together_picture_by_picture(name: str) -> None:
    network = _build(replace(CONFIG, model=name), views=2).eval()
    assert isinstance(network, FeatureNetwork)
    with torch.no_grad():
        network.get_parameter("head.1.weight").normal_()
        logits = network(IMAGES)
        assert logits.shape == (3, 2)
        # Views 2 and 3 are the second picture's: no other picture changes its answer, both do.
        torch.testing.assert_close(network(IMAGES[2:4]), logits[1:2])
        for view in (2, 3):
            other = IMAGES.clone()
            other[view] += 1
            changed = (network(other) - logits).abs().amax(1) > 1e-5
            assert changed.tolist() == [False, True, False]


def test_embedding_is_the_views_features_side_by_side() -> None:
    backbone = build_backbone("test_efficientnet", "none", 64)
    network = FeatureNetwork.around(backbone, 2, 3).eval()
    with torch.no_grad():
        features = backbone.module(IMAGES)
        assert features.shape == (6, backbone.features)
        wanted = torch.cat([features[:3].flatten()[None], features[3:].flatten()[None]])
        assert torch.equal(network.embed(IMAGES), wanted)


def test_head_begins_without_a_favourite() -> None:
    for views, hidden in ((2, 0), (1, 16)):
        backbone = build_backbone("test_efficientnet", "none", 64)
        network = FeatureNetwork.around(backbone, 5, views, hidden=hidden).eval()
        with torch.no_grad():
            assert network(IMAGES).abs().max() < 0.5


def test_cosine_head_scales_similarities() -> None:
    head = CosineHead(2, 2)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 0.5]]))
        head.scale.fill_(10.0)
        found = head(torch.tensor([[2.0, 0.0], [1.0, 1.0]]))
    torch.testing.assert_close(found, torch.tensor([[10.0, 0.0], [50**0.5, 50**0.5]]))


@pytest.mark.parametrize("config", [CONFIG, EVIDENCE], ids=["pool", "evidence"])
def test_phases_freeze_it_like_a_timm_model(config: TrainConfig) -> None:
    network = _build(config, views=2)
    freeze_for(network, 0)
    learning = {name for name, p in network.named_parameters() if p.requires_grad}
    assert learning == {n for n, _ in network.named_parameters() if n.startswith("head.")}
    assert heads(network) == [network.head]
    freeze_for(network, None)
    assert all(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("name", ["test_efficientnet", "test_convnext", "test_vit"])
@pytest.mark.parametrize("blocks", [1, 3])
def test_last_blocks_are_those_of_the_timm_model(name: str, blocks: int) -> None:
    def body(network: torch.nn.Module, prefix: str) -> set[str]:
        freeze_for(network, blocks)
        own = {id(p) for head in heads(network) for p in head.parameters()}
        names = [n for n, p in network.named_parameters() if p.requires_grad and id(p) not in own]
        return {n.removeprefix(prefix) for n in names}

    config = replace(CONFIG, model=name)
    assert body(_build(config, views=2), "backbone.") == body(_build(config), "") != set()


def test_names_of_undecayed_parameters_are_the_networks_own() -> None:
    network = _build(replace(CONFIG, model="test_vit"), views=2)
    assert isinstance(network, FeatureNetwork)
    names = network.no_weight_decay()
    assert "backbone.pos_embed" in names
    assert names & dict(network.named_parameters()).keys()


def test_evidence_gives_a_map_in_training_and_logits_alone_after() -> None:
    network = _build(EVIDENCE)
    logits, local = network.train()(IMAGES)
    assert logits.shape == (6, 2)
    assert local.shape == (6, 4, 4)  # 64 px at stride 16
    assert local.dtype == torch.float32
    # Before anything is learned few places count as defective.
    assert local.sigmoid().mean() < 0.2
    assert network.eval()(IMAGES).shape == (6, 2)


@pytest.mark.parametrize("target", [0, 1])
def test_evidence_answers_by_the_strongest_places_for_its_target(target: int) -> None:
    network = _build(EVIDENCE, target=target).eval()
    assert isinstance(network, EvidenceNetwork)
    local = torch.zeros(1, 4, 4)
    local[0, 0, :EVIDENCE_PLACES] = torch.tensor([8.0, 6.0, 4.0, 2.0])
    with torch.no_grad():
        network.head.scale.fill_(2.0)
        network.head.shift.fill_(-1.0)
        assert network.head.answer(local).tolist() == [2 * 5.0 - 1]
        logits = network(IMAGES)
        scores = network.head.answer(network.head(*network._maps(IMAGES)))
    torch.testing.assert_close(logits[:, target], scores)
    assert (logits[:, 1 - target] == 0).all()


def test_evidence_in_either_view_is_enough_and_the_map_is_the_first_views() -> None:
    network = _build(EVIDENCE, views=2)
    alone = _build(EVIDENCE)
    alone.load_state_dict(network.state_dict())
    with torch.no_grad():
        single = alone.eval()(IMAGES)[:, 0]
        joined = network.eval()(IMAGES)[:, 0]
        torch.testing.assert_close(joined, single.view(3, 2).logsumexp(1))
        for each in (network, alone):
            each.train().get_submodule("backbone").eval()
        assert torch.equal(network(IMAGES)[1], alone(IMAGES)[1][::2])


@pytest.mark.parametrize(
    "name", ["test_efficientnet", "test_vit", "test_convnext", "test_resnet", "test_byobnet"]
)
def test_evidence_learns_a_place(name: str) -> None:
    network = _build(replace(EVIDENCE, model=name))
    wanted = torch.zeros(6, 4, 4)
    wanted[:, 1, 2] = 1
    logits, local = network.train()(IMAGES)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(local, wanted) + logits.sum() * 0
    loss.backward()
    grown = [n for n, p in network.named_parameters() if p.grad is not None and p.grad.any()]
    assert any(n.startswith("head.fine") for n in grown)
    assert any(n.startswith("head.coarse") for n in grown)
    assert any(n.startswith("backbone.") for n in grown)


def test_evidence_for_three_classes_is_refused() -> None:
    with pytest.raises(TrainingError) as caught:
        build_network(EVIDENCE, 3, 64)
    assert str(caught.value) == (
        "Cannot use --head evidence for 3 classes: it scores the places that speak for one class "
        "against one other. Use --head pool."
    )


def test_evidence_with_pooling_is_refused() -> None:
    with pytest.raises(TrainingError) as caught:
        build_network(replace(EVIDENCE, global_pool="max"), 2, 64)
    assert str(caught.value) == (
        "Cannot use --global-pool max with --head evidence: it answers by the strongest places "
        "and pools nothing. Leave one of them out."
    )


def test_evidence_without_feature_maps_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    timm_class = type(create_model("test_efficientnet", "none", 2, 64))
    monkeypatch.delattr(timm_class, "forward_intermediates")
    with pytest.raises(TrainingError) as caught:
        build_network(EVIDENCE, 2, 64)
    assert str(caught.value) == (
        "Cannot use --head evidence with the model 'test_efficientnet': timm gives no feature "
        "maps of it. Use --head pool, or another --model."
    )


@pytest.mark.parametrize(
    ("config", "views"),
    [
        (CONFIG, 2),
        (replace(CONFIG, model="test_vit"), 2),
        (replace(CONFIG, global_pool="max"), 2),
        (EVIDENCE, 1),
        (replace(EVIDENCE, model="test_convnext"), 2),
    ],
)
def test_network_is_built_again_from_its_description(
    tmp_path: Path, config: TrainConfig, views: int
) -> None:
    network = _build(config, views, target=1).eval()
    save_weights(tmp_path / "w.safetensors", network)
    read = load_kind(describe(network), tmp_path / "w.safetensors")
    assert not read.training
    with torch.no_grad():
        assert torch.equal(read(IMAGES), network(IMAGES))
    assert normalisation(read) == normalisation(network)
    assert describe(read) == describe(network)


def test_unknown_kind_is_told(tmp_path: Path) -> None:
    with pytest.raises(BundleError) as caught:
        load_kind({"kind": "oracle"}, tmp_path / "w.safetensors")
    assert str(caught.value) == (
        "Cannot build a network of the kind 'oracle': this program does not know it. "
        "Install the roi-cls that wrote it."
    )


def test_damaged_description_and_foreign_weights_are_told(tmp_path: Path) -> None:
    network = _build(CONFIG, 2)
    facts = describe(network)
    path = tmp_path / "w.safetensors"
    save_weights(path, network.get_submodule("head"))
    with pytest.raises(WeightsError, match="Copy the whole folder again"):
        load_kind(facts, path)
    with pytest.raises(BundleError, match=r"its description is damaged \(TypeError: "):
        load_kind({**facts, "colour": "red"}, path)
