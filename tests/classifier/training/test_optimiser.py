"""What learns in which phase, what is decayed, and the rate of each schedule at each step."""

import pytest
import torch
from torch import nn

from roi_cls.classifier.config import OptimiserName, ScheduleName, TrainConfig
from roi_cls.classifier.models.timm_model import create_model
from roi_cls.classifier.training.optimiser import (
    freeze_for,
    has_batch_norms,
    is_plateau,
    make_optimiser,
    norms_for,
    phase_of,
    rate_share,
    set_rate,
    set_train_mode,
)


def _learning(model: nn.Module) -> set[str]:
    return {name for name, p in model.named_parameters() if p.requires_grad}


def _step(model: nn.Module) -> None:
    set_train_mode(model)
    optimiser = make_optimiser(model, TrainConfig(weight_decay=0.1), 0.1)
    loss = model(torch.randn(4, 3, 32, 32)).square().sum() + model(torch.randn(2, 3, 32, 32)).sum()
    loss.backward()
    optimiser.step()


@pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet", "test_vit", "test_convnext"])
def test_head_phase_leaves_the_backbone_bit_for_bit(name: str) -> None:
    torch.manual_seed(0)
    model = create_model(name, "none", 2, 32)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    freeze_for(model, 0)
    _step(model)
    changed = {key for key, value in model.state_dict().items() if not before[key].equal(value)}
    head = {"classifier", "fc", "head", "head.fc"}
    assert changed
    assert {key.rpartition(".")[0] for key in changed} <= head
    assert changed == _learning(model)


@pytest.mark.parametrize(
    ("name", "blocks", "expected"),
    [
        ("test_efficientnet", 1, {"blocks.4", "conv_head", "bn2", "classifier"}),
        ("test_efficientnet", 2, {"blocks.3", "blocks.4", "conv_head", "bn2", "classifier"}),
        ("test_vit", 1, {"blocks.5", "norm", "head"}),
        ("test_resnet", 1, {"layer4", "fc"}),
        # The norm inside the head's own group learns with the last block and is none itself.
        ("test_convnext", 1, {"stages.3", "head"}),
    ],
)
def test_last_blocks_learn_counted_from_the_head(
    name: str, blocks: int, expected: set[str]
) -> None:
    model = create_model(name, "none", 2, 32)
    freeze_for(model, blocks)
    depth = {"blocks": 2, "stages": 2}
    parts = {
        ".".join(key.split(".")[: depth.get(key.split(".")[0], 1)]) for key in _learning(model)
    }
    assert parts == expected


def test_more_blocks_than_there_are_means_everything() -> None:
    model = create_model("test_efficientnet", "none", 2, 32)
    freeze_for(model, 99)
    assert _learning(model) == {name for name, _ in model.named_parameters()}
    freeze_for(model, 0)
    freeze_for(model, None)
    assert _learning(model) == {name for name, _ in model.named_parameters()}


def test_both_heads_of_a_distilled_model_learn() -> None:
    model = create_model("deit_tiny_distilled_patch16_224", "none", 2, 32)
    freeze_for(model, 0)
    expected = {"head.weight", "head.bias", "head_dist.weight", "head_dist.bias"}
    assert _learning(model) == expected


def test_frozen_norm_without_weights_of_its_own_does_not_average() -> None:
    body = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, affine=False), nn.Dropout())
    head = nn.Sequential(nn.Dropout(), nn.Linear(4, 2))
    model = nn.Sequential(body, head)
    body.requires_grad_(False)
    set_train_mode(model)
    assert [module.training for module in body.modules()] == [False] * 4
    assert [module.training for module in head.modules()] == [True] * 3


def test_biases_and_norms_are_not_decayed() -> None:
    model = create_model("test_efficientnet", "none", 2, 32)
    optimiser = make_optimiser(model, TrainConfig(weight_decay=0.3), 0.01)
    decay = {
        id(p): group["weight_decay"] for group in optimiser.param_groups for p in group["params"]
    }
    for name, parameter in model.named_parameters():
        is_bare = name.endswith("bias") or "bn" in name
        assert decay[id(parameter)] == (0.0 if is_bare else 0.3), name


def test_only_what_learns_is_optimised() -> None:
    model = create_model("test_efficientnet", "none", 2, 32)
    freeze_for(model, 0)
    groups = make_optimiser(model, TrainConfig(weight_decay=0.3), 0.01).param_groups
    assert sum(p.numel() for group in groups for p in group["params"]) == 2 * 256 + 2


@pytest.mark.parametrize(
    ("name", "kind"),
    [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)],
)
def test_optimiser_of_each_name(name: OptimiserName, kind: type[torch.optim.Optimizer]) -> None:
    model = nn.Linear(2, 2)
    found = make_optimiser(model, TrainConfig(optimiser=name, weight_decay=0.3), 0.01)
    assert type(found) is kind
    assert [group["weight_decay"] for group in found.param_groups] == [0.3, 0.0]
    assert {group["lr"] for group in found.param_groups} == {0.01}


