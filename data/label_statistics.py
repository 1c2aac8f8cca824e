"""Whether something beside its content tells a picture's label. Sees numbers and labels only.

A classifier learns whatever tells the classes apart: if all artefacts were saved by another
program, it would learn the program.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu

STRONG = 0.6
"""ROC-AUC from which a statistic says something worth knowing."""
SIGNIFICANT = 0.01
"""Corrected p below which it is no accident."""
_DRAWS = 20_000
_DRAWN_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class LabelStatistic:
    """How well one statistic alone tells one class from the others."""

    name: str
    """Like ``bits_per_pixel``."""
    label: str
    """The class that is told from the others."""
    roc_auc: float
    """0.5 to 1: of the statistic in the better direction; of categories, of their best grouping."""
    p: float
    """Chance of as much in labels dealt at random: Mann-Whitney, or drawn for categories."""
    p_corrected: float
    """By Holm, for all the tests of one audit."""
    detail: str
    """The difference in words."""

    @property
    def betrays(self) -> bool:
        """Whether the statistic tells the label, beyond accident."""
        return self.roc_auc >= STRONG and self.p_corrected < SIGNIFICANT


def measure_statistics(
    labels: Sequence[str],
    quantities: Mapping[str, Sequence[float]],
    categories: Mapping[str, Sequence[str]],
    target: str | None = None,
) -> tuple[LabelStatistic, ...]:
    """Return how well each statistic tells each class from the others, the strongest first.

    What is alike in all pictures is left out. Of two classes only ``target``, else the first by
    name, is told from the other.

    Args:
        labels: (N) class names.
        quantities: Name to N numbers.
        categories: Name to N texts.
        target: The class that is looked for.
    """
    classes = sorted(set(labels))
    if len(classes) == 2:
        classes = [target if target in classes else classes[0]]
    names = np.array(labels)
    found = []
    for label in classes if len(set(labels)) > 1 else ():
        chosen = names == label
        for name, numbers in quantities.items():
            if len(set(numbers)) > 1:
                found.append(_measure_quantity(name, np.array(numbers, float), chosen, label))
        for name, texts in categories.items():
            if len(set(texts)) > 1:
                found.append(_measure_category(name, texts, chosen, label))
    return tuple(sorted(_correct(found), key=lambda one: (-one.betrays, -one.roc_auc, one.name)))


def _measure_quantity(
    name: str, values: NDArray[np.float64], chosen: NDArray[np.bool_], label: str
) -> LabelStatistic:
    inside, outside = values[chosen], values[~chosen]
    test = mannwhitneyu(inside, outside)
    roc_auc = float(test.statistic) / (len(inside) * len(outside))
    detail = f"median {np.median(inside):.4g} against {np.median(outside):.4g}"
    return LabelStatistic(name, label, max(roc_auc, 1 - roc_auc), float(test.pvalue), 1, detail)


def _measure_category(
    name: str, texts: Sequence[str], chosen: NDArray[np.bool_], label: str
) -> LabelStatistic:
    values, codes = np.unique(np.array(texts), return_inverse=True)
    totals = np.bincount(codes, minlength=len(values))
    inside = np.bincount(codes[chosen], minlength=len(values))
    apart = _difference(inside, totals)
    rng = np.random.default_rng(0)
    as_far = 0
    for _ in range(_DRAWS // _DRAWN_AT_ONCE):
        drawn = rng.multivariate_hypergeometric(totals, int(inside.sum()), _DRAWN_AT_ONCE)
        as_far += int((_difference(drawn, totals) >= apart - 1e-12).sum())
    shares = inside / inside.sum(), (totals - inside) / (totals - inside).sum()
    most = int(np.abs(shares[0] - shares[1]).argmax())
    detail = f"{values[most]}: {shares[0][most]:.0%} against {shares[1][most]:.0%}"
    # The best grouping of categories is right for 1/2 + difference/2, a ROC-AUC with one step.
    p = (as_far + 1) / (_DRAWS + 1)
    return LabelStatistic(name, label, 0.5 + float(apart) / 2, p, 1, detail)


def _difference(inside: NDArray[np.int64], totals: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return half the summed differences of the shares of categories, (..., C) to (...)."""
    outside = totals - inside
    shares = inside / inside.sum(-1, keepdims=True) - outside / outside.sum(-1, keepdims=True)
    return np.asarray(np.abs(shares).sum(-1) / 2)


def _correct(found: Sequence[LabelStatistic]) -> list[LabelStatistic]:
    """Return the statistics with p corrected for their number, by Holm."""
    corrected, least = [], 0.0
    for i, one in enumerate(sorted(found, key=lambda one: one.p)):
        least = max(least, min(1.0, one.p * (len(found) - i)))
        corrected.append(replace(one, p_corrected=least))
    return corrected
