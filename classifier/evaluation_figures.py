"""The figures of an evaluation as PNG files in the run. Which panels stand together, and where."""

from __future__ import annotations

from pathlib import Path

from roi_cls.base.figure import new_figure, save_figure
from roi_cls.classifier.evaluation_panels import (
    plot_recall,
    plot_reliability,
    plot_risk_coverage,
    plot_roc,
    plot_scores,
)
from roi_cls.classifier.metrics.interval import ranking_bands
from roi_cls.classifier.scored_pictures import ScoredPictures


def draw_evaluation(folder: Path, pictures: ScoredPictures) -> None:
    """Write ``reliability.png``, ``risk_coverage.png`` and ``roc_pr.png`` into a folder.

    The last is left out, and an older one removed, where all pictures are of one side.

    Raises:
        StorageError: A file cannot be written.
    """
    draw_reliability(folder / "reliability.png", pictures)
    draw_risk_coverage(folder / "risk_coverage.png", pictures)
    ranking = folder / "roc_pr.png"
    if pictures.has_both:
        draw_ranking(ranking, pictures)
    else:
        ranking.unlink(missing_ok=True)


def draw_reliability(path: Path, pictures: ScoredPictures) -> None:
    """Write the reliability diagram: claimed against observed share, and how often each is claimed.

    Raises:
        StorageError: The file cannot be written.
    """
    figure, (diagram, counts) = new_figure(2)
    plot_reliability(diagram, pictures)
    plot_scores(counts, pictures)
    save_figure(figure, path)


def draw_risk_coverage(path: Path, pictures: ScoredPictures) -> None:
    """Write the risk-coverage curve: what is gained by not answering the least sure pictures.

    Raises:
        StorageError: The file cannot be written.
    """
    figure, (axes,) = new_figure()
    plot_risk_coverage(axes, pictures)
    save_figure(figure, path)


def draw_ranking(path: Path, pictures: ScoredPictures) -> None:
    """Write the ROC and the precision-recall curve, with intervals and the threshold's place.

    There must be pictures of the target and others.

    Raises:
        StorageError: The file cannot be written.
    """
    figure, (roc, recall) = new_figure(2)
    bands = ranking_bands(pictures.is_target, pictures.scores)
    plot_roc(roc, pictures, bands)
    plot_recall(recall, pictures, bands)
    save_figure(figure, path)
