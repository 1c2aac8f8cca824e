"""Calibration and threshold: fitted once, on pictures that the model did not learn from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from roi_cls.classifier.metrics.calibration import fit_scaling
from roi_cls.classifier.metrics.decision import to_probabilities
from roi_cls.classifier.metrics.threshold import choose_threshold, find_shortfall
from roi_cls.classifier.runs.bundle import ModelBundle


def choose_operating_point(
    bundle: ModelBundle,
    logits: NDArray[np.floating],
    labels: NDArray[np.int64],
    *,
    calibrate: bool,
) -> tuple[ModelBundle, str | None]:
    """Return the bundle with temperature, offsets and threshold, and how its rule is missed.

    Args:
        bundle: Says the classes, the target and the threshold's rule; not calibrated yet.
        logits: (N, K) of validation or out-of-fold pictures; the logarithm of probabilities
            serves, too, minus infinity included.
        labels: (N,) true class indices.
        calibrate: Fit temperature and offsets first.

    Returns:
        The bundle; and a sentence where no threshold keeps the rule, else None. With three
        classes or more there is no threshold.
    """
    if calibrate:
        temperature, offsets = fit_scaling(logits, labels)
        bundle = replace(bundle, temperature=temperature, offsets=offsets)
    if len(bundle.labels.names) != 2:
        return bundle, None
    target, rule = bundle.labels.target_index, bundle.threshold_rule
    scores = to_probabilities(logits, bundle.temperature, bundle.offsets)[:, target]
    is_target = labels == target
    threshold = choose_threshold(scores, is_target, rule)
    shortfall = find_shortfall(scores, is_target, threshold, rule)
    return replace(bundle, threshold=threshold), shortfall
