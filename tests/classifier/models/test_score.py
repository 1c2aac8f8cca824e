"""Scores: batches hold every row once, and any batch gives the same probabilities."""

import importlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from torch import Tensor, nn

from roi_cls.classifier.metrics.decision import to_probabilities
from roi_cls.classifier.models.device import choose_backend
from roi_cls.classifier.models.score import (
    balanced_rows,
    compute_logits,
    in_batches,
    pick_pixels,
    shuffled_rows,
)
from roi_cls.classifier.models.timm_model import create_model
from roi_cls.classifier.runs.bundle import Normalisation
from tests.helpers.pictures import noise

LOGITS = st_numpy.arrays(np.float32, (3, 4), elements=st.floats(-(2.0**100), 2.0**100, width=32))


@given(LOGITS, st.floats(0.1, 10))
def test_rows_sum_to_one_and_keep_the_order(logits: np.ndarray, temperature: float) -> None:
    found = to_probabilities(logits, temperature)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found.sum(axis=1), 1)
    top = np.take_along_axis(found, logits.argmax(axis=1)[:, None], axis=1)[:, 0]
    np.testing.assert_array_equal(top, found.max(axis=1))


def test_temperature_flattens() -> None:
    logits = np.array([[0.0, 2.0]], np.float32)
    assert to_probabilities(logits, 1)[0, 1] == pytest.approx(1 / (1 + np.exp(-2)))
    assert to_probabilities(logits, 2)[0, 1] == pytest.approx(1 / (1 + np.exp(-1)))


def test_offsets_are_added_after_the_division() -> None:
    logits = np.array([[0.0, 2.0]], np.float32)
    found = to_probabilities(logits, 2, (0.5, 0.0))
    np.testing.assert_allclose(found[0, 1], 1 / (1 + np.exp(0.5 - 1)))


def test_mirrored_pictures_get_the_mean_of_both_logits() -> None:
    torch.manual_seed(0)
    model = create_model("test_efficientnet", "none", 2, 32)
    pixels = noise(3, 2, 32, 32, 3)
    scale = Normalisation((0.5,) * 3, (0.5,) * 3)
    backend = choose_backend("cpu", "fp32")
    for crops in (pixels[:, 0], pixels):  # one view, and two of which both are mirrored
        network = model if crops.ndim == 4 else _Pairs(model)
        own = compute_logits(network, crops, scale, backend)
        turned = compute_logits(network, crops[..., ::-1, :], scale, backend)
        assert np.abs(own - turned).max() > 1e-4
        both = compute_logits(network, crops, scale, backend, batch_size=2, mirror=True)
        np.testing.assert_allclose(both, (own + turned) / 2, atol=1e-6)
        again = compute_logits(network, crops[..., ::-1, :], scale, backend, mirror=True)
        np.testing.assert_allclose(again, both, atol=1e-6)


class _Pairs(nn.Module):
    """Judges two views by the first's logits and half of the second's."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.model(inputs)
        return logits[0::2] + logits[1::2] / 2


def test_logits_do_not_depend_on_the_batch() -> None:
    model = create_model("test_efficientnet", "none", 2, 32)
    pixels = noise(7, 32, 32, 3)
    scale = Normalisation((0.5,) * 3, (0.5,) * 3)
    backend = choose_backend("cpu", "fp32")
    whole = compute_logits(model, pixels, scale, backend)
    alone = compute_logits(model, pixels, scale, backend, batch_size=2)
    assert whole.shape == (7, 2)
    np.testing.assert_allclose(whole, alone, atol=1e-6)
    assert not model.training


MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _crops(count: int, side: int = 32) -> torch.Tensor:
    return pick_pixels(noise(count, side, side, 3), np.arange(count))


def test_normalisation_equals_timms() -> None:
    crops = _crops(3)
    ours = Normalisation(MEAN, STD).apply(crops, torch.device("cpu"))
    transforms = importlib.import_module("timm.data").create_transform(
        (3, 32, 32), mean=MEAN, std=STD, crop_pct=1.0
    )
    theirs = torch.stack([transforms.transforms[-1](crop / 255) for crop in crops])
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    assert ours.dtype == torch.float32
    assert ours.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ((0.5,), (0.5,) * 3, "mean and std must be per RGB channel"),
        ((0.5,) * 3, (0.5,) * 4, "mean and std must be per RGB channel"),
        ((0.5,) * 3, (0.5, 0.0, 0.5), "mean must be finite and std above 0"),
        ((0.5,) * 3, (0.5, float("nan"), 0.5), "mean must be finite and std above 0"),
        ((float("inf"), 0.5, 0.5), (0.5,) * 3, "mean must be finite and std above 0"),
    ],
)
def test_scale_that_makes_no_numbers_is_refused(
    mean: tuple[float, ...], std: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Normalisation(mean, std)


def test_picked_rows_keep_their_order_and_channels() -> None:
    pixels = np.arange(2 * 2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 2, 3)
    picked = pick_pixels(pixels, np.array([1, 0]))
    assert picked.shape == (2, 3, 2, 2)
    assert picked.dtype == torch.uint8
    assert picked[0, :, 0, 0].tolist() == [12, 13, 14]
    assert picked[1, 2].tolist() == [[2, 5], [8, 11]]


def test_views_of_a_picture_are_picked_next_to_each_other() -> None:
    pixels = np.arange(3 * 2 * 4 * 4 * 3, dtype=np.uint8).reshape(3, 2, 4, 4, 3)
    picked = pick_pixels(pixels, np.array([2, 0]))
    assert picked.shape == (4, 3, 4, 4)
    for place, (row, view) in enumerate([(2, 0), (2, 1), (0, 0), (0, 1)]):
        assert np.array_equal(picked[place].permute(1, 2, 0).numpy(), pixels[row, view])


@given(st.integers(1, 100), st.integers(1, 40), st.integers(0, 9))
def test_each_row_comes_once_and_none_alone_if_avoidable(
    count: int, batch_size: int, seed: int
) -> None:
    rows = shuffled_rows(count, torch.Generator().manual_seed(seed))
    batches = list(in_batches(rows, batch_size))
    assert sorted(row for batch in batches for row in batch) == list(range(count))
    if count > 1 and batch_size > 1:
        assert min(map(len, batches)) > 1
    assert all(len(batch) <= batch_size + 1 for batch in batches)


def test_order_follows_the_seed() -> None:
    def draw(seed: int) -> list[int]:
        return [int(row) for row in shuffled_rows(50, torch.Generator().manual_seed(seed))]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    assert draw(1) != list(range(50))


def test_balanced_rows_draw_a_rare_class_as_often_as_a_common_one() -> None:
    labels = np.array([0] * 20 + [1] * 180)
    rows = balanced_rows(labels, torch.Generator().manual_seed(0))
    again = balanced_rows(labels, torch.Generator().manual_seed(0))
    assert rows.tolist() == again.tolist()
    assert len(rows) == 200
    assert 70 <= (labels[rows] == 0).sum() <= 130  # 100 expected, standard deviation 7
