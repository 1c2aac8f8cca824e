"""The threshold of the target's probability, chosen by a rule. Only ever on validation scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from roi_cls.classifier.config import ThresholdRule, parse_rule
from roi_cls.classifier.metrics.interval import Floats


def choose_threshold(
    scores: Floats, is_target: NDArray[np.bool_], rule: ThresholdRule | str = "auto"
) -> float:
    """Return the threshold that serves the rule best, 0 to 1.

    By F1 alone a weak model calls so many pictures the target that never calling one would be right
    more often: the rule ``auto`` leaves those thresholds out. Where all are such, it takes the one
    that is right most often.

    Of neighbouring scores it takes the middle, so that it lies as far from the pictures on both
    sides as can be. Of equally good ones it takes the one that also finds more of the target
    (``precision``, ``recall``), else the higher. A rule that these scores cannot meet gives the
    threshold that comes closest to it; ``find_shortfall`` then says so.

    Args:
        scores: (N,) probability of the target, N >= 1.
        is_target: (N,) whether the picture is of the target.
        rule: What is wanted, as ``parse_rule`` reads it.
    """
    rule = parse_rule(rule) if isinstance(rule, str) else rule
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    # Equal scores cannot be told apart: only the last of each run is a place to cut.
    cuts = np.flatnonzero(np.append(ranked[:-1] > ranked[1:], True))
    called = cuts + 1
    hits = np.cumsum(is_target[order].astype(np.int_))[cuts]
    best = _best_cut(rule, called, hits, int(is_target.sum()), may_refuse_all=ranked[0] < 1)
    above = float(ranked[cuts[best]]) if best >= 0 else 1.0
    following = int(cuts[best]) + 1 if best >= 0 else 0
    below = float(ranked[following]) if following < len(ranked) else 0.0
    middle = (above + below) / 2
    # Between two neighbouring floats there is none: the middle is rounded to one of them.
    return middle if middle > below else above


def find_shortfall(
    scores: Floats, is_target: NDArray[np.bool_], threshold: float, rule: ThresholdRule | str
) -> str | None:
    """Return a sentence where ``threshold`` misses what the rule is for, else None.

    That is the share it asks for; for ``auto``, half of the targets that the best F1 would find.
    ``threshold`` is the one that was chosen on these scores.
    """
    rule = parse_rule(rule) if isinstance(rule, str) else rule
    if rule.kind == "auto":
        return _tell_refusal(scores, is_target, threshold)
    if rule.kind not in ("recall", "precision"):
        return None
    is_called = scores >= threshold
    hits, called = int((is_called & is_target).sum()), int(is_called.sum())
    total = called if rule.kind == "precision" else int(is_target.sum())
    reached = hits / total if total else 0.0
    if reached >= rule.share:
        return None
    return (
        f"No threshold reaches {rule} on the validation pictures; the closest, {threshold:.4g}, "
        f"has {rule.kind} {reached:.2f} ({hits} of {total}). Train a better model or ask for less."
    )


def _tell_refusal(scores: Floats, is_target: NDArray[np.bool_], threshold: float) -> str | None:
    hits, targets = int((is_target & (scores >= threshold)).sum()), int(is_target.sum())
    is_called = scores >= choose_threshold(scores, is_target, "f1")
    more = int((is_called & is_target).sum())
    if 2 * hits >= more:
        return None
    return (
        f"The threshold {threshold:.4g} finds {hits} of {targets} on the validation pictures: a "
        "lower one would be right less often than always giving the commoner answer. "
        f"--threshold-rule f1 would find {more}, with {int(is_called.sum()) - more} false alarms."
    )


def _best_cut(
    rule: ThresholdRule,
    called: NDArray[np.int_],
    hits: NDArray[np.int_],
    targets: int,
    may_refuse_all: bool,
) -> int:
    """Return the index of the best place to cut; -1: above all scores.

    called, hits: (C,) pictures at or above each cut, and those of them that are of the target.
    """
    precision, recall = hits / called, hits / max(targets, 1)
    if rule.kind in ("auto", "f1"):
        f1 = 2 * hits / (called + targets)
        if rule.kind == "auto":
            pictures = int(called[-1])
            right = pictures - (targets - hits) - (called - hits)
            needed = min(max(targets, pictures - targets), int(right.max()))
            f1 = np.where(right >= needed, f1, -1.0)
        return int(np.argmax(f1))
    if rule.kind == "recall":
        # Recall grows from cut to cut: of equal precision, the last one finds most.
        return _last_best(np.where(recall >= rule.share, precision, -1.0))
    if rule.kind == "precision":
        reaches = precision >= rule.share
        if reaches.any():
            return int(np.argmax(np.where(reaches, hits, -1)))
        return _last_best(precision)
    costs = rule.miss * (targets - hits) + rule.alarm * (called - hits)
    best = int(np.argmin(costs))
    refuses_all = may_refuse_all and rule.miss * targets <= costs[best]
    return -1 if refuses_all else best


def _last_best(values: Floats) -> int:
    return len(values) - 1 - int(np.argmax(values[::-1]))
