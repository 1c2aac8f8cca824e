"""The figures of an evaluation, each a PNG: calibration, abstention, ranking. Knows arrays only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from roi_cls.classifier.calibration import calibration_curve
from roi_cls.classifier.decision import decide, measure_margin
from roi_cls.classifier.evaluation import Evaluation
from roi_cls.classifier.figure import (
    FIRST,
    MARK,
    QUIET,
    SECOND,
    finish_panel,
    new_figure,
    save_figure,
)
from roi_cls.classifier.interval import Floats, Labels
from roi_cls.classifier.selective import RiskCoverage, risk_coverage


@dataclass(frozen=True, slots=True, eq=False)
class ScoredPictures:
    """What the figures are drawn from."""

    labels: Labels
    """(N,) true class indices."""
    probabilities: Floats
    """(N, K)."""
    evaluation: Evaluation
    """Of these very scores."""

    @property
    def target(self) -> int:
        """Index of the class looked for."""
        names = [one.label for one in self.evaluation.overall.classes]
        return names.index(self.evaluation.target)

    @property
    def is_target(self) -> NDArray[np.bool_]:
        """(N,) whether each picture is of the target."""
        return np.asarray(self.labels == self.target, np.bool_)

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


def draw_evaluation(folder: Path, pictures: ScoredPictures) -> None:
    """Write ``reliability.png``, ``risk_coverage.png`` and ``roc_pr.png`` into a folder.

    The last is left out, and an older one removed, where all pictures are of one side.

    Raises:
        StorageError: A file cannot be written.
    """
    draw_reliability(folder / "reliability.png", pictures)
    draw_risk_coverage(folder / "risk_coverage.png", pictures)
    ranking = folder / "roc_pr.png"
    if 0 < pictures.is_target.sum() < len(pictures.labels):
        draw_ranking(ranking, pictures)
    else:
        ranking.unlink(missing_ok=True)


def draw_reliability(path: Path, pictures: ScoredPictures) -> None:
    """Write the reliability diagram: claimed against observed share, and how often each is claimed.

    Raises:
        StorageError: The file cannot be written.
    """
    evaluation = pictures.evaluation
    figure, (diagram, counts) = new_figure(2)
    bins = calibration_curve(pictures.scores, pictures.is_target)
    claimed = [one.claimed for one in bins]
    observed = [one.observed.value for one in bins]
    ends = [[one.observed.value - one.observed.low for one in bins]]
    ends += [[one.observed.high - one.observed.value for one in bins]]
    diagram.plot([0, 1], [0, 1], color=QUIET, linestyle="--", label="calibrated")
    diagram.errorbar(
        claimed, observed, ends, color=FIRST, marker="o", capsize=2, label="observed, 95 % interval"
    )
    _square(diagram)
    of = f"probability of {evaluation.target!r}"
    finish_panel(
        diagram,
        f"Calibration error (ECE) {evaluation.overall.ece}",
        f"claimed {of}, mean of {len(bins)} equal groups",
        f"share that is of {evaluation.target!r}",
        "upper left",
    )
    edges = [i / 20 for i in range(21)]
    groups = [pictures.scores[~pictures.is_target], pictures.scores[pictures.is_target]]
    names = [f"others ({len(groups[0])})", f"{evaluation.target!r} ({len(groups[1])})"]
    counts.hist(groups, edges, stacked=True, color=[QUIET, FIRST], label=names)
    _mark_threshold(counts, evaluation)
    finish_panel(
        counts, f"{len(pictures.labels)} pictures", f"claimed {of}", "pictures", "upper right"
    )
    save_figure(figure, path)


def draw_risk_coverage(path: Path, pictures: ScoredPictures) -> None:
    """Write the risk-coverage curve: what is gained by not answering the least sure pictures.

    Raises:
        StorageError: The file cannot be written.
    """
    evaluation = pictures.evaluation
    figure, (axes,) = new_figure()
    curve = risk_coverage(pictures.labels != pictures.answers, pictures.margins)
    error, majority = curve.risk[-1], 1 - evaluation.overall.majority_accuracy.value
    axes.axhline(
        majority, color=QUIET, linestyle=":", label=f"always {evaluation.majority_label!r}"
    )
    axes.plot([0, 1], [error, error], color=QUIET, linestyle="--", label="unsure at random")
    axes.plot(curve.coverage, curve.best, color=SECOND, label="unsure where wrong (best)")
    axes.plot(curve.coverage, curve.risk, color=FIRST, label="this run")
    if evaluation.abstain:
        _mark_abstention(axes, curve, evaluation)
    axes.set_xlim(0, 1.01)
    # Room for the legend above the curve; where there is none, beside its unsteady beginning.
    highest = max(1.6 * float(max(curve.risk.max(), majority)), 0.02)
    axes.set_ylim(0, min(highest, 1.02))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    finish_panel(
        axes,
        f"Risk and coverage: AURC {evaluation.overall.aurc}",
        "coverage: pictures answered, the surest first",
        "risk: wrong answers among them",
        "upper left" if highest <= 1.02 else "upper right",
    )
    save_figure(figure, path)


def draw_ranking(path: Path, pictures: ScoredPictures) -> None:
    """Write the ROC and the precision-recall curve, with chance and the threshold's place.

    There must be pictures of the target and others.

    Raises:
        StorageError: The file cannot be written.
    """
    is_target, target = pictures.is_target, pictures.evaluation.target
    share = float(is_target.mean())
    figure, (roc, recall) = new_figure(2)
    alarms, found, _ = roc_curve(is_target, pictures.scores)
    called = pictures.answers == pictures.target
    hits = float(called[is_target].mean())
    roc.plot([0, 1], [0, 1], color=QUIET, linestyle="--", label="chance")
    roc.plot(alarms, found, color=FIRST, label="this run")
    roc.plot(called[~is_target].mean(), hits, "o", color=MARK, label="answers given")
    _square(roc)
    overall = pictures.evaluation.overall
    finish_panel(
        roc,
        f"ROC-AUC {overall.roc_auc}",
        "share of the others called so",
        f"share of {target!r} found",
        "lower right",
    )
    precisions, recalls, _ = precision_recall_curve(is_target, pictures.scores)
    recall.axhline(share, color=QUIET, linestyle="--", label="chance")
    # Between two thresholds there is no classifier: a step, as in average precision.
    recall.step(recalls, precisions, where="post", color=FIRST, label="this run")
    if called.any():
        right = float(is_target[called].mean())
        recall.plot(hits, right, "o", color=MARK, label="answers given")
    _square(recall)
    finish_panel(
        recall,
        f"Average precision {overall.average_precision}",
        f"recall: share of {target!r} found",
        "precision: share of the called that are",
        "upper right",
    )
    save_figure(figure, path)


def _square(axes: Axes) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_aspect("equal")


def _mark_threshold(axes: Axes, evaluation: Evaluation) -> None:
    if len(evaluation.overall.classes) > 2:
        return
    threshold, half = evaluation.threshold, evaluation.abstain
    axes.axvline(threshold, color=MARK, linewidth=1, label=f"threshold {threshold:.3g}")
    if half:
        band = (max(threshold - half, 0), min(threshold + half, 1))
        axes.axvspan(*band, color=MARK, alpha=0.12, linewidth=0, label="too close to call")


def _mark_abstention(axes: Axes, curve: RiskCoverage, evaluation: Evaluation) -> None:
    answered = int((curve.margin >= evaluation.abstain).sum())
    if answered:
        at = answered - 1
        label = f"abstaining below a margin of {evaluation.abstain:g}"
        axes.plot(curve.coverage[at], curve.risk[at], "o", color=MARK, label=label)
