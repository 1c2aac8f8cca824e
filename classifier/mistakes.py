"""The pictures that an evaluation found answered wrongly. Lists them; draws nothing."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from roi_cls.base.atomic import write_atomically
from roi_cls.classifier.evaluation import Evaluation
from roi_cls.classifier.metrics.decision import decide, is_unsure, measure_margin
from roi_cls.classifier.runs.scores import ScoreTable
from roi_cls.data.crops import CropArray
from roi_cls.roi.image import Image

MistakeKind = Literal["missed", "false_alarm", "mixed_up"]
COLUMNS = ("path", "label", "answer", "probability", "target_probability", "source", "unsure")


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
    crop: Image
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


def write_mistakes(path: Path, mistakes: Sequence[Mistake]) -> None:
    """Write a row for each mistake below a header, all or nothing. Raises ``StorageError``."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)  # with its line end it quotes a lone \r, see ``write_scores``
    writer.writerow(COLUMNS)
    for one in mistakes:
        numbers = repr(one.probability), repr(one.target_probability)
        unsure = str(one.unsure).lower()
        writer.writerow([one.path, one.label, one.answer, *numbers, one.source, unsure])
    write_atomically(path, buffer.getvalue().encode("utf-8", "surrogateescape"))


def mistake_kind(label: int, answer: int, target: int) -> MistakeKind:
    """Return which kind of mistake it is to answer so; all three are class indices."""
    if label == target:
        return "missed"
    return "false_alarm" if answer == target else "mixed_up"
