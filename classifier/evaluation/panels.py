"""The figures of an evaluation as PNG files, and the panels that they and a report are made of.

Calibration, abstention, ranking: a panel draws on axes that it is given, and decides nothing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter
from sklearn.metrics import precision_recall_curve, roc_curve

from roi_cls.base.figure import FIRST, MARK, QUIET, SECOND, finish_panel, new_figure, save_figure
from roi_cls.classifier.evaluation.evaluation import Evaluation
from roi_cls.classifier.evaluation.pictures import ScoredPictures
from roi_cls.classifier.metrics.calibration import calibration_curve
from roi_cls.classifier.metrics.decision import RiskCoverage, risk_coverage
from roi_cls.classifier.metrics.interval import CURVE_GRID, RankingBands, ranking_bands

BAR_EDGES = tuple(i / 20 for i in range(21))
"""Of the bars in which pictures of similar probability are counted."""


def draw_evaluation(folder: Path, pictures: ScoredPictures) -> None:
    """Write ``reliability.png``, ``risk_coverage.png`` and ``roc_pr.png`` into a folder.

    The last is left out, and an older one removed, where all pictures are of one side.

    Raises:
        StorageError: A file cannot be written.
    """
    figure, (diagram, counts) = new_figure(2)
    plot_reliability(diagram, pictures)
    _plot_scores(counts, pictures)
    save_figure(figure, folder / "reliability.png")

    figure, (axes,) = new_figure()
    plot_risk_coverage(axes, pictures)
    save_figure(figure, folder / "risk_coverage.png")

    ranking = folder / "roc_pr.png"
    if not pictures.has_both:
        ranking.unlink(missing_ok=True)
        return
    figure, (roc, recall) = new_figure(2)
    bands = ranking_bands(pictures.is_target, pictures.scores)
    plot_roc(roc, pictures, bands)
    plot_recall(recall, pictures, bands)
    save_figure(figure, ranking)


def plot_reliability(diagram: Axes, pictures: ScoredPictures) -> None:
    """Draw claimed against observed share of the target."""
    evaluation = pictures.evaluation
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
    finish_panel(
        diagram,
        f"Calibration error (ECE) {evaluation.overall.ece}",
        f"claimed probability of {evaluation.target!r}, mean of {len(bins)} equal groups",
        f"share that is of {evaluation.target!r}",
        "upper left",
    )


def _plot_scores(counts: Axes, pictures: ScoredPictures) -> None:
    """Draw how often each probability of the target is claimed."""
    evaluation = pictures.evaluation
    groups = [pictures.scores[~pictures.is_target], pictures.scores[pictures.is_target]]
    names = [f"others ({len(groups[0])})", f"{evaluation.target!r} ({len(groups[1])})"]
    counts.hist(groups, BAR_EDGES, stacked=True, color=[QUIET, FIRST], label=names)
    _mark_threshold(counts, evaluation)
    claimed = f"claimed probability of {evaluation.target!r}"
    finish_panel(counts, f"{len(pictures.labels)} pictures", claimed, "pictures", "upper right")


def plot_class_scores(counts: Axes, pictures: ScoredPictures, label: int) -> None:
    """Draw what is claimed of the pictures of one class, right and wrong answers apart.

    Two classes: the probability of the target. More: that of the answer.
    """
    evaluation, answers = pictures.evaluation, pictures.answers
    own = pictures.labels == label
    if len(pictures.names) == 2:
        claimed, what = pictures.scores, f"probability of {evaluation.target!r}"
    else:
        claimed = pictures.probabilities[np.arange(len(answers)), answers]
        what = "probability of the answer"
    right = answers == label
    groups = [claimed[own & right], claimed[own & ~right]]
    names = [f"answered rightly ({len(groups[0])})", f"answered wrongly ({len(groups[1])})"]
    counts.hist(groups, BAR_EDGES, stacked=True, color=[FIRST, MARK], label=names)
    counts.yaxis.set_major_locator(MaxNLocator(integer=True))
    if len(pictures.names) == 2:
        threshold = evaluation.threshold
        name = f"threshold {threshold:.3g}"
        counts.axvline(threshold, color=QUIET, linewidth=1, linestyle="--", label=name)
    title = f"Pictures of {pictures.names[label]!r}: {int(own.sum())}"
    finish_panel(counts, title, what, "pictures", "best")


def plot_risk_coverage(axes: Axes, pictures: ScoredPictures) -> None:
    """Draw what is gained by not answering the least sure pictures."""
    evaluation = pictures.evaluation
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


def plot_roc(roc: Axes, pictures: ScoredPictures, bands: RankingBands) -> None:
    """Draw the share of the target found against that of false alarms; both kinds are there."""
    is_target, target = pictures.is_target, pictures.evaluation.target
    alarms, found, _ = roc_curve(is_target, pictures.scores)
    called = pictures.answers == pictures.target
    roc.plot([0, 1], [0, 1], color=QUIET, linestyle="--", label="chance")
    low, high = ([getattr(one, end) for one in bands.found] for end in ("low", "high"))
    roc.fill_between(
        CURVE_GRID, low, high, color=FIRST, alpha=0.15, linewidth=0, label="95 % interval"
    )
    roc.plot(alarms, found, color=FIRST, label="this run")
    hits = float(called[is_target].mean())
    roc.plot(called[~is_target].mean(), hits, "o", color=MARK, label="answers given")
    _square(roc)
    finish_panel(
        roc,
        f"ROC-AUC {pictures.evaluation.overall.roc_auc}",
        "share of the others called so",
        f"share of {target!r} found",
        "lower right",
    )


def plot_recall(recall: Axes, pictures: ScoredPictures, bands: RankingBands) -> None:
    """Draw precision against the share of the target found; both kinds are there."""
    is_target, target = pictures.is_target, pictures.evaluation.target
    called = pictures.answers == pictures.target
    precisions, recalls, _ = precision_recall_curve(is_target, pictures.scores)
    recall.axhline(float(is_target.mean()), color=QUIET, linestyle="--", label="chance")
    low, high = ([getattr(one, end) for one in bands.precision] for end in ("low", "high"))
    recall.fill_between(
        CURVE_GRID, low, high, color=FIRST, alpha=0.15, linewidth=0, label="95 % interval"
    )
    # Between two thresholds there is no classifier: a step, as in average precision.
    recall.step(recalls, precisions, where="post", color=FIRST, label="this run")
    if called.any():
        right = float(is_target[called].mean())
        recall.plot(called[is_target].mean(), right, "o", color=MARK, label="answers given")
    _square(recall)
    finish_panel(
        recall,
        f"Average precision {pictures.evaluation.overall.average_precision}",
        f"recall: share of {target!r} found",
        "precision: share of the called that are",
        "center left",
    )


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
