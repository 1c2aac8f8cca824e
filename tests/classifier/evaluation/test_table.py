"""Every text about an evaluation fits its width, and no class name in it is broken or confused."""

import re
from typing import get_args

import numpy as np
import pytest
from rich.cells import cell_len

from roi_cls.classifier.evaluation.evaluation import Evaluation, evaluate_scores
from roi_cls.classifier.evaluation.table import (
    EVALUATION_WIDTH,
    render_evaluation,
    shorten_classes,
    shorten_names,
)
from roi_cls.roi import CropSource


def _evaluate(names: list[str], size: int = 90, skill: float = 0.0) -> Evaluation:
    generator = np.random.default_rng(2)
    labels = generator.integers(len(names), size=size)
    scores = generator.dirichlet(np.ones(len(names)), size=size)
    scores = (1 - skill) * scores + skill * np.eye(len(names))[labels]
    sources = [get_args(CropSource)[i % 2] for i in range(size)]
    return evaluate_scores(labels, scores, names, names[0], 0.5, sources)


@pytest.mark.parametrize(
    ("names", "width", "short"),
    [
        (["with_mask", "without_mask"], 12, ["with_mask", "without_mask"]),
        (["with_mask", "without_mask"], 9, ["with_mask", "with…mask"]),
        (["mask_weared_incorrect", "bare"], 14, ["mask_…ncorrect", "bare"]),
        # whole words, where they are no less than half of what has room
        (["mask worn well over the nose", "none"], 20, ["mask worn … the nose", "none"]),
        # the same beginning, and in the end no room for the difference
        (["prefix_of_all_1_end", "prefix_of_all_2_end"], 9, ["…_1_end", "…_2_end"]),
        (["1_a_long_suffix", "2_a_long_suffix"], 8, ["1_a_…fix", "2_a_…fix"]),
        # the difference stands where no cut keeps it
        (["a" * 20 + "x" + "a" * 20, "a" * 41], 10, ["1 aaaa…aaa", "2 aaaa…aaa"]),
        (["戴口罩的人没有戴好鼻子", "没有戴口罩"], 10, ["戴口…鼻子", "没有戴口罩"]),
        (["a\nb", "\x1b[31mred"], 20, ["a\\nb", "\\x1b[31mred"]),
        (["a\nb", "a\\nb"], 20, ["1 a\\nb", "2 a\\nb"]),
        (["a", "a "], 20, ["1 a", "2 a "]),
    ],
)
def test_names_are_shortened_and_stay_different(
    names: list[str], width: int, short: list[str]
) -> None:
    assert shorten_names(names, width) == short


@pytest.mark.parametrize("width", [12, 16, 24, 32])
@pytest.mark.parametrize(
    "pattern",
    ["{}", "{}_class", "class_{}", "a_long_prefix_before_{}_and_a_long_suffix", "类别{}很长" * 5],
)
def test_no_two_of_many_names_look_alike(pattern: str, width: int) -> None:
    names = [pattern.replace("{}", str(i)) for i in range(120)]
    short = shorten_names(names, width)
    assert len(set(short)) == 120
    assert max(map(cell_len, short)) <= width
    # what was shortened for a sentence is shortened again for a table, with one ellipsis
    again = shorten_names(shorten_names(names, 32), width)
    assert len(set(again)) == 120
    assert all(name.count("…") <= 1 for name in again)


@pytest.mark.parametrize("classes", [2, 3, 8, 30])
@pytest.mark.parametrize("length", [1, 12, 60])
def test_table_fits_its_width_with_many_and_long_names(classes: int, length: int) -> None:
    evaluation = _evaluate([f"{i}{'x' * length}" for i in range(classes)])
    text = render_evaluation(evaluation)
    assert max(map(len, text.splitlines())) <= EVALUATION_WIDTH
    if classes > 2:
        assert "decided for the most probable class." in " ".join(text.split())
    if classes == 30:
        assert "most confused: true" in text
    for one in evaluation.overall.classes:
        assert str(one.recall) in text  # no number is cut short


@pytest.mark.parametrize(
    "names",
    [
        ["with_mask", "without_mask", "mask_weared_incorrect"],
        ["mask worn over nose and mouth", "mask worn below the nose", "no mask"],
        ["戴口罩的人没有戴好鼻子露在外面", "没有戴口罩的人", "看不清楚"],
    ],
)
def test_each_class_has_a_row_that_begins_with_its_name(names: list[str]) -> None:
    lines = render_evaluation(_evaluate(names)).splitlines()
    assert max(map(cell_len, lines)) <= EVALUATION_WIDTH
    head = next(i for i, line in enumerate(lines) if line.startswith("class "))
    rows = [re.split(r"\s{2,}", line)[0] for line in lines[head + 2 : head + 5]]
    assert rows in [shorten_names(names, width) for width in (32, 24, 20, 16, 14, 12)]
    quoted = shorten_classes(_evaluate(names)).majority_label
    assert f"always answering {quoted!r}" in " ".join(lines[:3])


def test_matrix_whose_names_have_no_room_is_numbered() -> None:
    names = [f"a rather long name number {i}" for i in range(1, 5)]
    lines = render_evaluation(_evaluate(names, size=40, skill=0.9)).splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("true \\ predicted"))
    assert lines[head].split() == ["true", "\\", "predicted", "1", "2", "3", "4"]
    for i, name in enumerate(names):
        assert lines[head + 2 + i].startswith(f"{i + 1} {name}  ")


def test_pairs_of_classes_beyond_those_shown_are_counted() -> None:
    evaluation = _evaluate([f"class {i:02}" for i in range(30)], size=300)
    text = render_evaluation(evaluation)
    counts = np.array(evaluation.overall.confusion_matrix)
    wrong = np.sort(counts[~np.eye(30, dtype=bool)])[::-1]
    shown, left = wrong[:10], wrong[10:]
    assert f"In {(left > 0).sum()} more pairs of classes: {left.sum()} pictures." in text
    worst = [line for line in text.splitlines() if re.search(r" \d+ of \d+$", line)]
    assert [int(line.split()[-3]) for line in worst] == shown.tolist()


def test_many_classes_without_a_mistake_say_so() -> None:
    evaluation = _evaluate([f"class {i:02}" for i in range(30)], skill=0.99)
    assert "No picture was taken for one of another class." in render_evaluation(evaluation)
