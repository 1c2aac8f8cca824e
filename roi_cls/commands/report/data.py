"""What a report is about: which scores, where their pictures lie, whether the data are sound."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from roi_cls.base.errors import BundleError
from roi_cls.base.location import as_path
from roi_cls.cache.options import BuildOptions
from roi_cls.classifier.evaluation.evaluation import Evaluation, evaluate_scores
from roi_cls.classifier.evaluation.grouping import find_grouping, judge_groups
from roi_cls.classifier.evaluation.pictures import ScoredPictures
from roi_cls.classifier.runs.bundle import ModelBundle
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.scores import ScoreTable, data_root, read_scores
from roi_cls.commands.report.parts import Cell, Missing, Table
from roi_cls.data.audit import Audit, audit_samples, audit_verdict, name_examples
from roi_cls.data.picture_facts import read_all_facts
from roi_cls.data.sample import MOST_LISTED, tell_extremes
from roi_cls.data.table import read_split
from roi_cls.roi.archives.opening import is_there
from roi_cls.roi.image import has_content

MOST_STATISTICS = 8
"""Rows of the table of what else differs between the classes, beyond those that betray labels."""
ScoredPart = Literal["test", "out_of_fold", "validation"]
PART_TEXT: dict[ScoredPart, str] = {
    "test": "test pictures",
    "out_of_fold": "training pictures, each scored by models that did not learn from it",
    "validation": "validation pictures",
}
_FLATTERY: dict[ScoredPart, str] = {
    "out_of_fold": (
        "The numbers below are out-of-fold scores, which also chose each member's best epoch, the "
        "scaling and the threshold: they flatter the run a little."
    ),
    "validation": (
        "The numbers below are of the validation part, which also chose the best epoch, the "
        "scaling and the threshold: they flatter the run."
    ),
}


def locate_data(
    given: Path | None, run: RunFolder, bundle: ModelBundle, table: ScoreTable | None
) -> Path | Missing:
    """Return the folder that the paths of scores and split start at.

    Args:
        given: Where the user says that the data set lies.
        run: The run.
        bundle: Its facts; they know where the data set lay.
        table: The scores; one of their pictures must be there, by its bytes.
    """
    known = bundle.training.get("source")
    source = given or (as_path(str(known)) if known else None)
    if source is not None:
        root = data_root(source)
        if table is None or _holds_any(root, table):
            return root
    where = f" in {str(source)!r}" if source else ""
    return Missing(
        f"The scored pictures are not to be found{where}: they moved, or others are there now.",
        "Say where they lie:",
        f"roi-cls report --run {shlex.quote(run.path.name)} --data FOLDER",
    )


def _holds_any(root: Path, table: ScoreTable) -> bool:
    # Some may have been taken away; that all of the first are others is no accident.
    pairs = zip(table.paths[:20], table.sha256[:20], strict=True)
    return any(has_content(root / as_path(path), digest) for path, digest in pairs)


@dataclass(frozen=True, slots=True)
class FoundData:
    """An audit, in a form for a page."""

    verdict: str
    findings: tuple[tuple[str, str, tuple[str, ...]], ...]
    """Level, text and examples of each."""
    tables: tuple[Table, ...]


def audit_data(
    run: RunFolder,
    root: Path,
    target: str,
    options: BuildOptions,
    advance: Callable[[int, int, str], None],
) -> FoundData | Missing:
    """Return the audit of all the pictures of the run's split.

    Raises:
        DataError: The split is damaged.
    """
    if not run.split.is_file():
        return Missing("The run keeps no split.csv, so it is not known what it learned from.")
    samples, _ = read_split(run.split, root)
    absent = sum(not is_there(sample.path) for sample in samples)
    if absent:
        return Missing(
            f"{absent} of the {len(samples)} pictures of the run's split are not in {str(root)!r}.",
            "Say where they lie:",
            f"roi-cls report --run {shlex.quote(run.path.name)} --data FOLDER",
        )
    facts = []
    for fact in read_all_facts([sample.path for sample in samples], options):
        facts.append(fact)
        advance(len(facts), len(samples), "")
    return _tell(audit_samples(samples, facts, target), root)


def _tell(audit: Audit, root: Path) -> FoundData:
    findings = tuple(
        (one.level, one.text, tuple(name_examples(audit, one, root))) for one in audit.findings
    )
    return FoundData(audit_verdict(audit), findings, (_parts(audit), *_statistics(audit)))


def _parts(audit: Audit) -> Table:
    labels = list(next(iter(audit.parts.values()), {}))
    if len(labels) > MOST_LISTED:
        return _extremes(audit)
    rows: list[tuple[Cell, ...]] = []
    for part, counts in audit.parts.items():
        total = sum(counts.values())
        cells = [f"{count} ({count / max(total, 1):.0%})" for count in counts.values()]
        rows.append((part, *cells, total))
    return Table("Pictures by part and class", ("Part", *labels, "All"), tuple(rows))


def _extremes(audit: Audit) -> Table:
    """Return the same for many classes: how many there are, and the smallest and the largest."""
    rows = tuple(
        (part, sum(map(bool, counts.values())), *tell_extremes(counts), sum(counts.values()))
        for part, counts in audit.parts.items()
    )
    columns = ("Part", "Classes", "Fewest", "Most", "All")
    return Table("Pictures by part and class", columns, rows, frozenset({2, 3}))


def _statistics(audit: Audit) -> list[Table]:
    if not audit.statistics:
        return []
    betraying = sum(one.betrays for one in audit.statistics)
    rows = tuple(
        (
            one.name,
            one.label,
            f"{one.roc_auc:.2f}",
            f"{one.p_corrected:.1g}",
            one.detail,
        )
        for one in audit.statistics[: min(betraying, MOST_LISTED) + MOST_STATISTICS]
    )
    columns = ("Statistic alone", "tells", "ROC-AUC", "corrected p", "Difference")
    caption = "What else differs between the classes: a model may learn it instead"
    return [Table(caption, columns, rows, frozenset({1, 4}))]


@dataclass(frozen=True, slots=True, eq=False)
class ReportedScores:
    """Scores, what they were found to be, and how far they may be trusted."""

    part: ScoredPart
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


def _left_by_training(run: RunFolder) -> tuple[tuple[ScoredPart, Path], ...]:
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
    part: ScoredPart, table: ScoreTable, bundle: ModelBundle, doubt: Missing
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


def group_scores(
    scores: ReportedScores, run: RunFolder, bundle: ModelBundle, group_regex: str | None
) -> ReportedScores:
    """Return the scores with an evaluation by group: of the regular expression, where one is given.

    Without, as the evaluation has it already, or else as ``find_grouping`` says.

    Raises:
        DataError: The regular expression matches no picture's path, or the split is damaged.
    """
    if group_regex is None and scores.evaluation.groups:
        return scores
    grouping = find_grouping(run, bundle.training, scores.table, group_regex)
    return replace(scores, pictures=judge_groups(scores.pictures, grouping))
