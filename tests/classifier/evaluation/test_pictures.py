"""Wrong answers are all listed, and none besides; the surest first."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from roi_cls.cache import CropRecord
from roi_cls.classifier.evaluation.evaluation import evaluate_scores
from roi_cls.classifier.evaluation.pictures import (
    MISTAKE_COLUMNS,
    Mistake,
    find_mistakes,
    write_mistakes,
)
from roi_cls.classifier.runs.scores import score_table
from roi_cls.data.crops import CropArray
from roi_cls.data.sample import LabelSet

TWO = LabelSet(("bad", "good"), "bad")
THREE = LabelSet(("a", "b", "c"), "b")


def find(
    labels: LabelSet,
    truth: Sequence[int],
    scores: Sequence[Sequence[float]],
    threshold: float = 0.5,
    abstain: float = 0.0,
) -> tuple[Mistake, ...]:
    """Return the mistakes in scores of pictures ``0.png``, ``1.png``, …; their crops are grey i."""
    records = tuple(
        CropRecord(Path(f"/set/{i}.png"), "ok", source="face" if i % 2 else "full_frame")
        for i in range(len(truth))
    )
    pixels = np.arange(len(truth), dtype=np.uint8)[:, None, None, None].repeat(3, axis=-1)
    crops = CropArray(pixels, np.array(truth, np.int64), records)
    table = score_table(crops, labels, np.array(scores), Path("/set"))
    evaluation = evaluate_scores(
        truth,
        scores,
        labels.names,
        labels.target,
        threshold,
        ["face"] * len(truth),
        abstain=abstain,
    )
    found = find_mistakes(crops, table, evaluation)
    assert len(found) == len(truth) - np.trace(evaluation.overall.confusion_matrix)
    return found


def test_of_two_classes_the_threshold_decides_what_is_wrong_and_how_surely() -> None:
    found = find(
        TWO,
        [0, 0, 1, 1, 1],
        [[0.1, 0.9], [0.3, 0.7], [0.25, 0.75], [0.8, 0.2], [0.0, 1.0]],
        threshold=0.2,
        abstain=0.07,
    )
    assert [
        (one.path, one.label, one.answer, one.probability, one.target_probability, one.kind)
        for one in found
    ] == [
        ("3.png", "good", "bad", 0.8, 0.8, "false_alarm"),
        ("0.png", "bad", "good", 0.9, 0.1, "missed"),
        ("2.png", "good", "bad", 0.25, 0.25, "false_alarm"),
    ]
    assert [one.unsure for one in found] == [False, False, True]
    assert [one.source for one in found] == ["face", "full_frame", "full_frame"]
    assert [one.crop.max() for one in found] == [3, 0, 2]


def test_of_three_classes_the_lead_over_the_second_says_how_sure() -> None:
    found = find(
        THREE,
        [0, 1, 2, 2],
        [[0.4, 0.1, 0.5], [0.6, 0.3, 0.1], [0.1, 0.9, 0.0], [0.0, 0.1, 0.9]],
        abstain=0.2,
    )
    assert [(one.path, one.kind, one.probability) for one in found] == [
        ("2.png", "false_alarm", 0.9),
        ("1.png", "missed", 0.6),
        ("0.png", "mixed_up", 0.5),
    ]
    assert [one.unsure for one in found] == [False, False, True]


def test_equally_sure_mistakes_keep_the_order_of_the_pictures() -> None:
    found = find(TWO, [0, 1, 0, 0], [[0.25, 0.75], [0.75, 0.25], [0.25, 0.75], [1.0, 0.0]])
    assert [one.path for one in found] == ["0.png", "1.png", "2.png"]


def test_without_a_mistake_there_is_a_header_alone(tmp_path: Path) -> None:
    path = tmp_path / "mistakes.csv"
    path.write_text("of the evaluation before")
    write_mistakes(path, find(TWO, [0, 1], [[0.9, 0.1], [0.2, 0.8]]))
    assert path.read_text().splitlines() == [",".join(MISTAKE_COLUMNS)]


@pytest.mark.parametrize("name", ["a,b.png", 'x"y.png', "a\rb.png", "caf\udce9.png"])
def test_rows_are_read_back_to_the_last_bit(tmp_path: Path, name: str) -> None:
    score = float(np.nextafter(1, 0))
    image = np.zeros((2, 2, 3), np.uint8)
    one = Mistake(name, "bad", "good", score, 1 - score, "face", True, "missed", image)
    write_mistakes(tmp_path / "mistakes.csv", [one])
    with (tmp_path / "mistakes.csv").open(newline="", errors="surrogateescape") as file:
        (row,) = csv.DictReader(file)
    assert list(row) == list(MISTAKE_COLUMNS)
    assert list(row.values()) == [name, "bad", "good", repr(score), repr(1 - score), "face", "true"]
