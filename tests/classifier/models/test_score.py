"""Probabilities: rows sum to one, any batch gives the same."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from torch import Tensor, nn

from roi_cls.classifier.metrics.decision import to_probabilities
from roi_cls.classifier.models.device import choose_backend
from roi_cls.classifier.models.score import compute_logits
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
