"""The figures of a report, each with what it says in words and numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from roi_cls.base.figure import PAGE_INCHES, figure_svg, new_figure
from roi_cls.classifier.evaluation.panels import (
    BAR_EDGES,
    plot_class_scores,
    plot_recall,
    plot_reliability,
    plot_risk_coverage,
    plot_roc,
)
from roi_cls.classifier.evaluation.pictures import ScoredPictures
from roi_cls.classifier.metrics.calibration import calibration_curve
from roi_cls.classifier.metrics.decision import risk_coverage
from roi_cls.classifier.metrics.interval import (
    CURVE_GRID,
    Estimate,
    RankingBands,
    format_number,
    ranking_bands,
    wilson,
)
from roi_cls.classifier.training.logs import PANELS, plot_epochs
from roi_cls.commands.report.parts import Drawing, Table

MOST_CLASSES = 12
"""Classes whose probabilities are drawn; those with the most pictures."""
MOST_EPOCHS = 50
"""Rows of the table of epochs; more epochs are thinned evenly."""
_COVERAGES = (0.5, 0.7, 0.8, 0.9, 0.95, 1.0)
_ALARMS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_FOUND = (0.5, 0.8, 0.9, 0.95, 0.99, 1.0)


def draw_ranking(pictures: ScoredPictures) -> list[Drawing]:
    """Return the ROC and the precision-recall curve; none where one kind of picture is absent."""
    if not pictures.has_both:
        return []
    bands = ranking_bands(pictures.is_target, pictures.scores)
    return [_draw_roc(pictures, bands), _draw_recall(pictures, bands)]


def _draw_roc(pictures: ScoredPictures, bands: RankingBands) -> Drawing:
    figure, (axes,) = new_figure(inches=PAGE_INCHES)
    plot_roc(axes, pictures, bands)
    evaluation = pictures.evaluation
    rows = tuple(
        (f"at most {share:.0%} of the others", bands.found[_place(share)]) for share in _ALARMS
    )
    return Drawing(
        "roc",
        f"ROC curve: area {_told(evaluation.overall.roc_auc)}",
        f"ROC curve of {evaluation.target!r} against the others, with its 95 % interval: "
        f"the area below it is {evaluation.overall.roc_auc}, by chance 0.5.",
        figure_svg(figure, "roc"),
        Table(
            "Share of the target found, by what false alarms are borne",
            ("False alarms", f"{evaluation.target!r} found"),
            rows,
        ),
        "The further the curve bends towards the upper left, the better the ranking.",
    )


def _draw_recall(pictures: ScoredPictures, bands: RankingBands) -> Drawing:
    figure, (axes,) = new_figure(inches=PAGE_INCHES)
    plot_recall(axes, pictures, bands)
    evaluation = pictures.evaluation
    chance = format_number(float(pictures.is_target.mean()))
    rows = tuple((f"{share:.0%} of it", bands.precision[_place(share)]) for share in _FOUND)
    return Drawing(
        "recall",
        f"Precision and recall: average {_told(evaluation.overall.average_precision)}",
        f"Precision-recall curve of {evaluation.target!r}, with its 95 % interval: average "
        f"precision {evaluation.overall.average_precision}, by chance {chance}.",
        figure_svg(figure, "recall"),
        Table(
            "Precision, by what share of the target is to be found",
            (f"{evaluation.target!r} found", "Share of the called that are"),
            rows,
        ),
        "Reads what an alarm is worth when so much is to be found.",
    )


def draw_reliability(pictures: ScoredPictures) -> Drawing:
    """Return the reliability diagram."""
    figure, (axes,) = new_figure(inches=PAGE_INCHES)
    plot_reliability(axes, pictures)
    target = pictures.evaluation.target
    bins = calibration_curve(pictures.scores, pictures.is_target)
    return Drawing(
        "reliability",
        f"Reliability: mean gap (ECE) {_told(pictures.evaluation.overall.ece)}",
        f"Reliability diagram: claimed probability of {target!r} against the share that is, in "
        f"{len(bins)} groups; mean gap (ECE) {pictures.evaluation.overall.ece}.",
        figure_svg(figure, "reliability"),
        Table(
            "Claimed and observed, in groups of similar probability",
            ("Claimed, mean", "Observed", "Pictures"),
            tuple((f"{one.claimed:.3f}", one.observed, one.images) for one in bins),
        ),
        "On the dashed line, what is claimed is what is observed.",
    )


def draw_risk_coverage(pictures: ScoredPictures) -> Drawing:
    """Return the risk-coverage curve."""
    figure, (axes,) = new_figure(inches=PAGE_INCHES)
    plot_risk_coverage(axes, pictures)
    curve = risk_coverage(pictures.labels != pictures.answers, pictures.margins)
    total = len(pictures.labels)
    rows = []
    for coverage in _COVERAGES:
        answered = max(1, round(coverage * total))
        wrong = min(float(curve.risk[answered - 1] * answered), answered)
        margin = format_number(float(curve.margin[answered - 1]))
        rows.append((f"{coverage:.0%}", answered, wilson(wrong, answered), margin))
    return Drawing(
        "risk-coverage",
        f"Risk and coverage: area {_told(pictures.evaluation.overall.aurc)}",
        "Risk-coverage curve: the share of wrong answers among the surest pictures, for every "
        f"number of them; the area below it is {pictures.evaluation.overall.aurc}, 0 is best.",
        figure_svg(figure, "risk-coverage"),
        Table(
            "Wrong answers, by how many of the surest pictures are answered",
            ("Answered", "Pictures", "Wrong among them", "Least margin"),
            tuple(rows),
        ),
        "What is gained by leaving the least sure pictures to a person.",
    )


def draw_class_scores(pictures: ScoredPictures) -> list[Drawing]:
    """Return, for each class with pictures, how sure the answers on them are."""
    support = np.bincount(pictures.labels, minlength=len(pictures.names))
    # Of many classes the most frequent ones, in the model's order; the target in any case.
    order = sorted(range(len(support)), key=lambda i: (i != pictures.target, -support[i]))
    chosen = sorted(i for i in order[:MOST_CLASSES] if support[i])
    return [_draw_class_scores(pictures, label) for label in chosen]


def _draw_class_scores(pictures: ScoredPictures, label: int) -> Drawing:
    figure, (axes,) = new_figure(inches=PAGE_INCHES)
    plot_class_scores(axes, pictures, label)
    own, answers = pictures.labels == label, pictures.answers
    is_two = len(pictures.names) == 2
    scores = pictures.scores if is_two else pictures.probabilities.max(axis=1)
    right = answers == label
    counts = [np.histogram(scores[own & side], BAR_EDGES[::2])[0] for side in (right, ~right)]
    rows = tuple(
        (f"{low:.1f} to {high:.1f}", int(counts[0][i]), int(counts[1][i]))
        for i, (low, high) in enumerate(zip(BAR_EDGES[:-1:2], BAR_EDGES[2::2], strict=True))
    )
    name, what = pictures.names[label], repr(pictures.evaluation.target) if is_two else "the answer"
    return Drawing(
        f"class-{label}",
        f"Probabilities of the {int(own.sum())} pictures of {name!r}",
        f"Histogram of the probability of {what} over the {int(own.sum())} pictures of "
        f"{name!r}; {int((own & right).sum())} of them were answered rightly.",
        figure_svg(figure, f"class-{label}"),
        Table(
            f"Pictures of {name!r} by the probability of {what}",
            ("Probability", "Answered rightly", "Answered wrongly"),
            rows,
        ),
    )


def draw_training(epochs: Sequence[Mapping[str, Any]], name: str = "epochs") -> list[Drawing]:
    """Return the course of training: losses, scores, learning rate; one epoch at least."""
    best = max((epoch["epoch"] for epoch in epochs if epoch["best"]), default=None)
    kept = f"; epoch {best} is the best" if best is not None else ""
    drawings = []
    for place, (lines, title, unit) in enumerate(PANELS):
        figure, (axes,) = new_figure(inches=PAGE_INCHES)
        plot_epochs(axes, epochs, place)
        first, last = (_tell_epoch(epochs[i], lines) for i in (0, -1))
        table = Table(
            f"{title} by epoch",
            ("Epoch", *(label or unit for _, label, _ in lines)),
            tuple(
                (str(epoch["epoch"]), *(f"{epoch[field]:.4g}" for field, _, _ in lines))
                for epoch in _thinned(epochs)
            ),
        )
        alt = (
            f"{title} over {len(epochs)} epochs: at first {first}, at last {last}{kept}."
            if len(epochs) > 1
            else f"{title} after one epoch: {last}."
        )
        svg = figure_svg(figure, f"{name}-{place}")
        drawings.append(Drawing(f"{name}-{place}", title, alt, svg, table))
    return drawings


def _tell_epoch(epoch: Mapping[str, Any], lines: Sequence[tuple[str, str, str]]) -> str:
    return ", ".join(f"{label} {epoch[field]:.3g}".strip() for field, label, _ in lines)


def _thinned(epochs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    if len(epochs) <= MOST_EPOCHS:
        return list(epochs)
    places = np.linspace(0, len(epochs) - 1, MOST_EPOCHS).round().astype(int)
    return [epochs[i] for i in places]


def _told(estimate: Estimate) -> str:
    if not estimate.is_defined:
        return "undefined"
    low, high = format_number(estimate.low), format_number(estimate.high)
    return f"{format_number(estimate.value)} ({low} to {high})"


def _place(share: float) -> int:
    return int(np.abs(CURVE_GRID - share).argmin())
