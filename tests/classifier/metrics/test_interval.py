"""Wilson against published values, the bootstrap and the curves' bands against simulation."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roi_cls.classifier.metrics.interval import (
    CURVE_GRID,
    RESAMPLES,
    Estimate,
    Floats,
    Labels,
    format_number,
    ranking_bands,
    resample,
    resampled_interval,
    wilson,
)


@pytest.mark.parametrize(
    ("successes", "total", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_values(
    successes: int, total: int, low: float, high: float
) -> None:
    # R. G. Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3
    found = wilson(successes, total)
    assert found.value == successes / total
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


def test_wilson_of_no_trial_knows_nothing() -> None:
    found = wilson(0, 0)
    assert math.isnan(found.value)
    assert (found.low, found.high) == (0.0, 1.0)
    assert not found.is_defined


@given(st.integers(1, 5000), st.floats(0, 1), st.floats(0.5, 0.999))
def test_wilson_holds_its_share_and_mirrors(total: int, share: float, confidence: float) -> None:
    successes = round(share * total)
    found = wilson(successes, total, confidence)
    mirrored = wilson(total - successes, total, confidence)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high
    assert found.low == pytest.approx(1 - mirrored.high, abs=1e-12)


@pytest.mark.parametrize(
    ("successes", "total", "confidence", "message"),
    [
        (3, 2, 0.95, "successes must be between 0 and 2, got 3"),
        (-1, 2, 0.95, "successes must be between 0 and 2, got -1"),
        (1, 2, 1.0, "confidence must be between 0 and 1, got 1.0"),
    ],
)
def test_wilson_refuses_nonsense(
    successes: int, total: int, confidence: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        wilson(successes, total, confidence)


@pytest.mark.parametrize(("value", "low", "high"), [(0.5, 0.6, 0.7), (0.5, 0.1, 0.4), (0.5, 1, 0)])
def test_estimate_refuses_a_value_outside_its_interval(
    value: float, low: float, high: float
) -> None:
    with pytest.raises(ValueError, match=r"An interval must hold its value, got 0\.5 in \["):
        Estimate(value, low, high)


def test_estimate_becomes_strict_json_and_comes_back() -> None:
    assert Estimate(0.5, 0.25, 0.75).to_dict() == {"value": 0.5, "low": 0.25, "high": 0.75}
    undefined = Estimate(math.nan, 0.0, 1.0)
    text = json.dumps(undefined.to_dict(), allow_nan=False)
    assert text == '{"value": null, "low": 0.0, "high": 1.0}'
    assert not Estimate.from_dict(json.loads(text)).is_defined
    assert Estimate.from_dict(Estimate(0.5, 0.25, 0.75).to_dict()) == Estimate(0.5, 0.25, 0.75)


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(0.93, 0.9, 0.95), "0.93 [0.90, 0.95]"),
        (Estimate(1.0, 0.8389, 1.0), "1.00 [0.84, 1.00]"),
        (Estimate(0.998, 0.99, 0.9996), "0.998 [0.99, 0.9996]"),
        (Estimate(-0.1, -0.3, -0.0), "-0.10 [-0.30, 0.00]"),
        (Estimate(math.nan, 0, 1), "undefined"),
    ],
)
def test_estimate_as_text(estimate: Estimate, text: str) -> None:
    assert str(estimate) == text


def test_number_next_to_a_landmark_does_not_claim_it() -> None:
    assert format_number(0.502) == "0.50"
    assert format_number(0.502, (0.5,)) == "0.502"
    assert format_number(0.5, (0.5,)) == "0.50"
    assert format_number(0.0000001) == "0.0000"


def test_resamples_keep_each_class_and_repeat_with_the_seed() -> None:
    labels = np.array([0, 1, 1, 0, 1, 2] * 5000)  # long enough for several chunks
    chunks = list(resample(labels, resamples=100, seed=4))
    weights = np.concatenate(chunks)
    assert len(chunks) > 1
    assert weights.shape == (100, len(labels))
    for label in range(3):
        assert (weights[:, labels == label].sum(axis=1) == (labels == label).sum()).all()
    assert weights.mean() == 1
    assert weights.var() == pytest.approx(1, abs=0.01)  # a multinomial count's variance
    again = np.concatenate(list(resample(labels, resamples=100, seed=4)))
    assert np.array_equal(weights, again)


def _accuracy(labels: Labels, right: Floats, seed: int, resamples: int = RESAMPLES) -> Estimate:
    chunks = resample(labels, resamples=resamples, seed=seed)
    draws = np.concatenate([weights @ right / weights.sum(axis=1) for weights in chunks])
    smallest = int(np.bincount(labels).min())
    return resampled_interval(float(right.mean()), draws, trials=smallest)


def test_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(11)
    labels = np.repeat(np.arange(2), (20, 80))
    held = 0
    for seed in range(300):
        right = (generator.random(100) < 0.85).astype(np.float64)
        held += _accuracy(labels, right, seed, resamples=300).holds(0.85)
    assert 0.91 <= held / 300 <= 0.985


def test_bootstrap_agrees_with_wilson_where_both_apply() -> None:
    labels = np.zeros(400, dtype=np.int64)
    right = np.repeat([1.0, 0.0], (360, 40))
    found = _accuracy(labels, right, seed=1)
    expected = wilson(360, 400)
    assert found == _accuracy(labels, right, seed=1)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.005)


def test_bootstrap_of_a_perfect_score_does_not_claim_certainty() -> None:
    labels = np.repeat(np.arange(2), (20, 80))
    assert _accuracy(labels, np.ones(100), seed=0, resamples=50) == wilson(20, 20)


def test_interval_is_stretched_over_its_bounds() -> None:
    found = resampled_interval(0.0, np.zeros(9), trials=10, bounds=(-1.0, 1.0))
    share = wilson(5, 10)
    assert (found.low, found.high) == pytest.approx((2 * share.low - 1, 2 * share.high - 1))


@pytest.mark.parametrize(
    ("value", "draws"), [(math.nan, [0.1, 0.2]), (0.5, [math.nan, math.nan]), (0.5, [])]
)
def test_interval_of_an_undefined_metric_is_all_of_its_bounds(
    value: float, draws: list[float]
) -> None:
    found = resampled_interval(value, np.array(draws), trials=5, bounds=(-1.0, 1.0))
    assert not found.is_defined
    assert (found.low, found.high) == (-1.0, 1.0)


@given(st.floats(0, 1), st.lists(st.floats(0, 1), min_size=2, max_size=9), st.integers(1, 50))
def test_interval_stays_in_bounds_and_holds_its_value(
    value: float, draws: list[float], trials: int
) -> None:
    found = resampled_interval(value, np.array(draws), trials=trials)
    assert 0 <= found.low <= value <= found.high <= 1


IS_TARGET = np.array([True, True, False, True, False, False, False, False])
SCORES = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])


def at(share: float) -> int:
    return int(np.abs(CURVE_GRID - share).argmin())


def test_found_is_read_off_the_thresholds_there_are() -> None:
    found = ranking_bands(IS_TARGET, SCORES, resamples=50).found
    # 5 others: below 1/5 none of them may be called, and two of three stand before the first.
    assert [found[at(share)].value for share in (0, 0.19, 0.2, 0.5, 1)] == pytest.approx(
        [2 / 3, 2 / 3, 1, 1, 1]
    )


def test_precision_is_that_of_the_first_threshold_that_finds_enough() -> None:
    precision = ranking_bands(IS_TARGET, SCORES, resamples=50).precision
    assert [precision[at(share)].value for share in (0, 0.3, 0.66, 0.67, 1)] == pytest.approx(
        [1, 1, 1, 0.75, 0.75]
    )


def test_equal_scores_are_called_together() -> None:
    bands = ranking_bands(IS_TARGET, np.full(8, 0.5), resamples=50)
    assert {one.value for one in bands.precision} == {3 / 8}
    assert bands.found[at(0.99)].value == 0
    assert bands.found[at(1)].value == 1


def test_order_of_pictures_plays_no_part() -> None:
    there = ranking_bands(IS_TARGET, SCORES, resamples=50)
    back = ranking_bands(IS_TARGET[::-1], SCORES[::-1], resamples=50)
    assert [one.value for one in there.found] == [one.value for one in back.found]


@pytest.mark.parametrize("count", [4, 40, 400])
def test_no_interval_is_narrower_than_its_pictures_allow(count: int) -> None:
    is_target = np.arange(count) % 4 == 0
    scores = np.where(is_target, 0.9, 0.1)  # a perfect ranking, and so is every resample of it
    bands = ranking_bands(is_target, scores, resamples=50)
    certain = wilson(is_target.sum(), is_target.sum())
    assert all(one.value == 1 and one.low <= certain.low for one in bands.found)
    assert all(one.low <= certain.low for one in bands.precision)


def test_more_pictures_make_narrower_bands() -> None:
    random = np.random.default_rng(0)
    widths = []
    for count in (40, 400):
        is_target = np.arange(count) % 4 == 0
        scores = random.random(count) + is_target * 0.4
        bands = ranking_bands(is_target, scores, resamples=200)
        assert all(one.low <= one.value <= one.high for one in (*bands.found, *bands.precision))
        middle = bands.found[at(0.2)]
        widths.append(middle.high - middle.low)
    assert widths[1] < widths[0] / 2
