"""Which scores a report is about: those of the test part, else the best there are."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from roi_cls.base.errors import BundleError
from roi_cls.classifier.evaluation.evaluation import Evaluation, evaluate_scores
from roi_cls.classifier.evaluation.pictures import ScoredPictures
from roi_cls.classifier.runs.bundle import ModelBundle
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.scores import ScoreTable, read_scores
from roi_cls.commands.report.parts import Missing

Part = Literal["test", "out_of_fold", "validation"]
PART_TEXT: dict[Part, str] = {
    "test": "test pictures",
    "out_of_fold": "training pictures, each scored by models that did not learn from it",
    "validation": "validation pictures",
}


@dataclass(frozen=True, slots=True, eq=False)
class ReportedScores:
    """Scores, what they were found to be, and how far they may be trusted."""

    part: Part
    table: ScoreTable
    pictures: ScoredPictures
    doubt: Missing | None
    """Why these are not test scores; None: they are."""

    @property
    def evaluation(self) -> Evaluation:
        """Of these scores."""
        return self.pictures.evaluation


def find_scores(run: RunFolder, bundle: ModelBundle) -> ReportedScores | Missing:
    """Return the scores of the last evaluation; without one, those that training left.

    Raises:
        BundleError: A file of scores is damaged.
    """
    try:
        return _read_test(run, bundle)
    except FileNotFoundError:
        why = "The run has not been evaluated on a test part yet."
    except BundleError as error:
        why = str(error)
    source = bundle.training.get("source", "DATA")
    command = shlex.join(["roi-cls", "evaluate", str(source), "--run", run.path.name])
    for part, path in _left_by_training(run):
        if path.is_file():
            doubt = Missing(f"{why} {_FLATTERY[part]}", "Open the test part:", command)
            return _judge_anew(part, read_scores(path, bundle.labels.names), bundle, doubt)
    return Missing(f"{why} Training left no scores, either.", "Evaluate it:", command)


_FLATTERY: dict[Part, str] = {
    "test": "",
    "out_of_fold": (
        "The numbers below are out-of-fold scores, which also chose each member's best epoch, the "
        "scaling and the threshold: they flatter the run a little."
    ),
    "validation": (
        "The numbers below are of the validation part, which also chose the best epoch, the "
        "scaling and the threshold: they flatter the run."
    ),
}


def _left_by_training(run: RunFolder) -> tuple[tuple[Part, Path], ...]:
    # With folds, members have learned from the validation part: its scores prove nothing.
    return ("out_of_fold", run.oof_scores), ("validation", run.validation_scores)


def _read_test(run: RunFolder, bundle: ModelBundle) -> ReportedScores:
    try:
        evaluation = Evaluation.from_dict(json.loads(run.evaluation.read_bytes()))
    except (AttributeError, ValueError) as error:
        raise BundleError(f"The evaluation {str(run.evaluation)!r} is damaged: {error}.") from error
    table = read_scores(run.test_scores, bundle.labels.names)
    names = [one.label for one in evaluation.overall.classes]
    if len(table.paths) != evaluation.overall.images or tuple(names) != bundle.labels.names:
        raise BundleError(
            f"{run.test_scores.name} and {run.evaluation.name} are not of the same evaluation."
        )
    labels = np.array([names.index(label) for label in table.labels], np.int64)
    pictures = ScoredPictures(labels, table.probabilities, evaluation)
    return ReportedScores("test", table, pictures, None)


def _judge_anew(
    part: Part, table: ScoreTable, bundle: ModelBundle, doubt: Missing
) -> ReportedScores:
    names = bundle.labels.names
    labels = np.array([names.index(label) for label in table.labels], np.int64)
    evaluation = evaluate_scores(
        labels,
        table.probabilities,
        names,
        bundle.labels.target,
        0.5 if bundle.threshold is None else bundle.threshold,
        ["face" if source == "face" else "full_frame" for source in table.sources],
        threshold_rule=bundle.threshold_rule,
        temperature=bundle.temperature,
        offsets=bundle.offsets,
        abstain=bundle.abstain,
        majority_label=bundle.training.get("majority_label"),
    )
    pictures = ScoredPictures(labels, table.probabilities, evaluation)
    return ReportedScores(part, table, pictures, doubt)
