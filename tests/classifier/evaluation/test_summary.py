"""What matters of an evaluation has room on one screen, and says what its numbers are worth."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rich.cells import cell_len

from roi_cls.classifier.evaluation.evaluation import Evaluation, evaluate_scores
from roi_cls.classifier.evaluation.summary import render_summary, render_tuning
from roi_cls.classifier.evaluation.table import (
    EVALUATION_WIDTH,
    render_evaluation,
    shorten_names,
)
from roi_cls.classifier.metrics.measure import Metrics
from roi_cls.roi import CropSource

MASKS = ["with_mask", "without_mask"]


def _evaluate(
    names: list[str], size: int = 400, *, full_frames: int = 40, skill: float = 0.3, **changes: Any
) -> Evaluation:
    """Return scores that mostly find the class; the first pictures are judged by full frames."""
    generator = np.random.default_rng(2)
    labels = np.arange(size) % len(names)
    scores = generator.dirichlet(np.ones(len(names)), size=size)
    scores = (1 - skill) * scores + skill * np.eye(len(names))[labels]
    sources: list[CropSource] = ["full_frame" if i < full_frames else "face" for i in range(size)]
    return evaluate_scores(labels, scores, names, names[0], 0.5, sources, **changes)


def _rows(text: str) -> dict[str, list[str]]:
    """Return the cells of each line after its first."""
    cells = (re.split(r"\s{2,}", line) for line in text.splitlines())
    return {first: rest for first, *rest in cells}


def test_two_classes_are_told_by_what_is_found_and_what_is_right() -> None:
    evaluation = _evaluate(MASKS)
    text, overall = render_summary(evaluation), evaluation.overall
    (hits, missed), (alarms, _) = overall.confusion_matrix
    rows = _rows(text)
    assert text.startswith(evaluation.verdict[:60])
    assert (
        "400 pictures scored; 200 of them 'with_mask', the target, answered from\n"
        "probability 0.5 on (chosen on validation).\n"
    ) in text
    assert rows["number"] == ["value, 95% interval", "to be compared with"]
    assert rows["accuracy"] == [str(overall.accuracy), "0.50 for always 'with_mask'"]
    assert rows["ROC-AUC"] == [str(overall.roc_auc), "0.5 by chance"]
    assert rows["average precision"] == [str(overall.average_precision), "0.50 by chance"]
    own = overall.classes[0]
    assert rows["recall"] == [str(own.recall), f"{hits} of {hits + missed} 'with_mask' found"]
    right = f"{hits} of {hits + alarms} answers 'with_mask' right"
    assert rows["precision"] == [str(own.precision), right]
    assert rows["calibration error"] == [str(overall.ece), "0 at best"]
    assert rows["with_mask"] == [str(hits), str(missed)]
    assert len(text.splitlines()) <= 30
    assert not text.endswith("\n")


def test_more_classes_are_told_by_the_mean_over_them() -> None:
    evaluation = _evaluate(["a", "b", "c", "d"])
    text, overall = render_summary(evaluation), evaluation.overall
    rows = _rows(text)
    assert rows["balanced accuracy"] == [str(overall.balanced_accuracy), "0.25 for always 'a'"]
    assert rows["macro F1"] == [str(overall.macro_f1), "0.10 for always 'a'"]
    assert (
        "400 pictures of 4 classes scored; 100 of them 'a', the target. ROC-AUC, average precision "
        "and calibration error are of it against all others."
    ) in " ".join(text.split())


@pytest.mark.parametrize("classes", [2, 3, 7, 10, 11, 12, 40])
def test_summary_has_room_on_one_screen(classes: int) -> None:
    plain = [str(i) for i in range(classes)]
    evaluation = _evaluate(plain, 45, abstain=0.1, skill=0.1, errors=3, skipped=2)
    for pattern in (
        "{}",
        "class_{}",
        "a long name with spaces, number {}",
        "a_long_prefix" * 20 + "{}",
        "类别{}" * 30,
    ):
        names = [pattern.replace("{}", name) for name in plain]
        text = render_summary(_rename(evaluation, names))
        lines = text.splitlines()
        assert len(lines) <= 46  # with the notes that follow, it stays below 50
        assert max(map(cell_len, lines)) <= EVALUATION_WIDTH
        assert shorten_names(names, 32)[0] in " ".join(lines)
        assert ("most confused: true" in text) == (classes > 10)
        assert ("true \\ predicted" in text) == (classes <= 10)
        assert ("worst classes" in text) == (classes > 10)


def test_worst_of_many_classes_are_shown_and_the_others_counted() -> None:
    evaluation = _evaluate([f"class {i:03}" for i in range(200)], 1000, skill=0.05)
    text = render_summary(evaluation)
    shown = [re.split(r"\s{2,}", line) for line in text.splitlines() if "class " in line[:6]]
    recalls = {one.label: one.recall for one in evaluation.overall.classes}
    worst = [row[0] for row in shown][:4]
    assert all(row[1] == str(recalls[row[0]]) for row in shown[:4])
    least = sorted(recall.value for recall in recalls.values())[:4]
    assert [recalls[name].value for name in worst] == least
    assert "And 196 more classes: --full shows all." in text


def test_all_numbers_of_many_classes_need_no_line_for_each_offset() -> None:
    offsets = tuple(i / 100 for i in range(-100, 100))
    names = [f"class {i:03}" for i in range(200)]
    text = " ".join(render_evaluation(_evaluate(names, 400, offsets=offsets)).split())
    assert "then -1 to +0.99, another for each class. Fitted on validation" in text
    assert " and 190 more classes: bootstrap intervals come out too narrow." in text


def _rename(evaluation: Evaluation, names: list[str]) -> Evaluation:
    def rename(metrics: Metrics) -> Metrics:
        pairs = zip(metrics.classes, names, strict=True)
        return replace(metrics, classes=tuple(replace(one, label=name) for one, name in pairs))

    return replace(
        evaluation,
        overall=rename(evaluation.overall),
        slices=tuple((name, rename(metrics)) for name, metrics in evaluation.slices),
        target=names[0],
        majority_label=names[0],
        test_openings=12,
    )


def test_slices_are_shown_where_they_have_enough_pictures() -> None:
    evaluation = _evaluate(MASKS, full_frames=20)
    rows = _rows(render_summary(evaluation))
    assert rows["slice"] == ["pictures", "target", "accuracy", "baseline", "ROC-AUC"]
    for name, metrics in evaluation.slices:
        baseline = f"{metrics.majority_accuracy.value:.2f}"
        assert rows[name.replace("_", " ")] == [
            *(str(metrics.images), str(metrics.images // 2)),
            *(str(metrics.accuracy), baseline, str(metrics.roc_auc)),
        ]


@pytest.mark.parametrize(
    ("full_frames", "shown", "words"),
    [
        (
            19,
            ["face"],
            "Too few to tell: full frame (10 of the target, 9 others); it takes 10 of each.",
        ),
        (
            380,
            ["face", "full frame"],
            "",
        ),
        (
            385,
            ["full frame"],
            "Too few to tell: face (7 of the target, 8 others); it takes 10 of each.",
        ),
        (0, [], "Every picture was judged by its face."),
        (400, [], "Every picture was judged by its full frame."),
    ],
)
def test_slices_with_too_few_pictures_are_one_line(
    full_frames: int, shown: list[str], words: str
) -> None:
    text = render_summary(_evaluate(MASKS, full_frames=full_frames))
    assert words in text.splitlines()
    assert [name for name in _rows(text) if name in ("face", "full frame")] == shown


def test_decided_pictures_are_a_slice() -> None:
    evaluation = _evaluate(MASKS, abstain=0.2)
    decided = dict(evaluation.slices)["decided"]
    assert _rows(render_summary(evaluation))["decided"][0] == str(decided.images)


def test_summary_warns_of_few_pictures() -> None:
    names = [f"class_{i}" for i in range(12)]
    text = " ".join(render_summary(_evaluate(names, 90)).split())
    assert (
        "Note: Few pictures of 'class_0' (8), 'class_1' (8), 'class_2' (8) and 9 more classes: "
        "bootstrap intervals come out too narrow. "
        "Note: of fewer than 100 pictures the calibration error comes out too high."
    ) in text
    assert "Note" not in render_summary(_evaluate(MASKS))


@pytest.mark.parametrize(
    ("labels", "threshold", "row", "cells"),
    [
        ([1] * 20, 0.5, "recall", ["undefined", "no 'with_mask' is here"]),
        ([0, 1] * 10, 1.0, "precision", ["undefined", "never answered 'with_mask'"]),
    ],
)
def test_what_cannot_be_counted_is_said(
    labels: list[int], threshold: float, row: str, cells: list[str]
) -> None:
    scores = np.tile([0.3, 0.7], (20, 1))
    evaluation = evaluate_scores(labels, scores, MASKS, MASKS[0], threshold, ["face"] * 20)
    assert _rows(render_summary(evaluation))[row] == cells


def test_earlier_openings_are_counted() -> None:
    text = render_summary(replace(_evaluate(MASKS), test_openings=3))
    assert "400 pictures scored, 3 times by this run so far; 200 of them" in " ".join(text.split())


@pytest.mark.parametrize(
    ("names", "out_of_fold", "where", "tuned"),
    [
        (
            MASKS,
            False,
            "On validation (60 pictures, 30 of them 'with_mask'), which is no test:",
            "scale, threshold",
        ),
        (
            ["a", "b", "c"],
            True,
            "Out of fold (60 pictures, 20 of them 'a'; each scored by models that did not learn "
            "from it), which is no test:",
            "scale",
        ),
    ],
)
def test_what_a_run_was_tuned_on_is_never_called_a_test(
    names: list[str], out_of_fold: bool, where: str, tuned: str
) -> None:
    evaluation = _evaluate(names, 60)
    text = render_tuning(evaluation, out_of_fold=out_of_fold)
    assert " ".join(text.split()) == (
        f"{where} {evaluation.verdict} The run was tuned on them ({tuned}, perhaps epoch), so "
        "they flatter it."
    )
    assert len(text.splitlines()) <= 6


def test_tuning_on_few_pictures_is_noted() -> None:
    lines = render_tuning(_evaluate(MASKS, 8), out_of_fold=False).splitlines()
    assert " ".join(lines).endswith(
        "Note: Few pictures of 'with_mask' (4), 'without_mask' (4): bootstrap intervals come out "
        "too narrow."
    )
