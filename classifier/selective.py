"""What is gained by not answering where the model is unsure. Knows arrays only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class RiskCoverage:
    """The share of wrong answers among the surest pictures, for each number of them."""

    coverage: Floats
    """(N,) share of the pictures that are answered, rising to 1."""
    risk: Floats
    """(N,) share of wrong answers among them."""
    margin: Floats
    """(N,) of the least sure picture among them: an abstain band up to it answers these."""
    best: Floats
    """(N,) risk if every wrong answer were less sure than every right one."""


def risk_coverage(wrong: NDArray[np.bool_], margins: Floats) -> RiskCoverage:
    """Return the curve, with equally sure pictures as equally wrong.

    wrong: (N,) whether the answer is wrong, N >= 1.  margins: (N,) how sure it is.
    """
    order = np.argsort(-margins, kind="stable")
    ranked = margins[order]
    starts = np.flatnonzero(np.diff(ranked, prepend=np.inf))
    sizes = np.diff(np.append(starts, len(order)))
    rate = np.repeat(np.add.reduceat(wrong[order].astype(np.float64), starts) / sizes, sizes)
    covered = np.arange(1, len(order) + 1)
    rightly = len(order) - int(wrong.sum())
    return RiskCoverage(
        coverage=covered / len(order),
        risk=np.cumsum(rate) / covered,
        margin=ranked,
        best=np.maximum(covered - rightly, 0) / covered,
    )


def area(curve: RiskCoverage) -> float:
    """Return the area under the curve (AURC), 0 is best; a constant margin gives the error."""
    return float(curve.risk.mean())
