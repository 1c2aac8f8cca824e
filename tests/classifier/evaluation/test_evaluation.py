"""What an evaluation says, keeps, refuses and shows."""

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from roi_cls.base.errors import BundleError, DataError
from roi_cls.classifier.evaluation.evaluation import FEWEST_IN_SLICE, Evaluation, evaluate_scores
from roi_cls.classifier.evaluation.table import render_evaluation
from roi_cls.classifier.metrics.interval import Floats, Labels, format_number, wilson
from roi_cls.classifier.metrics.measure import measure_scores
from roi_cls.roi import CropSource

NAMES = ("artefact", "artefactless")
ESTIMATES = (
    "roc_auc",
    "average_precision",
    "micro_f1",
    "macro_f1",
    "balanced_accuracy",
    "mcc",
    "accuracy",
    "majority_accuracy",
)


def _portraits(
    positives: int = 20, negatives: int = 180
) -> tuple[Labels, Floats, list[CropSource]]:
    """Return well separated scores; every tenth picture fell back to the full frame."""
    generator = np.random.default_rng(5)
    labels = np.repeat(np.arange(2), (positives, negatives))
    target = np.clip(generator.normal(0.7 - 0.5 * labels, 0.15), 0.01, 0.99)
    sources: list[CropSource] = [
        "full_frame" if i % 10 == 0 else "face" for i in range(positives + negatives)
    ]
    return labels, np.column_stack([target, 1 - target]), sources


def _evaluate(**changes: Any) -> Evaluation:
    labels, scores, sources = _portraits()
    given: dict[str, Any] = {
        "labels": labels,
        "probabilities": scores,
        "label_names": NAMES,
        "target": "artefact",
        "threshold": 0.45,
        "sources": sources,
    }
    return evaluate_scores(**(given | changes))


def test_written_form_is_the_contract_and_strict_json() -> None:
    evaluation = _evaluate(errors=3)
    written = json.loads(json.dumps(evaluation.to_dict(), allow_nan=False))
    for part in (written, written["slices"]["face"], written["slices"]["full_frame"]):
        for name in ESTIMATES:
            assert part[name].keys() == {"value", "low", "high"}
            assert part[name]["low"] <= part[name]["value"] <= part[name]["high"]
        assert [one["label"] for one in part["classes"]] == list(NAMES)
        for one in part["classes"]:
            assert one.keys() == {"label", "precision", "recall", "f1", "support"}
            assert one["f1"].keys() == {"value", "low", "high"}
        assert part["confusion_matrix"]["labels"] == list(NAMES)
        assert np.sum(part["confusion_matrix"]["counts"]) == part["images"]
    assert (written["images"], written["errors"]) == (200, 3)
    assert (written["target"], written["threshold"]) == ("artefact", 0.45)
    assert written["confidence"] == 0.95
    assert written["verdict"] == evaluation.verdict
    assert Evaluation.from_dict(written) == evaluation


def test_undefined_metrics_are_null_and_come_back() -> None:
    evaluation = _evaluate(labels=[1, 1], probabilities=[[0.2, 0.8]] * 2, sources=["face"] * 2)
    written = json.loads(json.dumps(evaluation.to_dict(), allow_nan=False))
    assert written["roc_auc"] == {"value": None, "low": 0.0, "high": 1.0}
    assert Evaluation.from_dict(written).to_dict() == written


def test_slices_hold_their_pictures_and_only_slices_with_pictures_exist() -> None:
    evaluation = _evaluate()
    slices = dict(evaluation.slices)
    assert {source: metrics.images for source, metrics in slices.items()} == {
        "face": 180,
        "full_frame": 20,
    }
    summed = sum(np.array(metrics.confusion_matrix) for metrics in slices.values())
    assert np.array_equal(summed, np.array(evaluation.overall.confusion_matrix))
    assert [source for source, _ in _evaluate(sources=["face"] * 200).slices] == ["face"]


