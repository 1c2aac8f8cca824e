"""Scored pictures beside their labels: what figures are drawn from, and which are mistakes."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from roi_cls.base.atomic import write_atomically
from roi_cls.classifier.evaluation.evaluation import Evaluation
from roi_cls.classifier.metrics.decision import decide, is_unsure, measure_margin
from roi_cls.classifier.metrics.interval import Floats, Labels
from roi_cls.classifier.metrics.measure import Metrics, measure_scores
from roi_cls.classifier.runs.scores import ScoreTable
from roi_cls.data.crops import CropArray
from roi_cls.roi.image import Image

MistakeKind = Literal["missed", "false_alarm", "mixed_up"]
MISTAKE_COLUMNS = (
    "path",
    "label",
    "answer",
    "probability",
    "target_probability",
    "source",
    "unsure",
)


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

    def measure(self, at: NDArray[np.bool_]) -> Metrics:
        """Return how the pictures fared where ``at`` (N,) is true, one at least."""
        return measure_scores(
            self.labels[at],
            self.probabilities[at],
            self.names,
            target=self.target,
            threshold=self.evaluation.threshold,
            majority=self.names.index(self.evaluation.majority_label),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Mistake:
    """A picture whose answer is not its label."""

    path: str
    """Below the data's root."""
    label: str
    """As given: the true class."""
    answer: str
    """The class decided for."""
    probability: float
    """Of the answer, 0 to 1; with two classes it may be the lower one, the threshold decides."""
    target_probability: float
    """Of the class looked for."""
    source: str
    """What was looked at: ``face`` or ``full_frame``."""
    unsure: bool
    """Whether it was too close to call."""
    kind: MistakeKind
    """The target was missed, another class was taken for it, or two others were mixed up."""
    crop: Image = field(repr=False)
    """Of the first view, (size_px, size_px, 3) RGB."""


def find_mistakes(
    crops: CropArray, table: ScoreTable, evaluation: Evaluation
) -> tuple[Mistake, ...]:
    """Return every wrong answer, the most confident first.

    Confidence is the margin that also says what is unsure: see ``measure_margin``.

    Args:
        crops: One view of the pictures.
        table: Their scores.
        evaluation: Of these scores; knows how they are decided.
    """
    names = [one.label for one in evaluation.overall.classes]
    target, threshold = names.index(evaluation.target), evaluation.threshold
    scores = table.probabilities
    answers = decide(scores, target, threshold)
    unsure = is_unsure(scores, target, threshold, evaluation.abstain)
    wrong = np.flatnonzero(answers != crops.labels)
    margins = measure_margin(scores, target, threshold)[wrong]
    return tuple(
        Mistake(
            path=table.paths[i],
            label=table.labels[i],
            answer=names[answers[i]],
            probability=float(scores[i, answers[i]]),
            target_probability=float(scores[i, target]),
            source=table.sources[i],
            unsure=bool(unsure[i]),
            kind=mistake_kind(int(crops.labels[i]), int(answers[i]), target),
            crop=crops.pixels[i],
        )
        for i in wrong[np.argsort(-margins, kind="stable")]
    )


def mistake_kind(label: int, answer: int, target: int) -> MistakeKind:
    """Return which kind of mistake it is to answer so; all three are class indices."""
    if label == target:
        return "missed"
    return "false_alarm" if answer == target else "mixed_up"


def write_mistakes(path: Path, mistakes: Sequence[Mistake]) -> None:
    """Write a row for each mistake below a header, all or nothing. Raises ``StorageError``."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)  # with its line end it quotes a lone \r, see ``write_scores``
    writer.writerow(MISTAKE_COLUMNS)
    for one in mistakes:
        numbers = repr(one.probability), repr(one.target_probability)
        unsure = str(one.unsure).lower()
        writer.writerow([one.path, one.label, one.answer, *numbers, one.source, unsure])
    write_atomically(path, buffer.getvalue().encode("utf-8", "surrogateescape"))


def share_places(kinds: Sequence[str], limit: int) -> list[int]:
    """Return at most ``limit`` indices in order, the first of each kind.

    Each kind gets an equal share of the places, and what others leave of theirs: with a low
    threshold every false alarm may be surer than any miss, and would crowd out the misses.
    """
    seen: Counter[str] = Counter()
    ranks = []
    for i, kind in enumerate(kinds):
        ranks.append((seen[kind], i))
        seen[kind] += 1
    return sorted(i for _, i in sorted(ranks)[:limit])
