"""A comparison as Markdown, CSV and JSON: the baseline first, no gap, every number in full."""

import csv
import io
import json
import math
from dataclasses import replace

import pytest

from roi_cls.base.rows import markdown_table
from roi_cls.classifier.experiments.comparison import Comparison, SystemResult, to_csv, to_markdown
from roi_cls.classifier.metrics.interval import Estimate
from roi_cls.classifier.metrics.seeds import COMPARED, SystemMetrics


def metrics(value: float, spread: float | None = None) -> SystemMetrics:
    estimate = Estimate(value, value - 0.1, value + 0.1)
    return SystemMetrics(
        dict.fromkeys(COMPARED, estimate), {} if spread is None else dict.fromkeys(COMPARED, spread)
    )


BASELINE = SystemMetrics(
    dict.fromkeys(COMPARED, Estimate(0.5, 0.5, 0.5)) | {"precision": Estimate(math.nan, 0.0, 1.0)},
    {},
)
COMPARISON = Comparison(
    target="artefact",
    majority_label="clean",
    counts={"train": {"artefact": 7, "clean": 60}, "test": {"artefact": 3, "clean": 27}},
    data_digest="0123456789abcdef",
    budget={"epochs_at_most": 3, "folds": None},
    majority=BASELINE,
    results=(
        SystemResult(
            "good", "It is good.", metrics(0.75, 0.0125), "", "hub", 3, 2_230_000, 61.4, 12.345
        ),
        SystemResult("clip", reason="open_clip is not installed. Install it."),
    ),
)


def test_page_reads_well() -> None:
    lines = to_markdown(COMPARISON, "Systems").splitlines()
    assert lines[0] == "# Systems"
    assert lines[2] == (
        "Pictures, the same for every system: train: 67 (7 artefact, 60 clean); "
        "test: 30 (3 artefact, 27 clean)."
    )
    assert lines[3] == "In common: epochs at most 3. Split 0123456789ab."
    start = lines.index(
        "| system       |           ROC-AUC |            PR-AUC |                F1 "
        "|         precision |            recall |"
    )
    assert lines[start + 2 : start + 5] == [
        "| always clean |              0.50 |              0.50 |              0.50 "
        "|         undefined |              0.50 |",
        "| good         | 0.75 [0.65, 0.85] | 0.75 [0.65, 0.85] | 0.75 [0.65, 0.85] "
        "| 0.75 [0.65, 0.85] | 0.75 [0.65, 0.85] |",
        "| clip         |                 - |                 - |                 - "
        "|                 - |                 - |",
    ]
    cells = ["good  ", "hub    ", "    2.23 M", "    61 s", "          12.3", "    3"]
    assert f"| {' | '.join(cells)} |                0.013 |" in lines
    assert "- `clip`: open_clip is not installed. Install it." in lines
    assert "the mean over the seeds" in lines[-1]
    assert "never from decisions" in lines[-1]


def test_stand_ins_are_marked_and_named() -> None:
    other = replace(COMPARISON.results[0], name="other", stands_in_for=("resnet18", "resnet50"))
    marked = replace(COMPARISON, results=(COMPARISON.results[0], other))
    page = to_markdown(marked)
    assert page.count("| other \\* ") == 3  # each table has the star
    assert page.count("| good ") == 3
    assert (
        "\\* tf_efficientnet_lite0 stands in for a backbone whose weights could not be had: other "
        "(resnet18, resnet50). The row tells nothing of that backbone."
    ) in page
    rows = list(csv.DictReader(io.StringIO(to_csv(marked))))
    assert [row["stands_in_for"] for row in rows] == ["", "", "resnet18 resnet50"]
    assert marked.to_dict()["results"][1]["stands_in_for"] == ["resnet18", "resnet50"]
    assert "stands in" not in to_markdown(COMPARISON)


def test_every_line_of_a_table_is_equally_long() -> None:
    table = markdown_table(["a", "b"], [["long name", "1"], ["x|y", "23"]])
    assert table.splitlines() == [
        "| a         |   b |",
        "| --------- | --: |",
        "| long name |   1 |",
        "| x\\|y      |  23 |",
    ]


def test_csv_has_a_row_per_system_and_all_numbers() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(COMPARISON))))
    assert [row["name"] for row in rows] == ["always clean", "good", "clip"]
    good, clip = rows[1], rows[2]
    assert float(good["roc_auc"]) == 0.75
    assert float(good["roc_auc_low"]) == pytest.approx(0.65)
    assert float(good["mcc_seed_sd"]) == 0.0125
    assert (good["parameters"], good["train_seconds"], good["seeds"]) == ("2230000", "61.4", "3")
    assert (clip["status"], clip["roc_auc"]) == ("not run", "")
    assert clip["reason"] == "open_clip is not installed. Install it."
    assert rows[0]["precision"] == ""


def test_json_is_strict_and_says_why_a_system_did_not_run() -> None:
    values = json.loads(json.dumps(COMPARISON.to_dict(), allow_nan=False))
    assert values["majority"]["precision"]["value"] is None
    assert values["results"][0]["metrics"]["roc_auc"] == {
        "value": 0.75, "low": pytest.approx(0.65), "high": 0.85, "seed_sd": 0.0125,
    }  # fmt: skip
    assert values["results"][1]["metrics"] is None
    assert values["results"][1]["reason"] == "open_clip is not installed. Install it."


def test_not_run_systems_are_listed() -> None:
    assert [result.name for result in COMPARISON.not_run] == ["clip"]
    assert COMPARISON.test_images == 30
