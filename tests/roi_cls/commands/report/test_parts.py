"""The parts of a report by themselves: which scores, what words, which slices, which pictures."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from roi_cls.base.errors import BundleError
from roi_cls.classifier.evaluation.evaluation import evaluate_scores
from roi_cls.classifier.evaluation.pictures import ScoredPictures
from roi_cls.classifier.metrics.interval import Estimate, Floats
from roi_cls.classifier.runs.scores import ScoreTable
from roi_cls.commands.report.data import ReportedScores
from roi_cls.commands.report.facts import course_table, machine_tables
from roi_cls.commands.report.figures import MOST_EPOCHS, draw_class_scores, draw_training
from roi_cls.commands.report.outcome import key_numbers, list_cautions, tell_outcome
from roi_cls.commands.report.shots import MOST_MISTAKES, MOST_SAMPLED, choose_pictures
from roi_cls.commands.report.slices import Seen, measure_slices, read_seen

NAMES = ("odd", "plain")


def score(
    target_scores: list[float] | Floats, odd: int, *, threshold: float = 0.5, openings: int = 1
) -> ReportedScores:
    """Scores of which the first ``odd`` pictures are of the target."""
    scores = np.asarray(target_scores, np.float64)
    count = len(scores)
    labels = np.array([0] * odd + [1] * (count - odd))
    probabilities = np.stack([scores, 1 - scores], axis=1)
    evaluation = evaluate_scores(
        labels, probabilities, NAMES, "odd", threshold, ["face"] * count, majority_label="plain"
    )
    evaluation = replace(evaluation, test_openings=openings)
    table = ScoreTable(
        tuple(f"{i}.png" for i in range(count)),
        tuple(f"{i:064x}" for i in range(count)),
        tuple(NAMES[label] for label in labels),
        ("face",) * count,
        probabilities,
    )
    return ReportedScores("test", table, ScoredPictures(labels, probabilities, evaluation), None)


@pytest.mark.parametrize(
    ("scores", "odd", "sentence"),
    [
        ([0.9] * 30 + [0.1] * 30, 30, "right for 50 %: the run is clearly better than that."),
        ([0.1] * 10 + [0.9] * 50, 10, "right for 83 %: the run is clearly worse than that."),
        ([0.9] + [0.1] * 9, 1, "right for 90 %: on so many pictures that is no clear difference."),
        ([0.9, 0.1, 0.1, 0.6], 2, "It looks for 'odd', and found 1 of 2 such pictures, missing 1."),
        ([0.9, 0.1, 0.1, 0.6], 2, "Of 2 that it called 'odd', 1 was a false alarm."),
        ([0.9, 0.9, 0.7, 0.6], 2, "Of 4 that it called 'odd', 2 were false alarms."),
        ([0.1, 0.1, 0.1, 0.2], 2, "It called no picture 'odd'."),
        ([0.1, 0.2], 0, "None of the pictures is of 'odd', the class it looks for."),
        ([0.9, 0.1], 1, "Of 2 test pictures the run answered 2 rightly: 100 % (95 % interval 34 %"),
    ],
)
def test_summary_says_it_in_plain_words(scores: list[float], odd: int, sentence: str) -> None:
    assert sentence in " ".join(tell_outcome(score(scores, odd)))


def test_a_share_near_to_all_does_not_claim_all() -> None:
    first = tell_outcome(score([0.9] * 100 + [0.1] * 400 + [0.9], 100))[0]
    assert first.startswith("Of 501 test pictures the run answered 500 rightly: 99.8 %")


def test_cautions_name_openings_and_few_pictures() -> None:
    cautions = " ".join(list_cautions(score([0.9, 0.1, 0.2], 1, openings=3)))
    assert "scored 2 times before by this run" in cautions
    assert "Few pictures of 'odd' (1), 'plain' (2)" in cautions
    lost = score([0.9, 0.1], 1)
    evaluation = replace(lost.evaluation, errors=1, skipped=2)
    lost = replace(lost, pictures=replace(lost.pictures, evaluation=evaluation))
    text = " ".join(list_cautions(lost))
    assert "1 picture could not be read, and no number counts it." in text
    assert "2 pictures without a face were skipped" in text


def test_key_numbers_stand_beside_what_they_are_compared_with() -> None:
    keys = {key.title: key for key in key_numbers(score([0.9] * 5 + [0.1] * 15, 5))}
    assert keys["Accuracy"].baseline == 0.75
    assert keys["Average precision"].baseline == 0.25
    assert keys["Balanced accuracy"].baseline == 0.5
    assert keys["'odd' rightly called (precision)"].against == "of 5 called so"
    alone = {key.title: key for key in key_numbers(score([0.1, 0.2], 0))}
    assert alone["Balanced accuracy"].baseline == 1
    assert not alone["ROC-AUC"].estimate.is_defined


def rows_of(table: object) -> dict[str, tuple[object, ...]]:
    return {row[0]: row for row in table.rows}  # type: ignore[attr-defined]  # any table


def test_slices_by_size_and_score_are_equal_in_number_and_hold_every_face() -> None:
    scores = score(np.linspace(0.9, 0.1, 100), 30)
    seen = [Seen(20.0 + i, 0.5 + i / 250, None) for i in range(80)]
    seen += [Seen(None, None, "no_face")] * 12 + [Seen(None, None, "too_small")] * 8
    rows = rows_of(measure_slices(scores.pictures, seen))
    assert list(rows) == [
        *("all pictures", "a face was cut"),
        *("full frame: no face was found", "full frame: every face is too small"),
        *("face of 20 to 39 px", "face of 40 to 59 px"),
        *("face of 60 to 79 px", "face of 80 to 99 px"),
        *("detector score 0.500 to 0.576", "detector score 0.580 to 0.656"),
        *("detector score 0.660 to 0.736", "detector score 0.740 to 0.816"),
    ]
    assert [rows[name][1] for name in rows if name.startswith("face of")] == [20] * 4
    assert rows["face of 20 to 39 px"][2] == 20  # of the target, which the first pictures are of
    accuracy = rows["face of 40 to 59 px"][3]
    assert isinstance(accuracy, Estimate)
    assert accuracy.value == 10 / 20  # ten are found, and ten others are called so, too


@pytest.mark.parametrize("seen", [[None] * 50, [Seen(50.0, 0.9, None)] * 50])
def test_no_slices_of_what_is_unknown_or_all_alike(seen: list[Seen | None]) -> None:
    scores = score(np.linspace(0.9, 0.1, 50), 10)
    assert list(rows_of(measure_slices(scores.pictures, seen))) == [
        "all pictures",
        "a face was cut",
    ]


def test_what_was_seen_is_read_from_the_run(tmp_path: Path) -> None:
    rows = [
        {"status": "ok", "sha256": "a", "box": [1, 2, 11, 32], "face_score": 0.8, "reason": None},
        {"status": "ok", "sha256": "b", "box": None, "face_score": 0.3, "reason": "low_score"},
        {"status": "error", "sha256": None, "box": None, "face_score": None, "reason": None},
    ]
    file = tmp_path / "crops.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_seen(file) == {"a": Seen(10, 0.8, None), "b": Seen(None, None, "low_score")}
    assert read_seen(tmp_path / "none.jsonl") == {}
    file.write_text("{}\n")
    with pytest.raises(BundleError, match=r"Cannot read .*crops\.jsonl.*Copy the whole folder"):
        read_seen(file)


def test_every_kind_of_mistake_is_shown_the_surest_first() -> None:
    missed, alarms = np.linspace(0.4, 0.49, 50), np.linspace(0.6, 0.99, 50)
    scores = score(np.concatenate([missed, alarms]), 50)
    choice = choose_pictures(scores.pictures)
    assert choice.wrong == 100
    assert len(choice.mistakes) == MOST_MISTAKES
    assert sum(i < 50 for i in choice.mistakes) == MOST_MISTAKES // 2
    margins = scores.pictures.margins[list(choice.mistakes)]
    assert list(margins) == sorted(margins, reverse=True)
    assert choice.certain == ()
    assert choice.uncertain[0] == 49


def test_the_sample_has_as_many_of_each_class_and_the_surest_are_of_each() -> None:
    scores = score(np.concatenate([np.full(50, 0.9), np.full(450, 0.01)]), 50)
    choice = choose_pictures(scores.pictures)
    assert len(choice.sample) == MOST_SAMPLED
    assert sum(i < 50 for i in choice.sample) == MOST_SAMPLED // 2
    assert max(choice.sample) == 499
    assert sum(i < 50 for i in choice.certain) == 6
    assert set(choice.all) == {*choice.certain, *choice.uncertain, *choice.sample}
    assert choice.explained(3) == choice.uncertain[:3]
    assert choice.explained(None) == choice.uncertain


def test_only_classes_with_pictures_have_a_histogram() -> None:
    assert [one.name for one in draw_class_scores(score([0.1, 0.2], 0).pictures)] == ["class-1"]
    drawing = draw_class_scores(score([0.1, 0.2, 0.95], 0).pictures)[0]
    assert drawing.numbers.rows[1] == ("0.1 to 0.2", 1, 0)
    assert drawing.numbers.rows[9] == ("0.9 to 1.0", 0, 1)
    assert "2 of them were answered rightly" in drawing.alt


def epoch(number: int) -> dict[str, object]:
    return {
        **{"epoch": number, "phase": "all", "lr": 0.1, "best": number == 2, "train_loss": 1.0},
        **{"validation_loss": 1 / number, "average_precision": 0.5, "roc_auc": 0.5},
    }


def test_many_epochs_are_thinned_in_the_table_with_first_and_last_kept() -> None:
    loss = draw_training([epoch(i) for i in range(1, 301)])[0]
    assert len(loss.numbers.rows) == MOST_EPOCHS
    assert (loss.numbers.rows[0][0], loss.numbers.rows[-1][0]) == ("1", "300")
    assert "over 300 epochs" in loss.alt
    assert "epoch 2 is the best" in loss.alt
    assert "after one epoch: training 1, validation 1." in draw_training([epoch(1)])[0].alt


@pytest.mark.parametrize("tell", [course_table, lambda record: machine_tables(record) or None])
def test_an_older_run_without_a_record_has_no_facts_of_it(tell: Callable[..., object]) -> None:
    found = tell({})
    assert found is None or found.rows == ()  # type: ignore[attr-defined]  # a table


def test_what_is_recorded_is_told_in_words() -> None:
    record = {
        "started": "2026-11-21T01:12:44+01:00",
        "command": ["roi-cls", "train", "my data"],
        "git": {"commit": "abc", "dirty": True},
        "seconds": 200.0,
        "peak_memory_bytes": 2_000_000_000,
        "machine": {"cores": 2, "gpus": []},
    }
    facts = {row[0]: row[1] for row in course_table(record).rows}
    assert facts == {
        "Started": "2026-11-21 00:12 UTC",
        "Command": "roi-cls train 'my data'",
        "Code": "abc with uncommitted changes",
        "Took": "3 minutes",
        "Peak memory": "2.0 GB",
    }
    assert machine_tables(record)[0].rows == (("cores", "2"), ("gpus", "none"))