@pytest.mark.parametrize(
    ("targets", "others", "tells"), [(10, 10, True), (9, 99, False), (99, 9, False)]
)
def test_slice_tells_something_with_enough_of_the_target_and_of_others(
    targets: int, others: int, tells: bool
) -> None:
    labels = np.repeat([0, 1], (targets, others))
    scores = np.random.default_rng(0).dirichlet([1, 1], size=len(labels))
    evaluation = _evaluate(labels=labels, probabilities=scores, sources=["face"] * len(labels))
    assert evaluation.count_target(evaluation.overall) == targets
    assert evaluation.is_telling(evaluation.overall) == tells


def test_enough_pictures_are_those_that_tell_chance_from_perfection() -> None:
    def mean_width(each: int) -> float:
        """Return the width of the interval of ROC-AUC for random scores."""
        labels, widths = np.repeat([0, 1], each), []
        for seed in range(20):
            scores = np.random.default_rng(seed).dirichlet([1, 1], size=2 * each)
            found = measure_scores(labels, scores, NAMES, target=0, threshold=0.5, majority=1)
            widths.append(found.roc_auc.high - found.roc_auc.low)
        return float(np.mean(widths))

    assert mean_width(FEWEST_IN_SLICE - 2) > 0.5 > mean_width(FEWEST_IN_SLICE)


def test_baseline_knows_the_training_majority_not_the_tested_one() -> None:
    assert _evaluate().overall.majority_accuracy == wilson(180, 200)
    trained = _evaluate(majority_label="artefact")
    assert trained.overall.majority_accuracy == wilson(20, 200)
    # a slice is measured against the same answer as the whole
    assert dict(trained.slices)["full_frame"].majority_accuracy == wilson(2, 20)


@pytest.mark.parametrize("single", [False, True])
def test_score_equal_to_the_threshold_is_decided_for_the_target(single: bool) -> None:
    raw = np.array([[0.7, 0.30000005], [0.1, 0.9]])
    scores = raw.astype(np.float32) if single else raw
    evaluation = _evaluate(
        labels=[0, 1], probabilities=scores, threshold=float(scores[0, 0]), sources=["face"] * 2
    )
    assert evaluation.overall.confusion_matrix == ((1, 0), (0, 1))


