"""Settings of training: what is refused, and the length of the first phase."""

import json
from typing import Any

import pytest

from roi_cls.classifier.config import TrainConfig


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("augmentation", "wild", "augmentation must be one of ('none', 'light', 'strong')"),
        (
            "imbalance",
            "some",
            "imbalance must be one of ('weights', 'sampling', 'logit_adjustment', 'none'), "
            "got 'some'",
        ),
        ("device", "tpu", "device must be one of ('auto', 'cpu', 'cuda', 'mps'), got 'tpu'"),
        (
            "metric",
            "f1",
            "metric must be one of ('auto', 'average_precision', 'roc_auc', 'loss', 'last')",
        ),
        ("precision", "int8", "precision must be one of ('auto', 'fp32', 'bf16', 'fp16')"),
        ("epochs", 0, "epochs must be at least 1, got 0"),
        ("batch_size", 0, "batch_size must be at least 1 or auto, got 0"),
        ("batch_size", "all", "batch_size must be at least 1 or auto, got 'all'"),
        ("accumulate", 0, "accumulate must be at least 1, got 0"),
        ("ema", 1.0, "ema must be from 0 to below 1, got 1.0"),
        ("layer_decay", 0.0, "layer_decay must be above 0 and at most 1, got 0.0"),
        ("mixup", -1.0, "mixup must be 0 or more, got -1.0"),
        ("self_blend", 1.5, "self_blend must be from 0 to 1, got 1.5"),
        ("method", "magic", "method must be one of ('network', 'embedding', 'zero_shot', "),
        (
            "threshold_rule",
            "best",
            "threshold_rule must be auto, f1, recall>=0.8, precision>=0.95 or ",
        ),
        ("lr", 0.0, "lr must be above 0, got 0.0"),
        ("head_lr", -1.0, "head_lr must be above 0, got -1.0"),
        ("lr", float("nan"), "lr must be above 0, got nan"),
        ("weight_decay", -0.1, "weight_decay must be 0 or more, got -0.1"),
        ("patience", -1, "patience must be 0 or more, got -1"),
        ("head_epochs", -1, "head_epochs must be 0 or more, got -1"),
        ("unfreeze_blocks", -1, "unfreeze_blocks must be 0 or more, got -1"),
        ("drop_rate", 1.0, "drop_rate must be from 0 to below 1, got 1.0"),
        ("label_smoothing", -0.5, "label_smoothing must be from 0 to below 1, got -0.5"),
    ],
)
def test_value_out_of_range_is_refused(field: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (the message is asserted)
        TrainConfig(**{field: value})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("weights", "epochs", "head_epochs", "expected"),
    [
        ("hub", 20, None, 2),
        ("hub", 2, None, 1),
        ("hub", 1, None, 0),
        ("none", 20, None, 0),
        ("none", 20, 3, 3),
        ("hub", 4, 9, 4),
        ("hub", 4, 0, 0),
    ],
)
def test_first_phase_leaves_an_epoch_for_the_second_unless_told(
    weights: str, epochs: int, head_epochs: int | None, expected: int
) -> None:
    config = TrainConfig(weights=weights, epochs=epochs, head_epochs=head_epochs)
    assert config.first_phase == expected


def test_settings_are_plain_json() -> None:
    values = TrainConfig(unfreeze_blocks=2).to_dict()
    assert json.loads(json.dumps(values)) == values
    assert TrainConfig(**values) == TrainConfig(unfreeze_blocks=2)
