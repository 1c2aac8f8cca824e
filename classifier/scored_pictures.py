"""Scores beside what they were found to be: what every figure of an evaluation is drawn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roi_cls.classifier.evaluation import Evaluation
from roi_cls.classifier.metrics.decision import decide, measure_margin
from roi_cls.classifier.metrics.interval import Floats, Labels


@dataclass(frozen=True, slots=True, eq=False)
class ScoredPictures:
    """Labels and scores of N pictures, and their evaluation."""

    labels: Labels
    """(N,) true class indices."""
    probabilities: Floats
    """(N, K)."""
    evaluation: Evaluation
    """Of these very scores."""

    @property
    def names(self) -> tuple[str, ...]:
        """The K class names."""
        return tuple(one.label for one in self.evaluation.overall.classes)

    @property
    def target(self) -> int:
        """Index of the class looked for."""
        return self.names.index(self.evaluation.target)

    @property
    def is_target(self) -> NDArray[np.bool_]:
        """(N,) whether each picture is of the target."""
        return np.asarray(self.labels == self.target, np.bool_)

    @property
    def has_both(self) -> bool:
        """Whether there are pictures of the target and others, so that a ranking can be judged."""
        return bool(0 < self.is_target.sum() < len(self.labels))

    @property
    def scores(self) -> Floats:
        """(N,) probability of the target."""
        return self.probabilities[:, self.target]

    @property
    def answers(self) -> Labels:
        """(N,) decided class indices."""
        return decide(self.probabilities, self.target, self.evaluation.threshold)

    @property
    def margins(self) -> Floats:
        """(N,) how sure each answer is."""
        return measure_margin(self.probabilities, self.target, self.evaluation.threshold)
