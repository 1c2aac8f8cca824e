"""The rate of each schedule at each step, and when a plateau is met."""

import pytest

from roi_cls.classifier.config import ScheduleName
from roi_cls.classifier.training.optimiser import is_plateau, rate_share


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
