"""Weights of an ensemble's members, chosen on scores of pictures that none of them learned from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from sklearn.metrics import average_precision_score

from roi_cls.classifier.metrics.interval import Floats, Labels

MOST_ROUNDS = 50
"""Members drawn at most; repetitions make weights in steps of 1/50."""


def select_greedily(
    members: Sequence[Floats], labels: Labels, target: int, rounds: int = MOST_ROUNDS
) -> tuple[float, ...]:
    """Return the weight of each member, at least 0, together 1.

    From nothing, the member is added again and again whose addition gives the mean of those chosen
    so far the best average precision; a member may be added more than once. Of all rounds, the
    first with the best mean counts. Caruana et al. 2004, "Ensemble Selection from Libraries of
    Models".

    Args:
        members: (N, K) probabilities of each member for the same N pictures.
        labels: (N,) true class indices, of the target and of others.
        target: Index of the class looked for.
        rounds: See ``MOST_ROUNDS``.

    Raises:
        ValueError: There is no member, or the labels are of one kind.
    """
    is_target = labels == target
    if not members or not 0 < is_target.sum() < len(labels):
        raise ValueError("a selection needs members, and pictures of the target and of others")
    scores = np.stack([member[:, target] for member in members])  # (M, N)
    total = np.zeros(len(labels))
    chosen: list[int] = []
    best, best_length = -1.0, 0
    for _ in range(rounds):
        reached = [average_precision_score(is_target, total + one) for one in scores]
        # Of equal gains the member that is there least often: equal members share the weight.
        added = max(range(len(scores)), key=lambda i: (reached[i], -chosen.count(i)))
        chosen.append(added)
        total += scores[added]
        if reached[added] > best + 1e-12:
            best, best_length = reached[added], len(chosen)
    counts = Counter(chosen[:best_length])
    return tuple(counts[i] / best_length for i in range(len(members)))
