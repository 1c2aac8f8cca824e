"""A network's maps are found by their looks, whatever builds it."""

import threading
from typing import Any

import pytest
import torch

from roi_cls.classifier.explanation.grad_cam import last_maps, recording, to_maps
from roi_cls.classifier.models.timm_model import timm_model


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