def _constant(positives: int, negatives: int, right: int) -> dict[str, Any]:
    """Return scores that put ``right`` of the negatives, and all positives, on the right side."""
    labels = np.repeat(np.arange(2), (positives, negatives))
    target = np.where(np.arange(len(labels)) < positives + negatives - right, 0.9, 0.1)
    scores = np.column_stack([target, 1 - target])
    return {"labels": labels, "probabilities": scores, "sources": ["face"] * len(labels)}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"threshold": 2.0},
            "Accuracy 0.90 against 0.90 for always answering 'artefactless', no difference; "
            "the interval of ROC-AUC N-N excludes 0.5.",
        ),
        (
            _constant(50, 50, 50),
            "Accuracy 1.00 against 0.50 for always answering 'artefact', clearly better; "
            "the interval of ROC-AUC N-N excludes 0.5.",
        ),
        (
            _constant(20, 180, 162) | {"errors": 1},
            "Accuracy 0.91 against 0.90 for always answering 'artefactless', a difference within "
            "its interval; the interval of ROC-AUC N-N excludes 0.5; "
            "1 unreadable picture was not scored.",
        ),
        (
            _constant(20, 180, 90) | {"target": "artefactless", "threshold": 0.9, "errors": 2},
            "Accuracy 0.55 against 0.90 for always answering 'artefactless', clearly worse; "
            "the interval of ROC-AUC N-N excludes 0.5; 2 unreadable pictures were not scored.",
        ),
        (
            {"probabilities": [[0.1, 0.9]] * 200},
            "Accuracy 0.90 against 0.90 for always answering 'artefactless', no difference; "
            "the interval of ROC-AUC N-N includes 0.5, so the ranking may be chance.",
        ),
        (
            {"probabilities": _portraits()[1][:, ::-1], "threshold": 1.0},
            "Accuracy 0.90 against 0.90 for always answering 'artefactless', no difference; "
            "the interval of ROC-AUC N-N lies below 0.5, so the scores rank the wrong way round.",
        ),
        (
            {"labels": [1], "probabilities": [[0.2, 0.8]], "sources": ["face"]},
            "Accuracy 1.00 against 1.00 for always answering 'artefactless', no difference; "
            "ROC-AUC is undefined without both 'artefact' and other pictures.",
        ),
    ],
)
def test_verdict_says_it_in_one_sentence(changes: dict[str, Any], expected: str) -> None:
    verdict = _evaluate(**changes).verdict
    assert re.sub(r"AUC [\d.]+-[\d.]+ ", "AUC N-N ", verdict) == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"labels": [], "probabilities": np.zeros((0, 2)), "sources": []},
            "Cannot evaluate: no picture was scored, there are none. "
            "Give labelled pictures that open.",
        ),
        (
            {"labels": [], "probabilities": [], "sources": [], "errors": 4},
            "Cannot evaluate: no picture was scored, none of 4 could be read. "
            "Give labelled pictures that open.",
        ),
        (
            {
                "labels": [0, 1],
                "probabilities": [[np.nan, np.nan], [0, 1]],
                "sources": ["face"] * 2,
            },
            "Cannot evaluate: 1 of 2 pictures have a score that is not a finite number. "
            "The model's weights diverged; train again with a lower learning rate.",
        ),
    ],
)
def test_data_that_cannot_be_evaluated(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        _evaluate(**changes)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": [0, 1]}, "labels must be (N,) and probabilities (N, 2), 2 classes or more"),
        ({"label_names": ["artefact"]}, "2 classes or more; got (200,) and (200, 2)"),
        ({"labels": np.arange(200)}, "labels must be 0 to 1, got 0 to 199"),
        ({"probabilities": np.full((200, 2), 0.7)}, "sum to 1 in each row, got 0.7 as the least"),
        (
            {"probabilities": np.tile([-0.5, 1.5], (200, 1))},
            "got -0.5 as the least and sums from 1",
        ),
        ({"target": "mask"}, "'mask' is not one of the classes ('artefact', 'artefactless')"),
        ({"majority_label": "mask"}, "'mask' is not one of the classes"),
        ({"threshold": float("nan")}, "threshold must be a finite number, got nan"),
        ({"abstain": 1.0}, "abstain must be from 0 to below 1, got 1.0"),
        ({"sources": ["face"]}, "sources must be one per label, got 1 for 200"),
        (
            {"sources": ["body"] * 200},
            "a source is one of ('face', 'full_frame'), got 'body'",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        _evaluate(**changes)


def test_evaluation_of_another_version_is_refused() -> None:
    with pytest.raises(BundleError) as caught:
        Evaluation.from_dict({"version": 9})
    assert str(caught.value) == (
        "Cannot read the evaluation: it has version 9, this program reads version 3. "
        "Run `roi-cls evaluate` again."
    )


@pytest.mark.parametrize(
    ("field", "value", "cause"),
    [
        ("mcc", None, "TypeError"),
        ("classes", [{}], "KeyError: 'label'"),
        ("roc_auc", {"value": 0.5, "low": 0.6, "high": 0.7}, "ValueError: An interval must hold"),
        ("slices", {"face": {}}, "KeyError"),
        ("threshold", "high", "ValueError"),
        ("target", "mask", "ValueError: 'mask' is not one of the classes"),
    ],
)
def test_damaged_evaluation_is_refused(field: str, value: object, cause: str) -> None:
    with pytest.raises(BundleError, match=f"Cannot read the evaluation: {cause}") as caught:
        Evaluation.from_dict(_evaluate().to_dict() | {field: value})
    assert str(caught.value).endswith(
        "The file is incomplete or was changed by hand; run `roi-cls evaluate` again."
    )


def test_table_shows_intervals_baseline_slices_and_errors() -> None:
    evaluation = _evaluate(errors=2)
    text = render_evaluation(evaluation)
    overall = evaluation.overall
    assert "200 pictures scored, 2 unreadable and not scored." in text
    assert "Looked for: 'artefact', decided from probability 0.45 on (rule f1, chosen" in text
    assert "In brackets: 95% intervals." in text
    lines = text.splitlines()
    row: dict[str, list[str]] = {}  # over all tables: a wide one is split by its columns
    for line in lines:
        name, *cells = re.split(r"\s{2,}", line.strip())
        row.setdefault(name, []).extend(cells)
    slices = dict(evaluation.slices)
    metrics = (overall, slices["face"], slices["full_frame"])
    assert row["metric"] == ["all", "face", "full frame"]
    assert row["pictures"] == ["200", "180", "20"]
    assert row["accuracy"] == [str(m.accuracy) for m in metrics]
    assert row["always 'artefactless'"] == [str(m.majority_accuracy) for m in metrics]
    assert row["micro F1 (= accuracy)"] == row["accuracy"]
    assert row["balanced accuracy"] == [str(m.balanced_accuracy) for m in metrics]
    assert row["by chance"] == ["0.10", "0.10", "0.10"]
    names = [line for line in lines if line.startswith("artefact ")]
    assert str(overall.classes[0].recall) in names[0]
    assert names[1].split() == ["artefact", *map(str, overall.confusion_matrix[0])]
    assert "Note (full frame): Few pictures of 'artefact' (2)" in text
    assert not text.endswith("\n")


def test_abstaining_gives_a_slice_of_what_was_decided() -> None:
    labels, scores, sources = _portraits()
    evaluation = _evaluate(abstain=0.1)
    kept = np.flatnonzero(np.abs(scores[:, 0] - 0.45) >= 0.1)
    alone = _evaluate(
        labels=labels[kept], probabilities=scores[kept], sources=[sources[i] for i in kept]
    )
    assert 0 < len(kept) < 200
    assert dict(evaluation.slices)["decided"] == alone.overall
    assert evaluation.overall == _evaluate().overall  # abstaining hides nothing
    assert evaluation.abstained == wilson(200 - len(kept), 200)
    assert (
        f"; {200 - len(kept)} of 200 pictures are too close to call; accuracy on the others "
        f"{format_number(alone.overall.accuracy.value)}." in evaluation.verdict
    )
    assert Evaluation.from_dict(json.loads(json.dumps(evaluation.to_dict()))) == evaluation


@pytest.mark.parametrize(
    ("abstain", "names", "words"),
    [
        (0.0, ["face", "full_frame"], ""),
        (1e-9, ["face", "full_frame", "decided"], "; no picture is too close to call."),
        (0.99, ["face", "full_frame"], "; all 200 pictures are too close to call."),
    ],
)
def test_decided_pictures_are_a_slice_only_where_there_are_any(
    abstain: float, names: list[str], words: str
) -> None:
    evaluation = _evaluate(abstain=abstain)
    assert [name for name, _ in evaluation.slices] == names
    assert evaluation.verdict.endswith(words)
    assert ("too close" in evaluation.verdict) == bool(abstain)


def test_table_says_how_probabilities_and_decisions_came_about() -> None:
    evaluation = _evaluate(threshold_rule="recall>=0.8", temperature=1.25, abstain=0.1)
    text = " ".join(render_evaluation(replace(evaluation, test_openings=3)).split())
    assert "from probability 0.45 on (rule recall>=0.8, chosen on validation)." in text
    assert "Probabilities: the model's scores divided by 1.25. Fitted on validation, so" in text
    assert f"Too close to call (margin below 0.1): {evaluation.abstained} of them." in text
    assert "These pictures were scored 3 times by this run, this time included." in text
    plain = render_evaluation(_evaluate())
    moved = " ".join(render_evaluation(_evaluate(temperature=0.5, offsets=(-2.1972, 0))).split())
    first = evaluation.overall.classes[0].label
    assert (
        f"Probabilities: the model's scores divided by 0.5, then -2.2 for {first!r}. Fitted on "
        "validation, so that they hold where classes are as frequent as there."
    ) in moved
    for word in ("Probabilities", "Too close", "times by this run"):
        assert word not in plain


def test_table_prints_brackets_in_names_as_they_are() -> None:
    text = render_evaluation(_evaluate(label_names=("[red]a", ":b:"), target="[red]a"))
    assert "[red]a" in text
    assert ":b:" in text
