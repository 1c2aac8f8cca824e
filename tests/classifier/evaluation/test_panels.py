"""Figures are written for every kind of scores, in one style, and touch no global state."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from roi_cls.base.figure import FIRST, finish_panel, new_figure, save_figure
from roi_cls.classifier.evaluation.evaluation import evaluate_scores
from roi_cls.classifier.evaluation.panels import draw_evaluation
from roi_cls.classifier.evaluation.pictures import ScoredPictures
from roi_cls.classifier.metrics.interval import Floats, Labels

FIGURES = {"reliability.png", "risk_coverage.png", "roc_pr.png"}


def _pictures(
    labels: Labels, scores: Floats, abstain: float = 0.0, names: str = "abcd"
) -> ScoredPictures:
    classes = tuple(names[: scores.shape[1]])
    evaluation = evaluate_scores(
        labels, scores, classes, classes[0], 0.5, ["face"] * len(labels), abstain=abstain
    )
    return ScoredPictures(labels, scores, evaluation)


def _random(count: int, classes: int) -> tuple[Labels, Floats]:
    generator = np.random.default_rng(count)
    labels = np.arange(count) % classes
    return labels, generator.dirichlet(np.ones(classes) * 2, size=count)


@pytest.mark.parametrize("abstain", [0.0, 0.1, 0.99])
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("count", [4, 250])
def test_every_figure_is_a_readable_png(
    tmp_path: Path, count: int, classes: int, abstain: float
) -> None:
    draw_evaluation(tmp_path, _pictures(*_random(count, classes), abstain))
    assert {path.name for path in tmp_path.iterdir()} == FIGURES
    for name in FIGURES:
        with Image.open(tmp_path / name) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 400
            shades = np.asarray(picture.convert("L"))
        # Over few pictures the pale bands of the intervals cover much.
        assert 0.8 < (shades > 215).mean() < 0.99 or name == "reliability.png"
        assert (shades < 100).any()


def test_same_numbers_give_the_same_bytes(tmp_path: Path) -> None:
    pictures = _pictures(*_random(60, 2))
    for folder in ("one", "other"):
        draw_evaluation(tmp_path / folder, pictures)
    for name in FIGURES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_one_class_alone_has_no_ranking_and_an_old_one_goes(tmp_path: Path) -> None:
    draw_evaluation(tmp_path, _pictures(*_random(40, 2)))
    draw_evaluation(tmp_path, _pictures(np.ones(5, np.int64), np.tile([0.2, 0.8], (5, 1))))
    assert {path.name for path in tmp_path.iterdir()} == FIGURES - {"roc_pr.png"}


@pytest.mark.parametrize("names", ["$x$", "面具", "\udc80b", "_%{}"])
def test_any_class_name_can_be_drawn(tmp_path: Path, names: str) -> None:
    labels, scores = _random(30, 2)
    classes = (names, "other")
    evaluation = evaluate_scores(labels, scores, classes, names, 0.5, ["face"] * 30)
    draw_evaluation(tmp_path, ScoredPictures(labels, scores, evaluation))
    assert {path.name for path in tmp_path.iterdir()} == FIGURES


def test_style_stays_within_the_figure(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    figure, (axes,) = new_figure(title="title")
    axes.plot([0, 1], [0, 1], color=FIRST, label="line")
    finish_panel(axes, "panel", "x", "y")
    save_figure(figure, tmp_path / "figure.png")
    assert dict(matplotlib.rcParams) == before
    assert not axes.spines["top"].get_visible()
    assert axes.get_legend() is not None


def test_answers_and_margins_follow_the_evaluation() -> None:
    labels, scores = _random(30, 2)
    pictures = _pictures(labels, scores)
    assert np.array_equal(pictures.answers == 0, scores[:, 0] >= 0.5)
    assert np.array_equal(pictures.is_target, labels == 0)
    assert pictures.margins == pytest.approx(np.abs(scores[:, 0] - 0.5))
