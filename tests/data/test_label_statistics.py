"""Statistics that tell the label: strength, direction, chance, and correction for many."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from roi_cls.data.audit import LabelStatistic, measure_statistics

LABELS = ["bad"] * 20 + ["good"] * 180


def only(
    quantities: dict[str, list[float]] | None = None,
    categories: dict[str, list[str]] | None = None,
    labels: list[str] = LABELS,
) -> LabelStatistic:
    (found,) = measure_statistics(labels, quantities or {}, categories or {}, "bad")
    return found


@pytest.mark.parametrize("sign", [1, -1])
def test_quantity_is_judged_in_its_better_direction(sign: int) -> None:
    rng = np.random.default_rng(0)
    values = sign * np.concatenate([rng.normal(1.5, 1, 20), rng.normal(0, 1, 180)])
    found = only({"width": values.tolist()})
    expected = roc_auc_score([label == "bad" for label in LABELS], sign * values)
    assert found.roc_auc == pytest.approx(expected)
    assert found.betrays
    assert found.detail.startswith(f"median {np.median(values[:20]):.4g} against ")


def test_category_is_judged_by_its_best_grouping() -> None:
    formats = ["PNG"] * 18 + ["JPEG"] * 2 + ["JPEG"] * 170 + ["PNG"] * 10
    found = only(categories={"format": formats})
    scores = [form == "PNG" for form in formats]
    assert found.roc_auc == pytest.approx(roc_auc_score([x == "bad" for x in LABELS], scores))
    assert found.betrays
    assert found.detail in ("JPEG: 10% against 94%", "PNG: 90% against 6%")


def test_names_of_single_pictures_are_no_finding() -> None:
    # Every value occurs once: a perfect grouping exists, and it would for any labels.
    found = only(categories={"size": [str(i) for i in range(200)]})
    assert found.roc_auc == pytest.approx(1)
    assert found.p == 1
    assert not found.betrays


def test_chance_finds_nothing_among_many_tests() -> None:
    rng = np.random.default_rng(4)
    quantities = {f"q{i}": rng.normal(size=200).tolist() for i in range(40)}
    categories = {f"c{i}": rng.choice([*"xyz"], 200).tolist() for i in range(10)}
    found = measure_statistics(LABELS, quantities, categories, "bad")
    assert len(found) == 50
    assert min(one.p for one in found) < 0.05  # so that the correction has something to do
    assert not any(one.betrays for one in found)


def test_correction_is_that_of_holm() -> None:
    rng = np.random.default_rng(2)
    values = {f"q{i}": (rng.normal(size=200) + (i == 0) * (np.arange(200) < 20)).tolist()
              for i in range(3)}  # fmt: skip
    found = sorted(measure_statistics(LABELS, values, {}, "bad"), key=lambda one: one.p)
    first, second, third = (one.p for one in found)
    expected = [3 * first, max(3 * first, 2 * second), max(3 * first, 2 * second, third)]
    assert [one.p_corrected for one in found] == pytest.approx([min(1, p) for p in expected])


def test_what_is_alike_in_all_pictures_is_left_out() -> None:
    quantities, categories = {"width": [1024.0] * 200}, {"format": ["PNG"] * 200}
    assert measure_statistics(LABELS, quantities, categories) == ()


def test_each_of_several_classes_is_told_from_the_others() -> None:
    labels = ["a"] * 30 + ["b"] * 30 + ["c"] * 30
    values = [0.0] * 60 + [1.0] * 30
    found = measure_statistics(labels, {"width": values}, {}, "a")
    assert {(one.label, round(one.roc_auc, 2)) for one in found} == {
        ("a", 0.75),
        ("b", 0.75),
        ("c", 1.0),
    }
    assert found[0].label == "c"


def test_one_class_tells_nothing() -> None:
    assert measure_statistics(["a"] * 3, {"width": [1.0, 2.0, 3.0]}, {}) == ()