@pytest.mark.parametrize("name", ["test_efficientnet", "test_vit", "test_convnext"])
def test_rate_falls_from_the_head_down_by_the_layer_decay(name: str) -> None:
    model = create_model(name, "none", 2, 32)
    optimiser = make_optimiser(model, TrainConfig(layer_decay=0.5, weight_decay=0.3), 0.01)
    set_rate(optimiser, 0.08)
    rates = {id(p): group["lr"] for group in optimiser.param_groups for p in group["params"]}
    by_name = {key: rates[id(p)] for key, p in model.named_parameters()}
    assert len(by_name) == len(rates)  # each parameter learns, once
    head = next(key for key in by_name if key.startswith(("classifier", "head")))
    assert by_name[head] == max(by_name.values()) == 0.08
    first = next(iter(by_name))
    assert by_name[first] == min(by_name.values())
    depth = len(set(by_name.values()))
    assert sorted(set(by_name.values())) == pytest.approx(
        [0.08 * 0.5**i for i in reversed(range(depth))]
    )
    decays = {id(p): g["weight_decay"] for g in optimiser.param_groups for p in g["params"]}
    assert {decays[id(p)] for p in model.parameters() if p.ndim > 1} == {0.3}
    assert {decays[id(p)] for p in model.parameters() if p.ndim <= 1} == {0.0}


@pytest.mark.parametrize(
    ("epoch", "expected"), [(0, (0, 2)), (1, (0, 2)), (2, (2, 5)), (4, (2, 5))]
)
def test_phase_of_an_epoch(epoch: int, expected: tuple[int, int]) -> None:
    assert phase_of(TrainConfig(epochs=5, head_epochs=2), epoch) == expected


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 0.25), (3, 1.0), (4, 1.0), (7, 0.5), (10, 0.0), (99, 0.0)],
)
def test_cosine_rises_in_a_line_then_falls_as_half_a_wave(step: int, expected: float) -> None:
    assert rate_share("cosine", step, steps=10, warmup=4) == pytest.approx(expected)


def test_rate_without_warmup_starts_at_its_peak() -> None:
    assert rate_share("cosine", 0, 10) == 1.0
    assert rate_share("cosine", 5, 10) == pytest.approx(0.5)


def test_warmup_longer_than_training_only_rises() -> None:
    assert [rate_share("cosine", step, 2, 4) for step in range(2)] == [0.25, 0.5]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("step", [0.5, 1, 1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.01, 0.01]),
        ("halving", [0.5] + [1] * 3 + [0.5] * 3 + [0.25] * 3 + [0.125] * 3 + [0.0625] * 3),
        ("constant", [0.5] + [1] * 15),
        ("plateau", [0.5] + [0.25] * 15),
    ],
)
def test_rate_at_every_step_of_fifteen_after_the_warmup(
    schedule: ScheduleName, expected: list[float]
) -> None:
    # a rise of two steps would reach the peak at its second; the first is shown
    found = [rate_share(schedule, step, 17, warmup=2, reductions=2) for step in range(17)]
    assert found[:1] + found[2:] == pytest.approx(expected)


@pytest.mark.parametrize("schedule", ["cosine", "step", "plateau", "halving", "constant"])
@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_short_phases_have_rates_too(schedule: ScheduleName, steps: int) -> None:
    rates = [rate_share(schedule, step, steps) for step in range(steps)]
    assert rates[0] == 1
    assert rates == sorted(rates, reverse=True)
    assert all(rate > 0 for rate in rates)


@pytest.mark.parametrize(
    ("best_epoch", "start", "expected"),
    [
        (4, 0, [7, 10]),
        (9, 0, []),
        (1, 2, [5, 8, 11]),  # epochs of the phase before do not count
    ],
)
def test_plateau_is_met_after_every_third_epoch_without_a_better(
    best_epoch: int, start: int, expected: list[int]
) -> None:
    epochs = range(max(start, best_epoch), 12)
    assert [epoch for epoch in epochs if is_plateau(epoch, best_epoch, start)] == expected


def _norms() -> nn.Sequential:
    shared = nn.SyncBatchNorm(3)  # sees the other processes' crops, too
    return nn.Sequential(nn.BatchNorm2d(3), shared, nn.Dropout()).train()


def test_norms_rest_for_a_batch_of_one_crop() -> None:
    model = _norms()
    one = torch.tensor([4.0, 5.0, 6.0]).reshape(1, 3, 1, 1)
    with norms_for(model, 1):
        assert [part.training for part in model] == [False, True, True]
        assert torch.allclose(model[0](one), one, atol=1e-3)  # averages of 0 and 1, as at the start
    assert [part.training for part in model] == [True, True, True]
    assert model.state_dict()["0.running_mean"].tolist() == [0, 0, 0]
    with norms_for(model, 2):
        assert all(part.training for part in model)


def test_norm_that_is_frozen_stays_so() -> None:
    model = _norms().eval()
    with norms_for(model, 1):
        assert not any(part.training for part in model)
    assert not any(part.training for part in model)


def test_which_models_have_batch_norms() -> None:
    assert has_batch_norms(create_model("test_efficientnet", "none", 2, 32))
    assert not has_batch_norms(create_model("test_vit", "none", 2, 32))
