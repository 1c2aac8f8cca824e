"""What surrounds every method: settings that hold for all that it computes."""

from typing import Any

import pytest
import torch

from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.training.job import Observers
from roi_cls.classifier.training.methods import fit


@pytest.mark.parametrize("is_wanted", [True, False])
def test_determinism_holds_from_the_first_product_of_a_method(
    monkeypatch: pytest.MonkeyPatch, is_wanted: bool
) -> None:
    found: list[bool] = []

    def method(*_: Any) -> None:
        found.append(torch.are_deterministic_algorithms_enabled())

    monkeypatch.setattr(fit, "_method", lambda config: method)
    config = TrainConfig(method="svm", deterministic=is_wanted)  # which chooses no epoch
    anything: Any = None
    fit.fit_model(config, anything, anything, anything, anything)
    assert found == [is_wanted]
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(("size_px", "is_told"), [(224, True), (383, True), (384, False)])
def test_small_crops_for_the_eyes_are_told(size_px: int, is_told: bool) -> None:
    notes: list[str] = []
    fit._note_small_eyes(TrainConfig(eyes=True), size_px, Observers(on_note=notes.append))
    fit._note_small_eyes(TrainConfig(), size_px, Observers(on_note=notes.append))
    assert [("--size 448" in note) for note in notes] == [True] * is_told
